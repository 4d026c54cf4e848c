"""Incidents, their diagnoses and notifications."""
