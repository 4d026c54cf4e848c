"""A mail log under abuse, and the proof that every line of it is counted once."""
