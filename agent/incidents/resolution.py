"""What proves that an incident is over: a success on the same path. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.agent.incidents.model import Incident
from postward.agent.incidents.symptom import Effect, Resolution
from postward.parsers import events as ev

_CHECK_TAKES = 30.0  # seconds between postfix-script's complaints and the start that follows

# The daemons that deliver. The others deliver nothing themselves, and nothing leaves without those that mail has to pass.
_DELIVER = frozenset({"smtp", "lmtp", "local", "virtual", "pipe", "discard", "error", "retry"})

# Lines that prove something by themselves.
OF_LINES: Mapping[Any, Resolution] = {
    ev.PickedUp: Resolution.SUBMITTED,
    ev.ClientAccepted: Resolution.ACCEPTED,
    ev.MasterStarted: Resolution.STARTED,
    ev.MasterReloaded: Resolution.STARTED,
}
WORDS: Mapping[Resolution, str] = {
    Resolution.SUBMITTED: "a program of this host submitted a mail",
    Resolution.ACCEPTED: "a client's mail was accepted",
    Resolution.STARTED: "Postfix started, and did not say it again",
}


class Success(NamedTuple):
    """A mail that was delivered.

    Attributes:
        daemon: by whom.
        place: the relay, as incidents have it.
        mail: its queue ID.
        sender: its envelope sender, if it is known.
        domain: of the recipient.
        left: it left this host.
    """

    daemon: str
    place: str
    mail: str
    sender: str | None
    domain: str
    left: bool


def proves(success: Success, incident: Incident) -> bool:
    """Does this success prove that the incident is over?"""
    proof = SYMPTOMS[incident.symptom].proof
    if proof is Resolution.LEFT:
        return success.left
    if proof not in {Resolution.SENT, Resolution.SAME_SENDER}:
        return False
    if success.mail in incident.mails:
        return True
    same_sender = success.left and success.sender is not None and success.sender in incident.senders
    if proof is Resolution.SAME_SENDER or (incident.opened > 2 and incident.senders):
        return same_sender
    if incident.cause is None:  # a daemon's complaint
        return incident.place == success.daemon if incident.place in _DELIVER else success.left
    # A next hop that was put right is another place; mail of the same sender to the same domain is the proof then.
    same_way = same_sender and success.domain in incident.domains and incident.relay in {"none", "other"}
    return success.place == incident.place or same_way


def line_proves(proof: Resolution, incident: Incident, now: float) -> bool:
    """Does a line that proves this prove that the incident is over?"""
    row = SYMPTOMS[incident.symptom]
    if row.proof is not proof:
        return False
    # What postfix-script complains of when Postfix starts stands before the start.
    checked = proof is Resolution.STARTED and (row.effect is Effect.NOTE or row.daemon == "postfix-script")
    return not checked or now - incident.last > _CHECK_TAKES
