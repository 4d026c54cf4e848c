"""Causes, steps and next hops."""

import pytest

from postward.parsers import Cause, Event, cause_of, classify, relay_host_of, step_of
from postward.parsers.events import Attempt, ConnectFailed, Delivery, MessageId, Removed, TlsFailed
from tests.parsers.golden import CORPUS

_HOST = "smtp.relay.example[192.0.2.10]"
_WORDING = {
    "AUTH": f"SASL authentication failed; server {_HOST} said: {{}}",
    "CACHED": f"SASL [CACHED] authentication failed; server {_HOST} said: {{}}",
    "GREETING": f"host {_HOST} refused to talk to me: {{}}",
    "-": "{}",
}
_SERVERS = {"Postfix", "Exim", "qmail", "Sendmail"}


def _rows(name: str) -> list[list[str]]:
    lines = (CORPUS / name).read_text(encoding="utf-8").split("\n")
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


_REPLIES = _rows("replies.tsv")
_PROVIDER_REPLIES = _rows("provider_replies.tsv")


def _reason(command: str, reply: str) -> str:
    template = _WORDING.get(command, f"host {_HOST} said: {{}} (in reply to {command} command)")
    return template.format(reply)


def _delivery(reason: str, status: str = "deferred", relay: str = "none", dsn: str = "4.4.1") -> Delivery:
    return Delivery(
        "4C0FFEE001", "bob@dest.example", None, relay, None, "1", "1/0/0/0", None, dsn, status, reason
    )


@pytest.mark.parametrize(("command", "reply", "cause"), _REPLIES)
def test_every_reply_has_its_cause(command: str, reply: str, cause: str) -> None:
    """A reply of a real server, or a text of Postfix, leads to the cause that an administrator would name."""
    assert classify(_reason(command, reply)) == cause


def test_the_table_of_replies_names_every_cause() -> None:
    """Every cause has an example."""
    assert {cause for _, _, cause in _REPLIES} == {cause.value for cause in Cause}


@pytest.mark.parametrize(("command", "reply", "cause", "_source"), _PROVIDER_REPLIES)
def test_every_documented_reply_has_its_cause(command: str, reply: str, cause: str, _source: str) -> None:
    """A reply that a server's source or a provider's documentation names leads to its cause."""
    assert classify(_reason(command, reply)) == cause


@pytest.mark.parametrize("command", ["AUTH", "MAIL FROM", "RCPT TO", "end of DATA"])
def test_documented_replies_cover_every_step_and_name_a_source(command: str) -> None:
    """Each step has at least 15 documented replies, and each reply names a URL or a source file."""
    sources = [source for step, _, _, source in _PROVIDER_REPLIES if step == command]
    assert len(sources) >= 15
    assert all("://" in source or source.split()[0] in _SERVERS for source in sources)


def test_unknown_replies_to_data_keep_a_general_cause() -> None:
    """After the end of DATA, an unknown text keeps a general cause."""
    for code in ("550", "552", "554"):
        assert classify(_reason("end of DATA", f"{code} go away")) is Cause.OTHER
    assert classify(_reason("end of DATA", "550 5.7.1 go away")) is Cause.POLICY
    assert classify(_reason("end of DATA", "451 4.7.1 go away")) is Cause.REMOTE_TEMPORARY


@pytest.mark.parametrize("status", ["sent", "deliverable"])
def test_success_has_no_cause(status: str) -> None:
    """A successful delivery has no cause, whatever the server's reply says."""
    assert cause_of(_delivery("250 2.0.0 Ok: 535 blocked using zen.spamhaus.org", status)) is None


@pytest.mark.parametrize("event", [Removed("4C0FFEE001"), MessageId("4C0FFEE001", "<535@x>")])
def test_an_event_without_a_failure_has_no_cause(event: Event) -> None:
    """Only failures have causes."""
    assert cause_of(event) is None


def test_a_text_from_the_configuration_is_local() -> None:
    """error(8) never connects: its text comes from this host's configuration."""
    assert (
        cause_of(_delivery("mail to the outside is switched off", "bounced", dsn="5.0.0"))
        is Cause.LOCAL_CONFIG
    )


def test_a_provider_phrase_never_overrides_postfix() -> None:
    """A host called "too-many-connections" that refuses a connection is still refused."""
    reason = "connect to greylist.blocked-using.example[192.0.2.10]:25: Connection refused"
    assert classify(reason) is Cause.REFUSED


def test_a_quoted_reply_does_not_pose_as_postfix() -> None:
    """Postfix's phrases count at the start of the reason only."""
    reason = _reason(
        "RCPT TO",
        "550 5.1.1 lost connection with x[1.2.3.4] while SASL authentication failed; server x said: 535",
    )
    assert classify(reason) is Cause.RECIPIENT_REJECTED


