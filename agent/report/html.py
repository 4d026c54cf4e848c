"""The report as one HTML file with charts: no script, and nothing is fetched when it is opened."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from postward.agent.incidents.render import HEADINGS
from postward.agent.metrics.labels import STATUSES
from postward.agent.pages import environment
from postward.agent.report.summary import PER_HOST, PER_RECIPIENT, PER_SENDER
from postward.agent.report.text import change, period_notes, sender_title
from postward.agent.text import counted, plural, seconds, size, span

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
_MAX_STEPS: Final = 1000  # bars of a chart
_DAY: Final = 86400  # seconds
_STEPS: Final = {3600: "hour", _DAY: "day"}


def as_page(report: Mapping[str, Any], files: Sequence[str], version: str) -> str:
    """Return the file.

    Args:
        report: as `summarise` returns it.
        files: the logs that were read, as the command line names them.
        version: of Postward.
    """
    filters = {
        "counted": counted,
        "plural": plural,
        "seconds": seconds,
        "size": size,
        "series": _series,
        "sender_title": sender_title,
        "spaced": lambda name: name.replace("_", " "),
        "extract": lambda name, row: row[name],
    }
    template = environment(Path(__file__).parent, filters).get_template("report.html.j2")
    width = report["accuracy"]["step_seconds"]
    over_time, has_gaps = _over_time(report["steps"], width)
    return template.render(
        report,
        effects=HEADINGS,
        over_time=over_time,
        has_gaps=has_gaps,
        step=_STEPS.get(width, f"{width // _DAY} days"),
        by_hour=[(f"{row['hour']:02}:00", row) for row in report["hours_of_day"] or ()],
        most_attempts=max((row["attempts"] for row in report["failures"]), default=0),
        files=files,
        max_rows=_MAX_ROWS,
        percents=_PERCENTS,
        change=change,
        per_host=PER_HOST,
        per_sender=PER_SENDER,
        per_recipient=PER_RECIPIENT,
        notes=list(period_notes(dict(report))),
        before_totals=(report["before"] or {}).get("totals"),
        period_of=span,
        statuses=list(STATUSES),
        totals_shown=_TOTALS,
        version=version,
    )


def _over_time(
    steps: Sequence[Mapping[str, Any]], width: int
) -> tuple[list[tuple[str, Mapping[str, int]]], bool]:
    """Return (start, numbers) of each step, and whether those without mail are left out: too many for a chart."""
    rows: dict[str, Mapping[str, int]] = {row["start"]: row for row in steps}
    if not rows:
        return [], False
    first, last = (datetime.fromisoformat(start) for start in (min(rows), max(rows)))
    number = int((last - first).total_seconds()) // width + 1
    if number > _MAX_STEPS:
        return list(rows.items()), number > len(rows)
    starts = [str(first + place * timedelta(seconds=width)) for place in range(number)]
    return [(start, rows.get(start, dict.fromkeys(STATUSES, 0))) for start in starts], False


def _series(rows: Sequence[tuple[str, Mapping[str, int]]]) -> dict[str, list[int]]:
    """Return the values of each status, for a chart."""
    return {name: [row[name] for _, row in rows] for name in STATUSES}
