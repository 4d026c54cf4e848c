"""Counts of events other than deliveries: TLS and SASL, message sizes, daemons, clients.

An observer of the pipeline. It is separate from `postward.agent.metrics.deliveries`, which counts every line of every
log.

Promise: each label value is from a closed set in this module; any other value is counted as `other`.
"""

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import repeat
from operator import itemgetter
from typing import Final

from postward.agent.metrics.catalog import BY_NAME
from postward.agent.metrics.exemplars import Exemplars
from postward.agent.metrics.labels import Instances, RelayNames, delay_seconds, tls_labels
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Part
from postward.agent.rows import ByRows, Rows, Take
from postward.parsers import Cause, cause_of_delivery
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
_ENDED: Final = frozenset({"sent", "bounced"})
_DELAY_BUCKETS: Final = BY_NAME["postfix_delivery_delay_seconds"].buckets
_MAX_DELAYS: Final = 4096  # remembered
_MAX_NEW = 4096  # messages between cleanup and the active queue; a host has a few


class DaemonMetrics(ByRows, Part):
    """Counts recognised events in a tally.

    Args:
        tally: receives the counts. Every series known in advance starts at zero.
        names: the relays of the settings.
        exemplars: receives the latest queue ID of each series.
    """

    joins = True

    def __init__(self, tally: Tally, names: RelayNames, exemplars: Exemplars) -> None:
        self.tally = tally
        self.names = names
        self.exemplars = exemplars
        self.new_mails: OrderedDict[str, None] = OrderedDict()
        self.instance = Instances(names)
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


def _closed(value: str, known: frozenset[str] | tuple[str, ...]) -> str:
    return value if value in known else "other"


def _daemon_of(command: str) -> tuple[str]:
    """Return the label of a daemon that master(8) logs by its path, or by the path of a wrapper."""
    return (_closed(command.rpartition("/")[2].split(" ")[0], LABELLED_DAEMONS),)


# --- deliveries and connections


def _deliveries(details: DaemonMetrics, rows: Rows, _times: int) -> None:
    # Only the last message of each series and bucket stays: those of a block are found before their labels.
    observed: dict[tuple[str, str, str | None, int], tuple[int, str, str]] = {}
    failed: dict[tuple[str, ...], str] = {}
    for number, (instance, relay, status, queue_id, delay, dsn, reason) in enumerate(rows):
        if status in _ENDED:
            way = None if "[" in relay else reason  # that names the relay
            observed[instance, relay, way, _bucket(delay)] = (number, queue_id, delay)
        if status != "sent":
            failed[instance, relay, status, reason, dsn] = queue_id
    for (instance, relay, reason, _), (_, queue_id, delay) in sorted(observed.items(), key=itemgetter(1)):
        name, seconds = details.names.of(relay, reason, instance), delay_seconds(delay)
        if seconds is not None:  # a truncated or hostile line
            details.exemplars.note_observation("postfix_delivery_delay_seconds", (name,), queue_id, seconds)
    for (instance, relay, status, reason, dsn), queue_id in failed.items():
        if (cause := cause_of_delivery(status, relay, reason, dsn)) is not None:
            labels = (instance, details.names.of(relay, reason, instance), cause.value)
            details.exemplars.note("postfix_delivery_failures_total", labels, queue_id)


@lru_cache(_MAX_DELAYS)
def _bucket(delay: str) -> int:
    seconds = delay_seconds(delay)
    return -1 if seconds is None else bisect_left(_DELAY_BUCKETS, seconds)


def _tls_failed(cause: Cause) -> Take:
    def count(details: DaemonMetrics, rows: Rows, times: int) -> None:
        for instance, peer in rows:
            relay = details.names.of_peer(peer, instance)
            details.add("postfix_tls_failures_total", relay, cause.value, times=times)

    return Take(("instance", "peer"), count)


def _tls_sessions(details: DaemonMetrics, rows: Rows, times: int) -> None:
    for (direction, protocol, trust), number in Counter(rows).items():
        if direction == "from":
            labels = tls_labels(protocol, trust)
            details.add("postfix_smtpd_tls_connections_total", *labels, times=number * times)


def _sasl(kind: str) -> Take:
    def count(details: DaemonMetrics, rows: Rows, times: int) -> None:
        for (daemon,) in rows:
            if daemon != "smtpd":
                details.add("postfix_sasl_problems_total", kind, times=times)

    return Take(("daemon",), count)


