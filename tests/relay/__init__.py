"""Tests of agent/relay."""
