"""Counts for names of prometheus-postfix-exporter that our own metrics do not have. An observer of the pipeline.

Only with `web.legacy_metrics`. Deliveries of all delivery agents count as smtp, as in `legacy.py`.

Promise: each label value is from a closed set; any other value is counted as `other`.
"""

import re
from collections import Counter
from typing import Final

from postward.agent.metrics.catalog import LEGACY
from postward.agent.metrics.labels import STAGES, RelayNames, by_stage, delay_seconds, status_of
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Part
from postward.agent.rows import ByRows, Rows, Take
from postward.parsers import events as ev

# Subject of an enhanced status code → its highest detail in IANA's registry (RFC 3463 and its additions).
_DETAILS: Final = {0: 0, 1: 10, 2: 4, 3: 6, 4: 7, 5: 6, 6: 10, 7: 30}
_CODE: Final = re.compile(r"[245]\.(\d)\.(\d{1,2})")
# Mechanisms of IANA's registry that clients use, and the two that are not in it.
_METHODS: Final = frozenset(
    {
        "ANONYMOUS",
        "CRAM-MD5",
        "DIGEST-MD5",
        "EXTERNAL",
        "GSS-SPNEGO",
        "GSSAPI",
        "LOGIN",
        "NTLM",
        "OAUTHBEARER",
        "PLAIN",
        "SCRAM-SHA-1",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256",
        "SCRAM-SHA-256-PLUS",
        "XOAUTH2",
    }
)


class LegacyCounts(ByRows, Part):
    """Counts recognised events in a tally.

    Args:
        tally: receives the counts. Series without labels start at zero.
        names: the relays of the settings.
    """

    def __init__(self, tally: Tally, names: RelayNames) -> None:
        self.tally = tally
        self.names = names
        for metric in LEGACY:
            if not metric.labels:
                tally.add(metric.name, (), 0)
        for stage in STAGES:
            tally.observe("postfix_lmtp_delivery_delay_seconds", (stage,), 0.0, 0)


def _dsn(printed: str | None) -> str:
    """Return a registered enhanced status code, or "other"."""
    code = _CODE.fullmatch(printed or "")
    return code[0] if code and int(code[2]) <= _DETAILS.get(int(code[1]), -1) else "other"


def _deliveries(counts: LegacyCounts, rows: Rows, times: int) -> None:
    for (daemon, status, dsn), number in Counter(row[:3] for row in rows).items():
        label = status_of(status)
        if label in {"deferred", "bounced"}:
            counts.tally.add(f"postfix_smtp_{label}_messages_by_dsn_total", (_dsn(dsn),), number * times)
        elif label == "sent" and daemon == "virtual":
            counts.tally.add("postfix_virtual_delivered_total", (), number * times)
    for daemon, status, _, instance, relay, reason, delays in rows:
        # A retry would count the same waiting time again.
        if daemon in {"lmtp", "pipe"} and status_of(status) in {"sent", "bounced"}:
            relays = (counts.names.of(relay, reason, instance),) if daemon == "pipe" else ()
            for stage, (printed,) in by_stage([delays]):
                if (seconds := delay_seconds(printed)) is not None:
                    labels = (*relays, stage)
                    counts.tally.observe(f"postfix_{daemon}_delivery_delay_seconds", labels, seconds, times)


def _accepted(counts: LegacyCounts, rows: Rows, times: int) -> None:
    for (daemon, printed), number in Counter(rows).items():
        if daemon == "smtpd":
            method = (printed or "NONE").upper()
            label = method if method in _METHODS or printed is None else "other"
            counts.tally.add("postfix_smtpd_messages_processed_total", (label,), number * times)


def _of_smtpd(metric: str) -> Take:
    def count(counts: LegacyCounts, rows: Rows, times: int) -> None:
        counts.tally.add(metric, (), sum(daemon == "smtpd" for (daemon,) in rows) * times)

    return Take(("daemon",), count)


LegacyCounts.takes = {
    ev.Delivery: Take(("daemon", "status", "dsn", "instance", "relay", "reason", "delays"), _deliveries),
    ev.ClientAccepted: Take(("daemon", "sasl_method"), _accepted),
    ev.ClientDisconnected: _of_smtpd("postfix_smtpd_disconnects_total"),
    ev.HostnameMismatch: _of_smtpd("postfix_smtpd_forward_confirmed_reverse_dns_errors_total"),
}
