"""The proof that an incident is over: a success on the same path. Pure."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from postward.agent.incidents.catalog.symptom import Resolution
from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.agent.incidents.context import DELIVERY_AGENTS
from postward.agent.incidents.model import Effect, Incident
from postward.parsers import events as ev

_STARTUP_SECONDS: Final = 30.0  # from the warnings of postfix-script to the start that follows

# Lines that are proofs by themselves, and the texts of these proofs.
LINE_PROOFS: Final[Mapping[type, tuple[Resolution, ...]]] = {
    ev.PickedUp: (Resolution.SUBMITTED, Resolution.READ),
    ev.ClientAccepted: (Resolution.ACCEPTED,),
    ev.MasterStarted: (Resolution.STARTED, Resolution.READ),
    ev.MasterReloaded: (Resolution.STARTED, Resolution.READ),
}
PROOF_TEXTS: Final[Mapping[Resolution, str]] = {
    Resolution.SUBMITTED: "a program of this host submitted a mail",
    Resolution.READ: "Postfix's commands can read main.cf again",
    Resolution.ACCEPTED: "a client's mail was accepted",
    Resolution.STARTED: "Postfix started without the same complaint",
}


class Success(NamedTuple):
    """A delivered mail.

    Attributes:
        daemon: the delivery agent.
        place: the relay, as incidents name it.
        queue_id: the mail's queue ID.
        sender: its envelope sender; None if not known.
        domain: domain of the recipient.
        left: whether the mail left this host.
    """

    daemon: str
    place: str
    queue_id: str
    sender: str | None
    domain: str
    left: bool


def proves(success: Success, incident: Incident) -> bool:
    """Whether a delivered mail proves that an incident is over."""
    resolution = SYMPTOMS[incident.symptom].resolution
    if resolution is Resolution.LEFT:
        return success.left
    if resolution not in {Resolution.SENT, Resolution.SAME_SENDER}:
        return False
    if success.queue_id in incident.mails:
        return True
    same_sender = success.left and success.sender is not None and success.sender in incident.senders
    # An incident that opened for the third time needs the stronger proof.
    if resolution is Resolution.SAME_SENDER or (incident.opened > 2 and incident.senders):
        return same_sender
    if incident.cause is None:  # a daemon's complaint
        return incident.place == success.daemon if incident.place in DELIVERY_AGENTS else success.left
    # A corrected next hop is another place: then mail of the same sender to the same domain is the proof.
    same_way = same_sender and success.domain in incident.domains and incident.relay in {"none", "other"}
    return success.place == incident.place or same_way


def line_proves(proof: Resolution, incident: Incident, now: float) -> bool:
    """Whether a line that is this proof proves that an incident is over; `now` is the time of the line."""
    row = SYMPTOMS[incident.symptom]
    if row.resolution is not proof:
        return False
    # postfix-script logs its warnings just before the start.
    before_start = proof is Resolution.STARTED and (
        row.effect is Effect.NOTE or row.daemon == "postfix-script"
    )
    return not before_start or now - incident.last > _STARTUP_SECONDS
