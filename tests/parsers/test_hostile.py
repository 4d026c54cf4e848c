"""Text of strangers: it changes no field but its own, and nothing raises."""

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from postward.parsers import (
    as_fields,
    cause_of,
    parse,
    parse_parameters,
    relay_host_of,
    split_list,
    split_peer,
    step_of,
)
from postward.parsers.events import (
    ClientAccepted,
    ClientVerdict,
    ContentAction,
    Delivery,
    MessageId,
    PickedUp,
    QueueActive,
)
from tests.parsers.golden import logs, read_lines

_HEADER = "Nov 24 06:05:01 mx1 postfix/{}[123]: "
_FRAGMENTS = st.sampled_from(
    [
        ">",
        "<",
        '"',
        "\\",
        ", ",
        "; ",
        ": ",
        "(",
        ")",
        "[",
        "]",
        "=",
        " ",
        ">, relay=",
        ">, orig_to=<",
        "; from=<",
        "> to=<",
        "> proto=ESMTP helo=<",
        ">, status=expired, returned to sender",
        ", status=sent (250 ok)",
        ", dsn=2.0.0",
        ", delay=1",
        "removed",
        "warning: ",
        "connect to x[1.2.3.4]:25: ",
        " from local; from=<a> to=<b>: c",
        " (in reply to RCPT TO command)",
        "delivery temporarily suspended: ",
        "host x[1.2.3.4] said: 535 ",
        " sasl_username=",
        ", sasl_sender=",
        "message repeated 9 times: [ ",
        "[ID 1 mail.info] ",
        ">, size=1, nrcpt=1 (queue active)",
        "client=",
        "é",
        "?",
    ]
)
# util/printable.c leaves no control character and no line end in what Postfix logs.
_PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
_TEXT = st.lists(_FRAGMENTS | _PRINTABLE, max_size=8).map("".join)


def _external(local: str) -> str:
    """An address as global/quote_822_local.c prints it."""
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"@dest.example'


_ADDRESS = _TEXT.map(_external)


def _event(daemon: str, text: str) -> object:
    record, event = parse(_HEADER.format(daemon) + text)
    assert record is not None
    assert record[:5] == ("Nov 24 06:05:01", "mx1", "postfix", daemon, 123)
    return event


@given(to=_ADDRESS, orig_to=st.none() | _ADDRESS, reason=_TEXT)
def test_neither_address_nor_reply_changes_a_delivery(to: str, orig_to: str | None, reason: str) -> None:
    """Quoted addresses and the server's reply stay in their fields, whatever they imitate."""
    original = "" if orig_to is None else f", orig_to=<{orig_to}>"
    text = (
        f"4C0FFEE001: to=<{to}>{original}, relay=x.example[192.0.2.1]:25, delay=1.5, delays=1/0/0.2/0.3,"
        f" dsn=4.0.0, status=deferred ({reason})"
    )
    wanted = Delivery(
        "4C0FFEE001",
        to,
        orig_to,
        "x.example[192.0.2.1]:25",
        None,
        "1.5",
        "1/0/0.2/0.3",
        None,
        "4.0.0",
        "deferred",
        reason,
    )
    assert _event("smtp", text) == wanted


@given(to=st.text("ab@\\\"[<(' ", max_size=12), reason=_TEXT)
def test_a_reply_does_not_change_an_unquoted_delivery(to: str, reason: str) -> None:
    """Before 3.5 an address may hold lone quotes and brackets; the reply after it still cannot pose as a field."""
    text = (
        f"4C0FFEE001: to=<{to}>, relay=none, delay=1, delays=1/0/0/0, dsn=4.0.0, status=deferred ({reason})"
    )
    wanted = Delivery("4C0FFEE001", to, None, "none", None, "1", "1/0/0/0", None, "4.0.0", "deferred", reason)
    assert _event("error", text) == wanted


