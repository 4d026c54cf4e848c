"""A scan says of each line what `parse` says of it."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from postward.agent.logs.lines import split_lines
from postward.parsers import parse
from postward.parsers.daemons import TABLE
from postward.parsers.scan import FREQUENT, Block, Scanner
from tests.test_pipeline import CORPUS, HEADERS, LINES, TEXTS

KINDS = dict.fromkeys(kind for kinds in FREQUENT.values() for kind in kinds)
WANTED = {kind: (*kind._fields, "daemon", "pid") for kind in KINDS}
SCANNERS = [Scanner(WANTED, excerpts=True, compiled=compiled) for compiled in (True, False)]


def assert_same(text: str) -> None:
    """Check that all lines have the records, events and columns that `parse` gives them, compiled or not."""
    for scanner in SCANNERS:
        assert_parsed(scanner.scan(text), text)


def assert_parsed(block: Block, text: str) -> None:
    """Check the lines of a block."""
    parsed = [parse(line.removesuffix("\r")) for line in split_lines(text)]
    assert [(line.record, line.event) for line in block.all_lines] == parsed

    expected: dict[Any, list[tuple[Any, ...]]] = {kind: [] for kind in KINDS}
    others = [(line.record, line.event) for line in block.others]
    for record, event in parsed:
        if (record, event) in others:
            others.remove((record, event))
        else:
            assert record is not None
            assert (record.severity, record.repeat) == ("info", 1)
            header = record.stamp, record.host, record.instance, record.daemon, str(record.pid)
            expected[type(event)].append((*header, *(event or ())))
    assert others == []
    for kind, rows in expected.items():
        columns = ("stamp", "host", "instance", "daemon", "pid", *kind._fields)
        assert block.rows(kind, *columns) == rows, kind
        assert list(block.column(kind, "stamp")) == [row[0] for row in rows]
        assert len(block.ends(kind)) == len(rows)


def test_the_first_rules_of_a_daemon_are_those_of_its_frequent_kinds() -> None:
    """Each kind has a rule in the pattern: no other rule comes before it."""
    for daemon, kinds in FREQUENT.items():
        rules = [rule.event for rule in TABLE[daemon] if rule.severity == "info"]
        first = set(rules[: next(n for n, event in enumerate(rules) if event not in kinds)])
        assert first == set(kinds), daemon


def test_the_corpus_scans_as_it_parses() -> None:
    """The corpus has every known type of log message; hardly a line is odd enough to be parsed twice."""
    for file in sorted(CORPUS.rglob("*.log")):
        assert_same(file.read_bytes().decode("utf-8", "replace"))


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=12), st.booleans())
def test_mixed_lines_scan_as_they_parse(lines: list[str], ended: bool) -> None:
    """Lines are mixed with foreign instances, junk, CR and a missing last newline."""
    assert_same("".join(lines) if ended else "".join(lines).removesuffix("\n"))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(HEADERS[:-1]),
    st.sampled_from(TEXTS),
    st.lists(st.tuples(st.integers(0, 200), st.characters(codec="utf-8")), min_size=1, max_size=3),
)
def test_a_damaged_line_scans_as_it_parses(header: str, text: str, damage: list[tuple[int, str]]) -> None:
    """Any characters replace others in a line between two valid lines."""
    line = header + text
    for place, char in damage:
        line = f"{line[:place]}{char}{line[place + 1 :]}"

    assert_same(f"{HEADERS[0]}{TEXTS[0]}\n{line}\n{HEADERS[0]}{TEXTS[1]}\n")
