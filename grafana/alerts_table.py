"""The one table of alerts and recording rules. Rule files for Prometheus, Grafana's own rules and the tests are made of it.

Layers, which the example for Alertmanager uses: a critical alert of `blindness` silences all others of its host, one of
`cause` silences the `symptom`s of its host, so that a fault is one notification, and that one names the cause.

An alert on a counter looks at ten minutes at most and compares with what else happened, so that an idle host, a healthy
one, and a restart are silent. Expressions keep the labels that the runbook needs, and no others.
"""

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["critical", "warning", "info"]
Layer = Literal["blindness", "cause", "symptom"]
RUNBOOKS: Final = "docs/runbooks"
# Where the host itself says it in the words of its own diagnosis.
WHY: Final = "postward why, on the host; or its endpoint's /status"


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert. `pending` is how long its condition must hold, as Prometheus writes times."""

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
        """The page that mends the fault."""
        return (
            f"{RUNBOOKS}/causes/{{{{ $labels.cause }}}}.md" if self.by_cause else f"{RUNBOOKS}/{self.name}.md"
        )


_FAILED: Final = 'sum by (job, instance, relay, cause) (increase(postfix_delivery_failures_total{{cause=~"{causes}"}}[{window}]))'
_NO_SUCCESS: Final = (
    " unless on (job, instance, relay) "
    "postfix_delivery_last_success_timestamp_seconds > postfix_delivery_last_failure_timestamp_seconds - 60"
)


def _failing(causes: str) -> str:
    """Mail fails for these causes, more than once, and in the minute before the last failure none got through."""
    return _FAILED.format(causes=causes, window="10m") + " > 1.5" + _NO_SUCCESS


def _at_all(causes: str, more_than: int = 0, window: str = "5m") -> str:
    """Mail fails for these causes, whatever else gets through."""
    return (_FAILED + " > {number}").format(causes=causes, window=window, number=more_than)


_SENT: Final = 'sum by (job, instance) (rate(postfix_deliveries_total{{status="sent"}}[{window}]))'
_LOST: Final = (
    'sum by (job, instance) (rate(postfix_deliveries_total{{status=~"bounced|expired"}}[{window}]))'
)

RECORDS: Final = (
    Record("instance:postfix_queue_messages:sum", 'sum by (job, instance) (postfix_queue_messages{queue=~"active|deferred"})'),
    Record(
        "relay:postfix_deliveries_deferred:ratio_rate10m",
        'sum by (job, instance, relay) (rate(postfix_deliveries_total{status="deferred"}[10m])) '
        '/ (sum by (job, instance, relay) (rate(postfix_deliveries_total{status=~"sent|deferred|bounced"}[10m])) > 0)',
    ),
    Record(
        "relay:postfix_deliveries_bounced:ratio_rate30m",
        'sum by (job, instance, relay) (rate(postfix_deliveries_total{status="bounced"}[30m])) '
        '/ (sum by (job, instance, relay) (rate(postfix_deliveries_total{status=~"sent|bounced"}[30m])) > 0)',
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
            f"1 - sum by (job, instance) (rate(postfix_delivery_delay_seconds_bucket{{le=\"300.0\"}}[{window}])) "
            f"/ (sum by (job, instance) (rate(postfix_delivery_delay_seconds_count[{window}])) > 0)",
        )
        for window in ("5m", "30m", "1h", "6h")
    ),
    Record(
        "relay:postfix_delivery_delay_seconds:p95_rate10m",
        "histogram_quantile(0.95, sum by (job, instance, relay, le) (rate(postfix_delivery_delay_seconds_bucket[10m])))",
    ),
)  # fmt: skip

# Objectives over thirty days: of all mails 99.5 % are delivered, and 95 % within five minutes.
_DELIVERED_BUDGET: Final = "0.005"
_TIME_BUDGET: Final = "0.05"


def _burn(ratio: str, short: str, long: str, factor: str, budget: str) -> str:
    """Both windows burn the budget that many times too fast: it is going on, and it is not a blip."""
    return f"{ratio}{long} > {factor} * {budget} and {ratio}{short} > {factor} * {budget}"


_UNDELIVERED: Final = "instance:postfix_mail_undelivered:ratio_rate"
_SLOW: Final = "instance:postfix_mail_slow:ratio_rate"
_ON: Final = "on (job, instance)"

ALERTS: Final = (
    # --- blindness first: every other rule trusts these
    Alert("PostwardDown", "blindness", "critical", 'up{job="postward"} == 0', "2m",
          "Postward does not answer.",
          "Prometheus has had no metrics from {{ $labels.instance }} for 2 minutes: nobody watches its mail."),
    Alert("PostwardLogNotRead", "blindness", "critical", "postward_log_readable == 0", "2m",
          "Postward cannot read the mail log.",
          "On {{ $labels.instance }} the mail log has been unreadable for 2 minutes: nothing is counted."),
    Alert("PostwardLogSilent", "blindness", "critical",
          # The last probe failed, and of it the log shows not even the first step.
        f"time() - postward_log_last_line_timestamp_seconds > 120 and {_ON} postfix_up == 1 and {_ON} "
        "(postward_probe_success == 0 unless on (job, instance, relay) postward_probe_step_duration_seconds)",
        "1m",
          "The mail log has stopped while Postfix runs.",
          "{{ $labels.instance }} sends probes and its log shows no line since: it is written elsewhere, or not at all."),
    Alert("PostwardTestLineLost", "blindness", "critical",
        f"postward_log_test_line_success == 0 and {_ON} postfix_up == 1", "6m",
          "Postward's own lines do not come through the mail log.",
          "{{ $labels.instance }} hands lines to postlog, and they do not appear in the log that is read: nothing may be counted."),
    Alert("PostwardLogBehind", "blindness", "warning", "min_over_time(postward_log_unread_bytes[5m]) > 1e7", "5m",
          "Postward falls behind the mail log.",
          "{{ $labels.instance }} has more than 10 MB of log to read: counts are late."),
    Alert("PostwardLogNotUnderstood", "blindness", "warning",
          'sum by (job, instance) (increase(postward_log_lines_total{outcome="unrecognised"}[1h])) > 20 and '
          'sum by (job, instance) (rate(postward_log_lines_total{outcome="unrecognised"}[1h])) > '
          '0.05 * sum by (job, instance) (rate(postward_log_lines_total{outcome=~"event|unrecognised"}[1h]))', "15m",
          "Many lines of Postfix are not understood.",
          "More than 5 % of the Postfix lines of {{ $labels.instance }} fit no rule: counts may be too low."),
    Alert("PostwardLogLosses", "blindness", "warning", "increase(postward_log_losses_total[10m]) > 0", "1m",
          "Lines of the mail log are gone unread.",
          "The mail log of {{ $labels.instance }} has gaps, or a rate limit dropped lines: counts are too low."),
    Alert("PostwardCheckpointNotSaved", "blindness", "warning", "increase(postward_checkpoint_errors_total[5m]) > 0", "5m",
          "Position and counts cannot be saved.",
          "{{ $labels.instance }} cannot write its checkpoint: a crash would go back to the last one."),
    Alert("PostwardQueueUnreadable", "blindness", "warning", f"postward_queue_readable == 0 and {_ON} postfix_up == 1", "5m",
          "Postfix's queue cannot be listed.",
          "postqueue fails on {{ $labels.instance }}: nobody sees the queue grow."),
    Alert("PostwardWebConfigBad", "blindness", "warning", "postward_web_config_last_reload_successful == 0", "5m",
          "The web configuration file is bad.",
          "{{ $labels.instance }} still serves with the web configuration of before; after a restart it would not start."),
    Alert("PostwardEventsDropped", "blindness", "warning", "increase(postward_events_dropped_total[10m]) > 0", "5m",
          "The event stream loses events.",
          "{{ $labels.instance }} cannot write its events as fast as they come: the collector misses some."),
    # --- this host
    Alert("PostfixDown", "cause", "critical", "postfix_up == 0", "2m",
          "Postfix does not run.",
          "The master process of Postfix on {{ $labels.instance }} is gone; mail is only spooled."),
    Alert("PostfixDaemonThrottled", "cause", "critical",
          "sum by (job, instance, daemon) (increase(postfix_daemon_throttled_total[5m])) > 0", "1m",
          "A daemon of Postfix cannot start.",
          "master puts off starting {{ $labels.daemon }} on {{ $labels.instance }}, because it ends at once."),
    Alert("PostfixDaemonDying", "cause", "warning",
          "sum by (job, instance, daemon) (increase(postfix_daemon_exits_total[10m])) > 3", "5m",
          "A daemon of Postfix keeps dying.",
          "{{ $labels.daemon }} on {{ $labels.instance }} died {{ $value | humanize }} times in 10 minutes."),
    Alert("PostfixResourcesExhausted", "cause", "critical",
          "sum by (job, instance) (increase(postfix_resource_problems_total[5m])) > 0", "1m",
          "This host runs out of disk, memory or processes.",
          "Postfix on {{ $labels.instance }} says that a resource has run out: mail may not even be accepted."),
    Alert("PostfixTableBroken", "cause", "warning",
          "sum by (job, instance, kind) (increase(postfix_table_problems_total[10m])) > 0", "1m",
          "A lookup table of Postfix cannot be used.",
          "{{ $labels.instance }} has a table that is {{ $labels.kind }}: logins or routes are missing."),
    # --- the relay, by cause
    Alert("PostfixRelayAuthRejected", "cause", "critical", _at_all("auth_rejected"), "0s",
          "The relay refuses the login.",
          "Relay {{ $labels.relay }} refuses the credentials of {{ $labels.instance }}; mail waits in the queue.", by_cause=True),
    Alert("PostfixRelayMailLost", "cause", "critical", _at_all("auth_required"), "0s",
          "The relay wants a login and gets none; Postfix bounces the mail.",
          "Mail of {{ $labels.instance }} to relay {{ $labels.relay }} is being lost.", by_cause=True),
    Alert("PostfixRelayAuthImpossible", "cause", "critical", _failing("auth_mechanism|auth_temporary"), "30s",
          "No login is possible at the relay.",
          "{{ $labels.instance }} and relay {{ $labels.relay }} do not get to a login ({{ $labels.cause }}).", by_cause=True),
    Alert("PostfixRelayTlsBroken", "cause", "critical",
          _failing("tls_verify|tls_handshake|tls_not_offered|tls_required"), "30s",
          "No encrypted connection to the relay comes about.",
          "TLS between {{ $labels.instance }} and relay {{ $labels.relay }} fails ({{ $labels.cause }}); mail waits.", by_cause=True),
    Alert("PostfixRelayUnreachable", "cause", "critical", _failing("dns|refused|timeout|unreachable|lost"), "1m",
          "The relay cannot be reached.",
          "{{ $labels.instance }} gets no connection to relay {{ $labels.relay }} ({{ $labels.cause }}).", by_cause=True),
    Alert("PostfixRelayRefusesHost", "cause", "critical", _failing("greeting_refused|helo_rejected|blocked"), "1m",
          "The relay does not talk to this host.",
          "Relay {{ $labels.relay }} turns {{ $labels.instance }} away ({{ $labels.cause }}).", by_cause=True),
    Alert("PostfixRelayRateLimited", "cause", "warning", _at_all("rate_limit", 4, "10m"), "1m",
          "The relay throttles this host.",
          "Relay {{ $labels.relay }} told {{ $labels.instance }} to slow down {{ $value | humanize }} times in 10 minutes.",
          by_cause=True),
    Alert("PostfixRelayQuotaUsedUp", "cause", "critical", _at_all("quota"), "0s",
          "The amount of mail that the relay takes is used up.",
          "Relay {{ $labels.relay }} takes no more mail of {{ $labels.instance }} until its quota begins anew.", by_cause=True),
    Alert("PostfixRelaySenderRejected", "cause", "critical", _at_all("sender_rejected"), "0s",
          "The relay does not accept a sender address.",
          "Relay {{ $labels.relay }} refuses mail of {{ $labels.instance }} because of who sends it; such mail is bounced.",
          by_cause=True),
    Alert("PostfixRelayMailRefused", "cause", "warning", _at_all("relay_denied|policy|content|size|loop", 2, "10m"), "1m",
          "The relay refuses mail for good.",
          "Relay {{ $labels.relay }} refuses mail of {{ $labels.instance }} ({{ $labels.cause }}).", by_cause=True),
    Alert("PostfixLocalFault", "cause", "critical", _at_all("local_config|local_resource"), "1m",
          "Mail fails because of this host.",
          "Postfix on {{ $labels.instance }} cannot deliver because of its own configuration or resources ({{ $labels.cause }}).",
          by_cause=True),
    Alert("PostfixRelayFallbackInUse", "cause", "warning",
          'sum by (job, instance, relay) (increase(postfix_deliveries_total{relay="other",status="sent"}[10m])) > 0 or '
        'sum by (job, instance, relay) (increase(postfix_deliveries_total{status="sent"}[10m])) > 0 and '
        "on (job, instance, relay) postward_relay_is_fallback == 1", "5m",
          "Mail goes out by a fallback.",
          "{{ $labels.instance }} sends by {{ $labels.relay }}, not by its own relay: users notice nothing, until that fails as well."),
    Alert("PostfixRelayCertificateEnds", "cause", "warning",
          "postward_relay_certificate_expiry_timestamp_seconds - time() < 14 * 86400 > 0", "1h",
          "The relay's certificate ends soon.",
          "The certificate of relay {{ $labels.relay }}, seen from {{ $labels.instance }}, ends in {{ $value | humanizeDuration }}."),
    Alert("PostfixRelayCertificateEnded", "cause", "critical",
          "postward_relay_certificate_expiry_timestamp_seconds - time() <= 0", "1m",
          "The relay's certificate has ended.",
          "The certificate of relay {{ $labels.relay }}, seen from {{ $labels.instance }}, is no longer valid."),
    Alert("PostfixRelayStarttlsGone", "cause", "critical",
          # Where mail fails for it, that is told already.
          "postward_relay_starttls_offered == 0 and max_over_time(postward_relay_starttls_offered[1d]) == 1 "
          "unless on (job, instance, relay) "
          'increase(postfix_delivery_failures_total{cause="tls_not_offered"}[10m]) > 0', "1m",
          "The relay no longer offers STARTTLS.",
          "Relay {{ $labels.relay }}, seen from {{ $labels.instance }}, offered STARTTLS within the last day and does not now: "
          "mail waits or, where TLS is not demanded, goes out in clear."),
    # --- the configuration
    Alert("PostwardConfigDrift", "cause", "warning", "postward_config_in_sync == 0", "5m",
          "Postfix's configuration is not what the settings say.",
          "On {{ $labels.instance }} the configuration has differed from the settings for 5 minutes."),
    Alert("PostwardConfigApplyFailed", "cause", "warning",
          'increase(postward_config_applies_total{result="failed"}[15m]) > 0', "0s",
          "A change of Postfix's configuration failed.",
          "{{ $labels.instance }} could not be changed to what the settings say; the configuration of before is in force."),
    Alert("PostwardConfigRolledBack", "cause", "warning",
          'increase(postward_config_applies_total{result="rolled_back"}[15m]) > 0', "0s",
          "New settings were taken back.",
          "No probe got through with the new settings of {{ $labels.instance }}; those of before are in force again."),
    Alert("PostwardConfigConflict", "cause", "warning",
          "max by (job, instance, parameter) (postward_config_conflict) == 1 or "
          "sum by (job, instance, parameter) (increase(postward_config_repairs_total[1h])) > 3", "0s",
          "Something keeps changing Postfix's configuration.",
          "{{ $labels.parameter }} on {{ $labels.instance }} is changed again and again by something else."),
    # --- symptoms
    Alert("PostfixRelayNoSuccess", "symptom", "critical",
          'sum by (job, instance, relay) (increase(postfix_deliveries_total{status=~"deferred|bounced"}[10m])) > 0 unless '
          'sum by (job, instance, relay) (increase(postfix_deliveries_total{status="sent"}[10m])) > 0', "10m",
          "Mail is tried and none gets out.",
          "{{ $labels.instance }} has delivered nothing by {{ $labels.relay }} for 20 minutes, and has tried."),
    Alert("PostfixDeferralRatioHigh", "symptom", "warning",
          "relay:postfix_deliveries_deferred:ratio_rate10m > 0.2 and relay:postfix_deliveries_deferred:ratio_rate10m > "
          "3 * (avg_over_time(relay:postfix_deliveries_deferred:ratio_rate10m[3d] offset 30m) "
          "or 0 * relay:postfix_deliveries_deferred:ratio_rate10m) and "
          'sum by (job, instance, relay) (increase(postfix_deliveries_total{status="deferred"}[10m])) > 10', "10m",
          "Far more mail is deferred than usual.",
          "{{ $value | humanizePercentage }} of the attempts of {{ $labels.instance }} by {{ $labels.relay }} are deferred, "
          "more than three times the average of three days."),
    Alert("PostfixQueueGrowing", "symptom", "warning",
          'sum by (job, instance) (postfix_queue_messages{queue="deferred"}) > 50 and '
          'sum by (job, instance) (deriv(postfix_queue_messages{queue="deferred"}[10m])) * 3600 > 60', "5m",
          "The deferred queue grows.",
          "{{ $labels.instance }} has {{ $value | humanize }} deferred mails, and more by the minute."),
    Alert("PostfixQueueOldMail", "symptom", "warning",
          'postfix_queue_messages{queue="deferred"} > 0 and '
          'on (job, instance) postfix_queue_oldest_age_seconds{queue="deferred"} > 4 * 3600', "10m",
          "Mail has waited for more than four hours.",
          "{{ $labels.instance }} has {{ $value | humanize }} deferred mails by the cause {{ $labels.cause }}, the oldest of the "
          "queue for more than four hours."),
    Alert("PostfixBounceRatioHigh", "symptom", "warning",
          "relay:postfix_deliveries_bounced:ratio_rate30m > 0.1 and "
          'sum by (job, instance, relay) (increase(postfix_deliveries_total{status="bounced"}[30m])) > 5', "10m",
          "Much mail is bounced.",
          "{{ $value | humanizePercentage }} of the mail of {{ $labels.instance }} by {{ $labels.relay }} goes back to its senders."),
    Alert("PostwardProbeFailing", "symptom", "critical",
          "postward_probe_success == 0",
        "10m",
          "Probe mails do not get out.",
          "No probe of {{ $labels.instance }} was accepted by relay {{ $labels.relay }} for 10 minutes."),
    Alert("PostwardProbeLost", "symptom", "critical",
          'sum by (job, instance, relay, step) (increase(postward_probes_total{outcome="lost"}[15m])) > 1', "5m",
          "Probe mails vanish.",
          "Probes of {{ $labels.instance }} to relay {{ $labels.relay }} end without a word at the step {{ $labels.step }}."),
    Alert("PostwardProbeLate", "symptom", "warning",
          'sum by (job, instance, relay, step) (increase(postward_probes_total{outcome="late"}[15m])) > 1', "5m",
          "Probe mails come late.",
          "Probes of {{ $labels.instance }} to relay {{ $labels.relay }} take too long, most of it at the step {{ $labels.step }}."),
    Alert("PostfixSloDeliveredFast", "symptom", "critical", _burn(_UNDELIVERED, "5m", "1h", "14.4", _DELIVERED_BUDGET), "5m",
          "Mail is lost at a rate that uses up a month's allowance in two days.",
          "{{ $value | humanizePercentage }} of the mail of {{ $labels.instance }} was not delivered in the last hour."),
    Alert("PostfixSloDeliveredSlow", "symptom", "warning", _burn(_UNDELIVERED, "30m", "6h", "6", _DELIVERED_BUDGET), "15m",
          "Mail is lost at a rate that uses up a month's allowance in five days.",
          "{{ $value | humanizePercentage }} of the mail of {{ $labels.instance }} was not delivered in the last six hours."),
    Alert("PostfixSloTimeFast", "symptom", "critical", _burn(_SLOW, "5m", "1h", "14.4", _TIME_BUDGET), "5m",
          "Much mail takes more than five minutes.",
          "{{ $value | humanizePercentage }} of the mail of {{ $labels.instance }} took more than five minutes in the last hour."),
    Alert("PostfixSloTimeSlow", "symptom", "warning", _burn(_SLOW, "30m", "6h", "6", _TIME_BUDGET), "15m",
          "Mail has been slow for hours.",
          "{{ $value | humanizePercentage }} of the mail of {{ $labels.instance }} took more than five minutes in six hours."),
)  # fmt: skip
