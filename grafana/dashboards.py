# ruff: noqa: E501, ISC004 - a query stays whole, so that it can be searched
"""The dashboards as tables of panels, built with grafana-foundation-sdk and written as JSON.

`host`: is mail going out, why not, since when. `fleet`: which hosts fail, with links to `host`.

Each query is checked against the table of metrics, and run on a real Prometheus by the fault drill.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Look = Literal["stat", "graph", "stacked", "states", "table", "bars", "heatmap"]
_BUILDERS: Final[Mapping[Look, Any]] = {
    "stat": stat.Panel,
    "graph": timeseries.Panel,
    "stacked": timeseries.Panel,
    "states": statetimeline.Panel,
    "table": table.Panel,
    "bars": bargauge.Panel,
    "heatmap": heatmap.Panel,
}
# The schema of Grafana 12.3, the last one of this format; the SDK writes an older one, and nothing here changed between
# them.
SCHEMA: Final = 42
# Grafana asks for the inputs when the file is imported, and checks the releases. Provisioning ignores both.
INPUTS: Final = [
    {
        "name": "DS_PROMETHEUS",
        "label": "Prometheus",
        "description": "The data source with the metrics of Postward.",
        "type": "datasource",
        "pluginId": "prometheus",
        "pluginName": "Prometheus",
    }
]
REQUIRES: Final = [
    {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.1.0"},
    {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
]
DATASOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: queries with their legends, and how they are shown. `width` is of 24."""

    title: str
    look: Look
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    width: int = 12
    height: int = 7
    description: str = ""
    # Values with a colour: (from this value on, colour).
    steps: tuple[tuple[float | None, str], ...] = ()
    words: tuple[tuple[str, str, str], ...] = ()  # value, text, colour
    link: tuple[str, str] | None = None  # title and URL, opened from a row


