"""Keeping Postfix's configuration equal to the settings."""
