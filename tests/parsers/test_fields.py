"""The JSON form of events, and the parts of a peer."""

import pytest

from postward.parsers import as_fields, split_peer
from postward.parsers.events import ClientConnected, Delivery, PickedUp


@pytest.mark.parametrize(
    ("peer", "parts"),
    [
        ("smtp.relay.example[192.0.2.10]:587", ("smtp.relay.example", "192.0.2.10", 587)),
        ("smtp.relay.example[2001:db8::1b]:25", ("smtp.relay.example", "2001:db8::1b", 25)),
        ("smtp.relay.example[192.0.2.10]", ("smtp.relay.example", "192.0.2.10", None)),
        ("mail.example.com[private/dovecot-lmtp]", ("mail.example.com", "private/dovecot-lmtp", None)),
        ("[192.0.2.66]:40123", (None, "192.0.2.66", 40123)),
        ("[2001:db8::66]:40123", (None, "2001:db8::66", 40123)),
        ("unknown[unknown]", ("unknown", "unknown", None)),
        ("none", ("none", None, None)),
        ("", (None, None, None)),
        ("x[1.2.3.4]:smtp", ("x", "1.2.3.4", None)),
    ],
)
def test_a_peer_is_split_into_its_parts(peer: str, parts: tuple[str | None, str | None, int | None]) -> None:
    """A colon in an IPv6 address does not begin a port."""
    assert split_peer(peer) == parts


def test_numbers_are_numbers_and_absent_fields_are_absent() -> None:
    """The JSON form holds the fields of the line and nothing else."""
    event = Delivery(
        queue_id="4C0FFEE001",
        to="bob@dest.example",
        orig_to=None,
        relay="x.example[2001:db8::1]:587",
        conn_use="2",
        delay="1.5",
        delays="0.1/0/1/0.4",
        tls=None,
        dsn="2.0.0",
        status="sent",
        reason="250 ok",
    )
    assert as_fields(event) == {
        "queue_id": "4C0FFEE001",
        "to": "bob@dest.example",
        "relay": "x.example[2001:db8::1]:587",
        "relay_host": "x.example",
        "relay_addr": "2001:db8::1",
        "relay_port": 587,
        "conn_use": 2,
        "delay": 1.5,
        "delays": [0.1, 0.0, 1.0, 0.4],
        "dsn": "2.0.0",
        "status": "sent",
        "reason": "250 ok",
    }


def test_a_trailing_underscore_is_dropped() -> None:
    """The field is `from_` in Python, where `from` is a keyword, but "from" in JSON."""
    assert as_fields(PickedUp("4C0FFEE001", "33", "www-data")) == {
        "queue_id": "4C0FFEE001",
        "uid": 33,
        "from": "www-data",
    }


def test_a_relay_without_an_address_has_no_parts() -> None:
    """relay=none and relay=local stay plain text."""
    event = Delivery("4C0FFEE001", "a@b", None, "none", None, "nan", "x/1e400", None, None, "deferred", None)
    assert as_fields(event) == {
        "queue_id": "4C0FFEE001",
        "to": "a@b",
        "relay": "none",
        "delay": "nan",
        "delays": ["x", "1e400"],
        "status": "deferred",
    }


def test_a_client_is_split_like_a_relay() -> None:
    """The daemons smtpd and postscreen print clients in the form of `relay`."""
    fields = as_fields(ClientConnected("app.example.com[192.0.2.17]"))
    assert (fields["client_host"], fields["client_addr"]) == ("app.example.com", "192.0.2.17")
