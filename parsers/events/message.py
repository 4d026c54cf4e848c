"""Events of a message: received, queued, delivered or not, removed."""

from typing import NamedTuple


class PickedUp(NamedTuple):
    """pickup received a message submitted on this host."""

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
    """cleanup read or generated the Message-ID; `resent` is "resent-" for a Resent-Message-ID."""

    queue_id: str
    message_id: str
    resent: str | None = None


class QueueActive(NamedTuple):
    """qmgr moved a message into the active queue; repeated at every retry."""

    queue_id: str
    from_: str
    size: str
    nrcpt: str


class Delivery(NamedTuple):
    """The outcome of one delivery attempt to one recipient, by any delivery agent."""

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
    """An attempt failed and the agent tries the next server; the outcome follows."""

    queue_id: str
    reason: str


class Forwarded(NamedTuple):
    """A recipient was passed to another transport, which logs the outcome."""

    queue_id: str
    to: str
    transport: str


class Removed(NamedTuple):
    """A message left the queue; `why` is "canceled" or "discarded" if cleanup removed it."""

    queue_id: str
    why: str | None = None


class Expired(NamedTuple):
    """A message was returned to its sender; `status` is "expired" or "force-expired"."""

    queue_id: str
    from_: str
    status: str


class Notification(NamedTuple):
    """A notification was queued as a new message; `kind` is, for example, "sender non-delivery"."""

    queue_id: str
    kind: str
    notification_id: str


class NotificationFailed(NamedTuple):
    """A notification could not be sent, or was discarded."""

    queue_id: str
    text: str


class StatusNotWritten(NamedTuple):
    """bounce, defer or trace could not write its logfile; the message stays in the queue."""

    queue_id: str
    reason: str


class SubmissionFailed(NamedTuple):
    """sendmail or postdrop failed to submit a message of this user."""

    user: str | None
    uid: str
    text: str


class Skipped(NamedTuple):
    """qmgr skipped a message that is still being delivered."""

    queue_id: str


class QueueAction(NamedTuple):
    """postsuper changed one message."""

    queue_id: str
    action: str


class QueueActionTotal(NamedTuple):
    """The number of messages that one postsuper command changed."""

    action: str
    number: str


class QueueFileCorrupt(NamedTuple):
    """A queue file is damaged and was moved to the corrupt queue."""

    file: str


class MessageRefused(NamedTuple):
    """cleanup or qmgr rejected a message; the text gives the reason."""

    queue_id: str
    text: str


class QueueNote(NamedTuple):
    """A remark about a message, without effect on it."""

    queue_id: str
    text: str


class Backlog(NamedTuple):
    """One destination fills much of the active queue, or advice of qmgr about it."""

    destination: str | None
    used: str | None
    limit: str | None
    text: str | None


class ContentAction(NamedTuple):
    """A header or body check matched a message."""

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
