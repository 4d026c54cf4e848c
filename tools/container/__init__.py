"""The container image: its build, and its tests with podman."""
