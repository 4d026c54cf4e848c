"""Tools around incidents: faults on a real Postfix, their logs, diagnoses and remedies."""
