"""Tests of conversations with relays."""
