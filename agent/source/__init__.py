"""Where log lines come from. A source hands out whole lines in order and knows the position up to which it has."""
