"""Tests of what calls Postfix."""
