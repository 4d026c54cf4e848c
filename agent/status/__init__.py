"""The state of the host: the model, its page, its routes, and its client."""
