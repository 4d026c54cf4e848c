"""Symptoms and their candidate causes, as tables."""
