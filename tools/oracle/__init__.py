"""Compares `postward.config.routing` with the real Postfix, on generated configurations and addresses."""
