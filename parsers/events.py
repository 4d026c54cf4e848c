"""What a Postfix log line says, one small immutable type per kind of message.

Fields carry Postfix's own words exactly as printed, text or None; a number is converted only where it is
read (``as_fields`` does so for JSON). A field that would be a Python keyword has a trailing underscore.
Named tuples, because they are the quickest immutable values to build: straight from a match's groups.
Nothing here fails.
"""

from typing import NamedTuple, TypeAlias

# --- the life of a message -----------------------------------------------------------------------------


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


class PassedOn(NamedTuple):
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
    """One destination fills much of the active queue, or qmgr says how to mend that."""

    destination: str | None
    used: str | None
    limit: str | None
    text: str | None


# --- content --------------------------------------------------------------------------------------------


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


# --- the client side: smtp, lmtp ---------------------------------------------------------------------------


class ConnectFailed(NamedTuple):
    """No connection to this peer; logged once for every address tried."""

    peer: str
    error: str


class TlsEstablished(NamedTuple):
    """A TLS session began or went on, and how far the other side is to be trusted."""

    trust: str | None
    how: str
    direction: str
    peer: str
    sni: str | None
    protocol: str
    cipher: str
    bits: str | None
    key_exchange: str | None = None
    server_signature: str | None = None
    server_digest: str | None = None
    client_signature: str | None = None
    client_digest: str | None = None


class TlsFailed(NamedTuple):
    """The TLS handshake with a server failed."""

    peer: str
    reason: str


class TlsAcceptFailed(NamedTuple):
    """The TLS handshake with a client failed."""

    peer: str
    reason: str | None


class TlsLibraryProblem(NamedTuple):
    """What OpenSSL said; belongs to the TLS failure of the same process just before or after."""

    detail: str


class CertificateNotVerified(NamedTuple):
    """A certificate did not pass; says nothing of whether mail went out all the same."""

    peer: str
    reason: str


class TlsDisabled(NamedTuple):
    """Our own TLS engine could not start: certificates, CA files, protocol lists."""

    text: str


class TlsNote(NamedTuple):
    """Details of a TLS session, logged at higher levels."""

    peer: str | None
    text: str


class TlsReport(NamedTuple):
    """What was handed to the TLSRPT library."""

    status: str
    domain: str
    receiving_mx: str
    failure_type: str | None
    failure_reason: str | None


class StartTlsOffered(NamedTuple):
    """The server offers STARTTLS and we do not use it."""

    host: str


class WrapperModeNeeded(NamedTuple):
    """smtp says that the port and the TLS settings do not go together."""

    text: str


class SaslFailed(NamedTuple):
    """The SASL library's own complaint; the outcome follows in a delivery record."""

    reason: str


class MechanismsUnsupported(NamedTuple):
    """The server's AUTH list holds nothing that we can do."""

    peer: str
    mechanisms: str | None


class ProxyConnection(NamedTuple):
    """tlsproxy took a connection over, or ended it."""

    action: str
    direction: str | None
    peer: str


class ServerReply(NamedTuple):
    """A server refused a command that is not essential, or spoke something that is not SMTP."""

    queue_id: str | None
    peer: str
    reply: str


class SessionNote(NamedTuple):
    """Workarounds and filters applied to a session with a server."""

    queue_id: str | None
    text: str


class LoopDetected(NamedTuple):
    """The server bears our own name."""

    peer: str
    name: str


class NameLookupProblem(NamedTuple):
    """DNS gave no usable answer."""

    text: str


class RelayhostProblem(NamedTuple):
    """The next hop of main.cf failed for good, so Postfix keeps the mail: "relayhost", or the fallback."""

    parameter: str


class BadDestination(NamedTuple):
    """A next hop that Postfix cannot even parse: the agent dies."""

    reason: str
    destination: str


# --- the server side: smtpd, postscreen -----------------------------------------------------------------------


class ClientConnected(NamedTuple):
    """A client connected."""

    client: str


class ClientDisconnected(NamedTuple):
    """A client left; ``statistics`` counts its commands."""

    client: str
    statistics: str | None = None


class ClientLost(NamedTuple):
    """A session broke off: lost connection, timeout, too many errors."""

    queue_id: str | None
    what: str
    stage: str
    size: str | None
    client: str


class ClientVerdict(NamedTuple):
    """What became of a client's command: reject, hold, discard, milter-reject and their like."""

    queue_id: str | None
    action: str
    stage: str
    client: str
    text: str
    from_: str | None = None
    to: str | None = None
    proto: str | None = None
    helo: str | None = None
    sasl_method: str | None = None
    sasl_username: str | None = None
    sasl_sender: str | None = None


class ClientSaslFailed(NamedTuple):
    """A client did not authenticate with us."""

    client: str
    mechanism: str
    reason: str | None
    sasl_username: str | None = None


class ClientLimit(NamedTuple):
    """A client exceeded one of anvil's limits."""

    limit: str
    number: str
    client: str
    service: str


class ClientMisbehaved(NamedTuple):
    """A client broke the protocol."""

    kind: str
    stage: str | None
    client: str
    detail: str | None


class HostnameMismatch(NamedTuple):
    """A client's name does not lead back to its address."""

    hostname: str
    address: str
    reason: str | None


