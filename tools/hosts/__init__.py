"""Tests of Postward on Debian hosts, each under its own systemd: `make host-test`."""
