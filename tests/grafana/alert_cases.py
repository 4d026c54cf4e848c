"""Series of hosts, one host for each fault: one sample per minute, and a fault begins at minute 10.

Each host has the series of a healthy idle host, changed by its fault. `fires` lists all alerts of the host: no other may
fire. The series also fill a real Prometheus, on which all expressions of rules and dashboards are run.
"""

from dataclasses import dataclass
from typing import Final

from postward.agent.metrics.catalog import BY_NAME

MINUTES: Final = 500
Series = dict[str, str]
_RELAY: Final = 'relay="demo"'


def steady(value: str) -> str:
    """Return a constant series."""
    return f"{value}x{MINUTES}"


def since(before: str, step: str) -> str:
    """Return a series that is constant until minute 10 and then changes by a step each minute."""
    return f"{before}x9 {before}{step}x{MINUTES - 10}"


def becomes(before: str, after: str) -> str:
    """Return a series with one value until minute 10 and another one after; `_` stands for a gap."""
    if before == "_":
        return f"_x10 {after}x{MINUTES - 10}"
    return f"{before}x9 {after}x{MINUTES - 10}"


def renewed(lifetime: int, interval: int) -> str:
    """Return the end of a token that is replaced again and again; all in minutes."""
    moments = (minute // interval * interval + lifetime for minute in range(MINUTES))
    return " ".join(str(moment * 60) for moment in moments)


def failures(cause: str) -> str:
    """Return the name of a counter of failures."""
    return f'postfix_delivery_failures_total{{postfix_instance="postfix",{_RELAY},cause="{cause}"}}'


def deliveries(status: str, relay: str = "demo") -> str:
    """Return the name of a counter of deliveries."""
    return f'postfix_deliveries_total{{postfix_instance="postfix",relay="{relay}",status="{status}"}}'


def later(step: int) -> str:
    """Return a counter that increases from minute 400 on, for alerts that compare with the past."""
    return f"0x399 0+{step}x{MINUTES - 400}"


def buckets(per_minute: float, slow: float) -> Series:
    """Return the delay histogram of `per_minute` mails a minute, of which `slow` take half an hour."""
    name, rows = "postfix_delivery_delay_seconds", {}
    for bound in (*BY_NAME[name].buckets, float("inf")):
        count = per_minute if bound > 300 else (per_minute - slow if bound >= 1 else 0)
        le = "+Inf" if bound == float("inf") else str(bound)
        rows[f'{name}_bucket{{{_RELAY},le="{le}"}}'] = f"0+{count}x{MINUTES}"
    rows[f"{name}_count{{{_RELAY}}}"] = f"0+{per_minute}x{MINUTES}"
    rows[f"{name}_sum{{{_RELAY}}}"] = f"0+{per_minute}x{MINUTES}"
    return rows


# A host without any mail but its probes.
IDLE: Final[Series] = {
    "up": steady("1"),
    "postward_log_readable": steady("1"),
    "postward_log_unread_bytes": steady("0"),
    "postward_log_last_line_timestamp_seconds": f"0+60x{MINUTES}",
    'postward_log_lines_total{outcome="event"}': f"0+4x{MINUTES}",
    'postward_log_lines_total{outcome="unrecognised"}': steady("3"),
    "postward_log_losses_total": steady("1"),
    "postward_checkpoint_errors_total": steady("1"),
    "postward_queue_readable": steady("1"),
    "postward_web_config_last_reload_successful": steady("1"),
    "postward_events_dropped_total": steady("0"),
    "postfix_up": steady("1"),
    'postfix_daemon_throttled_total{daemon="smtp"}': steady("1"),
    'postfix_daemon_exits_total{daemon="smtp"}': steady("2"),
    "postfix_resource_problems_total": steady("0"),
    'postfix_table_problems_total{kind="outdated"}': steady("0"),
    failures("auth_rejected"): steady("0"),
    failures("auth_required"): steady("3"),
    failures("tls_verify"): steady("0"),
    deliveries("sent"): steady("0"),
    deliveries("deferred"): steady("0"),
    deliveries("bounced"): steady("0"),
    f"postward_relay_certificate_expiry_timestamp_seconds{{{_RELAY}}}": steady("9000000"),
    f"postward_token_expiry_timestamp_seconds{{{_RELAY}}}": steady("9000000"),
    f"postward_token_received_timestamp_seconds{{{_RELAY}}}": steady("8000000"),
    # Of five minutes each, renewed at two thirds of their life.
    'postward_token_expiry_timestamp_seconds{relay="short"}': renewed(5, 3),
    'postward_token_received_timestamp_seconds{relay="short"}': renewed(0, 3),
    f"postward_token_credential_expiry_timestamp_seconds{{{_RELAY}}}": steady("9000000"),
    f'postward_token_renewals_total{{{_RELAY},outcome="refused"}}': steady("1"),
    f"postward_relay_starttls_offered{{{_RELAY}}}": steady("1"),
    f"postward_relay_is_fallback{{{_RELAY}}}": steady("0"),
    "postward_config_in_sync": steady("1"),
    "postward_enforcer_up": steady("1"),
    "postward_settings_in_force": steady("1"),
    'postward_config_applies_total{result="failed"}': steady("1"),
    'postward_config_applies_total{result="rolled_back"}': steady("0"),
    'postward_config_repairs_total{parameter="relayhost"}': steady("1"),
    'postfix_queue_messages{queue="deferred",cause="refused"}': steady("0"),
    'postfix_queue_oldest_age_seconds{queue="deferred"}': steady("0"),
    f"postward_probe_success{{{_RELAY}}}": steady("1"),
    f'postward_probe_step_duration_seconds{{{_RELAY},step="queued"}}': steady("0.1"),
    f'postward_probes_total{{{_RELAY},outcome="accepted",step=""}}': f"0+0.2x{MINUTES}",
    f'postward_probes_total{{{_RELAY},outcome="failed",step="auth"}}': steady("1"),
    f'postward_probes_total{{{_RELAY},outcome="lost",step="pickup"}}': steady("0"),
    f'postward_probes_total{{{_RELAY},outcome="late",step="active"}}': steady("1"),
    f"postward_probe_arrived{{{_RELAY}}}": steady("1"),
    f"postward_probe_in_spam{{{_RELAY}}}": steady("0"),
    f'postward_probe_authenticated{{{_RELAY},method="dkim"}}': steady("1"),
    "postward_mailbox_readable": steady("1"),
    "postward_bounces_readable": steady("1"),
}
# A healthy host with much mail and a usual share of failures.
BUSY: Final[Series] = {
    deliveries("sent"): f"0+100x{MINUTES}",
    deliveries("deferred"): f"0+5x{MINUTES}",
    deliveries("bounced"): f"0+0.2x{MINUTES}",
    failures("greylisted"): f"0+5x{MINUTES}",
    failures("recipient_rejected"): f"0+0.2x{MINUTES}",
    failures("timeout"): f"0+1x{MINUTES}",
    f"postfix_delivery_last_success_timestamp_seconds{{{_RELAY}}}": f"0+60x{MINUTES}",
    f"postfix_delivery_last_failure_timestamp_seconds{{{_RELAY}}}": f"0+60x{MINUTES}",
    'postfix_queue_messages{queue="deferred",cause="greylisted"}': steady("40"),
    'postfix_queue_messages{queue="active",cause="none"}': steady("3"),
    'postfix_queue_oldest_age_seconds{queue="deferred"}': steady("2400"),
    'postward_log_lines_total{outcome="event"}': f"0+400x{MINUTES}",
    'postward_log_lines_total{outcome="unrecognised"}': f"0+2x{MINUTES}",
    **buckets(100, 0.5),
}
_GAP: Final = 200  # minutes


@dataclass(frozen=True)
class Case:
    """A host: the series in which it differs from an idle one, and all alerts that fire at minute 480."""

    series: Series
    fires: frozenset[str] = frozenset()


def case(fires: str, series: Series) -> Case:
    """Return a case; `fires` has the names of alerts, separated by blanks."""
    return Case(series, frozenset(fires.split()))


def restarted(values: str) -> str:
    """Return a series with a gap of a minute, in which the agent restarts. Counters and gauges then continue."""
    if values.startswith("0+"):
        step = float(values[2:].partition("x")[0])
        return f"{values[: -len(str(MINUTES))]}{_GAP} _ {step * (_GAP + 1)}+{step}x{MINUTES - _GAP - 2}"
    value = values.partition("x")[0]
    return f"{value}x{_GAP} _ {value}x{MINUTES - _GAP - 2}"


SILENT: Final[dict[str, Case]] = {
    "idle": case("", {}),
    "busy": case("", BUSY),
    "restarted": case(
        "",
        {name: restarted(values) for name, values in (IDLE | BUSY).items()}
        | {"up": f"1x{_GAP} 0 1x{MINUTES - _GAP - 2}", "postfix_up": f"1x{_GAP} 0 1x{MINUTES - _GAP - 2}"},
    ),
}

_TLS: Final = 'postfix_tls_connections_total{relay="demo",protocol="TLSv1.3",trust="verified"}'
FAULTS: Final[dict[str, Case]] = {
    "down": case("PostwardDown", {"up": becomes("1", "0")}),
    "blind": case("PostwardLogNotRead", {"postward_log_readable": becomes("1", "0")}),
    "test-line": case("PostwardTestLineLost", {"postward_log_test_line_success": becomes("1", "0")}),
    "log-stopped": case(
        "PostwardLogSilent PostwardProbeFailing",
        {
            "postward_log_last_line_timestamp_seconds": f"0+60x9 540x{MINUTES - 10}",
            f"postward_probe_success{{{_RELAY}}}": becomes("1", "0"),
            f'postward_probe_step_duration_seconds{{{_RELAY},step="queued"}}': f"0.1x9 _x{MINUTES - 10}",
        },
    ),
    "behind": case("PostwardLogBehind", {"postward_log_unread_bytes": becomes("0", "50000000")}),
    "unrecognised": case(
        "PostwardLogNotUnderstood", {'postward_log_lines_total{outcome="unrecognised"}': since("0", "+2")}
    ),
    "losses": case("PostwardLogLosses", {"postward_log_losses_total": since("0", "+7")}),
    "state-disk": case("PostwardCheckpointNotSaved", {"postward_checkpoint_errors_total": since("0", "+12")}),
    "no-queue": case("PostwardQueueUnreadable", {"postward_queue_readable": becomes("1", "0")}),
    "web": case("PostwardWebConfigBad", {"postward_web_config_last_reload_successful": becomes("1", "0")}),
    "events": case("PostwardEventsDropped", {"postward_events_dropped_total": since("0", "+9")}),
    "stopped": case("PostfixDown", {"postfix_up": becomes("1", "0")}),
    "throttled": case(
        "PostfixDaemonThrottled", {'postfix_daemon_throttled_total{daemon="smtp"}': since("1", "+1")}
    ),
    "dying": case("PostfixDaemonDying", {'postfix_daemon_exits_total{daemon="smtp"}': since("2", "+1")}),
    "full": case("PostfixResourcesExhausted", {"postfix_resource_problems_total": since("0", "+1")}),
    "table": case("PostfixTableBroken", {'postfix_table_problems_total{kind="outdated"}': since("0", "+1")}),
    "password": case("PostfixRelayAuthRejected", {failures("auth_rejected"): since("0", "+2")}),
    "no-login": case("PostfixRelayMailLost", {failures("auth_required"): since("3", "+2")}),
    "plugin": case("PostfixRelayAuthImpossible", {failures("auth_mechanism"): since("0", "+2")}),
    "certificate": case("PostfixRelayTlsBroken", {failures("tls_verify"): since("0", "+2")}),
    "first-dns-then-timeout": case(
        "PostfixRelayUnreachable",
        {
            failures("dns"): f"0x9 0+2x465 930x{MINUTES - 476}",
            failures("timeout"): f"0x475 0+2x{MINUTES - 476}",
        },
    ),
    "dns": case("PostfixRelayUnreachable", {failures("dns"): since("0", "+2")}),
    "greeting": case("PostfixRelayRefusesHost", {failures("greeting_refused"): since("0", "+2")}),
    "throttle": case(
        "PostfixRelayRateLimited",
        {failures("rate_limit"): since("0", "+2"), deliveries("sent"): f"0+9x{MINUTES}"},
    ),
    "quota": case("PostfixRelayQuotaUsedUp", {failures("quota"): since("0", "+2")}),
    "limit": case(
        "PostfixRelayLimitNear", {'postward_relay_limit_ratio{relay="main",window="day"}': steady("0.81")}
    ),
    "flood": case("PostfixMailFlood", {'postward_mail_flood{window="hour"}': becomes("0", "1")}),
    "sender": case("PostfixRelaySenderRejected", {failures("sender_rejected"): since("0", "+1")}),
    "policy": case("PostfixRelayMailRefused", {failures("policy"): since("0", "+1")}),
    "local": case("PostfixLocalFault", {failures("local_config"): since("0", "+1")}),
    "fallback": case(
        "PostfixRelayFallbackInUse",
        {
            deliveries("sent", "spare"): since("0", "+2"),
            'postward_relay_is_fallback{relay="spare"}': steady("1"),
        },
    ),
    "other-route": case("PostfixRelayFallbackInUse", {deliveries("sent", "other"): since("0", "+2")}),
    "certificate-ends": case(
        "PostfixRelayCertificateEnds",
        {f"postward_relay_certificate_expiry_timestamp_seconds{{{_RELAY}}}": becomes("9000000", "500000")},
    ),
    "certificate-ended": case(
        "PostfixRelayCertificateEnded",
        {f"postward_relay_certificate_expiry_timestamp_seconds{{{_RELAY}}}": becomes("9000000", "100")},
    ),
    "token-not-renewed": case(
        "PostwardTokenNotRenewed",
        {
            f"postward_token_expiry_timestamp_seconds{{{_RELAY}}}": becomes("9000000", "900"),
            f"postward_token_received_timestamp_seconds{{{_RELAY}}}": becomes("8000000", "-2700"),
        },
    ),
    "short-token-not-renewed": case(
        "PostwardTokenNotRenewed",
        {
            'postward_token_expiry_timestamp_seconds{relay="short"}': steady("900"),
            'postward_token_received_timestamp_seconds{relay="short"}': steady("600"),
        },
    ),
    "token-of-an-earlier-release": case(
        "PostwardTokenNotRenewed",
        {
            f"postward_token_expiry_timestamp_seconds{{{_RELAY}}}": becomes("9000000", "100"),
            f"postward_token_received_timestamp_seconds{{{_RELAY}}}": "_",
        },
    ),
    "token-refused": case(
        "PostwardTokenRefused",
        {f'postward_token_renewals_total{{{_RELAY},outcome="refused"}}': since("1", "+1")},
    ),
    "token-credential-ends": case(
        "PostwardTokenCredentialEnds",
        {f"postward_token_credential_expiry_timestamp_seconds{{{_RELAY}}}": becomes("9000000", "500000")},
    ),
    "passwords-end": case(
        "PostfixRelayPasswordsEnd",
        {f"postward_relay_passwords_end_timestamp_seconds{{{_RELAY}}}": becomes("9000000", "500000")},
    ),
    "client-certificate": case(
        "PostfixClientCertificateEnds",
        {
            f"postward_relay_client_certificate_expiry_timestamp_seconds{{{_RELAY}}}": becomes(
                "9000000", "500000"
            )
        },
    ),
    "starttls-gone": case(
        "PostfixRelayStarttlsGone", {f"postward_relay_starttls_offered{{{_RELAY}}}": becomes("1", "0")}
    ),
    "enforcer": case(
        "PostwardEnforcerDown",
        {"postward_enforcer_up": becomes("1", "0"), "postward_config_in_sync": becomes("1", "_")},
    ),
    "settings": case("PostwardSettingsNotInForce", {"postward_settings_in_force": becomes("1", "0")}),
    "part": case(
        "PostwardPartFailing", {'postward_part_failures_total{part="QueueMonitor"}': since("0", "+1")}
    ),
    "notifications": case(
        "PostwardNotificationsFailing",
        {
            'postward_incident_open{symptom="notify-failing",relay="none",effect="degraded"}': becomes(
                "_", "1"
            )
        },
    ),
    "drift": case(
        "PostwardConfigDrift",
        {
            "postward_config_in_sync": becomes("1", "0"),
            'postward_config_drift{parameter="relayhost"}': becomes("_", "1"),
        },
    ),
    "apply-failed": case(
        "PostwardConfigApplyFailed", {'postward_config_applies_total{result="failed"}': since("1", "+0.2")}
    ),
    "rolled-back": case(
        "PostwardConfigRolledBack",
        {'postward_config_applies_total{result="rolled_back"}': since("0", "+0.2")},
    ),
    "conflict": case(
        "PostwardConfigConflict", {'postward_config_repairs_total{parameter="relayhost"}': since("1", "+0.2")}
    ),
    "conflict-open": case(
        "PostwardConfigConflict", {'postward_config_conflict{parameter="relayhost"}': becomes("_", "1")}
    ),
    "no-success": case(
        "PostfixRelayNoSuccess",
        {
            deliveries("deferred"): later(4),
            failures("remote_temporary"): later(4),
            'postfix_queue_messages{queue="deferred",cause="remote_temporary"}': steady("20"),
        },
    ),
    # The attempts had no relay, and the mail has left through one since.
    "no-success-over": case(
        "",
        {
            deliveries("sent"): f"0+20x{MINUTES}",
            deliveries("deferred", "none"): f"0x461 1+1x9 10x{MINUTES - 472}",
            failures("local_config"): f"0x461 1+1x9 10x{MINUTES - 472}",
        },
    ),
    "deferrals": case(
        "PostfixDeferralRatioHigh",
        {
            deliveries("sent"): f"0+20x{MINUTES}",
            deliveries("deferred"): later(20),
            'postfix_queue_messages{queue="deferred",cause="remote_temporary"}': steady("20"),
        },
    ),
    # All mail got through again, while the ratio of the last ten minutes is still high.
    "deferrals-over": case("", {deliveries("sent"): f"0+20x{MINUTES}", deliveries("deferred"): later(20)}),
    "growing": case(
        "PostfixQueueGrowing",
        {'postfix_queue_messages{queue="deferred",cause="remote_temporary"}': since("0", "+5")},
    ),
    "old": case(
        "PostfixQueueOldMail",
        {
            'postfix_queue_messages{queue="deferred",cause="refused"}': becomes("0", "4"),
            'postfix_queue_oldest_age_seconds{queue="deferred"}': becomes("0", "20000"),
        },
    ),
    "bounces": case(
        "PostfixBounceRatioHigh PostfixSloDeliveredFast PostfixSloDeliveredSlow",
        {deliveries("sent"): f"0+9x{MINUTES}", deliveries("bounced"): since("0", "+2")},
    ),
    "probe": case(
        "PostwardProbeFailing",
        {
            f"postward_probe_success{{{_RELAY}}}": becomes("1", "0"),
            f'postward_probes_total{{{_RELAY},outcome="failed",step="auth"}}': since("1", "+0.2"),
        },
    ),
    "probe-lost": case(
        "PostwardProbeLost",
        {f'postward_probes_total{{{_RELAY},outcome="lost",step="pickup"}}': since("0", "+0.2")},
    ),
    "probe-late": case(
        "PostwardProbeLate",
        {f'postward_probes_total{{{_RELAY},outcome="late",step="active"}}': since("1", "+0.2")},
    ),
    "probe-not-arriving": case(
        "PostwardProbeNotArriving",
        {
            f"postward_probe_arrived{{{_RELAY}}}": becomes("1", "0"),
            f"postward_probe_success{{{_RELAY}}}": becomes("1", "0"),
        },
    ),
    "probe-in-spam": case("PostwardProbeInSpam", {f"postward_probe_in_spam{{{_RELAY}}}": becomes("0", "1")}),
    "probe-unauthenticated": case(
        "PostwardProbeUnauthenticated",
        {f'postward_probe_authenticated{{{_RELAY},method="dkim"}}': becomes("1", "0")},
    ),
    "mailbox-unreadable": case("PostwardMailboxUnreadable", {"postward_mailbox_readable": becomes("1", "0")}),
    "bounces-unreadable": case("PostwardBouncesUnreadable", {"postward_bounces_readable": becomes("1", "0")}),
    "probe-returned": case(
        "PostwardProbeReturned", {f"postward_probe_returned{{{_RELAY}}}": becomes("0", "1")}
    ),
    "kept-back": case(
        "PostfixMailKeptBack",
        {
            f'postfix_deliveries_kept_back_total{{postfix_instance="postfix",{_RELAY},kept_back="quarantined"}}': since(
                "0", "+10"
            )
        },
    ),
    "mail-returned": case(
        "PostwardMailReturned",
        {f'postward_dsn_recipients_total{{{_RELAY},action="failed",cause="policy"}}': since("0", "+10")},
    ),
    "losing-slowly": case(
        "PostfixSloDeliveredSlow",
        {deliveries("sent"): f"0+95x{MINUTES}", deliveries("bounced"): since("0", "+5")},
    ),
    "slow": case("PostfixSloTimeFast PostfixSloTimeSlow", buckets(100, 90)),
    "slowish": case("PostfixSloTimeSlow", buckets(100, 50)),
}


def series_of(name: str, host: Case, label: str = "") -> Series:
    """Return all series of a host, with the labels of its target and a further label, as in `log_host="web1"`."""
    target = f'job="postward",instance="{name}"' + (f",{label}" if label else "")
    labelled = {}
    for key, values in (IDLE | {_TLS: f"0+1x{MINUTES}"} | host.series).items():
        metric, _, labels = key.partition("{")
        labelled[f"{metric}{{{target}{',' + labels if labels else '}'}"] = values
    return labelled
