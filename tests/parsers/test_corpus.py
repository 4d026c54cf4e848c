"""The golden corpus: the meaning of each line, and a line for every rule."""

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
def test_lines_have_the_meaning_in_the_corpus(path: Path) -> None:
    """Header, event, fields, cause, step and next hop of every line equal the golden pair."""
    lines, expected = read_lines(path), _expected(path)
    assert len(lines) == len(expected)
    for line, wanted in zip(lines, expected, strict=True):
        assert json.loads(json.dumps(meaning(line))) == wanted, line


def test_every_rule_has_a_line_in_the_corpus() -> None:
    """Every rule is the first match for at least one line of the corpus."""
    reached = {id(_first_rule(line)) for path in logs() for line in read_lines(path)}
    missing = {
        (daemon, rule.event.__name__, rule.pattern.pattern)
        for daemon, rules in TABLE.items()
        for rule in rules
        if id(rule) not in reached
    }
    assert missing == set()


@pytest.mark.parametrize("path", _TRAPS, ids=lambda path: path.stem)
def test_every_line_of_a_real_fault_is_recognised(path: Path) -> None:
    """Every line of the recorded faults has an event; unlabelled lines have one other than Problem."""
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
    """The failed delivery of each recorded fault has one of the listed causes, and its status and code."""
    record, event = parse(read_lines(CORPUS / "traps" / log)[int(number) - 1])
    assert record is not None
    assert isinstance(event, Delivery)
    assert (record.daemon, event.status, event.dsn) == (daemon, status, dsn)
    assert cause_of(event) in causes.split("|")


def test_every_failed_delivery_of_the_faults_is_in_the_table() -> None:
    """`causes.tsv` lists every failed delivery of the recorded faults."""
    known = {(log, int(number)) for log, number, *_ in _causes()}
    failed = {
        (path.name, number)
        for path in _TRAPS
        for number, line in enumerate(read_lines(path), start=1)
        if isinstance(event := parse(line)[1], Delivery) and cause_of(event) is not None
    }
    assert failed == known
