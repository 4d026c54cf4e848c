"""Alerts and recording rules, as tables. The rule files for Prometheus and Grafana and the tests are made from them.

The example for Alertmanager inhibits by layer. A critical alert of the layer `blindness` inhibits all others of its host,
and a critical `cause` inhibits the `symptom`s of its host. So a fault is one notification, which names the cause.

An alert on failures by cause looks back ten minutes at most. Where mail can fail on a healthy host, the alert also
requires that no mail got through, or a number of failures. So an idle host, a healthy host and a restart cause no
alert. Expressions keep only the labels that the runbook needs. `multi_instance` is one of them: where one agent serves
several instances of Postfix, mail of one says nothing of another; elsewhere no series has this label. `log_host` is the
same for hosts whose logs one agent reads.
"""

from dataclasses import dataclass
from typing import Final, Literal

from postward.agent.release import DOCUMENTS

Severity = Literal["critical", "warning", "info"]
Layer = Literal["blindness", "cause", "symptom"]
# The project's copy. `postward files --runbooks URL` writes rules that lead to another, such as an agent's.
RUNBOOKS: Final = f"{DOCUMENTS}/runbooks"
# Where the host shows its own diagnosis.
WHY: Final = "postward why, on the host; or its endpoint's /status"


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert. `pending` is how long its condition must hold before it fires, as a Prometheus duration."""

    name: str
    layer: Layer
    severity: Severity
    expr: str
    pending: str
    summary: str
    description: str
    by_cause: bool = False

    @property
    def runbook(self) -> str:
        """The URL of the runbook: the page of the cause if `by_cause`, else the page of the alert."""
        return (
            f"{RUNBOOKS}/causes/{{{{ $labels.cause }}}}.md" if self.by_cause else f"{RUNBOOKS}/{self.name}.md"
        )


_OF: Final = "job, instance, multi_instance, log_host"
_FAILED: Final = f'sum by ({_OF}, relay, cause) (increase(postfix_delivery_failures_total{{{{cause=~"{{causes}}"}}}}[{{window}}]))'
_NO_SUCCESS: Final = (
    " unless on (job, instance, multi_instance, log_host, relay) "
    "postfix_delivery_last_success_timestamp_seconds > postfix_delivery_last_failure_timestamp_seconds - 60"
)


# The mail that fails now fails for another cause: the alert of that cause takes over.
_NOT_SUPERSEDED: Final = (
    f" unless on ({_OF}, relay, cause) (sum by ({_OF}, relay, cause) "
    f"(increase(postfix_delivery_failures_total[3m])) == 0 and on ({_OF}, relay) "
    f"sum by ({_OF}, relay) (increase(postfix_delivery_failures_total[3m])) > 0)"
)


def _failing(causes: str) -> str:
    """Return an expression: mail failed for these causes more than once, and none got through since a minute before."""
    return _FAILED.format(causes=causes, window="10m") + " > 1.5" + _NO_SUCCESS + _NOT_SUPERSEDED


def _at_all(causes: str, more_than: int = 0, window: str = "5m") -> str:
    """Return an expression: more than so many mails failed for these causes, whether or not others got through."""
    return (_FAILED + " > {number}").format(causes=causes, window=window, number=more_than)


_SENT: Final = 'sum by (job, instance, multi_instance, log_host) (rate(postfix_deliveries_total{{status="sent"}}[{window}]))'
_LOST: Final = 'sum by (job, instance, multi_instance, log_host) (rate(postfix_deliveries_total{{status=~"bounced|expired"}}[{window}]))'

RECORDS: Final = (
    Record(
        "instance:postfix_queue_messages:sum",
        'sum by (job, instance, multi_instance, log_host) (postfix_queue_messages{queue=~"active|deferred"})',
    ),
    Record(
        "relay:postfix_deliveries_deferred:ratio_rate10m",
        'sum by (job, instance, multi_instance, log_host, relay) (rate(postfix_deliveries_total{status="deferred"}[10m])) '
        f'/ (sum by ({_OF}, relay) (rate(postfix_deliveries_total{{status=~"sent|deferred|bounced"}}[10m])) > 0)',
    ),
    Record(
        "relay:postfix_deliveries_bounced:ratio_rate30m",
        'sum by (job, instance, multi_instance, log_host, relay) (rate(postfix_deliveries_total{status="bounced"}[30m])) '
        '/ (sum by (job, instance, multi_instance, log_host, relay) (rate(postfix_deliveries_total{status=~"sent|bounced"}[30m])) > 0)',
    ),
    *(
        Record(
            f"instance:postfix_mail_undelivered:ratio_rate{window}",
            f"{_LOST.format(window=window)} / ({_SENT.format(window=window)} + {_LOST.format(window=window)} > 0)",
        )
        for window in ("5m", "30m", "1h", "6h")
    ),
    *(
        Record(
            f"instance:postfix_mail_slow:ratio_rate{window}",
            f'1 - sum by (job, instance, multi_instance, log_host) (rate(postfix_delivery_delay_seconds_bucket{{le="300.0"}}[{window}])) '
            f"/ (sum by (job, instance, multi_instance, log_host) (rate(postfix_delivery_delay_seconds_count[{window}])) > 0)",
        )
        for window in ("5m", "30m", "1h", "6h")
    ),
    Record(
        "relay:postfix_delivery_delay_seconds:p95_rate10m",
        f"histogram_quantile(0.95, sum by ({_OF}, relay, le) (rate(postfix_delivery_delay_seconds_bucket[10m])))",
    ),
)

# Objectives over 30 days: 99.5 % of all mails are delivered, and 95 % are delivered within 5 minutes.
_DELIVERED_BUDGET: Final = "0.005"
_TIME_BUDGET: Final = "0.05"


def _burn(ratio: str, short: str, long: str, factor: str, budget: str) -> str:
    """Return an expression: in both windows the error budget burns `factor` times too fast.

    The long window excludes a short burst; the short one shows that it still goes on.
    """
    return f"{ratio}{long} > {factor} * {budget} and {ratio}{short} > {factor} * {budget}"


def _share_of_sent(selector: str) -> str:
    """Return an expression: in the last hour, more than five of a relay's mails and 5 % of those it accepted."""
    some, sent = (
        f"sum by ({_OF}, relay) (increase({counter}[1h]))"
        for counter in (selector, 'postfix_deliveries_total{status="sent"}')
    )
    return f"{some} > 5 and {some} > 0.05 * {sent}"


