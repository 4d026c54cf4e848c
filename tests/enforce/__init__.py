"""Tests of `agent/enforce`."""
