"""Probe mails: submitting them, following them through the log, and their outcomes."""
