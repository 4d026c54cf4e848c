"""Lines as people's tools print them: every message of the corpus behind every prefix, and what must not be read."""

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postward.parsers import parse, parse_record, parse_stamp
from postward.parsers.dialects import peel
from postward.parsers.months import ENGLISH, month_number
from tests.parsers.test_record import MESSAGES, PLAIN

_NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
_LINE = "Nov  4 06:05:01 mx1 {tag}[123]: {text}"
_ISO = "2026-11-04T06:05:01+00:00"
# Name, line, host that is read, moment that is read (None: the line has no stamp).
_FORMS = [
    ("Compose", f"postfix_1  | {_LINE}", "mx1", _ISO),
    ("Compose, v2", f"postfix-1 | {_LINE}", "mx1", _ISO),
    ("Compose with stamps", f"postfix-1  | 2026-11-04T06:05:01.123456789Z {_LINE}", "mx1", _ISO),
    ("Docker service", f"mail_postfix.1.xk2@node-1    | {_LINE}", "mx1", _ISO),
    ("docker logs -t", f"2026-11-04T06:05:01.123456789Z {_LINE}", "mx1", _ISO),
    (
        "a zone only in the tool's stamp",
        "2026-11-04T06:05:01Z Nov  4 08:05:01 mx1 {tag}[123]: {text}",
        "mx1",
        _ISO,
    ),
    ("level instead of host", "2026-11-04T06:05:01.123456+00:00 INFO    {tag}[123]: {text}", "-", _ISO),
    ("level without blanks", "2026-11-04T06:05:01+00:00 WARNING {tag}[123]: {text}", "-", _ISO),
    ("Compose, level", "postfix_1  | 2026-11-04T06:05:01+00:00 INFO    {tag}[123]: {text}", "-", _ISO),
    ("level behind host", "2026-11-04T06:05:01+00:00 mx1 info {tag}[123]: {text}", "mx1", _ISO),
    ("level with colon", "2026-11-04T06:05:01+00:00 mx1 INFO: {tag}[123]: {text}", "mx1", _ISO),
    ("facility and level", "Nov  4 06:05:01 mx1 mail:info {tag}[123]: {text}", "mx1", _ISO),
    ("FreeBSD -vv", "Nov  4 06:05:01 <mail.info> mx1 {tag}[123]: {text}", "mx1", _ISO),
    ("macOS", "Nov  4 06:05:01 mx1 {tag}[123] <Notice>: {text}", "mx1", _ISO),
    ("OpenWrt", "Wed Nov  4 06:05:01 2026 mail.info {tag}[123]: {text}", "-", _ISO),
    ("Sophos", "2026:11:04-06:05:01 mx1 {tag}[123]: {text}", "mx1", _ISO),
    ("no host", "Nov  4 06:05:01 {tag}[123]: {text}", "-", _ISO),
    ("no header", "{tag}[123]: {text}", "-", None),
    ("one blank before the day", "Nov 4 06:05:01 mx1 {tag}[123]: {text}", "mx1", _ISO),
    ("day first", "4 Nov 2026 06:05:01 mx1 {tag}[123]: {text}", "mx1", _ISO),
    ("comma", "2026-11-04 06:05:01,123 mx1 {tag}[123]: {text}", "mx1", _ISO),
    ("seconds", "1793772301 mx1 {tag}[123]: {text}", "mx1", _ISO),
    ("short-unix", "1793772301.123456 mx1 {tag}[123]: {text}", "mx1", _ISO),
    ("milliseconds", f"1793772301123 {_LINE}", "mx1", _ISO),
    ("short-full", "Wed 2026-11-04 06:05:01 UTC mx1 {tag}[123]: {text}", "mx1", _ISO),
    ("short-iso", "2026-11-04T06:05:01+0000 mx1 {tag}[123]: {text}", "mx1", _ISO),
    ("short-monotonic", "[ 4262.901234] mx1 {tag}[123]: {text}", "mx1", None),
    ("short-delta", "[ 4262.901234 <    0.000123 >] mx1 {tag}[123]: {text}", "mx1", None),
    ("kubectl --prefix", f"[pod/postfix-0/postfix] {_LINE}", "mx1", _ISO),
    ("kubectl --timestamps", f"[pod/postfix-0/postfix] 2026-11-04T06:05:01.5Z {_LINE}", "mx1", _ISO),
    ("kubetail", f"[postfix-66d-x7] {_LINE}", "mx1", _ISO),
    ("stern", f"postfix-66d-x7 postfix {_LINE}", "mx1", _ISO),
    ("stern, coloured", f"\x1b[32mpostfix-66d-x7\x1b[0m \x1b[92mpostfix\x1b[0m {_LINE}", "mx1", _ISO),
    ("kail", f"mail/postfix-66d-x7[postfix]: {_LINE}", "mx1", _ISO),
    (
        "CRI, level",
        "2026-11-04T06:05:01.1Z stdout F 2026-11-04T06:05:01+00:00 INFO    {tag}[123]: {text}",
        "-",
        _ISO,
    ),
    ("syslog driver", f"2026-11-04T06:05:01+00:00 node1 4387585e3a11[868]: {_LINE}", "mx1", _ISO),
    ("syslog driver, named", f"Nov  4 06:05:01 node1 mailcow-postfix-1[868]: {_LINE}", "mx1", _ISO),
    ("dockerd", f"Nov  4 06:05:01 node1 dockerd[868]: {_LINE}", "mx1", _ISO),
    ("tag postfix", f"2026-11-04T06:05:01+00:00 node1 postfix[868]: {_LINE}", "mx1", _ISO),
    (
        "two drivers",
        f"Nov  4 06:05:01 node1 conmon[8]: Nov  4 06:05:01 node1 4387585e3a11[868]: {_LINE}",
        "mx1",
        _ISO,
    ),
    (
        "driver, level",
        "Nov  4 06:05:01 node1 app[8]: 2026-11-04T06:05:01+00:00 INFO    {tag}[123]: {text}",
        "-",
        _ISO,
    ),
    ("grep", f"/var/log/mail.log:{_LINE}", "mx1", _ISO),
    ("grep -n", f"mail.log.1:1234:{_LINE}", "mx1", _ISO),
    ("grep -C", f"mail.log-{_LINE}", "mx1", _ISO),
    ("quoted", f"> {_LINE}", "mx1", _ISO),
    ("quoted twice", f"> > {_LINE}", "mx1", _ISO),
    ("indented", f"    {_LINE}", "mx1", _ISO),
    ("quotes", f'"{_LINE}"', "mx1", _ISO),
    ("backquotes", f"- `{_LINE}`", "mx1", _ISO),
    ("byte order mark", f"\ufeff{_LINE}", "mx1", _ISO),
    ("German", "Okt  4 06:05:01 mx1 {tag}[123]: {text}", "mx1", "2026-10-04T06:05:01+00:00"),
    ("German, March", "Mär  4 06:05:01 mx1 {tag}[123]: {text}", "mx1", "2026-03-04T06:05:01+00:00"),
    ("French", "août  4 06:05:01 mx1 {tag}[123]: {text}", "mx1", "2026-08-04T06:05:01+00:00"),
    ("Russian", "мая  4 06:05:01 mx1 {tag}[123]: {text}", "mx1", "2026-05-04T06:05:01+00:00"),
    ("Japanese", "11月  4 06:05:01 mx1 {tag}[123]: {text}", "mx1", _ISO),
]


