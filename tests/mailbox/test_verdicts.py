"""The receiver's verdicts: only the trusted server's, and never those that a sender wrote."""

from email import message_from_bytes, message_from_string

import pytest

from postward.agent.mailbox.verdicts import verdicts_of

TRUSTED = "mx.receiver.test"
RECEIVED = "Received: from relay by mx.receiver.test with ESMTPS; Mon, 30 Nov 2026 01:00:00 +0000"
SUBMITTED = "Received: by mail.example.test (Postfix, from userid 0); Mon, 30 Nov 2026 00:59:58 +0000"
PASSED = (("spf", "pass"), ("dkim", "pass"), ("dmarc", "pass"))
ALL = (
    f"Authentication-Results: {TRUSTED}; spf=pass smtp.mailfrom=a.test; dkim=pass header.d=a.test; dmarc=pass"
)
LONG = f"""\
Authentication-Results: {TRUSTED} 1;
 dkim=fail (bad (nested\\)) hash)
  header.d=a.test;
 DKIM/1 = PASS reason="good; dkim=fail" header.i=@b.test; x-other=fail; spf=softfail"""
FORGED = f"Authentication-Results: {TRUSTED}; spf=pass; dkim=pass; dmarc=pass"


def verdicts(*fields: str, authserv_id: str = TRUSTED) -> dict[str, str]:
    """Return the verdicts on a mail with these header fields."""
    return dict(verdicts_of(message_from_string("\n".join(fields) + "\n\nbody\n"), authserv_id))


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (ALL, dict(PASSED)),
        # RFC 8601, appendix B: comments, versions, several methods of one kind, reasons
        (
            LONG,
            {"spf": "softfail", "dkim": "pass"},
        ),
        (f"Authentication-Results: (c) {TRUSTED.upper()}; none", {}),
        (f"Authentication-Results: {TRUSTED}; dmarc=bestguesspass", {"dmarc": "other"}),
        ("Authentication-Results:", {}),
        ("Authentication-Results: ;;;=;(((", {}),
    ],
)
def test_the_results_of_the_trusted_server(field: str, expected: dict[str, str]) -> None:
    """Above its own Received field, as milters write it."""
    assert verdicts(field, RECEIVED, SUBMITTED) == expected


@pytest.mark.parametrize(
    "field",
    [
        FORGED.replace(TRUSTED, "mx.evil.test"),
        FORGED.replace(TRUSTED, f"{TRUSTED}.evil.test"),
        FORGED.replace(TRUSTED, f"evil ({TRUSTED})"),
        FORGED.replace(TRUSTED, f'"{TRUSTED}"'),
        FORGED.replace("Authentication-Results", "ARC-Authentication-Results"),
        FORGED.replace("Authentication-Results", "X-Authentication-Results"),
    ],
)
def test_other_servers_are_not_trusted(field: str) -> None:
    """Another name, also with the trusted one in a comment, a quoted string or a longer name, or another field."""
    assert verdicts(field, RECEIVED, SUBMITTED) == {}


def test_a_field_inside_the_message_is_not_trusted() -> None:
    """The sender wrote it below all Received fields; the server's own verdict, if there is one, stands."""
    failed = ALL.replace("=pass", "=fail")
    assert verdicts(RECEIVED, SUBMITTED, FORGED) == {}
    assert verdicts(FORGED) == {}
    assert verdicts(failed, RECEIVED, SUBMITTED, FORGED) == {
        "spf": "fail",
        "dkim": "fail",
        "dmarc": "fail",
    }


def test_a_field_of_an_earlier_hop_is_not_trusted() -> None:
    """The topmost fields of the server decide; those below its Received field can be of hops before."""
    spf = f"Authentication-Results: {TRUSTED}; spf=fail"
    dkim = f"Authentication-Results: {TRUSTED}; dkim=pass; spf=pass"
    assert verdicts(spf, RECEIVED, FORGED, SUBMITTED) == {"spf": "fail"}
    assert verdicts(spf, dkim, RECEIVED, FORGED, SUBMITTED) == {"spf": "fail", "dkim": "pass"}
    assert verdicts(RECEIVED, "Subject: x", spf, dkim, SUBMITTED) == {"spf": "fail", "dkim": "pass"}


def test_no_server_is_trusted_without_a_name() -> None:
    """mailbox.authserv_id is empty."""
    assert verdicts(ALL, RECEIVED, SUBMITTED, authserv_id="") == {}


@pytest.mark.parametrize(
    "head",
    [
        b"\xff\x00" * 500,
        b"Authentication-Results: " + b"(" * 100_000,
        b"Authentication-Results: \xe9; spf=\xe9\nReceived: a\n\n",
        b"Authentication-Results: =?utf-8?q?" + TRUSTED.encode() + b"?=; spf=pass\nReceived: a\n\n",
        b"Received: a\n" * 5000 + b"\n",
    ],
)
def test_hostile_fields_give_nothing(head: bytes) -> None:
    """Nothing is raised."""
    assert verdicts_of(message_from_bytes(head), TRUSTED) == ()
