"""Counts of log events and their exposition to Prometheus."""