@pytest.mark.parametrize(("form", "host", "moment"), [pytest.param(*form[1:], id=form[0]) for form in _FORMS])
def test_every_form_gives_the_same_events(form: str, host: str, moment: str | None) -> None:
    """A prefix changes the stamp and the host and nothing else, for every message of the corpus."""
    for tag, text in MESSAGES:
        wanted, event = parse(PLAIN.format(tag=tag, text=text))
        record, same = parse(form.replace("{tag}", tag).replace("{text}", text))
        assert wanted is not None
        assert record is not None, text
        assert record[2:] == wanted[2:]
        assert (record.host, same) == (host, event)
    assert record is not None
    time = parse_stamp(record.stamp, _NOW)
    assert (time and time.replace(microsecond=0).isoformat()) == moment


def test_the_pid_may_be_missing() -> None:
    """The text is the same without it."""
    for tag, text in MESSAGES:
        record, event = parse(f"Nov  4 06:05:01 mx1 {tag}: {text}")
        wanted, same = parse(PLAIN.format(tag=tag, text=text))
        assert wanted is not None
        assert (record and record[1:], event) == (wanted._replace(pid=None)[1:], same)


def test_metalog_prints_no_pid_and_no_host() -> None:
    """The tag is in brackets."""
    record, event = parse("Nov  4 06:05:01 [postfix/qmgr] 4C0FFEE001: removed")
    assert record is not None
    assert (record.host, record.daemon, record.pid) == ("-", "qmgr", None)
    assert type(event).__name__ == "Removed"


def test_a_command_wraps_a_daemons_line() -> None:
    """RHEL: postfix[N]: postfix/postlog: …"""
    line = "Nov  4 06:05:01 mx1 postfix[77]: postfix/postlog: starting the Postfix mail system"
    plain = "Nov  4 06:05:01 mx1 postfix/postlog[77]: starting the Postfix mail system"
    assert parse(line) == parse(plain)


