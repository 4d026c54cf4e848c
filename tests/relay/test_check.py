"""The conversation with a relay: each fault at its step with its cause, on a real relay, and no secret shown."""

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
from postward.agent.relay.changes import KINDS, Seen, look
from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.target import Target, on_port
from postward.agent.relay.x509 import parse_certificate
from tests.support import CA, Fault, Relay
from tests.support.product import run_postward

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[tuple[Relay, Target]]:
    """A relay, and the settings that fit it."""
    ca = CA()
    with Relay(ca, users={USER: PASSWORD}) as running:
        yield (
            running,
            Target(
                "demo",
                "localhost",
                running.port,
                "starttls",
                ca_file=str(ca.write(tmp_path)),
                helo="client.test",
                username=USER,
                password=PASSWORD,
                deadline=1.0,
            ),
        )


def talk(target: Target) -> RelayCheck:
    """One conversation."""
    return asyncio.run(check_relay(target))


def test_a_relay_that_is_well_goes_through_every_step(relay: tuple[Relay, Target]) -> None:
    """All steps in their order, with the addresses, capabilities, TLS, a valid certificate and an accepted login."""
    running, target = relay
    check = talk(target)

    assert check.ok, check.words
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


# What is wrong at the relay, and where the conversation must stop.
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
def test_a_fault_stops_it_at_its_step(
    relay: tuple[Relay, Target], fault: Fault, step: str, cause: str
) -> None:
    """The step, and the cause that the same words have in Postfix's log."""
    running, target = relay
    with running.failing(fault):
        check = talk(target)

    assert (check.step, check.cause) == (step, cause)
    assert check.words


def test_what_stops_it_before_the_relay_speaks(relay: tuple[Relay, Target]) -> None:
    """No name, nobody listening, no STARTTLS, no common mechanism."""
    running, target = relay
    assert talk(replace(target, host="no-such-host.invalid")).cause == "dns"
    running.no_starttls = True
    check = talk(target)
    assert (check.step, check.cause, check.starttls) == ("tls", "tls_not_offered", False)
    running.no_starttls = False
    running.mechanisms = ("XOAUTH2",)
    check = talk(target)
    assert (check.step, check.cause) == ("auth", "auth_mechanism")
    assert running.auth_attempts == []
    running.refuse = True
    check = talk(target)
    assert (check.step, check.cause, check.reachable) == ("connect", "refused", False)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_no_secret_is_shown(relay: tuple[Relay, Target], mechanism: str) -> None:
    """Not with any mechanism, not where the relay repeats it, not in any form of the result."""
    running, target = relay
    running.mechanisms = (mechanism,)
    assert talk(target).auth == "accepted"
    with running.failing(Fault(step="auth", reply=f"535 5.7.8 {PASSWORD} is wrong")):
        check = talk(target)

    assert check.auth == "rejected"
    assert "****" in check.words
    assert "s3cret" not in json.dumps(asdict(check), default=str) + repr(target) + repr(check)
    assert any(line.by == "C" and "****" in line.text for line in check.transcript)


def test_a_password_is_not_sent_in_clear_nor_to_a_stranger(tmp_path: Path) -> None:
    """Unencrypted, or where verification is demanded and fails, no AUTH is seen by the relay."""
    with Relay(CA(), users={USER: PASSWORD}, tls="none") as running:
        target = Target("demo", "localhost", running.port, "none", username=USER, password=PASSWORD)
        assert talk(target).auth == "untried"
        assert talk(replace(target, in_clear=True)).auth == "accepted"
        assert len(running.auth_attempts) == 1
    with Relay(CA(), users={USER: PASSWORD}) as running:
        other = str(CA().write(tmp_path))
        target = Target(
            "demo", "localhost", running.port, "starttls", True, other, username=USER, password=PASSWORD
        )
        check = talk(target)
        assert (check.step, check.cause) == ("certificate", "tls_verify")
        assert running.auth_attempts == []


