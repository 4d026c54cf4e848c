"""A fleet for Prometheus: the pages of many hosts, made from the page of a real agent. Figures for docs/fleet.md."""
