"""Runs the queries of all panels on a Prometheus, with values for their variables."""

from dataclasses import dataclass
from typing import Any

from grafana.dashboards import ANNOTATIONS, SHEETS, queries
from tools.drill.monitoring import Prometheus, fetch

# Annotations have no rows while nothing happens.
_ANNOTATIONS = {name for name, _, _ in ANNOTATIONS}
_ELSEWHERE = (  # of tokens, client certificates and a mailbox of bounces, which the hosts of the drill lack
    "Accepted, and not passed on / Returned",
    "Tokens and certificates of this host / ",
    "Compared / Secrets and client certificates",
    "Compared / Tokens end",
)


@dataclass(frozen=True)
class Shown:
    """The result of a query."""

    panel: str
    query: str
    rows: list[dict[str, Any]]

    @property
    def empty(self) -> bool:
        """True if the result must have rows and does not."""
        return not self.rows and not (self.panel in _ANNOTATIONS or self.panel.startswith(_ELSEWHERE))

    def __str__(self) -> str:
        first = self.rows[0] if self.rows else None
        labels = {key: value for key, value in first["metric"].items() if key != "job"} if first else {}
        text = f"{float(first['value'][1]):g} {labels}" if first else "nothing"
        return f"{self.panel:55} {len(self.rows):4} series, first: {text}"[:180]


def put_in(query: str, window: str) -> str:
    """Return a query with values for its variables, as Grafana sends it."""
    for variable, value in (
        ("$__rate_interval", window),
        ("$job", "postward"),
        ("$instance", ".+"),
        ("$relay", ".+"),
        ("$log_host", "$^"),
    ):
        query = query.replace(variable, value)
    return query


def shown_by(prometheus: Prometheus, window: str = "1m") -> list[Shown]:
    """Return the results of all panels and annotations."""
    pairs = [pair for sheet in SHEETS for pair in queries(sheet)] + [
        (name, query) for name, query, _ in ANNOTATIONS
    ]
    return [Shown(panel, query, prometheus.query(put_in(query, window))) for panel, query in pairs]


def rules_of(prometheus: Prometheus) -> list[dict[str, Any]]:
    """Return all rules, with their health and last error."""
    groups = fetch(f"{prometheus.url}/api/v1/rules")["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]
