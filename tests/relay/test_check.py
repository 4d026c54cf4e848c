"""The check of a relay: each fault at its step with its cause, on a real relay, and no secret shown."""

import json
import ssl
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from postward.agent.relay.endpoint import RelayEndpoint, on_port
from postward.config.sasl import SaslClient
from postward.parsers.scrub import MASK
from tests.relay import PASSWORD, USER, checked
from tests.support import CA, Fault, Relay


def test_every_step_succeeds_at_a_healthy_relay(relay: tuple[Relay, RelayEndpoint]) -> None:
    """All steps in order, with addresses, capabilities, TLS, a valid certificate and an accepted login."""
    running, endpoint = relay
    check = checked(endpoint)

    assert check.ok, check.detail
    assert [step.name for step in check.steps] == [
        "dns",
        "connect",
        "greeting",
        "ehlo",
        "tls",
        "auth",
        "quit",
    ]
    assert check.starttls
    assert check.mechanisms == ["LOGIN", "PLAIN"]
    assert (check.auth, check.problem) == ("accepted", None)
    assert check.tls_version == "TLSv1.3"
    assert check.certificate is not None
    assert check.certificate.names == ("localhost",)
    assert [attempt.error for attempt in check.attempts if attempt.family == "IPv4"] == [None]
    assert running.messages == []


# The fault at the relay, and the step and cause at which the check stops.
FAULTS = [
    ("greeting", Fault(step="greeting", reply="554 5.7.1 no"), "greeting", "greeting_refused"),
    ("silent", Fault(step="greeting", action="hang"), "greeting", "timeout"),
    ("not SMTP", Fault(step="greeting", reply="SSH-2.0-x"), "greeting", "other"),
    ("cut", Fault(step="greeting", action="cut"), "greeting", "lost"),
    ("ehlo", Fault(step="ehlo", reply="550 5.7.1 helo command rejected"), "ehlo", "helo_rejected"),
    ("starttls", Fault(step="starttls", reply="454 4.7.0 not now"), "tls", "tls_not_offered"),
    ("handshake", Fault(step="handshake", action="cut"), "tls", "tls_handshake"),
    ("auth", Fault(step="auth", reply="535 5.7.8 no"), "auth", "auth_rejected"),
    ("auth later", Fault(step="auth", reply="454 4.7.0 later"), "auth", "auth_temporary"),
    ("auth cut", Fault(step="auth", action="cut"), "auth", "lost"),
]


