"""The golden corpus: what each line means, and that no rule goes without a line."""

import json
from pathlib import Path

import pytest

from postward.parsers import cause_of, parse
from postward.parsers.daemons import TABLE
from postward.parsers.events import Delivery, Problem
from postward.parsers.rules import Rule
from tests.parsers.golden import CORPUS, logs, meaning, read_lines

_TRAPS = sorted((CORPUS / "traps").glob("*.log"))


def _expected(path: Path) -> list[object]:
    text = path.with_suffix(".jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def _first_rule(line: str) -> Rule | None:
    record, _ = parse(line)
    assert record is not None, line
    severity = "info" if record.severity == "info" else "problem"
    for rule in TABLE[record.daemon]:
        if rule.severity == severity and rule.pattern.fullmatch(record.text):
            return rule
    return None


@pytest.mark.parametrize("path", logs(), ids=lambda path: path.stem)
def test_a_daemons_lines_mean_what_the_corpus_says(path: Path) -> None:
    """Header, event, fields, cause, step and next hop of every line equal the golden pair."""
    lines, expected = read_lines(path), _expected(path)
    assert len(lines) == len(expected)
    for line, wanted in zip(lines, expected, strict=True):
        assert json.loads(json.dumps(meaning(line))) == wanted, line


def test_every_rule_has_a_line_in_the_corpus() -> None:
    """A rule that no line of the corpus reaches is dead, or its line is missing."""
    reached = {id(_first_rule(line)) for path in logs() for line in read_lines(path)}
    missing = {
        (daemon, rule.event.__name__, rule.pattern.pattern)
        for daemon, rules in TABLE.items()
        for rule in rules
        if id(rule) not in reached
    }
    assert missing == set()


@pytest.mark.parametrize("path", _TRAPS, ids=lambda path: path.stem)
def test_no_line_of_a_real_fault_goes_unrecognised(path: Path) -> None:
    """Every line that Postfix wrote during these faults is known, and none of the deliveries is a mere problem."""
    for line in read_lines(path):
        record, event = parse(line)
        assert record is not None, line
        assert event is not None, line
        if record.severity == "info":
            assert not isinstance(event, Problem), line


def _causes() -> list[list[str]]:
    text = (CORPUS / "traps" / "causes.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.split("\n") if line and not line.startswith("#")]


@pytest.mark.parametrize(("log", "number", "daemon", "status", "dsn", "causes"), _causes())
def test_a_real_fault_has_its_cause(
    log: str, number: str, daemon: str, status: str, dsn: str, causes: str
) -> None:
    """The delivery that a fault spoiled leads to the fault, with the status and code that Postfix gave."""
    record, event = parse(read_lines(CORPUS / "traps" / log)[int(number) - 1])
    assert record is not None
    assert isinstance(event, Delivery)
    assert (record.daemon, event.status, event.dsn) == (daemon, status, dsn)
    assert cause_of(event) in causes.split("|")


def test_every_failed_delivery_of_the_faults_is_in_the_table() -> None:
    """The table of causes misses no failed delivery."""
    known = {(log, int(number)) for log, number, *_ in _causes()}
    failed = {
        (path.name, number)
        for path in _TRAPS
        for number, line in enumerate(read_lines(path), start=1)
        if isinstance(event := parse(line)[1], Delivery) and cause_of(event) is not None
    }
    assert failed == known
