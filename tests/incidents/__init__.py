"""Incidents, their diagnoses, and who is told."""
