"""The report as one HTML file with charts: no script, and nothing is fetched when it is opened."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from postward.agent.metrics.labels import STATUSES
from postward.agent.pages import environment
from postward.agent.text import counted, seconds, size

_TOTALS: Final = (
    "received",
    "delivered",
    "deferred_mails",
    "deferrals",
    "bounced",
    "expired",
    "forwarded",
    "notifications",
    "rejected",
    "held",
    "discarded",
)
_PERCENTS: Final = ["p50", "p90", "p99", "max"]
_MAX_ROWS: Final = 100


def as_page(report: Mapping[str, Any]) -> str:
    """Return the file."""
    filters = {
        "counted": counted,
        "seconds": seconds,
        "size": size,
        "series": _series,
        "spaced": lambda name: name.replace("_", " "),
        "extract": lambda name, row: row[name],
    }
    template = environment(Path(__file__).parent, filters).get_template("report.html.j2")
    return template.render(
        report,
        over_time=[(row["start"], row) for row in report["steps"]],
        by_hour=[(f"{row['hour']:02}:00", row) for row in report["hours_of_day"] or ()],
        most_attempts=max((row["attempts"] for row in report["failures"]), default=0),
        totals_shown=_TOTALS,
        percents=_PERCENTS,
        statuses=list(STATUSES),
        max_rows=_MAX_ROWS,
    )


def _series(rows: Sequence[tuple[str, Mapping[str, int]]]) -> dict[str, list[int]]:
    """Return the values of each status, for a chart."""
    return {name: [row[name] for _, row in rows] for name in STATUSES}
