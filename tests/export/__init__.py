"""Tests of agent/export."""
