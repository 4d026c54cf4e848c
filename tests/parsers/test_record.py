"""Headers of log lines, in each dialect."""

import json

import pytest

from postward.parsers import parse, parse_record
from postward.parsers import record as record_module
from postward.parsers.record import split_tag
from tests.parsers.golden import logs, read_lines

PLAIN = "Nov 24 06:05:01 mx1 {tag}[123]: {text}"


def _messages() -> list[tuple[str, str]]:
    """Return the tag and the text, with its severity label, of each message of the corpus."""
    records = [parse_record(line) for path in logs() for line in read_lines(path)]
    return [
        (
            f"postfix/{record.daemon}",
            record.text if record.severity == "info" else f"{record.severity}: {record.text}",
        )
        for record in records
        if record is not None and record.repeat == 1
    ]


MESSAGES = _messages()
_DIALECTS = {
    "RFC 3164": "Nov  4 06:05:01 mx1 {tag}[123]: {text}",
    "zero-padded day": "Nov 04 06:05:01 mx1 {tag}[123]: {text}",
    "fraction": "Nov  4 06:05:01.123456 mx1 {tag}[123]: {text}",
    "year in front": "2025 Nov  4 06:05:01.123 mx1 {tag}[123]: {text}",
    "priority": "<22>Nov  4 06:05:01 mx1 {tag}[123]: {text}",
    "RFC 3339": "2025-11-04T06:05:01.123456+01:00 mx1 {tag}[123]: {text}",
    "RFC 3339, UTC": "2025-11-04T06:05:01Z mx1 {tag}[123]: {text}",
    "RFC 3339, no fraction": "2025-11-04T06:05:01+01:00 mx1 {tag}[123]: {text}",
    "RFC 3339, blank": "2025-11-04 06:05:01.123+01:00 mx1 {tag}[123]: {text}",
    "RFC 5424": "<22>1 2025-11-04T06:05:01.5Z mx1 {tag} 123 - - {text}",
    "RFC 5424, no priority": "1 2025-11-04T06:05:01.5Z mx1 {tag} 123 - - {text}",
    "RFC 5424, structured data": '<22>1 2025-11-04T06:05:01.5Z mx1 {tag} 123 ID1 [a@1 b="c\\"]d"][e@2] {text}',
    "RFC 5424, byte order mark": "<22>1 2025-11-04T06:05:01.5Z mx1 {tag} 123 - - \ufeff{text}",
    "Solaris": "Nov  4 06:05:01 mx1 {tag}[123]: [ID 197553 mail.info] {text}",
    "BusyBox": "Nov  4 06:05:01 mx1 mail.info {tag}[123]: {text}",
    "no colon": "Nov  4 06:05:01 mx1 {tag}[123] {text}",
    "CRI": "2025-11-04T06:05:01.123456789Z stdout F Nov 04 06:05:01 mx1 {tag}[123]: {text}",
}


def _journal(tag: str, text: str, **more: object) -> str:
    entry = {
        "SYSLOG_IDENTIFIER": tag,
        "SYSLOG_PID": "123",
        "_PID": "1",
        "_HOSTNAME": "mx1",
        "__REALTIME_TIMESTAMP": "1762232701000000",
        "MESSAGE": text,
    }
    return json.dumps(entry | more)


def _docker(tag: str, text: str) -> str:
    return json.dumps({"log": f"{PLAIN.format(tag=tag, text=text)}\n", "stream": "stdout", "time": "x"})


_FORMATS = {name: dialect.format for name, dialect in _DIALECTS.items()} | {
    "journal": _journal,
    "Docker": _docker,
}


@pytest.mark.parametrize("dialect", _FORMATS)
def test_every_dialect_gives_the_same_events(dialect: str) -> None:
    """Only the time stamp depends on the dialect of the header, for each message of the corpus."""
    assert len(MESSAGES) > 200
    for tag, text in MESSAGES:
        wanted, event = parse(PLAIN.format(tag=tag, text=text))
        record, same = parse(_FORMATS[dialect](tag=tag, text=text))
        assert wanted is not None
        assert record is not None, text
        assert record[1:] == wanted[1:]
        assert same == event


