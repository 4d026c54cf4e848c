"""The table of all metrics: name, type, help, labels, buckets. Exposition and documentation are made from it.

`postfix_` is what the log says of Postfix, `postward_` what Postward says of itself. Labels come from closed
sets (`relay` is a relay's name in the settings, or other, none, local), so that no log can make series grow.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

# Seconds. A healthy relay answers in 0.1 to 3 s; greylisting and retries reach from minutes to the five days
# of maximal_queue_lifetime.
DELAY_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0, 432000.0)
STAGE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table. `buckets` are upper bounds in seconds, without infinity."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: tuple[Metric, ...] = (
    # --- deliveries
    Metric(
        "postfix_deliveries_total",
        "counter",
        "Delivery attempts by outcome; a deferred mail counts again at each retry.",
        ("postfix_instance", "relay", "status"),
    ),
    Metric(
        "postfix_delivery_failures_total",
        "counter",
        "Delivery attempts that did not succeed, by cause.",
        ("postfix_instance", "relay", "cause"),
    ),
    Metric(
        "postfix_delivery_delay_seconds",
        "histogram",
        "Time from a mail's arrival to its final status (sent or bounced).",
        ("relay",),
        DELAY_BUCKETS,
    ),
    Metric(
        "postfix_delivery_stage_delay_seconds",
        "histogram",
        "The delay of finally delivered or bounced mails by stage (delays=a/b/c/d).",
        ("relay", "delay_stage"),
        STAGE_BUCKETS,
    ),
    Metric(
        "postfix_delivery_last_success_timestamp_seconds",
        "gauge",
        "When a delivery last succeeded, by the log's own stamp.",
        ("relay",),
    ),
    Metric(
        "postfix_delivery_last_failure_timestamp_seconds",
        "gauge",
        "When a delivery last failed, by the log's own stamp.",
        ("relay",),
    ),
    # --- connections
    Metric(
        "postfix_connection_failures_total",
        "counter",
        "Connections to a relay's address that failed, also where another address then took the mail.",
        ("relay", "cause"),
    ),
    Metric(
        "postfix_tls_connections_total",
        "counter",
        "TLS sessions with a relay (needs smtp_tls_loglevel of at least 1).",
        ("relay", "protocol", "trust"),
    ),
    # --- messages
    Metric(
        "postfix_messages_received_total",
        "counter",
        "Mails that entered the queue.",
        ("postfix_instance", "via"),
    ),
    Metric("postfix_messages_removed_total", "counter", "Mails that left the queue.", ("postfix_instance",)),
    Metric(
        "postfix_messages_expired_total",
        "counter",
        "Mails given up after maximal_queue_lifetime.",
        ("postfix_instance",),
    ),
    Metric(
        "postfix_daemon_problems_total",
        "counter",
        "Log lines of severity warning and above.",
        ("daemon", "severity"),
    ),
    Metric("postfix_up", "gauge", "1 if Postfix's master process runs."),
    # --- reading the log
    Metric("postward_log_lines_total", "counter", "Log lines read, by what became of them.", ("outcome",)),
    Metric(
        "postward_log_last_line_timestamp_seconds",
        "gauge",
        "When the last Postfix line was written, by its own stamp.",
    ),
    Metric("postward_log_unread_bytes", "gauge", "Bytes of the log that wait to be read."),
    Metric("postward_log_readable", "gauge", "1 if the log can be read."),
    # --- enforcement
    Metric("postward_config_in_sync", "gauge", "1 if Postfix's configuration is what the settings say."),
    Metric(
        "postward_config_drift", "gauge", "1 for each parameter or file that differs now.", ("parameter",)
    ),
    Metric(
        "postward_config_repairs_total",
        "counter",
        "Departures from the settings that were put right.",
        ("parameter",),
    ),
    Metric(
        "postward_config_applies_total", "counter", "Changes of the configuration by result.", ("result",)
    ),
    # --- probes
    Metric(
        "postward_probes_total",
        "counter",
        "Probe mails by outcome; step is where a probe stopped, empty if it was accepted.",
        ("relay", "outcome", "step"),
    ),
    Metric(
        "postward_probe_success",
        "gauge",
        "1 if the last finished probe was accepted by the relay.",
        ("relay",),
    ),
    Metric(
        "postward_probe_last_success_timestamp_seconds",
        "gauge",
        "When the relay last accepted a probe.",
        ("relay",),
    ),
    Metric(
        "postward_probe_step_duration_seconds",
        "gauge",
        "How long each step of the last finished probe took.",
        ("relay", "step"),
    ),
    # --- the agent
    Metric("postward_build_info", "gauge", "1, labelled with the version.", ("version",)),
)

BY_NAME = {metric.name: metric for metric in METRICS}
