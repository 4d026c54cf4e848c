"""Counts of events other than deliveries: TLS and SASL, message sizes, daemons, clients.

An observer of the pipeline. It is separate from `postward.agent.metrics.deliveries`, which counts every line of every
log.

Promise: each label value is from a closed set in this module; any other value is counted as `other`.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from postward.agent.metrics.exemplars import Exemplars
from postward.agent.metrics.labels import RelayNames, tls_labels
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Part
from postward.parsers import Cause, Event, Record, cause_of
from postward.parsers import events as ev

# The values of the `daemon` label, a subset of the daemons whose lines the parsers know.
LABELLED_DAEMONS: Final = (
    "bounce",
    "cleanup",
    "error",
    "flush",
    "lmtp",
    "local",
    "pickup",
    "pipe",
    "postscreen",
    "proxymap",
    "qmgr",
    "scache",
    "showq",
    "smtp",
    "smtpd",
    "tlsmgr",
    "tlsproxy",
    "trivial-rewrite",
    "verify",
    "virtual",
)
NOTIFICATIONS: Final = (
    "sender non-delivery",
    "sender delay",
    "sender delivery status",
    "postmaster non-delivery",
)
TABLE_PROBLEMS: Final = ("unavailable", "error", "lookup", "outdated")
MASTER_EVENTS: Final = ("started", "reloaded", "stopped")
SASL_PROBLEMS: Final = ("library", "mechanisms")
TLS_CAUSES: Final = (Cause.TLS_HANDSHAKE, Cause.TLS_VERIFY)

# Commands that smtpd(8) prints in "lost connection after …".
_COMMANDS = frozenset(
    {"CONNECT", "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END-OF-MESSAGE", "RSET", "NOOP"}
)
# Actions of access(5).
_ACTIONS = frozenset(
    {
        "reject",
        "reject_warning",
        "milter-reject",
        "hold",
        "discard",
        "redirect",
        "filter",
        "warn",
        "info",
        "bcc",
        "permit",
    }
)
# Verdicts that postscreen(8) logs.
_SCREENED = frozenset(
    {
        "CONNECT",
        "PASS OLD",
        "PASS NEW",
        "DISCONNECT",
        "PREGREET",
        "HANGUP",
        "DNSBL",
        "BARE NEWLINE",
        "NON-SMTP COMMAND",
        "COMMAND TIME LIMIT",
        "COMMAND COUNT LIMIT",
        "COMMAND LENGTH LIMIT",
        "COMMAND PIPELINING",
        "ALLOWLISTED",
        "WHITELISTED",
        "DENYLISTED",
        "BLACKLISTED",
        "ALLOWLIST VETO",
        "WHITELIST VETO",
    }
)
_MAX_NEW = 4096  # messages between cleanup and the active queue; a host has a few


class DaemonMetrics(Part):
    """Counts recognised events in a tally.

    Args:
        tally: receives the counts. Every series known in advance starts at zero.
        names: the relays of the settings.
        exemplars: receives the latest queue ID of each series.
    """

    def __init__(self, tally: Tally, names: RelayNames, exemplars: Exemplars) -> None:
        self.tally = tally
        self.names = names
        self.exemplars = exemplars
        self.new_mails: OrderedDict[str, None] = OrderedDict()
        self._instances: dict[str, str] = {}
        self._zero()

    def _zero(self) -> None:
        """Create the known series at zero, so that Prometheus sees the first event as an increase."""
        for relay in self.names.known:
            for cause in Cause:
                self.add("postfix_connection_failures_total", relay, cause.value, times=0)
            for cause in TLS_CAUSES:
                self.add("postfix_tls_failures_total", relay, cause.value, times=0)
        for metric, values in _KNOWN_LABELS.items():
            for value in values:
                self.add(metric, value, times=0)
        for metric in _WITHOUT_LABELS:
            self.add(metric, times=0)

    def add(self, metric: str, *labels: str, times: int = 1) -> None:
        """Increase a counter."""
        self.tally.add(metric, labels, times)

    def observe(self, record: Record, event: Event) -> None:
        """Count one recognised line."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, record, event)

    def instance(self, record: Record) -> str:
        """Return the `postfix_instance` label: the instance if its messages are counted already, else "other"."""
        name = record.instance
        known = self._instances.get(name)
        if known is None:
            counted = any(
                labels[0] == name for labels in self.tally.counters["postfix_messages_removed_total"]
            )
            known = name if counted else "other"
            if counted:
                self._instances[name] = name
        return known