def test_a_journal_message_of_bytes_is_text() -> None:
    """Journalctl prints a message that is not UTF-8 as an array of bytes."""
    record = parse_record(_journal("postfix/smtp", "", MESSAGE=list(b"4C0FFEE001: caf\xe9")))
    assert record is not None
    assert record.text == "4C0FFEE001: caf\ufffd"


def test_a_journal_entry_without_syslog_pid_uses_the_journals_pid() -> None:
    """If SYSLOG_PID is missing, _PID is the process ID."""
    record = parse_record(_journal("postfix/smtp", "x", SYSLOG_PID=None))
    assert record is not None
    assert record.pid == 1
    assert record.stamp == "1762232701000000"


@pytest.mark.parametrize(
    ("tag", "instance", "daemon"),
    [
        ("postfix/smtp", "postfix", "smtp"),
        ("postfix/submission/smtpd", "postfix/submission", "smtpd"),
        ("postfix-out/smtp", "postfix-out", "smtp"),
        ("postfix-10.20.30.40/smtp", "postfix-10.20.30.40", "smtp"),
        ("a/b/c/d/cleanup", "a/b/c/d", "cleanup"),
        ("relay/smtp", "relay", "smtp"),
        ("postfix", "postfix", "postfix"),
        ("/postfix-script", "postfix", "postfix-script"),
        ("postfix/postfix-script", "postfix", "postfix-script"),
    ],
)
def test_the_daemon_is_the_last_part_of_the_tag(tag: str, instance: str, daemon: str) -> None:
    """The parameter syslog_name may contain any number of slashes."""
    assert split_tag(tag) == (instance, daemon)


@pytest.mark.parametrize(
    "tag", ["smtp", "sshd", "dovecot", "postfix/policyd-spf", "cyrus/lmtp", "sm-mta", "postgrey"]
)
def test_other_programs_are_foreign(tag: str) -> None:
    """A line with the tag of another program is foreign, even if its text looks like Postfix's."""
    assert parse(f"Nov 24 06:05:01 mx1 {tag}[123]: 4C0FFEE001: removed") == (None, None)


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "{",
        "{}",
        "[]",
        "null",
        "-- Boot 1234 --",
        "Nov 24 06:05:01 mx1",
        "\x00" * 40,
        '{"MESSAGE": 1}',
        '{"log": "{}"}',
    ],
)
def test_other_lines_are_foreign(line: str) -> None:
    """Empty, truncated and binary lines give neither a record nor an exception."""
    assert parse(line) == (None, None)


def test_a_repeated_message_has_its_number_of_repetitions() -> None:
    """The program rsyslog folds repetitions into one line."""
    line = "Nov 24 06:05:01 mx1 postfix/smtp[123]: message repeated 3 times: [ warning: relayhost configuration problem]"
    record, event = parse(line)
    once, same = parse("Nov 24 06:05:01 mx1 postfix/smtp[123]: warning: relayhost configuration problem")
    assert record is not None
    assert once is not None
    assert (record.repeat, once.repeat) == (3, 1)
    assert record._replace(repeat=1) == once
    assert event == same


@pytest.mark.parametrize("severity", ["warning", "error", "fatal", "panic"])
def test_the_label_is_the_severity(severity: str) -> None:
    """A line without a label has the severity "info"."""
    labelled = parse_record(f"Nov 24 06:05:01 mx1 postfix/smtp[123]: {severity}: x: y")
    plain = parse_record("Nov 24 06:05:01 mx1 postfix/smtp[123]: x: y")
    assert labelled is not None
    assert plain is not None
    assert (labelled.severity, labelled.text) == (severity, "x: y")
    assert (plain.severity, plain.text) == ("info", "x: y")


def test_an_unknown_text_is_unrecognised_and_an_unknown_problem_is_a_problem() -> None:
    """Lines of Postfix are never foreign, and each line with a severity label has an event."""
    record, event = parse("Nov 24 06:05:01 mx1 postfix/anvil[123]: no release prints this")
    assert record is not None
    assert event is None
    _, event = parse("Nov 24 06:05:01 mx1 postfix/anvil[123]: warning: no release prints this")
    assert type(event).__name__ == "Problem"


def test_the_cache_of_tags_is_bounded() -> None:
    """Another program may put a counter into its tag."""
    for number in range(5000):
        assert parse_record(f"Nov 24 06:05:01 mx1 worker-{number}[123]: hello") is None
    assert len(record_module._tags) <= record_module._MAX_TAGS
