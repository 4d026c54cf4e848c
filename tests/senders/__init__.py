"""Tests of the counts of senders."""