@dataclass(frozen=True, slots=True)
class Row:
    """A row of panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A dashboard."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    per_host: bool


# The labels of an agent for several instances of Postfix, and of hosts whose logs it collects. Other series have neither.
_HOST: Final = 'job=~"$job",instance=~"$instance",multi_instance=~"|$multi_instance",log_host=~"$log_host"'
_RELAY: Final = _HOST + ',relay=~"$relay|none|other"'
_YES: Final = (("1", "yes", "green"), ("0", "no", "red"))
_GOOD: Final = ((None, "red"), (1.0, "green"))
_BAD: Final = ((None, "green"), (1.0, "red"))

HOST: Final = Sheet(
    "postward-host",
    "Postward / host",
    "Is mail of this host going out, why not, and since when.",
    (
        Row("Is mail going out?", (
            Panel("Postfix", "stat", ((f"postfix_up{{{_HOST}}}", "runs"),), width=3, height=4, words=_YES),
            Panel("Last success", "stat",
                  ((f"time() - max by (relay) (postfix_delivery_last_success_timestamp_seconds{{{_RELAY}}})", "{{relay}}"),), "s", 5, 4,
                  "Time since the relay last took a mail of users."),
            Panel("Success ratio, 15 min", "stat",
                  ((f'sum by (relay) (rate(postfix_deliveries_total{{{_RELAY},status="sent"}}[15m])) '
                    f"/ (sum by (relay) (rate(postfix_deliveries_total{{{_RELAY}}}[15m])) > 0)", "{{relay}}"),), "percentunit", 5, 4,
                  steps=((None, "red"), (0.8, "orange"), (0.95, "green"))),
            Panel("Probe", "stat", ((f"postward_probe_success{{{_RELAY}}}", "{{relay}}"),), width=4, height=4, words=_YES),
            Panel("Waiting mail", "stat", ((f'sum(postfix_queue_messages{{{_HOST},queue=~"active|deferred"}})', "mails"),), width=3, height=4),
            Panel("Oldest mail", "stat",
                  ((f'max(postfix_queue_oldest_age_seconds{{{_HOST},queue="deferred"}})', "age"),), "s", 4, 4,
                  steps=((None, "green"), (3600.0, "orange"), (14400.0, "red"))),
            Panel("Attempts by outcome", "stacked",
                  ((f"sum by (status) (rate(postfix_deliveries_total{{{_RELAY}}}[$__rate_interval]))", "{{status}}"),), "ops"),
            Panel("Firing alerts", "states", ((f'max by (alertname) (ALERTS{{alertstate="firing",{_HOST}}}) or 0 * max(up{{{_HOST}}})', "{{alertname}}"),),
                  steps=_BAD),
        )),
        Row("Why not?", (
            Panel("Failures by cause", "stacked",
                  ((f"sum by (cause) (rate(postfix_delivery_failures_total{{{_RELAY}}}[$__rate_interval])) > 0 "
                    f"or 0 * sum(rate(postfix_delivery_failures_total{{{_RELAY}}}[$__rate_interval]))", "{{cause}}"),), "ops",
                  description="Exactly one cause for each failed attempt; the endpoint has a page for each: /runbooks/causes/CAUSE."),
            Panel("Causes of the last hour", "table",
                  ((f"topk(10, sum by (relay, cause) (increase(postfix_delivery_failures_total{{{_RELAY}}}[1h])))", ""),)),
            Panel("Connections that failed", "stacked",
                  ((f"sum by (relay, cause) (rate(postfix_connection_failures_total{{{_RELAY}}}[$__rate_interval])) > 0 "
                    f"or 0 * sum(rate(postfix_connection_failures_total{{{_RELAY}}}[$__rate_interval]))", "{{relay}} {{cause}}"),), "ops",
                  description="Also where another address of the relay then took the mail."),
            Panel("Daemons in trouble", "graph",
                  ((f"sum by (daemon) (increase(postfix_daemon_throttled_total{{{_HOST}}}[10m]))", "{{daemon}} throttled"),
                   (f"sum by (daemon) (increase(postfix_daemon_exits_total{{{_HOST}}}[10m]))", "{{daemon}} died"),
                   (f"sum by (kind) (increase(postfix_table_problems_total{{{_HOST}}}[10m]))", "table {{kind}}"),
                   (f"sum(increase(postfix_resource_problems_total{{{_HOST}}}[10m]))", "resources"))),
        )),
        Row("How long does it take?", (
            Panel("Delay until the final status", "graph",
                  tuple((f"histogram_quantile({q}, sum by (le) (rate(postfix_delivery_delay_seconds_bucket{{{_RELAY}}}[$__rate_interval])))",
                         f"p{int(float(q) * 100)}") for q in ("0.5", "0.95")), "s"),
            Panel("Delay by stage", "stacked",
                  ((f"sum by (delay_stage) (rate(postfix_delivery_stage_delay_seconds_sum{{{_RELAY}}}[$__rate_interval])) / ignoring (delay_stage) "
                    f"group_left sum(rate(postfix_delivery_delay_seconds_count{{{_RELAY}}}[$__rate_interval]))", "{{delay_stage}}"),), "s"),
            Panel("Distribution of the delay", "heatmap",
                  ((f"sum by (le) (increase(postfix_delivery_delay_seconds_bucket{{{_RELAY}}}[$__rate_interval]))", "{{le}}"),)),
            Panel("Size and recipients of mails", "graph",
                  ((f"sum(rate(postfix_message_size_bytes_sum{{{_HOST}}}[$__rate_interval])) "
                    f"/ sum(rate(postfix_message_size_bytes_count{{{_HOST}}}[$__rate_interval]))", "bytes a mail"),), "bytes"),
        )),
        Row("Accepted, and not passed on", (
            Panel("Kept back by relay", "stacked",
                  ((f"sum by (relay, kept_back) (increase(postfix_deliveries_kept_back_total{{{_RELAY}}}[1h]))",
                    "{{relay}} {{kept_back}}"),), description="The reply says 250 and suppressed, quarantined or discarded."),
            Panel("Returned by cause", "stacked",
                  ((f"sum by (relay, action, cause) (increase(postward_dsn_recipients_total{{{_RELAY}}}[1h]))",
                    "{{relay}} {{action}} {{cause}}"),), description="From the mailbox of bounces."),
        )),
        Row("Queue", (
            Panel("Mails by cause", "stacked",
                  ((f'sum by (queue, cause) (postfix_queue_messages{{{_HOST}}}) > 0 or 0 * sum(postfix_queue_bytes{{{_HOST}}})',
                    "{{queue}} {{cause}}"),)),
            Panel("Age of the oldest mail", "graph", ((f"postfix_queue_oldest_age_seconds{{{_HOST}}}", "{{queue}}"),), "s"),
            Panel("Size", "stacked", ((f"sum by (queue) (postfix_queue_bytes{{{_HOST}}})", "{{queue}}"),), "bytes"),
            Panel("In and out", "graph",
                  ((f"sum by (via) (rate(postfix_messages_received_total{{{_HOST}}}[$__rate_interval]))", "received by {{via}}"),
                   (f"sum(rate(postfix_messages_removed_total{{{_HOST}}}[$__rate_interval]))", "removed"),
                   (f"sum(rate(postfix_messages_expired_total{{{_HOST}}}[$__rate_interval]))", "expired"),
                   (f"sum(rate(postfix_queue_activations_total{{{_HOST}}}[$__rate_interval]))", "activated")), "ops"),
            Panel("Who sends", "stacked",
                  ((f"topk(10, sum by (via, uid) (rate(postfix_messages_submitted_total{{{_HOST}}}[$__rate_interval])))",
                    "{{via}} {{uid}}"),), "ops"),
            Panel("Recipients by source", "stacked",
                  ((f"topk(10, sum by (via, uid) (rate(postfix_recipients_submitted_total{{{_HOST}}}[$__rate_interval])))",
                    "{{via}} {{uid}}"),), "ops"),
        )),
        Row("Probes", (
            Panel("Probe by relay", "states", ((f"postward_probe_success{{{_RELAY}}}", "{{relay}}"),), words=_YES),
            Panel("Steps of the last probe", "bars", ((f"postward_probe_step_duration_seconds{{{_RELAY}}}", "{{relay}} {{step}}"),), "s"),
            Panel("Probes by outcome and step", "stacked",
                  ((f"sum by (outcome, step) (increase(postward_probes_total{{{_RELAY}}}[15m]))", "{{outcome}} {{step}}"),)),
            Panel("Since the last accepted probe", "graph",
                  ((f"time() - postward_probe_last_success_timestamp_seconds{{{_RELAY}}}", "{{relay}}"),), "s"),
        )),
        Row("Relay and TLS", (
            Panel("Reachable", "states", ((f"postward_relay_reachable{{{_RELAY}}}", "{{relay}}"),), width=8, words=_YES),
            Panel("Login accepted", "states", ((f"postward_relay_auth_accepted{{{_RELAY}}}", "{{relay}}"),), width=8, words=_YES),
            Panel("Certificate ends in", "stat",
                  ((f"postward_relay_certificate_expiry_timestamp_seconds{{{_RELAY}}} - time()", "{{relay}}"),), "s", 8,
                  steps=((None, "red"), (86400.0 * 7, "orange"), (86400.0 * 14, "green"))),
            Panel("TLS sessions", "stacked",
                  ((f"sum by (relay, protocol, trust) (rate(postfix_tls_connections_total{{{_RELAY}}}[$__rate_interval]))",
                    "{{relay}} {{protocol}} {{trust}}"),), "ops"),
            Panel("TLS and login failures", "stacked",
                  ((f"sum by (relay, cause) (rate(postfix_tls_failures_total{{{_RELAY}}}[$__rate_interval]))", "{{relay}} {{cause}}"),
                   (f"sum by (kind) (rate(postfix_sasl_problems_total{{{_HOST}}}[$__rate_interval]))", "SASL {{kind}}")), "ops"),
        )),
        Row("Tokens and certificates of this host", (
            Panel("Token ends in", "graph", ((f"postward_token_expiry_timestamp_seconds{{{_RELAY}}} - time()", "{{relay}}"),), "s", 8,
                  description="A saw: it rises at two thirds of a token's life. Mail waits at zero."),
            Panel("Renewals by outcome", "stacked",
                  ((f"sum by (relay, outcome) (increase(postward_token_renewals_total{{{_RELAY}}}[$__rate_interval]))",
                    "{{relay}} {{outcome}}"),), width=8),
            Panel("Secrets and certificates end in", "stat",
                  ((f"postward_token_credential_expiry_timestamp_seconds{{{_RELAY}}} - time()", "{{relay}} secret"),
                   (f"postward_relay_client_certificate_expiry_timestamp_seconds{{{_RELAY}}} - time()", "{{relay}} client certificate"),
                   (f"postward_relay_passwords_end_timestamp_seconds{{{_RELAY}}} - time()", "{{relay}} password logins")),
                  "s", 8, steps=((None, "red"), (86400.0 * 7, "orange"), (86400.0 * 30, "green"))),
        )),
        Row("Configuration", (
            Panel("As the settings say", "states", ((f"postward_config_in_sync{{{_HOST}}}", "in sync"),), words=_YES),
            Panel("Differs now", "table",
                  ((f"postward_config_drift{{{_HOST}}} or postward_config_conflict{{{_HOST}}} or 0 * postward_config_in_sync{{{_HOST}}}", ""),)),
            Panel("Changes by result", "stacked",
                  ((f"sum by (result) (increase(postward_config_applies_total{{{_HOST}}}[1h]))", "{{result}}"),)),
            Panel("Starts, reloads, stops", "stacked",
                  ((f"sum by (event) (increase(postfix_master_events_total{{{_HOST}}}[$__rate_interval]))", "{{event}}"),)),
        )),
        Row("Is this dashboard blind?", (
            Panel("Since the last log line", "stat",
                  ((f"time() - postward_log_last_line_timestamp_seconds{{{_HOST}}}", "log"),), "s", 6, 7,
                  "On an idle host as long as the time between two probes.", ((None, "green"), (900.0, "orange"), (3600.0, "red"))),
            Panel("Log readable, queue readable", "states",
                  ((f"postward_log_readable{{{_HOST}}}", "log"), (f"postward_queue_readable{{{_HOST}}}", "queue"), (f"up{{{_HOST}}}", "agent")),
                  width=10, words=_YES),
            Panel("Unread log", "graph", ((f"postward_log_unread_bytes{{{_HOST}}}", "bytes"),), "bytes", 8),
            Panel("Lines by outcome", "stacked",
                  ((f"sum by (outcome) (rate(postward_log_lines_total{{{_HOST}}}[$__rate_interval]))", "{{outcome}}"),), "ops"),
            Panel("Scrape and listing of the queue", "graph",
                  ((f"scrape_duration_seconds{{{_HOST}}}", "scrape"), (f"postward_queue_read_duration_seconds{{{_HOST}}}", "queue")), "s"),
        )),
    ),
    per_host=True,
)  # fmt: skip

_JOB: Final = 'job=~"$job"'
_OPEN_HOST: Final = (
    "Open the host",
    "/d/postward-host?var-datasource=${datasource}&var-job=${__data.fields.job}&var-instance=${__data.fields.instance}",
)
FLEET: Final = Sheet(
    "postward-fleet",
    "Postward / fleet",
    "Which hosts fail, and why.",
    (
        Row("Now", (
            Panel("Hosts", "stat", ((f"count(up{{{_JOB}}})", "hosts"),), width=4, height=4),
            Panel("Not answering", "stat", ((f"count(up{{{_JOB}}} == 0) or vector(0)", "hosts"),), width=4, height=4, steps=_BAD),
            Panel("With critical alerts", "stat",
                  ((f'count(count by (instance) (ALERTS{{{_JOB},alertstate="firing",severity="critical"}})) or vector(0)', "hosts"),),
                  width=4, height=4, steps=_BAD),
            Panel("Probes fail", "stat", ((f"count(count by (instance) (postward_probe_success{{{_JOB}}} == 0)) or vector(0)", "hosts"),),
                  width=4, height=4, steps=_BAD),
            Panel("Not as the settings say", "stat", ((f"count(postward_config_in_sync{{{_JOB}}} == 0) or vector(0)", "hosts"),),
                  width=4, height=4, steps=_BAD),
            Panel("Waiting mail", "stat", ((f"sum(instance:postfix_queue_messages:sum{{{_JOB}}})", "mails"),), width=4, height=4),
            Panel("Failing right now", "table",
                  ((f'ALERTS{{{_JOB},alertstate="firing"}} or 0 * up{{{_JOB}}}', ""),), width=24, height=9,
                  description="A row leads to its host.", link=_OPEN_HOST),
        )),
        Row("Compared", (
            Panel("Failures by cause", "stacked",
                  ((f"sum by (cause) (rate(postfix_delivery_failures_total{{{_JOB}}}[$__rate_interval])) > 0 or "
                    f"0 * sum(rate(postfix_delivery_failures_total{{{_JOB}}}[$__rate_interval]))", "{{cause}}"),), "ops"),
            Panel("Deferred ratio, worst ten", "graph",
                  ((f"topk(10, max by (instance, log_host) (relay:postfix_deliveries_deferred:ratio_rate10m{{{_JOB}}}) or 0 * max by (instance, log_host) (up{{{_JOB}}}))",
                    "{{instance}} {{log_host}}"),), "percentunit"),
            Panel("Waiting mail, most ten", "graph", ((f"topk(10, instance:postfix_queue_messages:sum{{{_JOB}}})", "{{instance}}"),)),
            Panel("Since the last success", "bars",
                  ((f"topk(20, time() - max by (instance, log_host) (postfix_delivery_last_success_timestamp_seconds{{{_JOB}}}))", "{{instance}} {{log_host}}"),), "s"),
            Panel("Delay, 95 of 100 mails", "graph",
                  ((f"topk(10, max by (instance, log_host) (relay:postfix_delivery_delay_seconds:p95_rate10m{{{_JOB}}}))", "{{instance}} {{log_host}}"),), "s"),
            Panel("Certificates end in", "bars",
                  ((f"bottomk(10, min by (relay) (postward_relay_certificate_expiry_timestamp_seconds{{{_JOB}}} - time()))", "{{relay}}"),), "s"),
            Panel("Secrets and client certificates end in", "bars",
                  ((f"bottomk(10, min by (instance, relay) (postward_token_credential_expiry_timestamp_seconds{{{_JOB}}} or "
                    f"postward_relay_client_certificate_expiry_timestamp_seconds{{{_JOB}}}) - time())", "{{instance}} {{relay}}"),), "s"),
            Panel("Tokens end in, soonest ten", "bars",
                  ((f"bottomk(10, postward_token_expiry_timestamp_seconds{{{_JOB}}} - time())", "{{instance}} {{relay}}"),), "s"),
            Panel("Versions", "table", ((f"count by (version, revision, python) (postward_build_info{{{_JOB}}})", ""),)),
            Panel("Series of a host", "graph", ((f"topk(10, scrape_samples_scraped{{{_JOB}}})", "{{instance}}"),)),
        )),
    ),
    per_host=False,
)  # fmt: skip

SHEETS: Final = (HOST, FLEET)
# Changes, as marks on all graphs: (name, query, colour).
ANNOTATIONS: Final = (
    ("Configuration changed", f"increase(postward_config_applies_total{{{_HOST}}}[1m]) > 0", "blue"),
    (
        "Postfix started or reloaded",
        f'increase(postfix_master_events_total{{{_HOST},event=~"started|reloaded"}}[1m]) > 0',
        "purple",
    ),
    ("Agent restarted", f"changes(process_start_time_seconds{{{_HOST}}}[1m]) > 0", "gray"),
)


def queries(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """Panel and query, of all panels."""
    for row in sheet.rows:
        for panel in row.panels:
            yield from ((f"{row.title} / {panel.title}", query) for query, _ in panel.queries)


def dashboard_json(sheet: Sheet) -> str:
    """The dashboard as Grafana reads it."""
    builder = (
        build.Dashboard(sheet.title)
        .uid(sheet.uid)
        .description(sheet.description)
        .tags(["postward", "postfix", "mail"])
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .editable()
    )
    for variable in _variables(sheet):
        builder = builder.with_variable(variable)
    for name, query, colour in ANNOTATIONS if sheet.per_host else ():
        builder = builder.annotation(
            build.AnnotationQuery()
            .name(name)
            .datasource(DATASOURCE)
            .enable(True)
            .icon_color(colour)
            .expr(query)
        )
    builder = builder.link(
        build.DashboardLink("Postward")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["postward"])
        .include_vars(True)
        .keep_time(True)
    )
    for row in sheet.rows:
        builder = builder.with_row(build.Row(row.title))
        for panel in row.panels:
            builder = builder.with_panel(_panel(panel, sheet))
    content = json.loads(JSONEncoder(sort_keys=True).encode(builder.build()))
    content |= {"__inputs": INPUTS, "__requires": REQUIRES, "schemaVersion": SCHEMA}
    return json.dumps(content, sort_keys=True, indent=2) + "\n"


def _variables(sheet: Sheet) -> Iterator[Any]:
    # The chosen data source of an import; for any other value Grafana takes the first.
    chosen = model.VariableOption(text="${DS_PROMETHEUS}", value="${DS_PROMETHEUS}")
    yield build.DatasourceVariable("datasource").label("Data source").type("prometheus").current(chosen)
    yield _query_variable("job", "label_values(postward_build_info, job)")
    if sheet.per_host:
        yield _query_variable("instance", 'label_values(postward_build_info{job=~"$job"}, instance)')
        yield (
            _query_variable(
                "multi_instance",
                'label_values(postward_relay_is_fallback{job=~"$job",instance=~"$instance"}, multi_instance)',
            )
            .label("Instance of Postfix")
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
        yield (
            _query_variable(
                "log_host",
                'label_values(postward_log_lines_total{job=~"$job",instance=~"$instance"}, log_host)',
            )
            .label("Host in its log (All: itself)")
            .include_all(True)
            .all_value("$^")  # no label
        )
        yield (
            _query_variable("relay", f"label_values(postward_relay_is_fallback{{{_HOST}}}, relay)")
            .multi(True)
            .include_all(True)
        )


def _query_variable(name: str, query: str) -> Any:
    return (
        build.QueryVariable(name)
        .label(name.capitalize())
        .datasource(DATASOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def _panel(panel: Panel, sheet: Sheet) -> Any:
    builder: Any = (
        _BUILDERS[panel.look]()
        .title(panel.title)
        .datasource(DATASOURCE)
        .span(panel.width)
        .height(panel.height)
    )
    if panel.description:
        builder = builder.description(panel.description)
    builder = builder.unit(panel.unit)
    for number, (query, legend) in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query).ref_id(chr(ord("A") + number)).legend_format(legend)
        if panel.look in {"table", "bars", "stat"}:
            target = target.instant()
        if panel.look == "table":
            target = target.format(PromQueryFormat.TABLE)
        builder = builder.with_target(target)
    if panel.look in {"graph", "stacked"}:
        builder = (
            builder.fill_opacity(25 if panel.look == "stacked" else 5)
            .line_width(1)
            .show_points(kinds.VisibilityMode.NEVER)
        )
        builder = builder.legend(
            common.VizLegendOptions()
            .show_legend(True)
            .placement(kinds.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
        )
    if panel.look == "stacked":
        builder = builder.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    if panel.steps:
        steps = [model.Threshold(value=value, color=colour) for value, colour in panel.steps]
        builder = builder.thresholds(
            build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
        )
        builder = builder.color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    if panel.words:
        results = {
            value: model.ValueMappingResult(text=text, color=colour) for value, text, colour in panel.words
        }
        builder = builder.mappings([model.ValueMap(options=results)])
    if panel.link:
        title, url = panel.link
        builder = builder.data_links([build.DashboardLink(title).url(url)])
    return builder