class Screened(NamedTuple):
    """postscreen's word on a client: PASS NEW, PREGREET, HANGUP, DNSBL rank and their like."""

    verdict: str
    client: str
    detail: str | None


class DnsListed(NamedTuple):
    """A block list knows this address."""

    address: str
    domain: str
    reply: str


class ClientNote(NamedTuple):
    """Remarks of a server about a session that change nothing for the mail."""

    text: str


# --- tables, configuration ---------------------------------------------------------------------------------------


class TableUnavailable(NamedTuple):
    """A lookup table cannot be opened; said again at every lookup."""

    table: str
    reason: str


class TableProblem(NamedTuple):
    """Opening or reading a lookup table failed."""

    table: str | None
    reason: str


class LookupFailed(NamedTuple):
    """One lookup in a table failed."""

    queue_id: str | None
    table: str
    key: str | None


class TableOutdated(NamedTuple):
    """A table is older than the text it is made from: somebody forgot postmap."""

    table: str
    source: str


class TableChanged(NamedTuple):
    """A daemon restarts itself because a table has changed."""

    table: str


class BadParameter(NamedTuple):
    """A parameter's value is not what Postfix wants."""

    parameter: str
    value: str | None
    reason: str | None


class ConfigurationProblem(NamedTuple):
    """Something in main.cf, master.cf or their files is wrong."""

    text: str


class CompatibilityNotice(NamedTuple):
    """Postfix uses an old default because compatibility_level says so."""

    parameter: str | None
    value: str | None
    text: str | None


# --- daemons, resources ----------------------------------------------------------------------------------------------


class MasterStarted(NamedTuple):
    """Postfix started."""

    version: str
    configuration: str


class MasterReloaded(NamedTuple):
    """Postfix read its configuration again."""

    version: str
    configuration: str


class MasterStopped(NamedTuple):
    """Postfix was told to stop."""

    signal: str


class ProcessExited(NamedTuple):
    """A daemon died; ``status`` or ``signal`` is set."""

    command: str
    child: str
    status: str | None
    signal: str | None


class Throttled(NamedTuple):
    """master waits before it starts this command again: the service is down meanwhile."""

    command: str
    error: str | None = None


class ProcessLimit(NamedTuple):
    """A service has all the processes it may have."""

    service: str
    endpoint: str
    limit: str


class MailSystem(NamedTuple):
    """What postfix-script does to the mail system as a whole, or why it does not."""

    text: str


class TransportFailed(NamedTuple):
    """A delivery agent died or spoke nonsense; its own line says why."""

    transport: str


class TransportUnavailable(NamedTuple):
    """qmgr cannot reach a delivery agent."""

    transport: str
    error: str


class ServiceUnavailable(NamedTuple):
    """A daemon cannot reach another daemon of the same Postfix."""

    service: str
    error: str | None


class MilterProblem(NamedTuple):
    """A mail filter is down or broken."""

    milter: str
    reason: str


class ResourceProblem(NamedTuple):
    """Disk, inodes, memory, processes or descriptors ran out, or a file may not be written."""

    text: str


class ClockProblem(NamedTuple):
    """A clock jumped, so delays are wrong."""

    text: str


class Statistics(NamedTuple):
    """Counts that anvil, scache, the caches and the session caches log now and then."""

    text: str


class Problem(NamedTuple):
    """A line labelled warning or worse for which there is no rule; the severity is the record's."""

    text: str


Event: TypeAlias = (
    PickedUp
    | ClientAccepted
    | MessageId
    | QueueActive
    | Delivery
    | Attempt
    | PassedOn
    | Removed
    | Expired
    | Notification
    | NotificationFailed
    | StatusNotWritten
    | SubmissionFailed
    | Skipped
    | QueueAction
    | QueueActionTotal
    | QueueFileCorrupt
    | MessageRefused
    | QueueNote
    | Backlog
    | ContentAction
    | ConnectFailed
    | TlsEstablished
    | TlsFailed
    | TlsAcceptFailed
    | TlsLibraryProblem
    | CertificateNotVerified
    | TlsDisabled
    | TlsNote
    | TlsReport
    | StartTlsOffered
    | WrapperModeNeeded
    | SaslFailed
    | MechanismsUnsupported
    | ProxyConnection
    | ServerReply
    | SessionNote
    | LoopDetected
    | NameLookupProblem
    | RelayhostProblem
    | BadDestination
    | ClientConnected
    | ClientDisconnected
    | ClientLost
    | ClientVerdict
    | ClientSaslFailed
    | ClientLimit
    | ClientMisbehaved
    | HostnameMismatch
    | Screened
    | DnsListed
    | ClientNote
    | TableUnavailable
    | TableProblem
    | LookupFailed
    | TableOutdated
    | TableChanged
    | BadParameter
    | ConfigurationProblem
    | CompatibilityNotice
    | MasterStarted
    | MasterReloaded
    | MasterStopped
    | ProcessExited
    | Throttled
    | ProcessLimit
    | MailSystem
    | TransportFailed
    | TransportUnavailable
    | ServiceUnavailable
    | MilterProblem
    | ResourceProblem
    | ClockProblem
    | Statistics
    | Problem
)
