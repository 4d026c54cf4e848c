"""Makes Prometheus's rule files, Grafana's own rules and an example for Alertmanager from the tables of alerts. Pure.

`pace` divides all times: the short form of the fault drill plays hours in a minute.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from grafana.alerts import ALERTS, RECORDS, WHY, Alert

_TIME = re.compile(r"\b(\d+)([smhd])\b")
_WINDOW = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])|(?<=offset )(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HEAD = "# Made from the tables in grafana/alerts.py by `make docs`; change them there.\n"


def recording_rules(pace: int = 1) -> str:
    """Return a rule file with the recording rules."""
    return _HEAD + _yaml({"groups": _recording_groups(pace)})


def _recording_groups(pace: int) -> list[dict[str, Any]]:
    rules = [{"record": record.name, "expr": _paced(record.expr, pace)} for record in RECORDS]
    return [{"name": "postward.records", "rules": rules}]


def alerting_rules(pace: int = 1) -> str:
    """Return a rule file with the alerts, in a group for each layer."""
    return (
        _HEAD
        + "# The group of blindness is first: all other alerts rely on the log being read.\n"
        + _yaml({"groups": _alerting_groups(pace)})
    )


def _alerting_groups(pace: int) -> list[dict[str, Any]]:
    return [
        {
            "name": f"postward.{layer}",
            "rules": [_rule(alert, pace) for alert in ALERTS if alert.layer == layer],
        }
        for layer in ("blindness", "cause", "symptom")
    ]


def kubernetes_rules() -> str:
    """Return both kinds of rules as one object for Prometheus Operator (PrometheusRule, monitoring.coreos.com/v1)."""
    return _HEAD + _yaml(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "postward", "labels": {"app.kubernetes.io/name": "postward"}},
            "spec": {"groups": [*_recording_groups(1), *_alerting_groups(1)]},
        }
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
    # The only time that is written as a number of seconds, in a comparison of timestamps.
    expr = expr.replace("_timestamp_seconds - 60", f"_timestamp_seconds - {60 // pace}")
    return _WINDOW.sub(lambda match: _shorter(match[0], pace), expr)


def _shorter(time: str, pace: int) -> str:
    match = _TIME.fullmatch(time)
    assert match is not None, time  # noqa: S101 - the durations come from the table
    if pace == 1:
        return time
    return f"{max(4, int(match[1]) * _SECONDS[match[2]] // pace)}s"


def alertmanager_example() -> str:
    """Return an example for Alertmanager: one notification for each fault, and not by mail alone."""
    return """\
# An example. A fault is one notification: blindness inhibits all alerts that may be wrong, a cause inhibits its symptoms.
# Do not send alerts about mail by mail alone. Use a webhook, a pager, or mail through a host that these rules do not cover.
route:
  receiver: pager
  group_by: [alertname, instance, multi_instance, log_host, relay]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 4h
receivers:
  - name: pager
    webhook_configs:
      - url: http://127.0.0.1:9099/alerts
inhibit_rules:
  - source_matchers: [alertname = PostwardDown]
    target_matchers: [layer =~ "cause|symptom"]
    equal: [instance]
  # multi_instance: the instance of Postfix, on a host with several of them. log_host: a host whose log this one collects.
  - source_matchers: [layer = blindness, severity = critical]
    target_matchers: [layer =~ "cause|symptom"]
    equal: [instance, multi_instance]
  - source_matchers: [layer = cause, severity = critical]
    target_matchers: [layer = symptom]
    equal: [instance, multi_instance, log_host]
  - source_matchers: [alertname = PostfixRelayTlsBroken]
    target_matchers: [alertname =~ "PostfixRelayCertificate.*"]
    equal: [instance, multi_instance, log_host, relay]
  # These warnings explain the symptoms of the same host, such as a growing queue.
  - source_matchers: [alertname =~ "PostfixRelayRateLimited|PostfixRelayMailRefused"]
    target_matchers: [layer = symptom]
    equal: [instance, multi_instance, log_host]
"""


def grafana_rules() -> str:
    """Return the same alerts for provisioning in Grafana. The recording rules must be loaded into Prometheus."""
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
        # As in Prometheus, an expression without a result does not fire.
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
    # A result is an alert, whatever its value: the value of "postfix_up == 0" is 0.
    yield {
        "refId": "fires",
        "relativeTimeRange": span,
        "datasourceUid": "__expr__",
        "model": {"refId": "fires", "type": "math", "expression": "is_number($query)"},
    }


def _yaml(value: Any) -> str:
    # The detour through JSON avoids anchors for values that occur twice.
    text: str = yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False, width=130, allow_unicode=True)
    return text
