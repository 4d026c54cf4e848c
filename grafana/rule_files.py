"""The table of alerts → Prometheus's rule files, Grafana's own rules, and an example for Alertmanager. Pure.

`pace` makes times shorter by a factor: the short form of the fault drill plays hours in a minute.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from grafana.alerts_table import ALERTS, RECORDS, WHY, Alert

_TIME = re.compile(r"\b(\d+)([smhd])\b")
_WINDOW = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])|(?<=offset )(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HEAD = "# Made from the table in grafana/alerts_table.py by `make docs`; change it there.\n"


def recording_rules(pace: int = 1) -> str:
    """A rule file with the recording rules."""
    rules = [{"record": record.name, "expr": _paced(record.expr, pace)} for record in RECORDS]
    return _HEAD + _yaml({"groups": [{"name": "postward.records", "rules": rules}]})


def alerting_rules(pace: int = 1) -> str:
    """A rule file with the alerts, a group for each layer."""
    groups = [
        {
            "name": f"postward.{layer}",
            "rules": [_rule(alert, pace) for alert in ALERTS if alert.layer == layer],
        }
        for layer in ("blindness", "cause", "symptom")
    ]
    return (
        _HEAD
        + "# Blindness first: every other rule trusts that the log is read.\n"
        + _yaml({"groups": groups})
    )


def _rule(alert: Alert, pace: int) -> dict[str, Any]:
    rule: dict[str, Any] = {"alert": alert.name, "expr": _paced(alert.expr, pace)}
    if alert.pending != "0s":
        rule["for"] = _shorter(alert.pending, pace)
    return rule | {
        "labels": {"severity": alert.severity, "layer": alert.layer},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": alert.runbook,
            "why": WHY,
        },
    }


def _paced(expr: str, pace: int) -> str:
    if pace == 1:
        return expr
    # The one time that stands as a number of seconds, in a comparison of moments.
    expr = expr.replace("_timestamp_seconds - 60", f"_timestamp_seconds - {60 // pace}")
    return _WINDOW.sub(lambda match: _shorter(match[0], pace), expr)


def _shorter(time: str, pace: int) -> str:
    match = _TIME.fullmatch(time)
    assert match is not None, time  # noqa: S101 - the table's own words
    if pace == 1:
        return time
    return f"{max(4, int(match[1]) * _SECONDS[match[2]] // pace)}s"


def alertmanager_example() -> str:
    """How Alertmanager makes one notification of a fault, and by what way that must not be mail alone."""
    return """\
# An example. One fault is one notification: blindness silences what may be false, a cause silences its symptoms.
# Alerts about mail must not travel by mail alone: a webhook, a pager, or mail through a host that is not watched here.
route:
  receiver: pager
  group_by: [alertname, instance, relay]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 4h
receivers:
  - name: pager
    webhook_configs:
      - url: http://127.0.0.1:9099/alerts
inhibit_rules:
  - source_matchers: [layer = blindness, severity = critical]
    target_matchers: [layer =~ "cause|symptom"]
    equal: [instance]
  - source_matchers: [layer = cause, severity = critical]
    target_matchers: [layer = symptom]
    equal: [instance]
  - source_matchers: [alertname = PostfixRelayTlsBroken]
    target_matchers: [alertname =~ "PostfixRelayCertificate.*"]
    equal: [instance, relay]
  # Throttling and quotas are warnings of their own, and the reason for what the queue then shows.
  - source_matchers: [alertname =~ "PostfixRelayRateLimited|PostfixRelayMailRefused"]
    target_matchers: [layer = symptom]
    equal: [instance]
"""


def grafana_rules() -> str:
    """The same alerts as Grafana manages them, to be provisioned. Recording rules must be loaded into Prometheus."""
    groups = [
        {
            "orgId": 1,
            "name": f"postward-{layer}",
            "folder": "Postward",
            "interval": "1m",
            "rules": [_grafana_rule(alert) for alert in ALERTS if alert.layer == layer],
        }
        for layer in ("blindness", "cause", "symptom")
    ]
    return _HEAD + _yaml({"apiVersion": 1, "groups": groups})


def _grafana_rule(alert: Alert) -> dict[str, Any]:
    return {
        "uid": re.sub(r"(?<!^)(?=[A-Z])", "-", alert.name).lower()[:40],
        "title": alert.name,
        "condition": "fires",
        "data": list(_grafana_queries(alert)),
        # As in Prometheus: an expression without a result does not fire.
        "noDataState": "OK",
        "execErrState": "Error",
        "for": alert.pending,
        "labels": {"severity": alert.severity, "layer": alert.layer},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description.replace("$value", "$values.query.Value"),
            "runbook_url": alert.runbook,
            "why": WHY,
        },
    }


def _grafana_queries(alert: Alert) -> Iterator[dict[str, Any]]:
    span = {"from": 600, "to": 0}
    yield {
        "refId": "query",
        "relativeTimeRange": span,
        "datasourceUid": "prometheus",
        "model": {"refId": "query", "expr": alert.expr, "instant": True},
    }
    # A result, whatever its value, is an alert: zero for "postfix_up == 0".
    yield {
        "refId": "fires",
        "relativeTimeRange": span,
        "datasourceUid": "__expr__",
        "model": {"refId": "fires", "type": "math", "expression": "is_number($query)"},
    }


def _yaml(value: Any) -> str:
    # Through JSON: no anchors for what stands twice.
    text: str = yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False, width=130, allow_unicode=True)
    return text
