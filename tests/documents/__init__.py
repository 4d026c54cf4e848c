"""Tests of the documents: their links, code blocks, pictures and references."""
