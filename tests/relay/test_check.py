"""The check of a relay: each fault at its step with its cause, on a real relay, and no secret shown."""

import asyncio
import datetime
import json
import ssl
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from postward.agent.metrics.tally import Tally
from postward.agent.relay.changes import KINDS, RelaySnapshot, update
from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.endpoint import RelayEndpoint, on_port
from postward.agent.relay.x509 import parse_certificate
from postward.parsers.scrub import MASK
from tests.support import CA, Fault, Relay
from tests.support.product import run_postward

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[tuple[Relay, RelayEndpoint]]:
    """A relay, and the endpoint that fits it."""
    ca = CA()
    with Relay(ca, users={USER: PASSWORD}) as running:
        yield (
            running,
            RelayEndpoint(
                "demo",
                "localhost",
                running.port,
                "starttls",
                ca_file=str(ca.write(tmp_path)),
                helo="client.test",
                username=USER,
                password=PASSWORD,
                timeout=1.0,
            ),
        )


def checked(endpoint: RelayEndpoint) -> RelayCheck:
    """Check a relay once."""
    return asyncio.run(check_relay(endpoint))


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


def context(
    authority: trustme.CA, *, start: datetime.timedelta, end: datetime.timedelta, name: str = "localhost"
) -> ssl.SSLContext:
    """Return a server's context with a certificate of this validity."""
    issued = authority.issue_cert(name, not_before=NOW + start, not_after=NOW + end)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(made)
    return made


def test_the_certificate_is_read_and_its_faults_are_events(tmp_path: Path) -> None:
    """Valid, about to expire, expired, wrong name, untrusted, another issuer: validity, expiry and events."""
    authority, other = trustme.CA(organization_name="One"), trustme.CA(organization_name="Two")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.cert_pem.bytes() + other.cert_pem.bytes())
    untrusted = trustme.CA(organization_name="Untrusted")
    rows = [
        ("valid", context(authority, start=-DAY, end=300 * DAY), None, set()),
        ("5 days", context(authority, start=-DAY, end=5 * DAY), None, {"certificate_expires"}),
        ("expired", context(authority, start=-30 * DAY, end=-DAY), "certificate has expired",
         {"certificate_expired", "certificate_invalid"}),
        ("wrong name", context(authority, start=-DAY, end=300 * DAY, name="wrong.test"), "Hostname mismatch",
         {"certificate_invalid"}),
        ("untrusted", context(untrusted, start=-DAY, end=300 * DAY), "self-signed certificate in certificate chain|unable to get",
         {"certificate_invalid", "certificate_issuer"}),
        ("other issuer", context(other, start=-DAY, end=300 * DAY), None, {"certificate_issuer"}),
    ]  # fmt: skip
    with Relay(CA(), users={USER: PASSWORD}) as running:
        endpoint = RelayEndpoint("demo", "localhost", running.port, "starttls", ca_file=str(ca_file))
        for name, certificate, problem, expected in rows:
            snapshot = RelaySnapshot()
            running.certificate = rows[0][1]
            assert update(snapshot, checked(endpoint), NOW.timestamp()) == []
            running.certificate = certificate
            check = checked(endpoint)
            kinds = {change.kind for change in update(snapshot, check, NOW.timestamp())}
            renewal = set() if name == "valid" else {"certificate_key", "certificate_renewed"}

            assert kinds == expected | renewal, name
            assert check.reachable, name
            if problem is None:
                assert check.problem is None, name
            else:
                assert any(text in (check.problem or "") for text in problem.split("|")), (
                    name,
                    check.problem,
                )
            assert check.certificate is not None
            assert snapshot.not_after == check.certificate.not_after
            assert update(snapshot, check, NOW.timestamp()) == [], "an event is reported once"


def test_the_fields_agree_with_the_cryptography_package() -> None:
    """The parser reads the same as the cryptography package, for names and organizations of several kinds."""
    for organization in ("x", "Ö & Co", None):
        issued = trustme.CA().issue_cert("a.test", "192.0.2.7", "2001:db8::1", organization_name=organization)
        pem = issued.cert_chain_pems[0].bytes()
        theirs = x509.load_pem_x509_certificate(pem)
        ours = parse_certificate(ssl.PEM_cert_to_DER_cert(pem.decode()))

        assert ours.fingerprint == theirs.fingerprint(hashes.SHA256()).hex()
        assert ours.not_after == theirs.not_valid_after_utc.timestamp()
        assert ours.not_before == theirs.not_valid_before_utc.timestamp()
        assert set(ours.names) >= {"a.test", "192.0.2.7", "2001:db8::1"}
        for attribute in theirs.issuer:
            assert str(attribute.value) in ours.issuer


