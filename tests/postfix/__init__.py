"""Tests of `agent/postfix`."""
