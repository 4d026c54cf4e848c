"""Checks the names in a PromQL expression against the table of metrics, without a Prometheus server."""

import re
from collections.abc import Iterator

from grafana.alerts import RECORDS
from postward.agent.metrics.catalog import BY_NAME, Metric
from postward.agent.metrics.collector import MULTI_INSTANCE
from postward.agent.metrics.exposition import HOST_LABEL
from postward.parsers import Cause

_NAME = r"\b((?:postfix|postward)_\w+)"
RECORDED = {record.name for record in RECORDS}
# Labels that are not in the table: of the target, of an agent for several instances or hosts, of histograms, of alerts.
TARGET = {"job", "instance", MULTI_INSTANCE, HOST_LABEL, "le", "alertname", "alertstate", "severity", "layer"}


def metric_of(name: str) -> Metric | None:
    """Return the metric of a name; None if there is none. A histogram has three names."""
    base = BY_NAME.get(re.sub(r"_(bucket|sum|count)$", "", name))
    return BY_NAME.get(name) or (base if base is not None and base.kind == "histogram" else None)


def faults_of(expression: str) -> Iterator[str]:
    """Yield the metrics, labels, causes and recording rules of an expression that do not exist."""
    names = sorted(set(re.findall(_NAME + r"(?=[{\[\s),]|$)", expression)))
    yield from (f"metric {name}" for name in names if metric_of(name) is None)
    for name, selector in re.findall(_NAME + r"\{([^}]*)\}", expression):
        yield from _selector_faults(name, selector)
    records = re.findall(r"\b((?:instance|relay):[\w:]+)", expression)
    yield from (f"record {name}" for name in records if name not in RECORDED)
    known = TARGET.union(
        *(metric.labels for name in names if (metric := metric_of(name))), {"relay"} if records else ()
    )
    for group in re.findall(r"\b(?:by|on|ignoring) \(([^)]*)\)", expression):
        yield from (f"group label {label}" for label in group.split(", ") if label not in known)


def _selector_faults(name: str, selector: str) -> Iterator[str]:
    metric = metric_of(name)
    for label, value in re.findall(r'(\w+)[=!]~?"([^"]*)"', selector):
        if metric and label not in {*metric.labels, *TARGET}:
            yield f"label {label} of {name}"
        if label == "cause" and "$" not in value:
            yield from (
                f"cause {cause}" for cause in value.split("|") if cause not in {*Cause, "none", ".+", ".*"}
            )
