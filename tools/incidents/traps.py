"""Judges the diagnoses of logs of staged faults: `python -m tools.incidents.traps` prints right, ambiguous or wrong.

`diagnoses.tsv` beside the logs has the fault of each, as candidates of the catalogue.
"""

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from postward.agent.incidents.diagnosis import Diagnosis, diagnose
from postward.agent.incidents.model import Certainty, Effect
from postward.agent.incidents.replay import read_logs
from postward.agent.metrics.labels import RelayNames

CORPUS = Path(__file__).parents[2] / "tests" / "corpus"
TRAPS, SYMPTOM_LOGS = CORPUS / "traps", CORPUS / "symptoms"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Verdict(NamedTuple):
    """A log, its fault and its diagnoses.

    Attributes:
        log: name of the log.
        truth: the fault, as candidates of the catalogue.
        verdict: right, ambiguous (the fault is among the causes named), silent or wrong.
        diagnoses: the diagnoses as text.
    """

    log: str
    truth: frozenset[str]
    verdict: str
    diagnoses: str


def truths() -> dict[str, frozenset[str]]:
    """Return the fault of each log; an empty set if the log shows no fault."""
    lines = [
        line
        for folder in (TRAPS, SYMPTOM_LOGS)
        for line in (folder / "diagnoses.tsv").read_text().splitlines()
        if line[0] != "#"
    ]
    rows = (line.split("\t")[:2] for line in lines)
    return {log: frozenset() if causes == "-" else frozenset(causes.split("+")) for log, causes in rows}


def path_of(log: str) -> Path:
    """Return the path of a log of `truths`."""
    return TRAPS / log if (TRAPS / log).exists() else SYMPTOM_LOGS / log


def diagnosed(path: Path) -> list[tuple[str, Effect, Diagnosis]]:
    """Return symptom, effect and diagnosis of each incident of a log."""
    incidents = read_logs([path], RelayNames(), NOW)
    symptoms = {incident.symptom for incident in incidents.open}
    return [
        (incident.symptom, incident.worst, diagnose(incident, open_symptoms=symptoms))
        for incident in (*incidents.open, *incidents.closed)
    ]


def judge(log: str, truth: frozenset[str]) -> Verdict:
    """Compare the diagnoses of a log with its fault."""
    incidents = diagnosed(path_of(log))
    sure = {d.causes[0].id for _, _, d in incidents if d.certainty is not Certainty.AMBIGUOUS}
    named = {cause.id for _, _, d in incidents for cause in d.causes}
    diagnoses = "; ".join(
        f"{symptom} ({d.certainty}: {' | '.join(c.id for c in d.causes)})" for symptom, _, d in incidents
    )
    if sure - truth or (truth and named and not truth & named):
        verdict = "wrong"
    elif truth <= sure:
        verdict = "right"
    elif truth <= named:
        verdict = "ambiguous"
    else:
        verdict = "silent"
    return Verdict(log, truth, verdict, diagnoses or "nothing")


def main() -> None:
    """Print the table and the sums."""
    verdicts = [judge(log, truth) for log, truth in truths().items()]
    for row in verdicts:
        sys.stdout.write(
            f"{row.verdict:10} {row.log:42} {'+'.join(sorted(row.truth)) or '-':24} {row.diagnoses}\n"
        )
    sums = Counter(row.verdict for row in verdicts)
    sys.stdout.write(
        f"{len(verdicts)} logs: {sums['right']} right, {sums['ambiguous']} ambiguous, {sums['wrong']} wrong, "
        f"{sums['silent']} silent\n"
    )


if __name__ == "__main__":
    main()
