"""What befalls a message: it comes, is queued, delivered or not, and goes.

Fields as the package describes them; nothing here fails.
"""

from typing import NamedTuple


class PickedUp(NamedTuple):
    """pickup took a message that was submitted on this host."""

    queue_id: str
    uid: str
    from_: str
    orig_id: str | None = None


class ClientAccepted(NamedTuple):
    """smtpd or qmqpd opened a queue file for a client."""

    queue_id: str
    client: str
    sasl_method: str | None = None
    sasl_username: str | None = None
    sasl_sender: str | None = None
    orig_queue_id: str | None = None
    orig_client: str | None = None


class MessageId(NamedTuple):
    """cleanup saw the Message-ID header, or made one; ``resent`` is "resent-" for a Resent-Message-ID."""

    queue_id: str
    message_id: str
    resent: str | None = None


class QueueActive(NamedTuple):
    """qmgr moved a message into the active queue: again at every retry."""

    queue_id: str
    from_: str
    size: str
    nrcpt: str


class Delivery(NamedTuple):
    """The outcome of one attempt to deliver to one recipient, whichever agent made it."""

    queue_id: str
    to: str
    orig_to: str | None
    relay: str
    conn_use: str | None
    delay: str
    delays: str | None
    tls: str | None
    dsn: str | None
    status: str
    reason: str | None


class Attempt(NamedTuple):
    """An attempt failed and the agent goes on to the next server: no outcome yet."""

    queue_id: str
    reason: str


class Forwarded(NamedTuple):
    """A recipient was handed to another transport, which logs the outcome."""

    queue_id: str
    to: str
    transport: str


class Removed(NamedTuple):
    """A message left the queue; ``why`` is "canceled" or "discarded" where cleanup removed it itself."""

    queue_id: str
    why: str | None = None


class Expired(NamedTuple):
    """A message went back to its sender unsent: "expired" or "force-expired"."""

    queue_id: str
    from_: str
    status: str


class Notification(NamedTuple):
    """A notice was queued as a message of its own; ``kind`` is such as "sender non-delivery"."""

    queue_id: str
    kind: str
    notification_id: str


class NotificationFailed(NamedTuple):
    """A notice could not be sent, or was thrown away; without a queue ID it could not be written at all."""

    queue_id: str
    text: str


class StatusNotWritten(NamedTuple):
    """bounce, defer or trace could not write its logfile, so the message stays."""

    queue_id: str
    reason: str


class SubmissionFailed(NamedTuple):
    """sendmail or postdrop could not submit a message of this user."""

    user: str | None
    uid: str
    text: str


class Skipped(NamedTuple):
    """qmgr left a message alone because an agent still delivers it."""

    queue_id: str


class QueueAction(NamedTuple):
    """postsuper did something to one message."""

    queue_id: str
    action: str


class QueueActionTotal(NamedTuple):
    """How many messages one postsuper command touched."""

    action: str
    number: str


class QueueFileCorrupt(NamedTuple):
    """A queue file is damaged and was put aside."""

    file: str


class MessageRefused(NamedTuple):
    """cleanup or qmgr gave a message up; the text says why."""

    queue_id: str
    text: str


class QueueNote(NamedTuple):
    """Remarks of the queue about a message that change nothing for it."""

    queue_id: str
    text: str


class Backlog(NamedTuple):
    """One destination fills much of the active queue, or qmgr says how to remedy that."""

    destination: str | None
    used: str | None
    limit: str | None
    text: str | None


class ContentAction(NamedTuple):
    """A header or body check acted on a message."""

    queue_id: str
    action: str
    part: str
    content: str
    origin: str | None
    from_: str | None
    to: str | None
    proto: str | None
    helo: str | None
    text: str | None