def test_implicit_tls_and_the_wrong_kind_of_port(relay: tuple[Relay, Target], tmp_path: Path) -> None:
    """Implicit TLS goes through; spoken to a STARTTLS port it is a failed handshake; other ports are told apart."""
    running, target = relay
    assert talk(replace(target, tls="implicit")).cause == "tls_handshake"
    ca = CA()
    with Relay(ca, users={USER: PASSWORD}, tls="implicit") as implicit:
        check = talk(replace(target, port=implicit.port, tls="implicit", ca_file=str(ca.write(tmp_path))))
        assert check.ok, check.words
        assert check.starttls is None
    elsewhere = on_port(target, running.port)
    assert (elsewhere.password, elsewhere.tls) == (None, "opportunistic")
    assert talk(elsewhere).ok


def context(
    authority: trustme.CA, *, start: datetime.timedelta, end: datetime.timedelta, name: str = "localhost"
) -> ssl.SSLContext:
    """A server's context with a certificate of a life of its own."""
    issued = authority.issue_cert(name, not_before=NOW + start, not_after=NOW + end)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(made)
    return made


def test_certificates_good_and_bad_are_read_and_told(tmp_path: Path) -> None:
    """Valid, about to end, expired, wrong name, a stranger's, another issuer: validity, end and event right in each."""
    authority, other = trustme.CA(organization_name="One"), trustme.CA(organization_name="Two")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.cert_pem.bytes() + other.cert_pem.bytes())
    stranger = trustme.CA(organization_name="Nobody")
    rows = [
        ("valid", context(authority, start=-DAY, end=300 * DAY), None, set()),
        ("5 days", context(authority, start=-DAY, end=5 * DAY), None, {"certificate_expires"}),
        ("expired", context(authority, start=-30 * DAY, end=-DAY), "certificate has expired",
         {"certificate_expired", "certificate_invalid"}),
        ("wrong name", context(authority, start=-DAY, end=300 * DAY, name="wrong.test"), "Hostname mismatch",
         {"certificate_invalid"}),
        ("stranger", context(stranger, start=-DAY, end=300 * DAY), "self-signed certificate in certificate chain|unable to get",
         {"certificate_invalid", "certificate_issuer"}),
        ("other issuer", context(other, start=-DAY, end=300 * DAY), None, {"certificate_issuer"}),
    ]  # fmt: skip
    with Relay(CA(), users={USER: PASSWORD}) as running:
        target = Target("demo", "localhost", running.port, "starttls", ca_file=str(ca_file))
        for name, certificate, problem, expected in rows:
            seen = Seen()
            running.certificate = rows[0][1]
            assert look(seen, talk(target), NOW.timestamp()) == []
            running.certificate = certificate
            check = talk(target)
            kinds = {change.kind for change in look(seen, check, NOW.timestamp())}
            renewal = set() if name == "valid" else {"certificate_key", "certificate_renewed"}

            assert kinds == expected | renewal, name
            assert check.reachable, name
            if problem is None:
                assert check.problem is None, name
            else:
                assert any(words in (check.problem or "") for words in problem.split("|")), (
                    name,
                    check.problem,
                )
            assert check.certificate is not None
            assert seen.not_after == check.certificate.not_after
            assert look(seen, check, NOW.timestamp()) == [], "an event is told once"


def test_fields_are_those_that_a_whole_library_reads() -> None:
    """Our reader agrees with the cryptography package on certificates of every kind that the bed makes."""
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


def test_no_bytes_make_the_reader_fail_otherwise() -> None:
    """Cut off or changed anywhere, a certificate is read or is a ValueError."""
    der = ssl.PEM_cert_to_DER_cert(trustme.CA().issue_cert("a.test").cert_chain_pems[0].bytes().decode())
    for position in range(len(der)):
        for damaged in (der[:position], der[:position] + b"\xff" + der[position + 1 :]):
            try:
                parse_certificate(damaged)
            except ValueError:
                continue


