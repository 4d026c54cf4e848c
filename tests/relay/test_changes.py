"""Changes at a relay: each is one event, on a real relay with certificates of every kind."""

import datetime
import json
import ssl
from pathlib import Path

import trustme

from postward.agent.metrics.tally import Tally
from postward.agent.relay.changes import KINDS, RelaySnapshot, update
from postward.agent.relay.check import RelayCheck
from postward.agent.relay.endpoint import RelayEndpoint
from tests.relay import PASSWORD, USER, checked
from tests.support import CA, Relay

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


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
        (
            "expired",
            context(authority, start=-30 * DAY, end=-DAY),
            "certificate has expired",
            {"certificate_expired", "certificate_invalid"},
        ),
        (
            "wrong name",
            context(authority, start=-DAY, end=300 * DAY, name="wrong.test"),
            "Hostname mismatch",
            {"certificate_invalid"},
        ),
        (
            "untrusted",
            context(untrusted, start=-DAY, end=300 * DAY),
            "self-signed certificate in certificate chain|unable to get",
            {"certificate_invalid", "certificate_issuer"},
        ),
        ("other issuer", context(other, start=-DAY, end=300 * DAY), None, {"certificate_issuer"}),
    ]
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
