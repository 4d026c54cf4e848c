"""The catalogue: symptoms and their candidate causes, as tables."""
