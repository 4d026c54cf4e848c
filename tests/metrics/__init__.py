"""Tests of counting and of the metrics."""
