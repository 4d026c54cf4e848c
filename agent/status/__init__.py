"""How the host is: the status model, its page and its client."""