def test_json_sequences_begin_with_a_record_separator() -> None:
    """RFC 7464, as journalctl -o json-seq prints them."""
    entry = json.dumps({"SYSLOG_IDENTIFIER": "postfix/qmgr", "MESSAGE": "4C0FFEE001: removed"})
    assert parse(f"\x1e{entry}") == parse(entry)
    assert parse(entry)[1] is not None


def test_blanks_at_the_end_are_dropped() -> None:
    """Terminals and forums add them."""
    for tag, text in MESSAGES:
        record, event = parse(PLAIN.format(tag=tag, text=f"{text} \t"))
        assert record is not None
        _, wanted = parse(PLAIN.format(tag=tag, text=text))
        if type(wanted).__name__ not in {"Problem", "NoneType"}:
            assert type(event) is type(wanted), text


@pytest.mark.parametrize("number", range(1, 13))
def test_every_month_has_its_english_number(number: int) -> None:
    """With and without a dot, in either case."""
    name = ENGLISH[number]
    assert {month_number(name), month_number(f"{name.lower()}."), month_number(f"{number}月")} == {number}


@pytest.mark.parametrize(
    "line",
    [
        "see postfix/smtp[1]: 4C0FFEE001: removed",
        "a reply: postfix/smtp[1]: 4C0FFEE001: removed",
        "Nov  4 06:05:01 mx1 httpd[1]: GET /postfix/smtp[1]: 4C0FFEE001: removed",
        "Nov  4 06:05:01 mx1 httpd[1]: postfix/smtp[1]: 4C0FFEE001: removed",
        "Nov  4 06:05:01 mx1 dovecot: imap-login: user=<postfix/smtp[1]: 4C0FFEE001: removed",
        "Nov  4 06:05:01 mx1 app[1]: user Nov  4 06:05:01 mx1 postfix/smtp[1]: 4C0FFEE001: removed",
        '192.0.2.1 - - [04/Nov/2026:06:05:01 +0100] "GET / HTTP/1.1" 200 1 "-" "postfix/smtp[1]: 4C0FFEE001: removed',
        '192.0.2.1 - - [04/Nov/2026:06:05:01 +0100] "Nov  4 06:05:01 mx1 postfix/smtp[1]: 4C0FFEE001: removed',
        "one two three four five six Nov  4 06:05:01 mx1 postfix/smtp[1]: 4C0FFEE001: removed",
        "Foo  4 06:05:01 mx1 postfix/smtp[1] hello: x",
    ],
)
def test_text_of_other_programs_is_foreign(line: str) -> None:
    """A stranger may choose the text of another program's line, but neither its header nor its beginning."""
    assert parse(line) == (None, None)


def test_a_line_of_postfix_is_never_opened() -> None:
    """A Subject or a reply may hold a whole line of a log."""
    line = f"Nov  4 06:05:01 mx1 postfix/cleanup[1]: {PLAIN.format(tag='postfix/qmgr', text='4C0FFEE001: removed')}"
    record = parse_record(line)
    assert record is not None
    assert record.daemon == "cleanup"


@pytest.mark.parametrize(
    ("line", "form"),
    [
        (_LINE, ""),
        (f"postfix_1  | {_LINE}", "behind postfix_1 |"),
        (f"2026-11-04T06:05:01Z {_LINE}", "behind a stamp of a tool"),
        ("Nov  4 06:05:01 {tag}[123]: {text}", "without a host"),
        (f"Nov  4 06:05:01 node1 dockerd[868]: {_LINE}", "inside lines of dockerd"),
    ],
)
def test_the_form_is_named(line: str, form: str) -> None:
    """For the summary of a file."""
    peeled = peel(line.format(tag="postfix/qmgr", text="4C0FFEE001: removed"))
    assert peeled is not None
    assert peeled.form == form


@given(st.text(max_size=300))
def test_no_text_raises(text: str) -> None:
    """And it is the text's own end that is returned as body."""
    peeled = peel(text)
    assert (
        peeled is None or re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).rstrip().find(peeled.body.rstrip()) >= 0
    )


@given(
    st.lists(
        st.sampled_from(["postfix/smtp[1]: ", "Nov  4 06:05:01 ", "mx1 ", "a[1]: ", "> ", "INFO ", "|", '"']),
        max_size=60,
    )
)
def test_pieces_of_headers_do_not_raise(pieces: list[str]) -> None:
    """In any order and number."""
    record, _ = parse("".join(pieces))
    assert record is None or record.daemon == "smtp"
