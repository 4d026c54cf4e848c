"""Tokens for relays: fetched, renewed and stored for Postfix."""
