"""Tests of `postward doctor`."""