# --- the queue


def _message_ids(details: DaemonMetrics, rows: Rows, _times: int) -> None:
    new = details.new_mails
    new.update((queue_id, None) for queue_id, resent in rows if not resent)
    while len(new) > _MAX_NEW:
        new.popitem(last=False)


def _queue_active(details: DaemonMetrics, rows: Rows, times: int) -> None:
    new = details.new_mails
    # A retry makes a message active again. Its size is observed once, at the first activation after cleanup.
    first = [
        (float(size), float(nrcpt))
        for _, queue_id, size, nrcpt in rows
        if queue_id in new and new.pop(queue_id) is None and len(size) < 16 and len(nrcpt) < 10
    ]
    if first:
        sizes, numbers = zip(*first, strict=True)
        details.tally.observe_all("postfix_message_size_bytes", (), zip(sizes, repeat(1)))
        details.tally.observe_all("postfix_message_recipients", (), Counter(numbers).items())
    for instance, number in Counter(row[0] for row in rows).items():
        details.add("postfix_queue_activations_total", details.instance(instance), times=number * times)


# --- events that are counted by what one of their fields says


def _by(label: Callable[..., tuple[str, ...]], metric: str, *columns: str) -> Take:
    """Count lines in a metric by the labels that a function makes of these columns."""

    def count(details: DaemonMetrics, rows: Rows, times: int) -> None:
        for row, number in Counter(rows).items() if len(rows) > 1 else ((rows[0], 1),):
            details.add(metric, *label(*row), times=number * times)

    return Take(columns, count)


def _bump(metric: str, *labels: str) -> Take:
    """Count lines in a series."""

    def count(details: DaemonMetrics, rows: Rows, times: int) -> None:
        details.add(metric, *labels, times=len(rows) * times)

    return Take((), count)


def _command(stage: str) -> tuple[str]:
    return (_closed(stage.split(" ")[0], _COMMANDS),)


def _verdict(action: str, text: str) -> tuple[str, str]:
    reply = {"4": "4xx", "5": "5xx"}.get(text[:1], "none") if text[1:3].isdecimal() else "none"
    return _closed(action, _ACTIONS), reply


def _screening(verdict: str) -> tuple[str]:
    # "DNSBL rank 7" and "PREGREET 14" contain a number that depends on the client.
    words = verdict.split(" ")
    verdict = words[0] if words[0] in {"DNSBL", "PREGREET"} else verdict
    return (_closed(verdict, _SCREENED).lower().replace(" ", "_"),)


# Event type → how it is counted; Message-IDs before the activations that follow them.
DaemonMetrics.takes = {
    ev.Delivery: Take(("instance", "relay", "status", "queue_id", "delay", "dsn", "reason"), _deliveries),
    ev.TlsFailed: _tls_failed(Cause.TLS_HANDSHAKE),
    ev.CertificateNotVerified: _tls_failed(Cause.TLS_VERIFY),
    ev.TlsEstablished: Take(("direction", "protocol", "trust"), _tls_sessions),
    ev.SaslFailed: _sasl("library"),
    ev.MechanismsUnsupported: _sasl("mechanisms"),
    ev.MessageId: Take(("queue_id", "resent"), _message_ids),
    ev.QueueActive: Take(("instance", "queue_id", "size", "nrcpt"), _queue_active),
    ev.MessageRefused: _by(
        lambda daemon: (_closed(daemon, LABELLED_DAEMONS),), "postfix_messages_refused_total", "daemon"
    ),
    ev.Notification: _by(lambda kind: (_closed(kind, NOTIFICATIONS),), "postfix_notifications_total", "kind"),
    ev.SubmissionFailed: _bump("postfix_submission_failures_total"),
    ev.ProcessExited: _by(_daemon_of, "postfix_daemon_exits_total", "command"),
    ev.Throttled: _by(_daemon_of, "postfix_daemon_throttled_total", "command"),
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
    ev.ClientLost: _by(_command, "postfix_smtpd_lost_connections_total", "stage"),
    ev.ClientVerdict: _by(_verdict, "postfix_smtpd_verdicts_total", "action", "text"),
    ev.ClientSaslFailed: _bump("postfix_smtpd_sasl_failures_total"),
    ev.ClientLimit: _bump("postfix_smtpd_limits_total"),
    ev.Screened: _by(_screening, "postfix_postscreen_verdicts_total", "verdict"),
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
