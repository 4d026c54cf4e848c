"""What is wrong, since when, why, and what mends it: incidents and their diagnosis.

events, probes, queue, drift ─▶ Incidents (a state machine) ─▶ Incident ─┐
                                                                        ├─▶ diagnose() ─▶ Diagnosis
catalogue: symptom → candidates          host facts, lint ──────────────┘
"""

from postward.agent.incidents.model import Change, Incident
from postward.agent.incidents.tracker import Incidents

__all__ = ["Change", "Incident", "Incidents"]
