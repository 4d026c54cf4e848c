"""Tests of reading a mailbox."""
