"""The logs of staged faults, and what `postward why` makes of each: right, ambiguous or wrong. `python -m tools.incidents.traps`.

`diagnoses.tsv` beside the logs says what each fault really was, of the catalogue's candidates.
"""

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from postward.agent.incidents.diagnosis import Diagnosis, diagnose
from postward.agent.incidents.replay import read_logs
from postward.agent.incidents.symptom import Certainty, Effect
from postward.agent.incidents.tracker import Incidents
from postward.agent.metrics.labels import RelayNames

CORPUS = Path(__file__).parents[2] / "tests" / "corpus"
TRAPS, SYMPTOM_LOGS = CORPUS / "traps", CORPUS / "symptoms"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Verdict(NamedTuple):
    """What was made of a log.

    Attributes:
        log: its name.
        truth: what the fault was: candidates of the catalogue.
        verdict: right, ambiguous (the truth is among the causes named), silent or wrong.
        told: what was said.
    """

    log: str
    truth: frozenset[str]
    verdict: str
    told: str


def truths() -> dict[str, frozenset[str]]:
    """What each fault was, by log; nothing where mail went out and the log shows no fault."""
    lines = [
        line
        for folder in (TRAPS, SYMPTOM_LOGS)
        for line in (folder / "diagnoses.tsv").read_text().splitlines()
        if line[0] != "#"
    ]
    rows = (line.split("\t")[:2] for line in lines)
    return {log: frozenset() if causes == "-" else frozenset(causes.split("+")) for log, causes in rows}


def path_of(log: str) -> Path:
    """Where a log of `truths` lies."""
    return TRAPS / log if (TRAPS / log).exists() else SYMPTOM_LOGS / log


def diagnosed(path: Path) -> list[tuple[str, Effect, Diagnosis]]:
    """Symptom, effect and diagnosis of each incident of a log."""
    incidents: Incidents = read_logs([path], RelayNames(), NOW)
    signs = {incident.symptom for incident in incidents.open}
    return [
        (incident.symptom, incident.worst, diagnose(incident, signs=signs))
        for incident in (*incidents.open, *incidents.closed)
    ]


def judge(log: str, truth: frozenset[str]) -> Verdict:
    """Compare what is said of a log with what the fault was."""
    found = diagnosed(path_of(log))
    sure = {d.causes[0].id for _, _, d in found if d.certainty is not Certainty.AMBIGUOUS}
    named = {cause.id for _, _, d in found for cause in d.causes}
    told = "; ".join(
        f"{symptom} ({d.certainty}: {' | '.join(c.id for c in d.causes)})" for symptom, _, d in found
    )
    if sure - truth or (truth and named and not truth & named):
        verdict = "wrong"
    elif truth <= sure:
        verdict = "right"
    elif truth <= named:
        verdict = "ambiguous"
    else:
        verdict = "silent"
    return Verdict(log, truth, verdict, told or "nothing")


def main() -> None:
    """Print the table and the sums."""
    verdicts = [judge(log, truth) for log, truth in truths().items()]
    for row in verdicts:
        sys.stdout.write(
            f"{row.verdict:10} {row.log:42} {'+'.join(sorted(row.truth)) or '-':24} {row.told}\n"
        )
    sums = Counter(row.verdict for row in verdicts)
    sys.stdout.write(
        f"{len(verdicts)} logs: {sums['right']} right, {sums['ambiguous']} ambiguous, {sums['wrong']} wrong, "
        f"{sums['silent']} silent\n"
    )


if __name__ == "__main__":
    main()