def test_losses_are_events_once_and_a_relay_that_is_down_forgets_nothing(
    relay: tuple[Relay, Target],
) -> None:
    """STARTTLS, a mechanism, a capability: each gone is one event; a look that saw nothing is none."""
    running, target = relay
    running.extensions = ("PIPELINING",)
    seen, now = Seen(), NOW.timestamp()
    look(seen, talk(target), now)
    running.mechanisms, running.extensions = ("LOGIN",), ()
    kinds = [change.kind for change in look(seen, talk(target), now)]
    assert kinds == ["capability_gone", "auth_mechanism_gone"]
    running.refuse = True
    assert look(seen, talk(target), now) == []
    running.refuse, running.no_starttls = False, True
    first, second = look(seen, talk(target), now), look(seen, talk(target), now)
    assert [(change.kind, change.alarm) for change in first] == [("starttls_gone", True)]
    assert second == []
    assert seen.not_after is not None
    restored = Seen.from_json(json.loads(json.dumps(seen.as_json())))
    assert restored == seen


def test_addresses_are_news_only_if_unknown_for_a_week() -> None:
    """A pool that answers in turns is quiet; a new address is told once, and again after a week's absence."""
    seen, now, day = Seen(), 1_800_000_000.0, 86400.0

    def answer(at: float, *addresses: str) -> list[str]:
        check = RelayCheck("demo", "r.test", 587, "starttls", step="connect", addresses=list(addresses))
        return [change.kind for change in look(seen, check, at)]

    assert answer(now, "192.0.2.1", "192.0.2.2") == []
    assert answer(now + day, "192.0.2.2") == []
    assert answer(now + 2 * day, "192.0.2.3") == ["addresses"]
    assert answer(now + 3 * day, "192.0.2.1", "192.0.2.3") == []
    assert answer(now + 12 * day, "192.0.2.1") == []  # nothing at all was known any more


def test_the_warning_before_the_end_is_told_at_each_mark() -> None:
    """30, 14, 7, 3 and 1 days before, and when it has ended: once each, also while the relay is down."""
    seen, now, day = Seen(not_after=1_800_000_000.0 + 40 * 86400, fingerprint="x"), 1_800_000_000.0, 86400.0
    down = RelayCheck("demo", "r.test", 587, "starttls", step="dns")
    told = [
        (hour // 24, change.kind)
        for hour in range(45 * 24)
        for change in look(seen, down, now + hour * day / 24)
    ]

    assert told == [
        (10, "certificate_expires"),
        (26, "certificate_expires"),
        (33, "certificate_expires"),
        (37, "certificate_expires"),
        (39, "certificate_expires"),
        (40, "certificate_expired"),
    ]
    assert {kind for _, kind in told} <= set(KINDS)
    assert "postward_relay_changes_total" in Tally().counters


def test_the_command_shows_a_transcript_and_ends_by_result(
    relay: tuple[Relay, Target], tmp_path: Path
) -> None:
    """Status 0 and 1, a readable transcript, JSON, other ports, and never the password."""
    running, target = relay
    settings = tmp_path / "postward.toml"
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD)
    state = tmp_path / "state"
    state.mkdir()
    settings.write_text(
        f'[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "localhost"\nport = {running.port}\n'
        f'tls = "starttls"\nca_file = "{target.ca_file}"\nusername = "{USER}"\npassword_file = "{password_file}"\n'
        f'[state]\ndirectory = "{state}"\n'
    )
    good = run_postward("relay", "--config", str(settings))
    running.users = {USER: "another"}
    bad = run_postward("relay", "--json", "--all-ports", "--config", str(settings))
    again = [run_postward("relay", "demo", "--config", str(settings)) for _ in range(3)]

    assert good.returncode == 0, good.stdout + good.stderr
    assert "AUTH PLAIN ****" in good.stdout
    assert bad.returncode == 1
    (checks,) = json.loads(bad.stdout)
    assert (checks[0]["step"], checks[0]["cause"]) == ("auth", "auth_rejected")
    assert [check["port"] for check in checks[1:]] == [587, 465, 2525, 25]
    assert [done.returncode for done in again] == [1, 1, 1]
    assert "no login tried: refused before" in again[-1].stdout
    assert sum(not attempt.accepted for attempt in running.auth_attempts) == 2
    for done in (good, bad, *again):
        assert "s3cret" not in done.stdout + done.stderr
