"""SMTP sessions with relays that send no mail."""
