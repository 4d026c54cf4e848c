"""The catalogue: all symptoms, and which of them a failed delivery or a line of complaint is.

Adding one is a row in `symptoms/` and a log in `tests/corpus/traps/`. The first row that fits holds, so the rows of a
module go from the particular to the general; every cause has a row without `says`, so that no failure is left without a name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from postward.agent.incidents.catalog import configuration, host, logins, network, replies, tls
from postward.agent.incidents.symptom import Symptom
from postward.parsers import Cause

ROWS: tuple[Symptom, ...] = (
    *logins.SYMPTOMS,
    *tls.SYMPTOMS,
    *network.SYMPTOMS,
    *replies.SYMPTOMS,
    *configuration.SYMPTOMS,
    *host.SYMPTOMS,
)

# id → symptom. An id may stand in several rows: different lines, the same thing.
SYMPTOMS: Mapping[str, Symptom] = {row.id: row for row in reversed(ROWS)}


def _by_cause() -> dict[Cause, tuple[Symptom, ...]]:
    # A row that a word or a daemon singles out goes before one that is only a cause.
    def general(row: Symptom) -> int:
        return (row.says is None) + (row.clue is None) + (not row.daemon)

    rows = {cause: [row for row in ROWS if row.cause is cause] for cause in Cause}
    return {
        cause: (*(row for row in found if general(row) < 3), *(row for row in found if general(row) == 3))
        for cause, found in rows.items()
    }


_BY_CAUSE = _by_cause()
_OF_LINES = tuple(row for row in ROWS if row.cause is None)


def of_delivery(daemon: str, cause: Cause, reason: str, clues: Sequence[str] = ()) -> Symptom:
    """Which symptom a failed delivery is.

    Args:
        daemon: who tried.
        cause: why it failed.
        reason: `status=STATUS` and the reason.
        clues: what the process said before.
    """
    for row in _BY_CAUSE[cause]:
        if _fits(row, daemon, reason, clues):
            return row
    raise AssertionError(cause)


def of_line(daemon: str, severity: str, text: str) -> Symptom | None:
    """Which symptom a line is that tells of no delivery; None if it is none."""
    line = text if severity in {"info", "warning", "error"} else f"{severity}: {text}"
    for row in _OF_LINES:
        if _fits(row, daemon, line, ()):
            return row
    return None


def _fits(row: Symptom, daemon: str, text: str, clues: Iterable[str]) -> bool:
    if row.daemon and not re.fullmatch(row.daemon, daemon):
        return False
    if row.says is not None and not row.says.search(text):
        return False
    return row.clue is None or any(row.clue.search(clue) for clue in clues)
