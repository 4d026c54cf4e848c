"""Probe mails: sent, followed through the log, judged."""
