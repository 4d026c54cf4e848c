"""Adopts generated configurations, and checks what an adoption promises of each."""
