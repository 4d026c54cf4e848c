"""The table of all metrics: name, type, help, labels, buckets. Exposition and documentation are made from it.

`postfix_` is what the log says of Postfix, `postward_` what Postward says of itself. Labels come from closed
sets (`relay` is a relay's name in the settings, or other, none, local), so that no log can make series grow.
"""

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

# Seconds. A healthy relay answers in 0.1 to 3 s; greylisting and retries reach from minutes to the five days
# of maximal_queue_lifetime.
DELAY_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0, 432000.0)
STAGE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
# Bytes: from a line of cron to what the large providers still take (25 to 50 MB).
SIZE_BUCKETS = (1e3, 1e4, 1e5, 1e6, 1e7, 2.5e7, 5e7)
RECIPIENT_BUCKETS = (1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 1000.0)


class Metric(NamedTuple):
    """One row of the table. `buckets` are upper bounds in `unit`, without infinity; a histogram names its unit."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    unit: str = ""


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
        "seconds",
    ),
    Metric(
        "postfix_delivery_stage_delay_seconds",
        "histogram",
        "The delay of finally delivered or bounced mails by stage (delays=a/b/c/d).",
        ("relay", "delay_stage"),
        STAGE_BUCKETS,
        "seconds",
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
    Metric(
        "postfix_tls_failures_total",
        "counter",
        "TLS handshakes with a relay that failed, and certificates that did not pass.",
        ("relay", "cause"),
    ),
    Metric(
        "postfix_sasl_problems_total",
        "counter",
        "Complaints of the client's SASL library, and relays whose AUTH list holds nothing that it can do.",
        ("kind",),
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
        "postfix_messages_refused_total",
        "counter",
        "Mails that a daemon of this Postfix gave up itself.",
        ("daemon",),
    ),
    Metric(
        "postfix_queue_activations_total",
        "counter",
        "Times that a mail became active; more than mails received means retries.",
        ("postfix_instance",),
    ),
    Metric(
        "postfix_notifications_total",
        "counter",
        "Notices that Postfix wrote about mails, by kind.",
        ("kind",),
    ),
    Metric(
        "postfix_message_size_bytes",
        "histogram",
        "Size of mails, observed when they first became active.",
        (),
        SIZE_BUCKETS,
        "bytes",
    ),
    Metric(
        "postfix_message_recipients",
        "histogram",
        "Recipients of mails, observed when they first became active.",
        (),
        RECIPIENT_BUCKETS,
        "recipients",
    ),
    Metric(
        "postfix_submission_failures_total",
        "counter",
        "Mails that sendmail or postdrop could not submit.",
    ),
    # --- this host's daemons
    Metric(
        "postfix_daemon_problems_total",
        "counter",
        "Log lines of severity warning and above.",
        ("daemon", "severity"),
    ),
    Metric(
        "postfix_daemon_exits_total",
        "counter",
        "Daemons that died by a signal or with a bad status.",
        ("daemon",),
    ),
    Metric(
        "postfix_daemon_throttled_total",
        "counter",
        "Times that master put off starting a daemon because it keeps failing.",
        ("daemon",),
    ),
    Metric(
        "postfix_process_limits_total",
        "counter",
        "Times that a service had all the processes it may have.",
    ),
    Metric(
        "postfix_table_problems_total",
        "counter",
        "Lookup tables that could not be opened or read, or are older than their source.",
        ("kind",),
    ),
    Metric(
        "postfix_resource_problems_total",
        "counter",
        "Log lines that tell of a full disk, memory, descriptors or processes.",
    ),
    Metric("postfix_master_events_total", "counter", "Starts, reloads and stops of Postfix.", ("event",)),
    Metric("postfix_up", "gauge", "1 if Postfix's master process runs."),
    # --- the queue, as postqueue(1) lists it
    Metric(
        "postfix_queue_messages",
        "gauge",
        "Mails in a queue by the cause of their last failure (of their first recipient that has one).",
        ("queue", "cause"),
    ),
    Metric("postfix_queue_bytes", "gauge", "Size of the mails in a queue.", ("queue",)),
    Metric(
        "postfix_queue_oldest_age_seconds",
        "gauge",
        "Time since the arrival of the oldest mail in a queue; 0 if it is empty.",
        ("queue",),
    ),
    Metric("postward_queue_readable", "gauge", "1 if the queue could be listed at the last attempt."),
    Metric(
        "postward_queue_read_timestamp_seconds",
        "gauge",
        "When the queue was listed last; a big queue is listed less often than it is scraped.",
    ),
    Metric("postward_queue_read_duration_seconds", "gauge", "How long listing the queue took."),
    # --- hosts that accept mail
    Metric("postfix_smtpd_connections_total", "counter", "Connections of clients to smtpd."),
    Metric(
        "postfix_smtpd_lost_connections_total",
        "counter",
        "Sessions of clients that broke off, by the last command.",
        ("after",),
    ),
    Metric(
        "postfix_smtpd_verdicts_total",
        "counter",
        "Commands of clients that were refused or treated specially.",
        ("action", "reply"),
    ),
    Metric("postfix_smtpd_sasl_failures_total", "counter", "Logins of clients that failed."),
    Metric(
        "postfix_smtpd_tls_connections_total", "counter", "TLS sessions with clients.", ("protocol", "trust")
    ),
    Metric("postfix_smtpd_limits_total", "counter", "Clients that exceeded one of anvil's limits."),
    Metric("postfix_postscreen_verdicts_total", "counter", "Words of postscreen on clients.", ("verdict",)),
    Metric("postfix_dnsbl_listings_total", "counter", "Clients that a block list knows, per list."),
    # --- reading the log
    Metric("postward_log_lines_total", "counter", "Log lines read, by what became of them.", ("outcome",)),
    Metric(
        "postward_log_last_line_timestamp_seconds",
        "gauge",
        "When the last Postfix line was written, by its own stamp.",
    ),
    Metric("postward_log_unread_bytes", "gauge", "Bytes of the log that wait to be read."),
    Metric("postward_log_readable", "gauge", "1 if the log can be read."),
    Metric(
        "postward_log_read_errors_total",
        "counter",
        "How often a source of the log became impossible to read.",
    ),
    Metric(
        "postward_log_losses_total",
        "counter",
        "Gaps in the log, and lines that a rate limit of journald or rsyslog suppressed.",
    ),
    Metric(
        "postward_log_disk_free_bytes",
        "gauge",
        "What the log's file system has left; a full one takes no lines.",
    ),
    Metric(
        "postward_log_test_lines_total",
        "counter",
        "Postward's own test lines through postlog, by what became of them.",
        ("result",),
    ),
    Metric(
        "postward_log_test_line_success",
        "gauge",
        "1 if the last test line came back through the log, 0 if not; absent where none can be sent.",
    ),
    Metric(
        "postward_log_test_line_latency_seconds",
        "gauge",
        "How long the last test line that came back took, postlog included.",
    ),
    Metric(
        "postward_checkpoint_timestamp_seconds",
        "gauge",
        "When position and counts were last saved; a crash goes back to it.",
    ),
    Metric("postward_checkpoint_errors_total", "counter", "How often saving position and counts failed."),
    # --- settings
    Metric(
        "postward_settings_in_force",
        "gauge",
        "1 if the settings file, as it is now, is in force; 0 if it is bad and the former settings stay.",
    ),
    Metric("postward_settings_loaded_timestamp_seconds", "gauge", "When the settings in force were loaded."),
    # --- enforcement
    Metric("postward_config_in_sync", "gauge", "1 if Postfix's configuration is what the settings say."),
    Metric(
        "postward_config_drift", "gauge", "1 for each parameter or file that differs now.", ("parameter",)
    ),
    Metric(
        "postward_config_conflict",
        "gauge",
        "1 for each parameter or file that another tool keeps changing, so that it is left alone.",
        ("parameter",),
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
        "Probe mails by outcome (accepted, failed, late, lost, duplicate, altered); step is where a probe stopped or "
        "dwelt longest, empty if it was accepted.",
        ("relay", "outcome", "step"),
    ),
    Metric(
        "postward_probe_success",
        "gauge",
        "1 if the last probe of each sender came through in time: accepted by the relay and, where that is watched, arrived.",
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
    # --- conversations with the relays
    Metric(
        "postward_relay_reachable",
        "gauge",
        "1 if the relay's last conversation came as far as the login: name, connection, greeting, EHLO, TLS.",
        ("relay",),
    ),
    Metric(
        "postward_relay_auth_accepted",
        "gauge",
        "1 if the relay took the login when it was last tried.",
        ("relay",),
    ),
    Metric(
        "postward_relay_check_timestamp_seconds", "gauge", "When the relay was last talked to.", ("relay",)
    ),
    Metric(
        "postward_relay_step_duration_seconds",
        "gauge",
        "How long each step of the last conversation took.",
        ("relay", "step"),
    ),
    Metric(
        "postward_relay_starttls_offered",
        "gauge",
        "1 if the relay offered STARTTLS when last seen.",
        ("relay",),
    ),
    Metric(
        "postward_relay_certificate_valid",
        "gauge",
        "1 if the relay's certificate, when last seen, was valid for its name and trusted here.",
        ("relay",),
    ),
    Metric(
        "postward_relay_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the relay's certificate, as last seen, ends; also once it has ended.",
        ("relay",),
    ),
    Metric(
        "postward_relay_changes_total",
        "counter",
        "Changes noticed at the relay; the journal has the words.",
        ("relay", "change"),
    ),
    Metric(
        "postward_relay_is_fallback",
        "gauge",
        "1 for a relay that only takes mail while another cannot.",
        ("relay",),
    ),
    # --- postward sink
    Metric(
        "postward_sink_mails_total",
        "counter",
        "Mails that came in at the sink: probes (the first copy of each arrived or altered, further ones duplicate), "
        "and what was refused.",
        ("outcome",),
    ),
    Metric(
        "postward_sink_delay_seconds",
        "histogram",
        "Time from a probe's submission to its arrival, by the clocks of both hosts.",
        (),
        DELAY_BUCKETS,
        "seconds",
    ),
    Metric("postward_sink_remembered", "gauge", "Probes whose arrival the sink remembers."),
    # --- incidents
    Metric(
        "postward_incident_open",
        "gauge",
        "Open incidents, by symptom, relay, and effect on mail (lost, delayed, rejected, note).",
        ("symptom", "relay", "effect"),
    ),
    Metric("postward_incidents_opened_total", "counter", "Incidents that opened or reopened."),
    Metric(
        "postward_incidents_dropped_total",
        "counter",
        "Incidents forgotten or not opened because the maximum of 64 was open. "
        "Each line of an incident that was not opened counts.",
    ),
    Metric(
        "postward_notices_total",
        "counter",
        "Notices to notify.webhook_url: sent, failed after all tries, or dropped because too many waited.",
        ("result",),
    ),
    # --- the agent
    Metric(
        "postward_web_config_last_reload_successful",
        "gauge",
        "1 if the web configuration file could be read when it last changed.",
    ),
    Metric(
        "postward_web_config_last_reload_success_timestamp_seconds",
        "gauge",
        "When the web configuration file in force was read.",
    ),
    Metric(
        "postward_web_connections_refused_total",
        "counter",
        "Connections to the endpoint that were closed because there were too many, or that were too slow.",
    ),
    Metric(
        "postward_events_dropped_total",
        "counter",
        "Events that could not be written to events.target in time.",
    ),
    Metric("postward_build_info", "gauge", "1, labelled with the version.", ("version",)),
)

BY_NAME = {metric.name: metric for metric in METRICS}