_UNDELIVERED: Final = "instance:postfix_mail_undelivered:ratio_rate"
_SLOW: Final = "instance:postfix_mail_slow:ratio_rate"
_ON: Final = "on (job, instance, multi_instance, log_host)"

ALERTS: Final = (
    # --- blindness: all other alerts rely on these
    Alert("PostwardDown", "blindness", "critical", 'up{job="postward"} == 0', "2m",
          "Postward does not answer.",
          "Prometheus has received no metrics from {{ $labels.instance }} for 2 minutes: its mail is not monitored."),
    Alert("PostwardLogNotRead", "blindness", "critical", "postward_log_readable == 0", "2m",
          "Postward cannot read the mail log.",
          "The mail log of {{ $labels.instance }} has been unreadable for 2 minutes: nothing is counted."),
    Alert("PostwardLogSilent", "blindness", "critical",
          # The newest probe is not successful, and the log does not show its first step.
        f"time() - postward_log_last_line_timestamp_seconds > 120 and {_ON} postfix_up == 1 and {_ON} "
        "(postward_probe_success == 0 unless on (job, instance, multi_instance, log_host, relay) postward_probe_step_duration_seconds)",
        "1m",
          "The mail log has no new lines although Postfix runs.",
          "{{ $labels.instance }} sends probes, and its log has had no line of Postfix for 2 minutes: "
          "Postfix logs elsewhere, or logging has stopped."),
    Alert("PostwardTestLineLost", "blindness", "critical",
        f"postward_log_test_line_success == 0 and {_ON} postfix_up == 1", "1m",
          "Postward's test lines do not appear in the mail log.",
          "{{ $labels.instance }} sends test lines through postlog, and they do not appear in the log that Postward "
          "reads: its counts may be too low."),
    Alert("PostwardLogBehind", "blindness", "warning", "min_over_time(postward_log_unread_bytes[5m]) > 1e7", "5m",
          "Postward reads the mail log too slowly.",
          "{{ $labels.instance }} has had more than 10 MB of unread log for 5 minutes: counts are late."),
    Alert("PostwardLogNotUnderstood", "blindness", "warning",
          f'sum by ({_OF}) (increase(postward_log_lines_total{{outcome="unrecognised"}}[1h])) > 20 and '
          f'sum by ({_OF}) (rate(postward_log_lines_total{{outcome="unrecognised"}}[1h])) > '
          f'0.05 * sum by ({_OF}) (rate(postward_log_lines_total{{outcome=~"event|generic|unrecognised"}}[1h]))', "15m",
          "Many log lines of Postfix are not recognised.",
          "More than 5 % of the Postfix lines of {{ $labels.instance }} match no parser rule: counts may be too low."),
    Alert("PostwardLogLosses", "blindness", "warning", "increase(postward_log_losses_total[10m]) > 0", "1m",
          "Lines of the mail log were lost before Postward read them.",
          "The mail log of {{ $labels.instance }} has a gap, or a rate limit dropped lines: counts are too low."),
    Alert("PostwardCheckpointNotSaved", "blindness", "warning", "increase(postward_checkpoint_errors_total[5m]) > 0", "5m",
          "Postward cannot save its checkpoint.",
          "{{ $labels.instance }} cannot save log position and counts: after a crash it continues from the last checkpoint."),
    Alert("PostwardQueueUnreadable", "blindness", "warning", f"postward_queue_readable == 0 and {_ON} postfix_up == 1", "5m",
          "Postfix's queue cannot be listed.",
          "postqueue fails on {{ $labels.instance }}: the metrics of the queue are missing."),
    Alert("PostwardWebConfigBad", "blindness", "warning", "postward_web_config_last_reload_successful == 0", "5m",
          "The file web.config_file cannot be used.",
          "{{ $labels.instance }} still uses its former web configuration. After a restart it would not start."),
    Alert("PostwardPartFailing", "blindness", "warning",
          "sum by (job, instance, multi_instance, log_host, part) (increase(postward_part_failures_total[10m])) > 0", "5m",
          "A part of the agent fails.",
          "The part {{ $labels.part }} of Postward on {{ $labels.instance }} fails and is tried again: its data may be missing."),
    Alert("PostwardNotificationsFailing", "blindness", "warning",
          'sum by (job, instance, multi_instance, log_host) (postward_incident_open{symptom="notify-failing"}) > 0', "5m",
          "Postward's own notifications cannot be delivered.",
          "The web hook or the heartbeat of {{ $labels.instance }} fails: who relies on them does not hear of incidents."),
    Alert("PostwardMailboxUnreadable", "blindness", "warning", "postward_mailbox_readable == 0", "15m",
          "The mailbox of the probes cannot be read.",
          "{{ $labels.instance }} has not been able to read its mailbox for 15 minutes: whether its mail arrives is not known."),
    Alert("PostwardBouncesUnreadable", "blindness", "warning", "postward_bounces_readable == 0", "15m",
          "The mailbox of bounces cannot be read.",
          "{{ $labels.instance }} has not been able to read the mailbox of bounces for 15 minutes: whether mail comes back is "
          "not known."),
    Alert("PostwardEventsDropped", "blindness", "warning", "increase(postward_events_dropped_total[10m]) > 0", "5m",
          "Events are dropped.",
          "{{ $labels.instance }} cannot write events as fast as they occur: the collector does not get all of them."),
    # --- this host
    Alert("PostfixDown", "cause", "critical", "postfix_up == 0", "2m",
          "Postfix is not running.",
          "The master process of Postfix on {{ $labels.instance }} is not running: mail waits in maildrop."),
    Alert("PostfixDaemonThrottled", "cause", "critical",
          "sum by (job, instance, multi_instance, log_host, daemon) (increase(postfix_daemon_throttled_total[5m])) > 0", "1m",
          "A daemon of Postfix cannot start.",
          "On {{ $labels.instance }} master(8) throttles {{ $labels.daemon }}, because it exits at its start."),
    Alert("PostfixDaemonDying", "cause", "warning",
          "sum by (job, instance, multi_instance, log_host, daemon) (increase(postfix_daemon_exits_total[10m])) > 3", "5m",
          "A daemon of Postfix keeps failing.",
          "{{ $labels.daemon }} on {{ $labels.instance }} failed {{ $value | humanize }} times in 10 minutes."),
    Alert("PostfixResourcesExhausted", "cause", "critical",
          "sum by (job, instance, multi_instance, log_host) (increase(postfix_resource_problems_total[5m])) > 0", "1m",
          "Postfix has run out of disk space, memory, processes or file descriptors.",
          "Postfix on {{ $labels.instance }} logs that a resource has run out: it may not accept mail."),
    Alert("PostfixTableBroken", "cause", "warning",
          "sum by (job, instance, multi_instance, log_host, kind) (increase(postfix_table_problems_total[10m])) > 0", "1m",
          "A lookup table of Postfix cannot be used.",
          "{{ $labels.instance }} has a lookup table that is {{ $labels.kind }}: logins or routes may be missing."),
    # --- the relay, by cause
    Alert("PostfixRelayAuthRejected", "cause", "critical", _at_all("auth_rejected"), "0s",
          "The relay rejects the login.",
          "Relay {{ $labels.relay }} rejects the login of {{ $labels.instance }}: mail waits in the queue.", by_cause=True),
    Alert("PostfixRelayMailLost", "cause", "critical", _at_all("auth_required"), "0s",
          "The relay requires a login, and none took place: Postfix bounces the mail.",
          "Relay {{ $labels.relay }} requires a login, and {{ $labels.instance }} does not log in: its mail is bounced.", by_cause=True),
    Alert("PostfixRelayAuthImpossible", "cause", "critical", _failing("auth_mechanism|auth_temporary"), "30s",
          "Logging in at the relay is not possible.",
          "{{ $labels.instance }} cannot log in at relay {{ $labels.relay }} ({{ $labels.cause }}): mail waits in the queue.",
          by_cause=True),
    Alert("PostfixRelayTlsBroken", "cause", "critical",
          _failing("tls_verify|tls_handshake|tls_not_offered|tls_required"), "30s",
          "TLS to the relay fails.",
          "TLS between {{ $labels.instance }} and relay {{ $labels.relay }} fails ({{ $labels.cause }}): no mail goes out.", by_cause=True),
    Alert("PostfixRelayUnreachable", "cause", "critical", _failing("dns|refused|timeout|unreachable|lost"), "1m",
          "The relay cannot be reached.",
          "{{ $labels.instance }} cannot connect to relay {{ $labels.relay }} ({{ $labels.cause }}): mail waits in the queue.",
          by_cause=True),
    Alert("PostfixRelayRefusesHost", "cause", "critical", _failing("greeting_refused|helo_rejected|blocked"), "1m",
          "The relay refuses this host.",
          "Relay {{ $labels.relay }} refuses {{ $labels.instance }} ({{ $labels.cause }}).", by_cause=True),
    Alert("PostfixRelayRateLimited", "cause", "warning", _at_all("rate_limit", 4, "10m"), "1m",
          "The relay throttles this host.",
          "Relay {{ $labels.relay }} throttled {{ $labels.instance }} {{ $value | humanize }} times in 10 minutes.",
          by_cause=True),
    Alert("PostfixRelayQuotaUsedUp", "cause", "critical", _at_all("quota"), "0s",
          "The quota at the relay is used up.",
          "Relay {{ $labels.relay }} accepts no more mail from {{ $labels.instance }} until its quota is reset.", by_cause=True),
    Alert("PostfixRelayLimitNear", "cause", "warning", "postward_relay_limit_ratio >= 0.8", "5m",
          "A limit of the relay is nearly used up.",
          "{{ $labels.instance }} has used {{ $value | humanizePercentage }} of what relay {{ $labels.relay }} accepts "
          "in one {{ $labels.window }}. `postward why` there, or the status page, names who sends most."),
    Alert("PostfixMailFlood", "cause", "warning", "max by (job, instance, multi_instance, log_host) (postward_mail_flood) == 1", "0s",
          "Far more mail leaves than usual.",
          "{{ $labels.instance }} sends far more mail than in the last weeks at this hour: a program can loop, or an account be abused. "
          "`postward why` there, or the status page, names the user, login or client that sends most."),
    Alert("PostfixRelaySenderRejected", "cause", "critical", _at_all("sender_rejected"), "0s",
          "The relay rejects a sender address.",
          "Relay {{ $labels.relay }} rejects a sender address of {{ $labels.instance }}: Postfix bounces such mail.",
          by_cause=True),
    Alert("PostfixRelayMailRefused", "cause", "warning", _at_all("relay_denied|policy|content|size|loop", 2, "10m"), "1m",
          "The relay rejects mail permanently.",
          "Relay {{ $labels.relay }} rejected more than two mails of {{ $labels.instance }} in 10 minutes ({{ $labels.cause }}).",
          by_cause=True),
    Alert("PostfixLocalFault", "cause", "critical", _at_all("local_config|local_resource"), "1m",
          "This host itself cannot deliver mail.",
          "Postfix on {{ $labels.instance }} cannot deliver because of its configuration or resources ({{ $labels.cause }}).",
          by_cause=True),
    Alert("PostfixRelayFallbackInUse", "cause", "warning",
          f'sum by ({_OF}, relay) (increase(postfix_deliveries_total{{relay="other",status="sent"}}[10m])) > 0 or '
        f'sum by ({_OF}, relay) (increase(postfix_deliveries_total{{status="sent"}}[10m])) > 0 and '
        f"on ({_OF}, relay) postward_relay_is_fallback == 1", "5m",
          "Mail goes out through a fallback relay.",
          "{{ $labels.instance }} sends through {{ $labels.relay }} instead of its regular relay: if that fails too, mail waits."),
    Alert("PostfixRelayCertificateEnds", "cause", "warning",
          "postward_relay_certificate_expiry_timestamp_seconds - time() < 14 * 86400 > 0", "1h",
          "The relay's certificate expires soon.",
          "The certificate of relay {{ $labels.relay }}, seen from {{ $labels.instance }}, expires in {{ $value | humanizeDuration }}."),
    Alert("PostfixRelayCertificateEnded", "cause", "critical",
          "postward_relay_certificate_expiry_timestamp_seconds - time() <= 0", "1m",
          "The relay's certificate has expired.",
          "The certificate of relay {{ $labels.relay }}, seen from {{ $labels.instance }}, has expired."),
    Alert("PostfixClientCertificateEnds", "cause", "warning",
          "postward_relay_client_certificate_expiry_timestamp_seconds - time() < 30 * 86400", "1h",
          "The certificate that this host presents to the relay ends soon.",
          "The client certificate of {{ $labels.instance }} for relay {{ $labels.relay }} ends in {{ $value | humanizeDuration }}: "
          "after that the relay refuses the connection or the login."),
    Alert("PostfixRelayStarttlsGone", "cause", "critical",
          # Mail that fails for this reason has its own alert, PostfixRelayTlsBroken.
          "postward_relay_starttls_offered == 0 and max_over_time(postward_relay_starttls_offered[1d]) == 1 "
          "unless on (job, instance, multi_instance, log_host, relay) "
          'increase(postfix_delivery_failures_total{cause="tls_not_offered"}[10m]) > 0', "1m",
          "The relay no longer offers STARTTLS.",
          "Relay {{ $labels.relay }}, seen from {{ $labels.instance }}, offered STARTTLS within the last day and does not now: "
          "mail waits, or goes out unencrypted if the settings allow it."),
    Alert("PostfixRelayPasswordsEnd", "cause", "warning",
          "postward_relay_passwords_end_timestamp_seconds - time() < 60 * 86400 > 0", "1h",
          "The relay's provider ends logins by password soon.",
          "{{ $labels.instance }} logs in to relay {{ $labels.relay }} with a password, which its provider switches off by "
          "default in {{ $value | humanizeDuration }}: after that all mail waits."),
    Alert("PostwardTokenNotRenewed", "cause", "critical",
          # A renewal is due at two thirds of a token's life, so short tokens are renewed in their last ten minutes.
          "postward_token_expiry_timestamp_seconds - time() < 600 unless postward_token_expiry_timestamp_seconds - time() > "
          "(postward_token_expiry_timestamp_seconds - postward_token_received_timestamp_seconds) / 4", "1m",
          "Postfix has no fresh token for the relay.",
          "The token for relay {{ $labels.relay }} on {{ $labels.instance }} ends within 10 minutes or has ended, and no new "
          "one was received: mail waits then."),
    Alert("PostwardTokenRefused", "cause", "warning",
          'increase(postward_token_renewals_total{outcome="refused"}[2h]) > 0', "5m",
          "The authorization server refuses tokens for the relay.",
          "A new token for relay {{ $labels.relay }} on {{ $labels.instance }} was refused: a secret, a grant or a right is missing."),
    Alert("PostwardTokenCredentialEnds", "cause", "warning",
          "postward_token_credential_expiry_timestamp_seconds - time() < 30 * 86400", "1h",
          "A secret that gets tokens for the relay ends soon.",
          "The client secret, certificate or refresh token for relay {{ $labels.relay }} on {{ $labels.instance }} ends in "
          "{{ $value | humanizeDuration }}."),
    # --- the configuration
    Alert("PostwardEnforcerDown", "cause", "warning", "postward_enforcer_up == 0", "2m",
          "The enforcer does not work.",
          "The enforcer of {{ $labels.instance }} is stopped, frozen, or cannot write its state: drift is neither repaired "
          "nor noticed."),
    Alert("PostwardSettingsNotInForce", "cause", "warning", "postward_settings_in_force == 0", "5m",
          "The settings file has errors.",
          "{{ $labels.instance }} still uses its former settings. After a restart it would not start."),
    Alert("PostwardConfigDrift", "cause", "warning", "postward_config_in_sync == 0", "5m",
          "Postfix's configuration differs from the settings.",
          "The configuration of {{ $labels.instance }} has differed from the settings for 5 minutes."),
    Alert("PostwardConfigApplyFailed", "cause", "warning",
          'increase(postward_config_applies_total{result="failed"}[15m]) > 0', "0s",
          "Postward failed to change Postfix's configuration.",
          "Applying the settings of {{ $labels.instance }} failed: its configuration differs from them."),
    Alert("PostwardConfigRolledBack", "cause", "warning",
          'increase(postward_config_applies_total{result="rolled_back"}[15m]) > 0', "0s",
          "New settings were rolled back.",
          "The relay accepted no probe with the new settings of {{ $labels.instance }}: the former configuration is in force again."),
    Alert("PostwardConfigConflict", "cause", "warning",
          "max by (job, instance, multi_instance, log_host, parameter) (postward_config_conflict) == 1 or "
          f"sum by ({_OF}, parameter) (increase(postward_config_repairs_total[1h])) > 3.5", "0s",  # 3 can be 3.2
          "Another tool keeps changing Postfix's configuration.",
          "Another tool on {{ $labels.instance }} keeps changing {{ $labels.parameter }}."),
    # --- symptoms
    Alert("PostfixRelayNoSuccess", "symptom", "critical",
          f'sum by ({_OF}, relay) (increase(postfix_deliveries_total{{status=~"deferred|bounced"}}[10m])) > 0 unless '
          'sum by (job, instance, multi_instance, log_host, relay) (increase(postfix_deliveries_total{status="sent"}[10m])) > 0 '
          # After a repair, mail goes out through another relay, or the failed attempts had none.
          f'unless {_ON} (sum by (job, instance, multi_instance, log_host) (postfix_queue_messages{{queue="deferred"}}) == 0 unless {_ON} '
          'sum by (job, instance, multi_instance, log_host) (increase(postfix_deliveries_total{status="bounced"}[10m])) > 0)', "10m",
          "All delivery attempts fail.",
          "{{ $labels.instance }} has delivered no mail through {{ $labels.relay }} for 20 minutes, and attempts failed."),
    Alert("PostfixDeferralRatioHigh", "symptom", "warning",
          "relay:postfix_deliveries_deferred:ratio_rate10m > 0.2 and relay:postfix_deliveries_deferred:ratio_rate10m > "
          "3 * (avg_over_time(relay:postfix_deliveries_deferred:ratio_rate10m[3d] offset 30m) "
          "or 0 * relay:postfix_deliveries_deferred:ratio_rate10m) and "
          f'sum by ({_OF}, relay) (increase(postfix_deliveries_total{{status="deferred"}}[10m])) > 10 '
          # After a repair, the ratio stays high for ten minutes, and no mail waits any more.
          f'unless {_ON} sum by ({_OF}) (postfix_queue_messages{{queue="deferred"}}) == 0', "10m",
          "More mail is deferred than usual.",
          "{{ $value | humanizePercentage }} of the delivery attempts of {{ $labels.instance }} through {{ $labels.relay }} are "
          "deferred, more than three times the average of the last three days."),
    Alert("PostfixQueueGrowing", "symptom", "warning",
          'sum by (job, instance, multi_instance, log_host) (postfix_queue_messages{queue="deferred"}) > 50 and '
          'sum by (job, instance, multi_instance, log_host) (deriv(postfix_queue_messages{queue="deferred"}[10m])) * 3600 > 60', "5m",
          "The deferred queue grows.",
          "{{ $labels.instance }} has {{ $value | humanize }} deferred mails, and their number grows by more than 60 an hour."),
    Alert("PostfixQueueOldMail", "symptom", "warning",
          'postfix_queue_messages{queue="deferred"} > 0 and '
          'on (job, instance, multi_instance, log_host) postfix_queue_oldest_age_seconds{queue="deferred"} > 4 * 3600', "10m",
          "Mail has waited for more than four hours.",
          "{{ $labels.instance }} has {{ $value | humanize }} mails deferred by {{ $labels.cause }}. The oldest mail of the queue "
          "has waited for more than four hours."),
    Alert("PostfixBounceRatioHigh", "symptom", "warning",
          "relay:postfix_deliveries_bounced:ratio_rate30m > 0.1 and "
          'sum by (job, instance, multi_instance, log_host, relay) (increase(postfix_deliveries_total{status="bounced"}[30m])) > 5', "10m",
          "More than 10 % of the mail is bounced.",
          "{{ $value | humanizePercentage }} of the mail of {{ $labels.instance }} through {{ $labels.relay }} is bounced."),
    Alert("PostfixMailKeptBack", "symptom", "warning",
          _share_of_sent('postfix_deliveries_kept_back_total{relay!="other"}'), "10m",
          "A relay keeps mail back that it has accepted.",
          "Relay {{ $labels.relay }} of {{ $labels.instance }} answered that it suppresses, quarantines or discards "
          "{{ $value | humanize }} mails of the last hour."),
    Alert("PostwardMailReturned", "symptom", "warning",
          _share_of_sent('postward_dsn_recipients_total{action="failed",relay!="other"}'), "10m",
          "Mail comes back after the relay has accepted it.",
          "{{ $value | humanize }} recipients of {{ $labels.instance }} did not get their mail of the last hour. Relay "
          "{{ $labels.relay }} had accepted it."),
    Alert("PostwardProbeReturned", "symptom", "critical", "postward_probe_returned == 1", "5m",
          "Probes come back after the relay has accepted them.",
          "Relay {{ $labels.relay }} of {{ $labels.instance }} accepts probes and returns them."),
    Alert("PostwardProbeFailing", "symptom", "critical",
          # A probe that the relay accepted has its own alert, PostwardProbeNotArriving.
          "postward_probe_success == 0 unless on (job, instance, multi_instance, log_host, relay) postward_probe_arrived == 0",
        "10m",
          "Probes fail.",
          "No probe of {{ $labels.instance }} through relay {{ $labels.relay }} has succeeded for 10 minutes."),
    Alert("PostwardProbeLost", "symptom", "critical",
          'sum by (job, instance, multi_instance, log_host, relay, step) (increase(postward_probes_total{outcome="lost"}[15m])) > 1', "5m",
          "Probes are lost.",
          "Probes of {{ $labels.instance }} to relay {{ $labels.relay }} were lost; they waited at step {{ $labels.step }}."),
    Alert("PostwardProbeLate", "symptom", "warning",
          'sum by (job, instance, multi_instance, log_host, relay, step) (increase(postward_probes_total{outcome="late"}[15m])) > 1', "5m",
          "Probes are late.",
          "Probes of {{ $labels.instance }} to relay {{ $labels.relay }} take too long, mostly at step {{ $labels.step }}."),
    Alert("PostwardProbeNotArriving", "symptom", "critical",
          # A probe that came back has its own alert, PostwardProbeReturned.
          f"postward_probe_arrived == 0 unless on ({_OF}, relay) postward_probe_returned == 1", "10m",
          "The relay accepts probes, and they do not arrive as they should.",
          "Probes of {{ $labels.instance }} through relay {{ $labels.relay }} have been late, lost, doubled or changed behind "
          "the relay for 10 minutes."),
    Alert("PostwardProbeInSpam", "symptom", "warning", "postward_probe_in_spam == 1", "10m",
          "Probes go to spam.",
          "Probes of {{ $labels.instance }} through relay {{ $labels.relay }} have arrived in a folder for spam for 10 minutes."),
    Alert("PostwardProbeUnauthenticated", "symptom", "warning", "postward_probe_authenticated == 0", "10m",
          "The receiver's check of SPF, DKIM or DMARC fails.",
          "Probes of {{ $labels.instance }} through relay {{ $labels.relay }} fail {{ $labels.method }} at the receiver."),
    Alert("PostfixSloDeliveredFast", "symptom", "critical", _burn(_UNDELIVERED, "5m", "1h", "14.4", _DELIVERED_BUDGET), "5m",
          "Undelivered mail uses up the monthly error budget in two days.",
          "{{ $value | humanizePercentage }} of the mail of {{ $labels.instance }} was not delivered in the last hour."),
    Alert("PostfixSloDeliveredSlow", "symptom", "warning", _burn(_UNDELIVERED, "30m", "6h", "6", _DELIVERED_BUDGET), "15m",
          "Undelivered mail uses up the monthly error budget in five days.",
          "{{ $value | humanizePercentage }} of the mail of {{ $labels.instance }} was not delivered in the last six hours."),
    Alert("PostfixSloTimeFast", "symptom", "critical", _burn(_SLOW, "5m", "1h", "14.4", _TIME_BUDGET), "5m",
          "Slow mail uses up the monthly error budget in two days.",
          "{{ $value | humanizePercentage }} of the mail of {{ $labels.instance }} took more than five minutes in the last hour."),
    Alert("PostfixSloTimeSlow", "symptom", "warning", _burn(_SLOW, "30m", "6h", "6", _TIME_BUDGET), "15m",
          "Slow mail uses up the monthly error budget in five days.",
          "{{ $value | humanizePercentage }} of the mail of {{ $labels.instance }} took more than five minutes in the last six hours."),
)  # fmt: skip
