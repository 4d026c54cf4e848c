"""SMTP conversations with relays that send no mail."""
