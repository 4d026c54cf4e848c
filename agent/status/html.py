"""The status page: one HTML document, readable on a phone and by a screen reader.

Nothing is fetched from elsewhere, and text of the log is escaped. A short script fetches the page again every
few seconds; without script the page can be reloaded by hand.
"""

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from postward.agent.incidents.render import HEADINGS, times_and_mails
from postward.agent.metrics.labels import STATUSES
from postward.agent.pages import environment
from postward.agent.status.model import Status, limits_text, probe_words, queue_text
from postward.agent.text import plural

if TYPE_CHECKING:
    from jinja2 import Template

_MAX_RESOLVED: Final = 5
_MAX_CAUSES: Final = 6
_SCRIPT: Final = Markup(Path(__file__).with_name("status.js").read_text(encoding="utf-8").strip())  # noqa: S704 - ours
_HASH: Final = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
# Only the style and script of this page, and only this host.
POLICY: Final = (
    f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_HASH}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(status: Status) -> str:
    """Return the page."""
    day, incidents = status["day"], status["incidents"]
    series = {name: day[name] for name in STATUSES}
    return _template().render(
        {"instance": "", "instances": [], "hosts": [], "senders": {}, **status},
        open=[row for row in incidents if row["closed"] is None],
        resolved=[row for row in incidents if row["closed"] is not None][:_MAX_RESOLVED],
        attempts=_counts({name: sum(column) for name, column in series.items()}, zeros=True),
        series=series,
        steps=_steps(day),
        delays=list(zip(_ranges(day["delay_bounds_seconds"]), day["delays"], strict=True)),
        causes=list(day["causes"].items())[:_MAX_CAUSES],
        effects=HEADINGS,
        script=_SCRIPT,
    )


@cache
def _template() -> "Template":
    filters = {
        "counts": _counts,
        "iso": _iso,
        "limits": lambda relay: limits_text(relay, _moment),
        "mails": queue_text,
        "moment": _moment,
        "plural": plural,
        "probe": probe_words,
        "span": _span,
        "zone": lambda seconds: f"{_local(seconds):%Z}",
        "times_and_mails": times_and_mails,
    }
    return environment(Path(__file__).parent, filters).get_template("status.html.j2")


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()


def _iso(seconds: float) -> str:
    return _local(seconds).isoformat(timespec="seconds")


def _moment(seconds: float) -> str:
    return f"{_local(seconds):%d %b %H:%M:%S}"


def _steps(day: Mapping[str, Any]) -> list[str]:
    """Return the start of each step of the day."""
    number = len(day["sent"])
    return [
        f"{_local(day['until'] - (number - place) * day['step_seconds']):%H:%M}" for place in range(number)
    ]


def _ranges(bounds: list[float]) -> list[str]:
    return [*(f"up to {_span(bound)}" for bound in bounds), f"over {_span(bounds[-1])}"]


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"


def _counts(numbers: Mapping[str, int], *, zeros: bool = False) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.items() if number or zeros)
