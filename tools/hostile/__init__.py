"""Proofs under hostile input that take too long for the tests: fuzzing of every reader, and load on the endpoint."""