def _closed(value: str, known: frozenset[str] | tuple[str, ...]) -> str:
    return value if value in known else "other"


def _daemon_of(command: str) -> str:
    """Return the label of a daemon that master(8) logs by its path, or by the path of a wrapper."""
    return _closed(command.rpartition("/")[2].split(" ")[0], LABELLED_DAEMONS)


# --- deliveries and connections


def _delivery(details: DaemonMetrics, record: Record, event: ev.Delivery) -> None:
    relay = details.names.of_delivery(event, record.instance)
    if event.status in {"sent", "bounced"}:
        try:
            delay = float(event.delay)
        except ValueError:
            return  # a truncated or hostile line
        details.exemplars.note_observation("postfix_delivery_delay_seconds", (relay,), event.queue_id, delay)
    if event.status != "sent" and (cause := cause_of(event)) is not None:
        labels = (record.instance, relay, cause.value)
        details.exemplars.note("postfix_delivery_failures_total", labels, event.queue_id)


def _tls_failed(
    details: DaemonMetrics, record: Record, event: ev.TlsFailed | ev.CertificateNotVerified
) -> None:
    cause = cause_of(event) or Cause.TLS_HANDSHAKE
    relay = details.names.of_peer(event.peer, record.instance)
    details.add("postfix_tls_failures_total", relay, cause.value, times=record.repeat)


def _tls_established(details: DaemonMetrics, record: Record, event: ev.TlsEstablished) -> None:
    if event.direction == "from":
        labels = tls_labels(event.protocol, event.trust)
        details.add("postfix_smtpd_tls_connections_total", *labels, times=record.repeat)


def _sasl(kind: str) -> Callable[[DaemonMetrics, Record, Any], None]:
    def handle(details: DaemonMetrics, record: Record, _event: Any) -> None:
        if record.daemon != "smtpd":
            details.add("postfix_sasl_problems_total", kind, times=record.repeat)

    return handle


# --- the queue


def _message_id(details: DaemonMetrics, _record: Record, event: ev.MessageId) -> None:
    if not event.resent:
        details.new_mails[event.queue_id] = None
        if len(details.new_mails) > _MAX_NEW:
            details.new_mails.popitem(last=False)


def _queue_active(details: DaemonMetrics, record: Record, event: ev.QueueActive) -> None:
    details.add("postfix_queue_activations_total", details.instance(record), times=record.repeat)
    # A retry makes a message active again. Its size is observed once, at the first activation after cleanup.
    if (
        details.new_mails.pop(event.queue_id, "retry") is None
        and len(event.size) < 16
        and len(event.nrcpt) < 10
    ):
        details.tally.observe("postfix_message_size_bytes", (), float(event.size))
        details.tally.observe("postfix_message_recipients", (), float(event.nrcpt))


def _refused(details: DaemonMetrics, record: Record, _event: ev.MessageRefused) -> None:
    details.add(
        "postfix_messages_refused_total", _closed(record.daemon, LABELLED_DAEMONS), times=record.repeat
    )


def _notification(details: DaemonMetrics, record: Record, event: ev.Notification) -> None:
    details.add("postfix_notifications_total", _closed(event.kind, NOTIFICATIONS), times=record.repeat)


# --- this host


def _exited(details: DaemonMetrics, record: Record, event: ev.ProcessExited) -> None:
    details.add("postfix_daemon_exits_total", _daemon_of(event.command), times=record.repeat)


def _throttled(details: DaemonMetrics, record: Record, event: ev.Throttled) -> None:
    details.add("postfix_daemon_throttled_total", _daemon_of(event.command), times=record.repeat)


# --- clients


