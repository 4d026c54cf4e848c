"""Events: one immutable type for each kind of message in a Postfix log.

Fields hold the text that Postfix printed, or None. Numbers stay text; `as_fields` converts them for JSON. A field whose
name is a Python keyword has a trailing underscore. Events are named tuples, the immutable values that Python builds
fastest. Nothing here fails.
"""

from typing import TypeAlias

from postward.parsers.events.client import (
    BadDestination,
    CertificateNotVerified,
    ConnectFailed,
    LoopDetected,
    MechanismsUnsupported,
    NameLookupProblem,
    PluginNote,
    ProxyConnection,
    RelayhostProblem,
    SaslFailed,
    ServerReply,
    SessionNote,
    StartTlsOffered,
    TlsAcceptFailed,
    TlsDisabled,
    TlsEstablished,
    TlsFailed,
    TlsLibraryProblem,
    TlsNote,
    TlsReport,
    WrapperModeNeeded,
)
from postward.parsers.events.host import (
    BadParameter,
    ClockProblem,
    CompatibilityNotice,
    ConfigurationProblem,
    LookupFailed,
    MailSystem,
    MasterReloaded,
    MasterStarted,
    MasterStopped,
    MilterProblem,
    OwnTestLine,
    Problem,
    ProcessExited,
    ProcessLimit,
    ResourceProblem,
    ServiceUnavailable,
    Statistics,
    TableChanged,
    TableOutdated,
    TableProblem,
    TableUnavailable,
    Throttled,
    TransportFailed,
    TransportUnavailable,
    Verbose,
)
from postward.parsers.events.message import (
    Attempt,
    Backlog,
    ClientAccepted,
    ContentAction,
    Delivery,
    Expired,
    Forwarded,
    MessageId,
    MessageRefused,
    Notification,
    NotificationFailed,
    PickedUp,
    QueueAction,
    QueueActionTotal,
    QueueActive,
    QueueFileCorrupt,
    QueueNote,
    Removed,
    Skipped,
    StatusNotWritten,
    SubmissionFailed,
)
from postward.parsers.events.server import (
    ClientConnected,
    ClientDisconnected,
    ClientLimit,
    ClientLost,
    ClientMisbehaved,
    ClientNote,
    ClientSaslFailed,
    ClientVerdict,
    DnsListed,
    HostnameMismatch,
    Screened,
)

__all__ = [
    "Attempt",
    "Backlog",
    "BadDestination",
    "BadParameter",
    "CertificateNotVerified",
    "ClientAccepted",
    "ClientConnected",
    "ClientDisconnected",
    "ClientLimit",
    "ClientLost",
    "ClientMisbehaved",
    "ClientNote",
    "ClientSaslFailed",
    "ClientVerdict",
    "ClockProblem",
    "CompatibilityNotice",
    "ConfigurationProblem",
    "ConnectFailed",
    "ContentAction",
    "Delivery",
    "DnsListed",
    "Event",
    "Expired",
    "Forwarded",
    "HostnameMismatch",
    "LookupFailed",
    "LoopDetected",
    "MailSystem",
    "MasterReloaded",
    "MasterStarted",
    "MasterStopped",
    "MechanismsUnsupported",
    "MessageId",
    "MessageRefused",
    "MilterProblem",
    "NameLookupProblem",
    "Notification",
    "NotificationFailed",
    "OwnTestLine",
    "PickedUp",
    "PluginNote",
    "Problem",
    "ProcessExited",
    "ProcessLimit",
    "ProxyConnection",
    "QueueAction",
    "QueueActionTotal",
    "QueueActive",
    "QueueFileCorrupt",
    "QueueNote",
    "RelayhostProblem",
    "Removed",
    "ResourceProblem",
    "SaslFailed",
    "Screened",
    "ServerReply",
    "ServiceUnavailable",
    "SessionNote",
    "Skipped",
    "StartTlsOffered",
    "Statistics",
    "StatusNotWritten",
    "SubmissionFailed",
    "TableChanged",
    "TableOutdated",
    "TableProblem",
    "TableUnavailable",
    "Throttled",
    "TlsAcceptFailed",
    "TlsDisabled",
    "TlsEstablished",
    "TlsFailed",
    "TlsLibraryProblem",
    "TlsNote",
    "TlsReport",
    "TransportFailed",
    "TransportUnavailable",
    "Verbose",
    "WrapperModeNeeded",
]

Event: TypeAlias = (
    PickedUp
    | ClientAccepted
    | MessageId
    | QueueActive
    | Delivery
    | Attempt
    | Forwarded
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
    | PluginNote
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
    | OwnTestLine
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
    | Verbose
    | Problem
)
