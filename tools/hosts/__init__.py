"""Postward on Debian hosts with a systemd of their own: `make host-test`."""