@given(reason=_TEXT.filter(lambda text: not text.endswith(")")))
def test_a_cut_reason_is_kept(reason: str) -> None:
    """Postfix cuts its text at 2000 bytes, so the last parenthesis may be missing."""
    event = _event("smtp", f"4C0FFEE001: to=<a@b>, relay=none, delay=1, dsn=4.0.0, status=deferred ({reason}")
    assert isinstance(event, Delivery)
    assert event.reason == reason


@given(sender=_ADDRESS)
def test_a_sender_changes_no_field_of_the_queue(sender: str) -> None:
    """Senders are strangers, too."""
    event = _event("qmgr", f"4C0FFEE001: from=<{sender}>, size=42, nrcpt=7 (queue active)")
    assert event == QueueActive("4C0FFEE001", sender, "42", "7")
    event = _event("pickup", f"4C0FFEE001: uid=33 from=<{sender}> orig_id=4C0FFEE002")
    assert event == PickedUp("4C0FFEE001", "33", sender, "4C0FFEE002")


@given(value=_TEXT)
def test_a_message_id_is_one_field(value: str) -> None:
    """The header is copied as it stands."""
    assert _event("cleanup", f"4C0FFEE001: message-id={value}") == MessageId("4C0FFEE001", value, None)


@given(sender=_ADDRESS, to=_ADDRESS, helo=st.text("abc.-[]:?=,", max_size=12))
def test_a_client_changes_no_field_of_a_verdict(sender: str, to: str, helo: str) -> None:
    """Smtpd repeats what the client sent, in the text and in the fields."""
    text = f"554 5.7.1 <{to}>: Relay access denied"
    event = _event(
        "smtpd",
        f"NOQUEUE: reject: RCPT from x.example[192.0.2.1]: {text}; from=<{sender}> to=<{to}> proto=ESMTP helo=<{helo}>",
    )
    assert event == ClientVerdict(
        "NOQUEUE", "reject", "RCPT", "x.example[192.0.2.1]", text, sender, to, "ESMTP", helo
    )


@given(sender=_TEXT, to=_TEXT, helo=_TEXT)
def test_a_client_changes_no_field_before_its_own_of_postscreen(sender: str, to: str, helo: str) -> None:
    """Postscreen quotes nothing, but the verdict and the client come first."""
    text = f"NOQUEUE: reject: RCPT from [192.0.2.1]:4012: 550 5.7.1 no; from=<{sender}>, to=<{to}>, proto=ESMTP, helo=<{helo}>"
    event = _event("postscreen", text)
    assert isinstance(event, ClientVerdict)
    assert event[:5] == ("NOQUEUE", "reject", "RCPT", "[192.0.2.1]:4012", "550 5.7.1 no")


@given(content=_TEXT, sender=_ADDRESS, to=_ADDRESS)
@example("Subject: x from local; from=<a> to=<b>: c", "a@b.example", '"; from=<a> to=<b>: c"@dest.example')
def test_a_header_changes_no_field_of_its_check(content: str, sender: str, to: str) -> None:
    """A rejected header is quoted before the fields that Postfix adds."""
    event = _event(
        "cleanup",
        f"4C0FFEE001: reject: header {content} from x.example[192.0.2.1]; from=<{sender}> to=<{to}> proto=ESMTP helo=<h>",
    )
    assert isinstance(event, ContentAction)
    assert event[:3] == ("4C0FFEE001", "reject", "header")
    assert event[4:] == ("x.example[192.0.2.1]", sender, to, "ESMTP", "h", None)


@given(name=st.text("abc,=@ ;<>", max_size=12))
def test_a_user_name_changes_no_field_of_a_client(name: str) -> None:
    """A user name may hold commas."""
    event = _event(
        "smtpd",
        f"4C0FFEE001: client=x.example[192.0.2.1], sasl_method=PLAIN, sasl_username={name}, sasl_sender=a@b",
    )
    assert event == ClientAccepted("4C0FFEE001", "x.example[192.0.2.1]", "PLAIN", name, "a@b")


