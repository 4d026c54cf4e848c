"""The endpoint: what it answers, whom it lets in, and what hostile clients cost."""
