"""The documentation site: Sphinx's settings, and the check of what it built. `make docs` runs both."""
