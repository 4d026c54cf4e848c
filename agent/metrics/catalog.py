"""The table of all metrics: name, type, help, labels, buckets. Exposition and documentation are generated from it.

Metrics of Postfix begin with `postfix_`, metrics of Postward itself with `postward_`. Label values come from closed
sets, so no log can create series without limit: `relay` is a relay's name in the settings, or other, none, local.
"""

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

# Seconds. A healthy relay answers in 0.1 to 3 s. Greylisting and retries take from minutes to five days, the default
# of maximal_queue_lifetime.
DELAY_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0, 432000.0)
STAGE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
# Bytes: from one line of cron output to the size limits of the large providers (25 to 50 MB).
SIZE_BUCKETS = (1e3, 1e4, 1e5, 1e6, 1e7, 2.5e7, 5e7)
RECIPIENT_BUCKETS = (1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 1000.0)


class Metric(NamedTuple):
    """One row of the table. A histogram has `buckets`, upper bounds in `unit` without +Inf."""

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
        "Delivery attempts by outcome; each retry of a deferred message counts.",
        ("postfix_instance", "relay", "status"),
    ),
    Metric(
        "postfix_delivery_failures_total",
        "counter",
        "Delivery attempts that did not succeed, by cause.",
        ("postfix_instance", "relay", "cause"),
    ),
    Metric(
        "postfix_deliveries_kept_back_total",
        "counter",
        "Deliveries with status sent whose reply says that the server does not pass the mail on: suppressed, quarantined or "
        "discarded.",
        ("postfix_instance", "relay", "kept_back"),
    ),
    Metric(
        "postfix_direct_deliveries_total",
        "counter",
        "Delivery attempts without a relay (relay.direct), by the operator of the recipient's mail server.",
        ("operator", "status"),
    ),
    Metric(
        "postfix_direct_delivery_failures_total",
        "counter",
        "Delivery attempts without a relay that did not succeed, by the operator of the recipient's mail server.",
        ("operator", "cause"),
    ),
    Metric(
        "postfix_delivery_delay_seconds",
        "histogram",
        "Time from a message's arrival to its final status (sent or bounced).",
        ("relay",),
        DELAY_BUCKETS,
        "seconds",
    ),
    Metric(
        "postfix_delivery_stage_delay_seconds",
        "histogram",
        "Delay of sent or bounced messages by stage (delays=a/b/c/d).",
        ("relay", "delay_stage"),
        STAGE_BUCKETS,
        "seconds",
    ),
    Metric(
        "postfix_delivery_last_success_timestamp_seconds",
        "gauge",
        "When a delivery last succeeded, by the time stamp in the log.",
        ("relay",),
    ),
    Metric(
        "postfix_delivery_last_failure_timestamp_seconds",
        "gauge",
        "When a delivery last failed, by the time stamp in the log.",
        ("relay",),
    ),
    # --- connections
    Metric(
        "postfix_connection_failures_total",
        "counter",
        "Failed connections to an address of a relay, even if another address then accepted the message.",
        ("relay", "cause"),
    ),
    Metric(
        "postfix_tls_connections_total",
        "counter",
        "TLS sessions with a relay (requires smtp_tls_loglevel of at least 1).",
        ("relay", "protocol", "trust"),
    ),
    Metric(
        "postfix_tls_failures_total",
        "counter",
        "Failed TLS handshakes with a relay, and certificates that failed verification.",
        ("relay", "cause"),
    ),
    Metric(
        "postfix_sasl_problems_total",
        "counter",
        "Errors of the SASL library of smtp(8), and relays that offer no AUTH mechanism it supports.",
        ("kind",),
    ),
    # --- messages
    Metric(
        "postfix_messages_received_total",
        "counter",
        "Messages that entered the queue.",
        ("postfix_instance", "via"),
    ),
    Metric(
        "postfix_messages_submitted_total",
        "counter",
        "Messages that first entered the active queue, by the way in (local, authenticated, network). uid is the local user "
        "whose program submitted them (other beyond 50 users), and empty for clients.",
        ("postfix_instance", "via", "uid"),
    ),
    Metric(
        "postfix_recipients_submitted_total",
        "counter",
        "Recipients of the messages of postfix_messages_submitted_total.",
        ("postfix_instance", "via", "uid"),
    ),
    Metric(
        "postfix_messages_removed_total", "counter", "Messages that left the queue.", ("postfix_instance",)
    ),
    Metric(
        "postfix_messages_expired_total",
        "counter",
        "Messages returned to the sender after maximal_queue_lifetime.",
        ("postfix_instance",),
    ),
    Metric(
        "postfix_messages_refused_total",
        "counter",
        "Messages that a daemon of this Postfix, cleanup(8) or qmgr(8), rejected.",
        ("daemon",),
    ),
    Metric(
        "postfix_queue_activations_total",
        "counter",
        "Times that a message entered the active queue; if higher than the messages received, there were retries.",
        ("postfix_instance",),
    ),
    Metric(
        "postfix_notifications_total",
        "counter",
        "Notifications that Postfix sent about messages, by kind.",
        ("kind",),
    ),
    Metric(
        "postfix_message_size_bytes",
        "histogram",
        "Size of messages, observed when they first enter the active queue.",
        (),
        SIZE_BUCKETS,
        "bytes",
    ),
    Metric(
        "postfix_message_recipients",
        "histogram",
        "Recipients per message, observed when it first enters the active queue.",
        (),
        RECIPIENT_BUCKETS,
        "recipients",
    ),
    Metric(
        "postfix_submission_failures_total",
        "counter",
        "Messages that sendmail(1) or postdrop(1) could not submit.",
    ),
    # --- this host's daemons
    Metric(
        "postfix_daemon_problems_total",
        "counter",
        "Log lines with severity warning or higher.",
        ("daemon", "severity"),
    ),
    Metric(
        "postfix_daemon_exits_total",
        "counter",
        "Daemon processes that were killed by a signal or exited with a nonzero status.",
        ("daemon",),
    ),
    Metric(
        "postfix_daemon_throttled_total",
        "counter",
        "Times that master(8) delayed the start of a daemon because it keeps failing.",
        ("daemon",),
    ),
    Metric(
        "postfix_process_limits_total",
        "counter",
        "Times that a service reached its process limit.",
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
        "Log lines about a full disk, or exhausted memory, file descriptors or processes.",
    ),
    Metric("postfix_master_events_total", "counter", "Starts, reloads and stops of Postfix.", ("event",)),
    Metric("postfix_up", "gauge", "1 if Postfix's master(8) process is running."),
    # --- the queue as listed by postqueue(1)
    Metric(
        "postfix_queue_messages",
        "gauge",
        "Messages in a queue by the cause of the last failure, taken from the first recipient that has one.",
        ("queue", "cause"),
    ),
    Metric("postfix_queue_bytes", "gauge", "Total size of the messages in a queue.", ("queue",)),
    Metric(
        "postfix_queue_oldest_age_seconds",
        "gauge",
        "Time since the arrival of the oldest message in a queue; 0 if it is empty.",
        ("queue",),
    ),
    Metric("postward_queue_readable", "gauge", "1 if the last attempt to list the queue succeeded."),
    Metric(
        "postward_queue_read_timestamp_seconds",
        "gauge",
        "When the last listing of the queue began; a large queue is listed less often than it is scraped.",
    ),
    Metric(
        "postward_queue_read_duration_seconds", "gauge", "Duration of the last attempt to list the queue."
    ),
    # --- hosts that accept mail
    Metric("postfix_smtpd_connections_total", "counter", "Client connections to smtpd(8)."),
    Metric(
        "postfix_smtpd_lost_connections_total",
        "counter",
        "Client sessions that ended early (lost, timed out, too many errors), by the last command.",
        ("after",),
    ),
    Metric(
        "postfix_smtpd_verdicts_total",
        "counter",
        "Client commands that smtpd(8) rejected or applied another access(5) action to.",
        ("action", "reply"),
    ),
    Metric("postfix_smtpd_sasl_failures_total", "counter", "Failed client logins."),
    Metric(
        "postfix_smtpd_tls_connections_total", "counter", "TLS sessions with clients.", ("protocol", "trust")
    ),
    Metric(
        "postfix_smtpd_limits_total",
        "counter",
        "Client requests above a rate or connection limit of anvil(8).",
    ),
    Metric(
        "postfix_postscreen_verdicts_total", "counter", "Verdicts of postscreen(8) on clients.", ("verdict",)
    ),
    Metric(
        "postfix_dnsbl_listings_total", "counter", "Clients found on a DNS block list, counted once per list."
    ),
    # --- reading the log
    Metric(
        "postward_log_lines_total",
        "counter",
        "Log lines read, by outcome: event, generic (known by severity only), unrecognised, foreign.",
        ("outcome",),
    ),
    Metric(
        "postward_log_last_line_timestamp_seconds",
        "gauge",
        "When the last Postfix line was written, by its time stamp.",
    ),
    Metric("postward_log_unread_bytes", "gauge", "Bytes of the log that are not yet read."),
    Metric("postward_log_readable", "gauge", "1 if the log can be read."),
    Metric(
        "postward_log_read_errors_total",
        "counter",
        "Times that a log source became unreadable.",
    ),
    Metric(
        "postward_log_losses_total",
        "counter",
        "Gaps in the log, and lines that a rate limit of journald or rsyslog suppressed.",
    ),
    Metric(
        "postward_log_disk_free_bytes",
        "gauge",
        "Free bytes on the log's file system; a full one accepts no lines.",
    ),
    Metric(
        "postward_log_test_lines_total",
        "counter",
        "Test lines that Postward sent through postlog(1), by result.",
        ("result",),
    ),
    Metric(
        "postward_log_test_line_success",
        "gauge",
        "1 if the last test line appeared in the log, 0 if not; absent where none can be sent.",
    ),
    Metric(
        "postward_log_test_line_latency_seconds",
        "gauge",
        "Time from the start of postlog(1) until the last test line that appeared in the log was read.",
    ),
    Metric(
        "postward_checkpoint_timestamp_seconds",
        "gauge",
        "When log position and counts were last saved; after a crash the agent resumes from there.",
    ),
    Metric(
        "postward_part_failures_total",
        "counter",
        "Failures of a part of the agent, such as a look for which no file descriptor was left; each is tried again.",
        ("part",),
    ),
    Metric("postward_checkpoint_errors_total", "counter", "Failed attempts to save log position and counts."),
    # --- settings
    Metric(
        "postward_settings_in_force",
        "gauge",
        "1 if the current settings file is in force; 0 if it has errors and the previous settings stay in force.",
    ),
    Metric("postward_settings_loaded_timestamp_seconds", "gauge", "When the settings in force were loaded."),
    # --- enforcement
    Metric(
        "postward_config_in_sync",
        "gauge",
        "1 if Postfix's configuration matches the settings; absent while postward_enforcer_up is not 1.",
    ),
    Metric(
        "postward_enforcer_up",
        "gauge",
        "1 if the enforcer compares configuration and settings at its interval; 0 if not; absent if it never did.",
    ),
    Metric(
        "postward_config_check_timestamp_seconds",
        "gauge",
        "When Postfix's configuration was last compared with the settings.",
    ),
    Metric(
        "postward_config_drift",
        "gauge",
        "1 for each parameter or file that differs from the settings now.",
        ("parameter",),
    ),
    Metric(
        "postward_config_conflict",
        "gauge",
        "1 for each parameter or file that another tool keeps changing; Postward does not repair it.",
        ("parameter",),
    ),
    Metric(
        "postward_config_repairs_total",
        "counter",
        "Parameters and files whose drift was repaired.",
        ("parameter",),
    ),
    Metric(
        "postward_config_applies_total",
        "counter",
        "Attempts to change the configuration, by result.",
        ("result",),
    ),
    # --- probes
    Metric(
        "postward_probes_total",
        "counter",
        "Probes by outcome (accepted, arrived, returned, failed, late, lost, duplicate, altered); step is the one at which a probe "
        "stopped or spent the most time, empty if it was accepted or has arrived.",
        ("relay", "outcome", "step"),
    ),
    Metric(
        "postward_probe_success",
        "gauge",
        "1 if the last probe of each sender was in time: accepted by the relay and, if arrivals are watched, arrived.",
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
        "Duration of each step of the last finished probe.",
        ("relay", "step"),
    ),
    Metric(
        "postward_probe_arrived",
        "gauge",
        "1 if the newest probe of each sender arrived once, unchanged and in time; 0 if the relay accepted one that did "
        "not. Missing if arrivals are not watched, or not known.",
        ("relay",),
    ),
    Metric(
        "postward_probe_arrivals_total",
        "counter",
        "Probes that arrived in the mailbox, by kind of folder: inbox or spam.",
        ("relay", "folder"),
    ),
    Metric(
        "postward_probe_verdicts_total",
        "counter",
        "Verdicts of the mailbox's server on arrived probes, by method (spf, dkim, dmarc) and result (RFC 8601).",
        ("relay", "method", "verdict"),
    ),
    Metric(
        "postward_probe_in_spam",
        "gauge",
        "1 if the newest arrived probe of a sender is in a folder for spam.",
        ("relay",),
    ),
    Metric(
        "postward_probe_authenticated",
        "gauge",
        "1 if the newest arrived probe of each sender passed the method (spf, dkim, dmarc), 0 if one failed it; missing "
        "without such a verdict.",
        ("relay", "method"),
    ),
    Metric(
        "postward_probe_returned",
        "gauge",
        "1 if the relay returns probes that it has accepted, 0 if not, as far as a mailbox shows it.",
        ("relay",),
    ),
    Metric(
        "postward_mailbox_readable",
        "gauge",
        "1 if the last look into the mailbox of the probes succeeded.",
    ),
    # --- mail that comes back
    Metric(
        "postward_dsn_recipients_total",
        "counter",
        "Recipients in the delivery status notifications (RFC 3464) that came to the mailbox of bounces, by the relay that "
        "had accepted the mail, action (failed, delayed, delivered, relayed, expanded) and cause; other: no known mail.",
        ("relay", "action", "cause"),
    ),
    Metric(
        "postward_bounces_readable",
        "gauge",
        "1 if the last look into the mailbox of bounces succeeded.",
    ),
    # --- checks of the relays
    Metric(
        "postward_relay_reachable",
        "gauge",
        "1 if the last check of the relay got as far as the login: name, connection, greeting, EHLO, TLS.",
        ("relay",),
    ),
    Metric(
        "postward_relay_auth_accepted",
        "gauge",
        "1 if the relay accepted the last login.",
        ("relay",),
    ),
    Metric(
        "postward_token_expiry_timestamp_seconds",
        "gauge",
        "When the access token with which Postfix logs in expires or expired.",
        ("relay",),
    ),
    Metric(
        "postward_token_received_timestamp_seconds",
        "gauge",
        "When that access token was received.",
        ("relay",),
    ),
    Metric(
        "postward_token_renewals_total",
        "counter",
        "Requests for an access token by outcome: renewed, refused (by the server, lasting) or failed (tried again).",
        ("relay", "outcome"),
    ),
    Metric(
        "postward_token_grant_timestamp_seconds",
        "gauge",
        "When `postward login` stored the refresh token, or the first one of its line.",
        ("relay",),
    ),
    Metric(
        "postward_token_credential_expiry_timestamp_seconds",
        "gauge",
        "When the first of client secret, certificate and refresh token expires, as far as known.",
        ("relay",),
    ),
    Metric("postward_relay_check_timestamp_seconds", "gauge", "When the relay was last checked.", ("relay",)),
    Metric(
        "postward_relay_step_duration_seconds",
        "gauge",
        "Duration of each step of the last check.",
        ("relay", "step"),
    ),
    Metric(
        "postward_relay_starttls_offered",
        "gauge",
        "1 if the relay offered STARTTLS when last observed.",
        ("relay",),
    ),
    Metric(
        "postward_relay_certificate_valid",
        "gauge",
        "1 if the relay's last observed certificate was valid for its name and trusted on this host.",
        ("relay",),
    ),
    Metric(
        "postward_relay_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the relay's last observed certificate expires or expired.",
        ("relay",),
    ),
    Metric(
        "postward_relay_client_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the certificate that this host presents to the relay (client_certificate) expires or expired.",
        ("relay",),
    ),
    Metric(
        "postward_relay_passwords_end_timestamp_seconds",
        "gauge",
        "When the provider switches logins by password off by default, for a relay that uses one, if it has announced a day.",
        ("relay",),
    ),
    Metric(
        "postward_relay_changes_total",
        "counter",
        "Changes noticed at the relay; the agent's log describes them.",
        ("relay", "change"),
    ),
    Metric(
        "postward_relay_is_fallback",
        "gauge",
        "1 for a relay that is used only while another relay is unavailable.",
        ("relay",),
    ),
    Metric(
        "postward_relay_limit_ratio",
        "gauge",
        "Recipients that the relay accepted in the last hour or day, over relay.hourly_limit or daily_limit.",
        ("relay", "window"),
    ),
    Metric(
        "postward_relay_limit_used_up_timestamp_seconds",
        "gauge",
        "When a limit of the relay is used up at the rate of the last hour; absent if it is not within its window.",
        ("relay", "window"),
    ),
    Metric(
        "postward_mail_flood",
        "gauge",
        "1 while far more mail leaves in the last hour or day than in the last weeks at this hour of the week.",
        ("window",),
    ),
    # --- postward sink
    Metric(
        "postward_sink_mails_total",
        "counter",
        "Messages received by the sink: the first copy of a probe is arrived or altered, further copies are duplicate; "
        "other messages are refused.",
        ("outcome",),
    ),
    Metric(
        "postward_sink_delay_seconds",
        "histogram",
        "Time from a probe's submission to its arrival, by the clocks of the two hosts.",
        (),
        DELAY_BUCKETS,
        "seconds",
    ),
    Metric("postward_sink_remembered", "gauge", "Arrived probes that the sink remembers."),
    # --- incidents
    Metric(
        "postward_incident_open",
        "gauge",
        "Open incidents, by symptom, relay, and effect on mail (lost, delayed, rejected, note).",
        ("symptom", "relay", "effect"),
    ),
    Metric(
        "postward_incidents_opened_total",
        "counter",
        "Incidents that were confirmed, for the first time or again.",
    ),
    Metric(
        "postward_incidents_dropped_total",
        "counter",
        "Incidents dropped or not opened because the maximum of 64 was open. "
        "Each log line of an incident that was not opened counts.",
    ),
    Metric(
        "postward_notices_total",
        "counter",
        "Notifications by HTTP or mail: sent, failed after all attempts, or dropped because too many waited.",
        ("result",),
    ),
    # --- the agent
    Metric(
        "postward_web_config_last_reload_successful",
        "gauge",
        "1 if the last load of the web configuration file succeeded.",
    ),
    Metric(
        "postward_web_config_last_reload_success_timestamp_seconds",
        "gauge",
        "When the web configuration file in force was read.",
    ),
    Metric(
        "postward_web_connections_refused_total",
        "counter",
        "Connections to the endpoint that were closed: too many, too slow, or a failed TLS handshake.",
    ),
    Metric(
        "postward_events_dropped_total",
        "counter",
        "Events that could not be written to events.target in time.",
    ),
    Metric(
        "postward_build_info",
        "gauge",
        "1, labelled with the version, the revision of its source (empty if unknown) and the version of Python.",
        ("version", "revision", "python"),
    ),
)