@pytest.mark.parametrize(
    ("fault", "step", "cause"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
def test_a_fault_stops_the_check_at_its_step(
    relay: tuple[Relay, RelayEndpoint], fault: Fault, step: str, cause: str
) -> None:
    """The step, and the cause that the same reply has in Postfix's log."""
    running, endpoint = relay
    with running.failing(fault):
        check = checked(endpoint)

    assert (check.step, check.cause) == (step, cause)
    assert check.detail


def test_faults_before_the_login(relay: tuple[Relay, RelayEndpoint]) -> None:
    """No such name, a refused connection, no STARTTLS, no common mechanism."""
    running, endpoint = relay
    assert checked(replace(endpoint, host="no-such-host.invalid")).cause == "dns"
    running.no_starttls = True
    check = checked(endpoint)
    assert (check.step, check.cause, check.starttls) == ("tls", "tls_not_offered", False)
    running.no_starttls = False
    running.mechanisms = ("XOAUTH2",)
    check = checked(endpoint)
    assert (check.step, check.cause) == ("auth", "auth_mechanism")
    assert running.auth_attempts == []
    running.refuse = True
    check = checked(endpoint)
    assert (check.step, check.cause, check.reachable) == ("connect", "refused", False)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_no_secret_is_shown(relay: tuple[Relay, RelayEndpoint], mechanism: str) -> None:
    """No mechanism shows the password, even if the relay repeats it, in any form of the result."""
    running, endpoint = relay
    running.mechanisms = (mechanism,)
    assert checked(endpoint).auth == "accepted"
    with running.failing(Fault(step="auth", reply=f"535 5.7.8 {PASSWORD} is wrong")):
        check = checked(endpoint)

    assert check.auth == "rejected"
    assert MASK in check.detail
    assert "s3cret" not in json.dumps(asdict(check), default=str) + repr(endpoint) + repr(check)
    assert any(line.by == "C" and MASK in line.text for line in check.transcript)


def test_no_password_goes_to_an_unencrypted_or_unverified_relay(tmp_path: Path) -> None:
    """Without encryption, or if a required verification fails, the relay sees no AUTH."""
    with Relay(CA(), users={USER: PASSWORD}, tls="none") as running:
        endpoint = RelayEndpoint("demo", "localhost", running.port, "none", username=USER, password=PASSWORD)
        assert checked(endpoint).auth == "untried"
        assert checked(replace(endpoint, cleartext_password=True)).auth == "accepted"
        assert len(running.auth_attempts) == 1
    with Relay(CA(), users={USER: PASSWORD}) as running:
        other = str(CA().write(tmp_path))
        endpoint = RelayEndpoint(
            "demo", "localhost", running.port, "starttls", True, other, username=USER, password=PASSWORD
        )
        check = checked(endpoint)
        assert (check.step, check.cause) == ("certificate", "tls_verify")
        assert running.auth_attempts == []


def test_implicit_tls_and_a_port_of_the_other_kind(
    relay: tuple[Relay, RelayEndpoint], tmp_path: Path
) -> None:
    """Implicit TLS succeeds; at a STARTTLS port it is a failed handshake; other ports are checked without a login."""
    running, endpoint = relay
    assert checked(replace(endpoint, tls="implicit")).cause == "tls_handshake"
    ca = CA()
    with Relay(ca, users={USER: PASSWORD}, tls="implicit") as implicit:
        check = checked(
            replace(endpoint, port=implicit.port, tls="implicit", ca_file=str(ca.write(tmp_path)))
        )
        assert check.ok, check.detail
        assert check.starttls is None
    elsewhere = on_port(endpoint, running.port)
    assert (elsewhere.password, elsewhere.tls) == (None, "opportunistic")
    assert checked(elsewhere).ok


# --- the login that Postfix would make

TOKENS = SaslClient(None, ("xoauth2", "oauthbearer"), frozenset())


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_is_sent_as_postfix_sends_it(relay: tuple[Relay, RelayEndpoint], mechanism: str) -> None:
    """A good token is accepted, a refused one is rejected by the relay's last reply, and neither is shown."""
    running, endpoint = relay
    running.mechanisms = ("LOGIN", mechanism)
    running.users = {"a=b,c@example.com": "tok.en" * 500}
    endpoint = replace(
        endpoint, username="a=b,c@example.com", password=running.users["a=b,c@example.com"], sasl=TOKENS
    )
    check = checked(endpoint)
    assert check.ok, check.detail
    assert running.auth_attempts[-1] == (mechanism, "a=b,c@example.com", True)
    running.users = {}
    check = checked(endpoint)
    assert (check.step, check.cause, check.auth) == ("auth", "auth_rejected", "rejected")
    assert check.detail.startswith("535 5.7.8")
    assert "tok.en" not in json.dumps(asdict(check), default=str) + repr(endpoint)


def test_a_secret_goes_by_no_other_mechanism(relay: tuple[Relay, RelayEndpoint]) -> None:
    """A token not by LOGIN, a password not by XOAUTH2, and nothing where Postfix takes GSSAPI or DIGEST-MD5."""
    running, endpoint = relay
    running.mechanisms = ("LOGIN",)
    assert checked(replace(endpoint, sasl=TOKENS)).cause == "auth_mechanism"
    running.mechanisms = ("XOAUTH2",)
    assert checked(endpoint).cause == "auth_mechanism"
    third_party = SaslClient(frozenset({"sasl-xoauth2"}), ("xoauth2",))
    check = checked(replace(endpoint, sasl=third_party))
    assert (check.ok, check.auth, check.auth_detail) == (
        True,
        "untried",
        "the login by XOAUTH2 is left to Postfix",
    )
    assert running.auth_attempts == []


def test_a_client_certificate_is_presented(tmp_path: Path) -> None:
    """A relay that demands one sees it; without it, the handshake fails."""
    ca = CA()
    key, certificate = (tmp_path / name for name in ("client.key", "client.pem"))
    for path, content in zip((key, certificate), ca.client_certificate("client"), strict=True):
        path.write_bytes(content)
    with Relay(ca, users={USER: PASSWORD}) as running:
        running.certificate.load_verify_locations(cadata=ca.pem.decode())
        running.certificate.verify_mode = ssl.CERT_REQUIRED
        endpoint = RelayEndpoint(
            "demo", "localhost", running.port, "starttls", username=USER, password=PASSWORD, timeout=5.0
        )
        assert not checked(endpoint).ok
        check = checked(replace(endpoint, client_certificate=str(certificate), client_key=str(key)))
        assert check.auth == "accepted", check.detail


ENVELOPES = [
    ("accepted", None, ""),
    ("sender", Fault(step="mail", reply="550 5.7.1 Sender address rejected: not owned by user"), "mail_from"),
    ("recipient", Fault(step="rcpt", reply="550 5.1.1 User unknown"), "rcpt_to"),
    ("greylisting", Fault(step="rcpt", reply="450 4.7.1 Greylisted"), ""),
]


@pytest.mark.parametrize(("fault", "step"), [row[1:] for row in ENVELOPES], ids=[row[0] for row in ENVELOPES])
def test_an_envelope_is_tried_without_a_mail(
    relay: tuple[Relay, RelayEndpoint], fault: Fault | None, step: str
) -> None:
    """Sender and recipient are named after the login. A lasting refusal stops the check there; no mail is sent."""
    running, endpoint = relay
    running.fault = fault
    check = checked(replace(endpoint, envelope=("a@example.com", "b@example.com")))
    running.fault = None

    assert check.step == step, check.detail
    assert check.reachable
    assert running.messages == []


def test_an_envelope_is_not_tried_after_a_refused_login(relay: tuple[Relay, RelayEndpoint]) -> None:
    """The relay would refuse every sender then."""
    running, endpoint = relay
    running.forget()
    check = checked(replace(endpoint, password="wrong", envelope=("a@example.com",)))

    assert check.step == "auth"
    assert not any("MAIL FROM" in line for line in running.transcript)
