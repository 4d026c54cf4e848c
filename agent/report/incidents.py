"""Incidents of a report: runs of failures, each with the diagnosis of the catalogue of symptoms.

Failures of one cause at one relay are one incident while less than two hours pass between them. The symptom is that of
its earliest line only, so a report never calls a cause certain; `postward why FILE` reads all lines.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from postward.agent.incidents.catalog.symptom import Symptom
from postward.agent.incidents.catalog.table import of_delivery, of_line
from postward.agent.incidents.diagnosis import names_in
from postward.agent.incidents.model import Effect
from postward.agent.incidents.remedies import fill_in, fill_in_names
from postward.agent.report.tally import Occurrences, ReportTally
from postward.agent.text import moment
from postward.config.lint.facts import HostFacts
from postward.parsers import Cause

_NO_FACTS: Final = HostFacts()
_ORDER: Final = [effect.value for effect in Effect]


def incidents_of(tally: ReportTally) -> list[dict[str, Any]]:
    """Return the incidents: lost mail first, then by number of attempts."""
    rows = [*_of_failures(tally), *_of_problems(tally)]
    rows.sort(
        key=lambda row: (
            _ORDER.index(row["effect"]),
            -row["attempts"],
            row["first"],
            row["relay"],
            row["title"],
        )
    )
    return rows


def _of_failures(tally: ReportTally) -> Iterator[dict[str, Any]]:
    by_path: defaultdict[tuple[str, str], list[tuple[int, str, Occurrences]]] = defaultdict(list)
    for (start, relay, cause, status), seen in tally.failures.items():
        by_path[relay, cause].append((start, status, seen))
    for (relay, cause), cells in by_path.items():
        cells.sort()
        run: list[tuple[int, str, Occurrences]] = []
        for cell in cells:
            if run and cell[0] - run[-1][0] > 2 * tally.width:
                yield _incident(relay, cause, run)
                run = []
            run.append(cell)
        yield _incident(relay, cause, run)


def _incident(relay: str, cause: str, cells: list[tuple[int, str, Occurrences]]) -> dict[str, Any]:
    seen = [cell[2] for cell in cells]
    _, text = min(row.example for row in seen)
    status = next(cell[1] for cell in cells if cell[2].example[1] == text)
    daemon = "local" if relay == "local" else "smtp"
    symptom = of_delivery(daemon, Cause(cause), f"status={status} {text}")
    bounced = sum(row.times for _, status, row in cells if status == "bounced")
    attempts = sum(row.times for row in seen)
    return {
        "relay": relay,
        "cause": cause,
        "effect": _effect(symptom, bounced).value,
        "first": moment(min(row.first for row in seen)),
        "last": moment(max(row.last for row in seen)),
        "attempts": attempts,
        "bounced": bounced,
        **_diagnosis(symptom, text),
        "example": text,
        "runbook": f"docs/runbooks/causes/{cause}.md",
    }


def _of_problems(tally: ReportTally) -> Iterator[dict[str, Any]]:
    for (daemon, severity, _), seen in tally.problems.items():
        symptom = of_line(daemon, severity, seen.example[1])
        if symptom is not None:
            yield {
                "relay": "",
                "cause": None,
                "effect": symptom.effect.value,
                "first": moment(seen.first),
                "last": moment(seen.last),
                "attempts": seen.times,
                "bounced": 0,
                **_diagnosis(symptom, seen.example[1]),
                "example": f"{daemon}: {severity}: {seen.example[1]}",
                "runbook": None,
            }


def _effect(symptom: Symptom, bounced: int) -> Effect:
    """A delay that became a bounce is a loss."""
    return Effect.LOST if bounced and symptom.effect is Effect.DELAYED else symptom.effect


def _diagnosis(symptom: Symptom, text: str) -> dict[str, Any]:
    names = names_in(symptom, [text])
    return {
        "symptom": symptom.id,
        "title": fill_in_names(symptom.title, names),
        "certainty": symptom.certainty.value,
        "causes": [
            {
                "what": fill_in_names(candidate.what, names),
                "setting": candidate.setting,
                "parameter": fill_in_names(candidate.parameter, names),
                "remedy": fill_in(fill_in_names(candidate.remedy, names), _NO_FACTS),
            }
            for candidate in symptom.candidates
        ],
    }
