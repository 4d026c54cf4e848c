"""Pictures of the pages, in a real browser."""