def _client_lost(details: DaemonMetrics, record: Record, event: ev.ClientLost) -> None:
    command = event.stage.split(" ")[0]
    details.add("postfix_smtpd_lost_connections_total", _closed(command, _COMMANDS), times=record.repeat)


def _client_verdict(details: DaemonMetrics, record: Record, event: ev.ClientVerdict) -> None:
    reply = {"4": "4xx", "5": "5xx"}.get(event.text[:1], "none") if event.text[1:3].isdecimal() else "none"
    details.add("postfix_smtpd_verdicts_total", _closed(event.action, _ACTIONS), reply, times=record.repeat)


def _screened(details: DaemonMetrics, record: Record, event: ev.Screened) -> None:
    # "DNSBL rank 7" and "PREGREET 14" contain a number that depends on the client.
    words = event.verdict.split(" ")
    verdict = words[0] if words[0] in {"DNSBL", "PREGREET"} else event.verdict
    label = _closed(verdict, _SCREENED).lower().replace(" ", "_")
    details.add("postfix_postscreen_verdicts_total", label, times=record.repeat)


def _bump(metric: str, *labels: str) -> Callable[[DaemonMetrics, Record, Any], None]:
    def handle(details: DaemonMetrics, record: Record, _event: Any) -> None:
        details.add(metric, *labels, times=record.repeat)

    return handle


# Event type → the function that counts it.
_HANDLERS: Final[Mapping[Any, Callable[[DaemonMetrics, Record, Any], None]]] = {
    ev.Delivery: _delivery,
    ev.TlsFailed: _tls_failed,
    ev.CertificateNotVerified: _tls_failed,
    ev.TlsEstablished: _tls_established,
    ev.SaslFailed: _sasl("library"),
    ev.MechanismsUnsupported: _sasl("mechanisms"),
    ev.MessageId: _message_id,
    ev.QueueActive: _queue_active,
    ev.MessageRefused: _refused,
    ev.Notification: _notification,
    ev.SubmissionFailed: _bump("postfix_submission_failures_total"),
    ev.ProcessExited: _exited,
    ev.Throttled: _throttled,
    ev.ProcessLimit: _bump("postfix_process_limits_total"),
    ev.TableUnavailable: _bump("postfix_table_problems_total", "unavailable"),
    ev.TableProblem: _bump("postfix_table_problems_total", "error"),
    ev.LookupFailed: _bump("postfix_table_problems_total", "lookup"),
    ev.TableOutdated: _bump("postfix_table_problems_total", "outdated"),
    ev.ResourceProblem: _bump("postfix_resource_problems_total"),
    ev.MasterStarted: _bump("postfix_master_events_total", "started"),
    ev.MasterReloaded: _bump("postfix_master_events_total", "reloaded"),
    ev.MasterStopped: _bump("postfix_master_events_total", "stopped"),
    ev.ClientConnected: _bump("postfix_smtpd_connections_total"),
    ev.ClientLost: _client_lost,
    ev.ClientVerdict: _client_verdict,
    ev.ClientSaslFailed: _bump("postfix_smtpd_sasl_failures_total"),
    ev.ClientLimit: _bump("postfix_smtpd_limits_total"),
    ev.Screened: _screened,
    ev.DnsListed: _bump("postfix_dnsbl_listings_total"),
}

# Series that start at zero.
_KNOWN_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "postfix_sasl_problems_total": SASL_PROBLEMS,
    "postfix_notifications_total": NOTIFICATIONS,
    "postfix_daemon_exits_total": LABELLED_DAEMONS,
    "postfix_daemon_throttled_total": LABELLED_DAEMONS,
    "postfix_table_problems_total": TABLE_PROBLEMS,
    "postfix_master_events_total": MASTER_EVENTS,
    "postfix_queue_activations_total": ("postfix",),
}
_WITHOUT_LABELS: Final = (
    "postfix_submission_failures_total",
    "postfix_process_limits_total",
    "postfix_resource_problems_total",
    "postfix_smtpd_connections_total",
    "postfix_smtpd_sasl_failures_total",
    "postfix_smtpd_limits_total",
    "postfix_dnsbl_listings_total",
)
