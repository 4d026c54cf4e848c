"""All symptoms of the catalogue, and the lookup of the symptom of a failed delivery or of a line.

The first row that matches is used, so the rows of a module go from the specific to the general. Every cause has a row
without `text`, so every failure has a symptom. A new symptom is a row in a module beside this one, and a log in
`tests/corpus/symptoms/`.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Final

from postward.agent.incidents.catalog import (
    configuration,
    host,
    logins,
    network,
    openssl,
    replies,
    services,
    tables,
    tls,
    watching,
)
from postward.agent.incidents.catalog.symptom import Symptom, proves_cause
from postward.parsers import Cause
from postward.parsers.needles import Searches, is_found, searches

ROWS: Final[tuple[Symptom, ...]] = (
    *logins.SYMPTOMS,
    *openssl.SYMPTOMS,
    *tls.SYMPTOMS,
    *network.SYMPTOMS,
    *replies.SYMPTOMS,
    *tables.SYMPTOMS,
    *services.SYMPTOMS,
    *configuration.SYMPTOMS,
    *host.SYMPTOMS,
    *watching.SYMPTOMS,
)

# id → symptom. Several rows can have one id: different lines, the same symptom.
SYMPTOMS: Final[Mapping[str, Symptom]] = {row.id: row for row in reversed(ROWS)}


def _is_general(row: Symptom) -> bool:
    return row.text is None and row.context is None and not row.daemon


# The symptom of complaints in an excerpt that no row knows.
UNEXPLAINED: Final = "unexplained"

# Rows of deliveries by cause; those that name only the cause come last.
_BY_CAUSE: Final[Mapping[Cause, Sequence[Symptom]]] = {
    cause: sorted((row for row in ROWS if row.cause is cause), key=_is_general) for cause in Cause
}
_OF_LINES: Final = tuple(row for row in ROWS if row.cause is None)
_REMEMBERED: Final = 4096  # texts
_ADDRESS: Final = re.compile(r"\[[0-9A-Fa-f.:]++\](?::[0-9]++)?")  # no row of lines depends on it


def of_delivery(daemon: str, cause: Cause, reason: str, context: Sequence[str] = ()) -> Symptom:
    """Return the symptom of a failed delivery.

    Args:
        daemon: the delivery agent.
        cause: why it failed.
        reason: `status=STATUS` and the reason.
        context: earlier lines of the process.
    """
    folded = reason.casefold()
    return next(
        row
        for row in _BY_CAUSE[cause]
        if (not row.daemon or re.fullmatch(row.daemon, daemon))
        and _has_text(row, reason, folded)
        and (row.context is None or any(row.context.search(line) for line in context))
    )


def of_context(text: str) -> Symptom | None:
    """Return the symptom of the delivery that a line of this kind precedes, or None."""
    rows = [row for row in ROWS if row.cause is not None]
    shown = next((row for row in rows if row.context is not None and row.context.search(text)), None)
    return shown or next((row for row in rows if proves_cause(row, text)), None)


def of_line(daemon: str, severity: str, text: str) -> Symptom | None:
    """Return the symptom of a line that is not a delivery, or None."""
    line = text if severity in {"info", "warning", "error"} else f"{severity}: {text}"
    return _of_line(daemon, _ADDRESS.sub("[]", line))


@lru_cache(_REMEMBERED)
def _of_line(daemon: str, line: str) -> Symptom | None:
    folded = line.casefold()
    return next((row for row in _of_daemon(daemon) if _has_text(row, line, folded)), None)


@lru_cache(_REMEMBERED)
def _of_daemon(daemon: str) -> Sequence[Symptom]:
    """Return the rows of lines that a daemon logs; none of them has a context."""
    return tuple(
        row
        for row in _OF_LINES
        if row.context is None and (not row.daemon or re.fullmatch(row.daemon, daemon))
    )


def _has_text(row: Symptom, text: str, folded: str) -> bool:
    return row.text is None or is_found(_searches(row.text), text, folded)


@cache
def _searches(pattern: re.Pattern[str]) -> Searches:
    return searches((pattern,))
