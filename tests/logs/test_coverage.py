"""The summary of logs that were read in part, or not at all."""

from pathlib import Path

import pytest

from postward.agent.logs.coverage import Coverage, head_of, looks_of
from postward.parsers import OUTCOMES, parse

_DELIVERY = (
    "Nov  4 06:05:01 mx1 postfix/smtp[1]: 4C0FFEE001: to=<u@example.com>, relay=none, delay=1, dsn=4.4.1, "
    "status=deferred (connect to r[192.0.2.1]:25: Connection timed out)"
)
_GENERIC = "Nov  4 06:05:01 mx1 postfix/smtp[1]: warning: no release has printed this"
_UNKNOWN = "Nov  4 06:05:01 mx1 postfix/smtp[1]: what no release has ever printed"
_FOREIGN = "Nov  4 06:05:01 mx1 dovecot: imap-login: Login"


def _coverage(*lines: str) -> Coverage:
    coverage = Coverage()
    for line in lines:
        coverage.add(line, *parse(line))
    return coverage


def test_each_outcome_is_counted_apart() -> None:
    """A line that is known by its severity only is not one that was understood."""
    coverage = _coverage(_DELIVERY, _DELIVERY, _GENERIC, _UNKNOWN, _FOREIGN)
    counts = coverage.to_dict()
    assert {outcome: counts[outcome] for outcome in OUTCOMES} == {
        "event": 2,
        "generic": 1,
        "unrecognised": 1,
        "foreign": 1,
    }
    assert not coverage.is_blind
    assert coverage.summary == (
        "4 of 5 lines are Postfix's, 1 of them known by their severity only, 1 not understood"
    )


def test_the_form_of_the_lines_is_named() -> None:
    """As far as it differs from plain syslog."""
    coverage = _coverage(f"postfix_1  | {_DELIVERY}", _DELIVERY)
    assert coverage.to_dict()["forms"] == ["behind postfix_1 |"]
    assert coverage.summary == "2 of 2 lines are Postfix's (behind postfix_1 |)"


@pytest.mark.parametrize(
    ("lines", "looks"),
    [
        ([], "the log is empty"),
        ([" ", ""], "the log is empty"),
        (["\x7fELF\x02\x01\x00\x00"], "these are binary data, not a log"),
        (["hello"], 'these are not lines of syslog: "hello"'),
        (["x" * 100], f'these are not lines of syslog: "{"x" * 60}…"'),
        (["\x1b[2Jhello"], 'these are not lines of syslog: "\\u001b[2Jhello"'),
        ([_FOREIGN, "Nov  4 06:05:01 mx1 sshd[7]: x"], "these are lines of other programs: dovecot, sshd"),
        (["2026-11-04T06:05:01+00:00 mx1 CRON[7]: (root) CMD"], "these are lines of other programs: CRON"),
    ],
)
def test_an_unread_log_is_described(lines: list[str], looks: str) -> None:
    """By its first lines."""
    assert looks_of(lines) == looks
    coverage = _coverage(*lines)
    assert coverage.is_blind
    assert coverage.summary == f"0 of {len(lines)} lines read: {looks}"


@pytest.mark.parametrize(
    "lines",
    [
        ["Wed 2026-11-04 06:05:01.123456 UTC [s=ab;i=1;b=cd;m=1;t=2;x=3]", "    MESSAGE=4C0FFEE001: removed"],
        ["__CURSOR=s=ab", "MESSAGE=4C0FFEE001: removed"],
        ["{", '\t"MESSAGE" : "4C0FFEE001: removed",'],
    ],
)
def test_other_forms_of_the_journal_are_named_with_a_remedy(lines: list[str]) -> None:
    """Forms of journalctl with several lines an entry: verbose, export, json-pretty."""
    assert looks_of(lines).startswith("this is the journal in a form of several lines; print it with")


def test_texts_without_a_header_are_named_with_a_remedy() -> None:
    """Journalctl -o cat prints the message alone."""
    assert "without time, host and program" in looks_of([_DELIVERY.partition("]: ")[2]])


def test_a_log_without_an_understood_line_is_blind() -> None:
    """Lines of Postfix that no rule knows say nothing."""
    coverage = _coverage(_UNKNOWN, _UNKNOWN, _FOREIGN)
    assert coverage.is_blind
    assert coverage.summary == "2 of 3 lines are Postfix's, none of them understood"


def test_a_log_without_lines_in_time_is_blind() -> None:
    """Nothing can be said of a time without lines."""
    coverage = Coverage()
    coverage.add(_DELIVERY, *parse(_DELIVERY), in_time=False)
    assert coverage.is_blind
    assert coverage.summary == "1 of 1 lines are Postfix's, none in the time asked for"


def test_the_head_of_a_log_is_its_first_lines(tmp_path: Path) -> None:
    """Enough to see what it is."""
    log = tmp_path / "log"
    log.write_text("".join(f"{number}\n" for number in range(1000)))
    assert head_of(log) == [str(number) for number in range(200)]