def test_damaged_certificates_raise_value_error() -> None:
    """Truncated or changed anywhere, a certificate is read or raises ValueError."""
    der = ssl.PEM_cert_to_DER_cert(trustme.CA().issue_cert("a.test").cert_chain_pems[0].bytes().decode())
    for position in range(len(der)):
        for damaged in (der[:position], der[:position] + b"\xff" + der[position + 1 :]):
            try:
                parse_certificate(damaged)
            except ValueError:
                continue


def test_a_loss_is_one_event_and_a_relay_that_is_down_is_none(
    relay: tuple[Relay, RelayEndpoint],
) -> None:
    """The loss of STARTTLS, a mechanism or a capability is one event; a check that saw nothing is none."""
    running, endpoint = relay
    running.extensions = ("PIPELINING",)
    snapshot, now = RelaySnapshot(), NOW.timestamp()
    update(snapshot, checked(endpoint), now)
    running.mechanisms, running.extensions = ("LOGIN",), ()
    kinds = [change.kind for change in update(snapshot, checked(endpoint), now)]
    assert kinds == ["capability_gone", "auth_mechanism_gone"]
    running.refuse = True
    assert update(snapshot, checked(endpoint), now) == []
    running.refuse, running.no_starttls = False, True
    first, second = update(snapshot, checked(endpoint), now), update(snapshot, checked(endpoint), now)
    assert [(change.kind, change.alarm) for change in first] == [("starttls_gone", True)]
    assert second == []
    assert snapshot.not_after is not None
    restored = RelaySnapshot.from_dict(json.loads(json.dumps(snapshot.to_dict())))
    assert restored == snapshot


def test_an_address_is_new_if_unknown_for_a_week() -> None:
    """A pool that rotates makes no events; a new address makes one, and another after a week's absence."""
    snapshot, now, day = RelaySnapshot(), 1_800_000_000.0, 86400.0

    def answer(at: float, *addresses: str) -> list[str]:
        check = RelayCheck("demo", "r.test", 587, "starttls", step="connect", addresses=list(addresses))
        return [change.kind for change in update(snapshot, check, at)]

    assert answer(now, "192.0.2.1", "192.0.2.2") == []
    assert answer(now + day, "192.0.2.2") == []
    assert answer(now + 2 * day, "192.0.2.3") == ["addresses"]
    assert answer(now + 3 * day, "192.0.2.1", "192.0.2.3") == []
    assert answer(now + 12 * day, "192.0.2.1") == []  # no address was known any more


def test_a_certificate_is_warned_of_before_it_expires() -> None:
    """30, 14, 7, 3 and 1 days before, and after it: once each, also while the relay is down."""
    snapshot, now, day = (
        RelaySnapshot(not_after=1_800_000_000.0 + 40 * 86400, fingerprint="x"),
        1_800_000_000.0,
        86400.0,
    )
    down = RelayCheck("demo", "r.test", 587, "starttls", step="dns")
    events = [
        (hour // 24, change.kind)
        for hour in range(45 * 24)
        for change in update(snapshot, down, now + hour * day / 24)
    ]

    assert events == [
        (10, "certificate_expires"),
        (26, "certificate_expires"),
        (33, "certificate_expires"),
        (37, "certificate_expires"),
        (39, "certificate_expires"),
        (40, "certificate_expired"),
    ]
    assert {kind for _, kind in events} <= set(KINDS)
    assert "postward_relay_changes_total" in Tally().counters


def test_the_command_prints_a_transcript_and_exits_by_the_result(
    relay: tuple[Relay, RelayEndpoint], tmp_path: Path
) -> None:
    """Exit status 0 and 1, a readable transcript, JSON, other ports, and never the password."""
    running, endpoint = relay
    settings = tmp_path / "postward.toml"
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD)
    state = tmp_path / "state"
    state.mkdir()
    settings.write_text(
        f'[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "localhost"\nport = {running.port}\n'
        f'tls = "starttls"\nca_file = "{endpoint.ca_file}"\nusername = "{USER}"\npassword_file = "{password_file}"\n'
        f'[state]\ndirectory = "{state}"\n'
    )
    good = run_postward("relay", "--config", str(settings))
    running.users = {USER: "another"}
    bad = run_postward("relay", "--json", "--all-ports", "--config", str(settings))
    again = [run_postward("relay", "demo", "--config", str(settings)) for _ in range(3)]

    assert good.returncode == 0, good.stdout + good.stderr
    assert f"AUTH PLAIN {MASK}" in good.stdout
    assert bad.returncode == 1
    (checks,) = json.loads(bad.stdout)
    assert (checks[0]["step"], checks[0]["cause"]) == ("auth", "auth_rejected")
    assert [check["port"] for check in checks[1:]] == [587, 465, 2525, 25]
    assert [done.returncode for done in again] == [1, 1, 1]
    assert "no login attempted: rejected before" in again[-1].stdout
    assert sum(not attempt.accepted for attempt in running.auth_attempts) == 2
    for done in (good, bad, *again):
        assert "s3cret" not in done.stdout + done.stderr