BY_NAME = {metric.name: metric for metric in METRICS}

# Metrics of prometheus-postfix-exporter that need counts of their own (`legacy_counts.py`), with its names and buckets.
# They are counted and exported only with web.legacy_metrics. The other ones are computed from METRICS (`legacy.py`).
_LEGACY_BUCKETS = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 3600.0, 86400.0, 172800.0)
LEGACY: tuple[Metric, ...] = (
    Metric(
        "postfix_lmtp_delivery_delay_seconds",
        "histogram",
        "Delay of lmtp(8) by stage.",
        ("stage",),
        _LEGACY_BUCKETS,
        "seconds",
    ),
    Metric(
        "postfix_pipe_delivery_delay_seconds",
        "histogram",
        "Delay of pipe(8) by stage.",
        ("relay", "stage"),
        _LEGACY_BUCKETS,
        "seconds",
    ),
    Metric(
        "postfix_smtp_deferred_messages_by_dsn_total",
        "counter",
        "Deliveries that were deferred, by enhanced status code.",
        ("dsn",),
    ),
    Metric(
        "postfix_smtp_bounced_messages_by_dsn_total",
        "counter",
        "Deliveries that bounced, by enhanced status code.",
        ("dsn",),
    ),
    Metric("postfix_smtpd_disconnects_total", "counter", "Connections of clients that ended."),
    Metric(
        "postfix_smtpd_forward_confirmed_reverse_dns_errors_total",
        "counter",
        "Clients whose name does not resolve to their address.",
    ),
    Metric(
        "postfix_smtpd_messages_processed_total",
        "counter",
        "Messages of clients, by the mechanism of their login.",
        ("sasl_method",),
    ),
    Metric("postfix_virtual_delivered_total", "counter", "Deliveries by virtual(8)."),
)
STORED = METRICS + LEGACY
STORED_BY_NAME = {metric.name: metric for metric in STORED}
