"""Tests of agent/setup."""
