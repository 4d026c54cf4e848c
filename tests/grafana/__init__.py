"""Tests of alert rules, runbooks and dashboards."""