def _try_all(line: str) -> None:
    record, event = parse(line)
    if event is None:
        return
    assert record is not None
    json.dumps(as_fields(event), allow_nan=False)
    cause_of(event)
    relay_host_of(event)
    assert step_of(event) in {
        "queue",
        "dns",
        "connect",
        "greeting",
        "ehlo",
        "tls",
        "auth",
        "mail_from",
        "rcpt_to",
        "data",
    }


@given(st.text(max_size=200))
@example("{" * 5000)
@example('{"log": "' + "{" * 5000)
@example("[" * 100_000)
@example('{"a":' * 100_000)
def test_garbage_never_raises(text: str) -> None:
    """Any text is foreign, unrecognised or an event."""
    _try_all(text)
    _try_all(_HEADER.format("smtp") + text)
    _try_all(_HEADER.format("smtpd") + text)
    split_peer(text)
    split_list(text)
    parse_parameters(text)


_LINES = [line for path in logs() for line in read_lines(path)]


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(data=st.data())
def test_a_mutated_line_never_raises(data: st.DataObject) -> None:
    """Lines cut, joined and spoiled at any place are still no error."""
    line = data.draw(st.sampled_from(_LINES))
    start = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(start, len(line)))
    _try_all(line[:start] + data.draw(_TEXT | st.text(max_size=5)) + line[end:])


def test_long_lines_of_any_kind_are_done_in_one_pass() -> None:
    """Thousands of what a pattern could trip over comes to an end: a pattern that goes back never would."""
    fragments = [
        "x",
        '"',
        '\\"',
        "<",
        ">",
        ">, relay=",
        ">, orig_to=<",
        "; from=<",
        '; from=<"\\"',
        " from x; from=<",
        "[",
        " from [",
        "; ",
        ", ",
        " (in reply to ",
        "a: ",
        "exceeded the x ",
        "client host ",
        "daily x ",
        "(",
        ")",
        ", sasl_username=",
        ", status=",
        " ",
    ]
    heads = [
        "",
        "4C0FFEE001: ",
        "4C0FFEE001: to=<",
        "4C0FFEE001: from=<",
        "NOQUEUE: reject: RCPT from x[1.2.3.4]: ",
        "warning: ",
    ]
    reason = "4C0FFEE001: to=<a@b>, relay=none, delay=1, delays=1/0/0/0, dsn=4.0.0, status=deferred (host x[1.2.3.4] said: "
    for fragment in fragments:
        long = fragment * (20_000 // len(fragment))
        for daemon in ("smtp", "smtpd", "cleanup", "qmgr", "postscreen"):
            for head in heads:
                _try_all(_HEADER.format(daemon) + head + long)
        _try_all(_HEADER.format("smtp") + reason + long)


_KEYS = "to=<u@example.com>, orig_to=<v@example.com>, relay=r[192.0.2.1]:25, conn_use=2, delay=1, delays=0/0/0/1, tls=verified, dsn=4.0.0"


@pytest.mark.parametrize("place", range(1, 9))
@pytest.mark.parametrize("daemon", ["smtp", "lmtp", "local", "virtual", "pipe", "error", "relay"])
def test_a_new_key_leaves_a_delivery_a_delivery(daemon: str, place: int) -> None:
    """A later release may add a key anywhere, as 3.11 added tls=; the known keys keep their values."""
    keys = _KEYS.split(", ")
    text = "4C0FFEE001: {}, status=deferred (host said: 450 4.0.0 a=b, c=d (in reply to RCPT TO command))"
    wanted = _event(daemon, text.format(_KEYS))
    assert isinstance(wanted, Delivery)
    for new in ("newkey=x", "tls_cert=a b <c>", "n1=, n2="):
        assert _event(daemon, text.format(", ".join([*keys[:place], new, *keys[place:]]))) == wanted
