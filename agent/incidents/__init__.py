"""Incidents and their diagnosis: what is wrong, since when, why, and the remedy.

events, probes, queue, drift ─▶ IncidentTracker (a state machine) ─▶ Incident ─┐
                                                                              ├─▶ diagnose() ─▶ Diagnosis
catalogue: symptom → candidates                host facts, lint ──────────────┘
"""

from postward.agent.incidents.model import Change, Incident
from postward.agent.incidents.tracker import IncidentTracker

__all__ = ["Change", "Incident", "IncidentTracker"]
