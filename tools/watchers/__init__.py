"""Faults of Postward itself: what commands, metrics and alerts say while a part of it is stopped, blind or frozen."""