def test_a_cut_reply_has_no_command() -> None:
    """The command of a cut reply is unknown, so its code decides."""
    assert classify(f"host {_HOST} said: 550 5.1.1 a long story that was c") is Cause.RECIPIENT_REJECTED


def test_the_dsn_helps_a_reply_without_codes() -> None:
    """Postfix keeps the class of a reply in the record's DSN even where the reply is nonsense."""
    assert (
        classify(f"host {_HOST} said: nonsense (in reply to RCPT TO command)", "4.0.0")
        is Cause.REMOTE_TEMPORARY
    )


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("mail transport unavailable", "queue"),
        ("a text that no release has printed", "queue"),
        (
            "Host or domain name not found. Name service error for name=x.example type=A: Host not found",
            "dns",
        ),
        ("connect to x.example[192.0.2.1]:25: Connection refused", "connect"),
        ("delivery temporarily suspended: connect to x.example[192.0.2.1]:25: Connection refused", "connect"),
        ("host x.example[192.0.2.1] refused to talk to me: 421 busy", "greeting"),
        ("lost connection with x.example[192.0.2.1] while receiving the initial server greeting", "greeting"),
        ("conversation with x.example[192.0.2.1] timed out while performing the EHLO handshake", "ehlo"),
        ("lost connection with x.example[192.0.2.1] while receiving the STARTTLS response", "tls"),
        ("Cannot start TLS: handshake failure", "tls"),
        ("TLS is required, but was not offered by host x.example[192.0.2.1]", "tls"),
        ("SASL authentication failed; server x.example[192.0.2.1] said: 535 no", "auth"),
        ("SASL authentication failed: server x.example[192.0.2.1] offered no compatible mechanisms", "auth"),
        ("local data error while talking to x.example[192.0.2.1]", "auth"),
        ("host x.example[192.0.2.1] said: 530 no (in reply to MAIL FROM command)", "mail_from"),
        ("lost connection with x.example[192.0.2.1] while sending MAIL FROM", "mail_from"),
        ("host x.example[192.0.2.1] said: 550 no (in reply to RCPT TO command)", "rcpt_to"),
        ("lost connection with x.example[192.0.2.1] while sending RCPT TO", "rcpt_to"),
        ("host x.example[192.0.2.1] said: 550 no (in reply to end of DATA command)", "data"),
        ("host x.example[192.0.2.1] said: 550 no (in reply to DATA command)", "data"),
        ("conversation with x.example[192.0.2.1] timed out while sending message body", "data"),
    ],
)
def test_the_step_follows_from_the_reason(reason: str, step: str) -> None:
    """Postfix's phrase and the command in it give the step that an attempt reached."""
    assert step_of(_delivery(reason)) == step
    assert step_of(Attempt("4C0FFEE001", reason)) == step


def test_a_successful_delivery_reached_data() -> None:
    """Nothing comes after the end of DATA."""
    assert step_of(_delivery("250 ok", "sent")) == "data"


@pytest.mark.parametrize(
    ("event", "host"),
    [
        (_delivery("250 ok", relay="smtp.relay.example[192.0.2.10]:587"), ("smtp.relay.example", 587)),
        (
            _delivery("connect to smtp.relay.example[2001:db8::1b]:587: No route to host"),
            ("smtp.relay.example", 587),
        ),
        (
            _delivery(
                "delivery temporarily suspended: connect to smtp.relay.example[192.0.2.10]:25: No route to host"
            ),
            ("smtp.relay.example", 25),
        ),
        (
            _delivery(
                "Host or domain name not found. Name service error for name=smtp.relay.example type=A: Host not found"
            ),
            ("smtp.relay.example", None),
        ),
        (
            _delivery("unable to look up host smtp.relay.example: Name or service not known"),
            ("smtp.relay.example", None),
        ),
        (_delivery("mail transport unavailable"), None),
        (_delivery("delivered to mailbox", "sent", "local"), None),
        (
            Attempt("4C0FFEE001", "lost connection with mx.example[192.0.2.3] while sending RCPT TO"),
            ("mx.example", None),
        ),
        (
            ConnectFailed("smtp.relay.example[192.0.2.10]:587", "Connection refused"),
            ("smtp.relay.example", 587),
        ),
        (TlsFailed("smtp.relay.example[192.0.2.10]:587", "-1"), ("smtp.relay.example", 587)),
        (Removed("4C0FFEE001"), None),
    ],
)
def test_the_next_hop_is_found(event: Event, host: tuple[str, int | None] | None) -> None:
    """With relay=none, the reason names the next hop."""
    assert relay_host_of(event) == host
