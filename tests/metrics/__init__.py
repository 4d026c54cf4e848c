"""Tests of agent/metrics."""
