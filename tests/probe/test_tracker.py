"""The tracker: from log lines to a probe's result, with step, cause and the relay's reply."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

import pytest

from postward.agent.probe.result import ProbeResult
from postward.agent.probe.route import Route
from postward.agent.probe.tracker import ProbeTracker
from postward.parsers import Cause, parse
from postward.parsers.dsn import Recipient

PROBE = "<1.postward-probe@mx>"
PICKED_UP = "postfix/pickup[3]: 4F2A91C0B3: uid=0 from=<postward@mx>"
QUEUED = f"postfix/cleanup[4]: 4F2A91C0B3: message-id={PROBE}"
ACTIVE = "postfix/qmgr[5]: 4F2A91C0B3: from=<postward@mx>, size=500, nrcpt=1 (queue active)"
TLS = "postfix/smtp[7]: Untrusted TLS connection established to r.test[192.0.2.1]:587: TLSv1.3 with cipher C (256/256 bits)"
REMOVED = "postfix/qmgr[5]: 4F2A91C0B3: removed"


FILTER = "127.0.0.1[127.0.0.1]:10024"


def delivery(status: str, reason: str, dsn: str = "4.0.0") -> str:
    """Return a delivery record of the probe."""
    return (
        "postfix/smtp[7]: 4F2A91C0B3: to=<p@r.test>, relay=r.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, "
        f"dsn={dsn}, status={status} ({reason})"
    )


class Clock:
    """A clock that goes on 0.1 s at each call, on the day of the log."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 9).astimezone().timestamp()

    def __call__(self) -> float:
        self.now += 0.1
        return self.now


def run(job: Coroutine[Any, Any, ProbeResult]) -> ProbeResult:
    """Run a job in a loop of its own."""
    return asyncio.run(job)


async def probed(
    *lines: str,
    lost: bool = False,
    hops: tuple[str, ...] = ("r.test:587",),
    tls: str = "",
    logs_tls: bool = False,
) -> ProbeResult:
    """Return the verdict on a probe whose log is these lines; `lost`: an hour later."""
    clock = Clock()
    tracker = ProbeTracker(clock)
    result = tracker.expect(PROBE, Route("demo", next_hops=hops, tls=tls), logs_tls=logs_tls)
    tracker.submitted(PROBE)
    for line in lines:
        record, event = parse(f"Nov 24 09:00:00 mx {line}")
        assert record is not None
        assert event is not None
        tracker.observe(record, event)
    if lost:
        clock.now += 3600
        tracker.tick()
    async with asyncio.timeout(1):
        return await result


def test_an_accepted_probe_has_its_whole_timeline() -> None:
    """Every step that the log shows, in order, with the relay's reply and the queue ID."""
    sent = delivery("sent", "250 2.0.0 Ok: queued as X")
    result = run(probed(PICKED_UP, QUEUED, ACTIVE, TLS, sent, REMOVED))

    assert [milestone.step for milestone in result.timeline] == [
        "submitted",
        "picked up",
        "queued",
        "active",
        "connecting",
        "encrypted",
        "authenticated",
        "accepted",
        "removed",
    ]
    seconds = [milestone.seconds for milestone in result.timeline]
    assert seconds == sorted(seconds)
    assert (
        result.outcome,
        result.step,
        result.cause,
        result.queue_id,
    ) == ("accepted", "", None, "4F2A91C0B3")
    assert result.detail == "250 2.0.0 Ok: queued as X"


@pytest.mark.parametrize(
    ("reason", "dsn", "step", "cause"),
    [
        ("connect to r.test[192.0.2.1]:587: Connection refused", "4.4.1", "connect", "refused"),
        (
            "Host or domain name not found. Name service error for name=r.test type=A: Host not found",
            "4.3.5",
            "dns",
            "dns",
        ),
        (
            "host r.test[192.0.2.1] refused to talk to me: 421 4.7.0 later",
            "4.7.0",
            "greeting",
            "greeting_refused",
        ),
        ("TLS is required, but was not offered by host r.test[192.0.2.1]", "4.7.4", "tls", "tls_not_offered"),
        ("Cannot start TLS: handshake failure", "4.7.5", "tls", "tls_handshake"),
        (
            "SASL authentication failed; server r.test[192.0.2.1] said: 535 5.7.8 no",
            "4.7.8",
            "auth",
            "auth_rejected",
        ),
        (
            "host r.test[192.0.2.1] said: 530 5.7.0 login first (in reply to MAIL FROM command)",
            "5.7.0",
            "mail_from",
            "auth_required",
        ),
        (
            "host r.test[192.0.2.1] said: 550 5.1.1 unknown (in reply to RCPT TO command)",
            "5.1.1",
            "rcpt_to",
            "recipient_rejected",
        ),
        (
            "host r.test[192.0.2.1] said: 554 5.7.1 spam (in reply to end of DATA command)",
            "5.7.1",
            "data",
            "content",
        ),
    ],
)
def test_a_failed_probe_names_step_and_cause(reason: str, dsn: str, step: str, cause: str) -> None:
    """Where it stopped, why, and the reply."""
    result = run(probed(PICKED_UP, QUEUED, ACTIVE, delivery("deferred", reason, dsn)))

    assert ("failed", step, cause, reason) == (result.outcome, result.step, result.cause, result.detail)
    assert result.conclusive


@pytest.mark.parametrize(
    ("lines", "step"),
    [((), "pickup"), ((PICKED_UP,), "pickup"), ((QUEUED,), "active"), ((QUEUED, ACTIVE), "delivery")],
)
def test_a_lost_probe_names_what_it_waits_for(lines: tuple[str, ...], step: str) -> None:
    """The step after the last one that the log shows."""
    result = run(probed(*lines, lost=True))

    assert ("lost", step) == (result.outcome, result.step)


def test_a_suspended_destination_is_not_conclusive() -> None:
    """Qmgr answers from an earlier failure, so such a result shows nothing about new settings."""
    reason = "delivery temporarily suspended: SASL authentication failed; server r.test[192.0.2.1] said: 535 5.7.8 no"
    result = run(probed(QUEUED, ACTIVE, delivery("deferred", reason)))

    assert result.cause == "auth_rejected"
    assert not result.conclusive


def test_other_mail_is_not_taken_for_a_probe() -> None:
    """Only the probe's Message-ID joins a queue ID to it."""
    other = QUEUED.replace(PROBE, "<2.postward-probe@mx>")
    result = run(probed(other, ACTIVE, delivery("sent", "250 ok"), REMOVED, lost=True))

    assert (result.outcome, result.queue_id) == ("lost", None)


def test_the_memory_is_bounded() -> None:
    """Thousands of other mails and many unanswered probes."""

    async def flood() -> ProbeResult:
        tracker = ProbeTracker(Clock())
        first = tracker.expect(PROBE, Route("demo"))
        for number in range(3000):
            record, event = parse(f"Nov 24 09:00:00 mx postfix/pickup[3]: {number:X}AAAAA: uid=0 from=<a>")
            assert record is not None
            assert event is not None
            tracker.observe(record, event)
        for number in range(100):
            tracker.expect(f"<{number}>", Route("demo"))
        assert len(tracker._picked_up) < 1000
        assert len(tracker._by_message_id) < 100
        return await first

    assert run(flood()).outcome == "lost"


def test_a_probe_that_was_never_submitted_is_not_lost() -> None:
    """A crash came before its submission; a probe that the log shows is followed to its end."""
    outcomes: list[ProbeResult] = []
    clock = Clock()

    async def scenario() -> None:
        former = ProbeTracker(clock)
        former.expect(PROBE, Route("demo"))
        saved = former.state()
        unknown, known = (
            ProbeTracker(clock, on_final=outcomes.append),
            ProbeTracker(clock, on_final=outcomes.append),
        )
        unknown.restore(saved)
        known.restore(saved)
        record, event = parse(f"Nov 24 09:00:00 mx {QUEUED}")
        assert record is not None
        assert event is not None
        known.observe(record, event)
        clock.now += 4000
        for tracker in (unknown, known):
            tracker.tick()
            assert tracker.state() == []

    asyncio.run(scenario())

    assert [(result.outcome, result.step) for result in outcomes] == [("lost", "active")]


SENT = delivery("sent", "250 Ok")
VERIFIED = TLS.replace("Untrusted", "Verified")


@pytest.mark.parametrize(
    ("tls", "session", "record", "logs_tls", "cause"),
    [
        ("encrypted", TLS, SENT, True, None),
        ("encrypted", None, SENT, True, "local_config"),
        ("encrypted", TLS.replace("r.test[192.0.2.1]:587", FILTER), SENT, True, "local_config"),
        ("encrypted", None, SENT, False, None),
        ("encrypted", None, SENT.replace(" delay=", " conn_use=2, delay="), True, None),
        ("encrypted", None, SENT.replace(" dsn=", " tls=encrypt, dsn="), True, None),
        ("encrypted", None, SENT.replace(" dsn=", " tls=may:none, dsn="), False, "local_config"),
        ("", None, SENT, True, None),
        ("verified", VERIFIED, SENT, True, None),
        ("verified", TLS, SENT, True, "tls_verify"),
    ],
)
def test_the_relay_accepts_a_probe_with_the_tls_of_the_settings(
    tls: str, session: str | None, record: str, logs_tls: bool, cause: str | None
) -> None:
    """A line for its own session, or the level in the record, shows it. A line that Postfix does not write shows nothing."""
    lines = [PICKED_UP, QUEUED, ACTIVE, *([session] if session else []), record, REMOVED]
    result = run(probed(*lines, tls=tls, logs_tls=logs_tls))
    assert (result.accepted, result.relayed) == (cause is None, cause is None)
    assert (result.step, result.cause) == ("" if cause is None else "tls", cause)


AT_FILTER = PICKED_UP, QUEUED, ACTIVE
BACK = QUEUED.replace("4F2A91C0B3", "5A5A5A5A5A")


def at_filter(status: str, reason: str) -> str:
    """Return the probe's delivery record at the content filter."""
    return delivery(status, reason).replace("r.test[192.0.2.1]:587", FILTER)


def behind(line: str) -> str:
    """Return a line of the mail that the filter gave back."""
    return line.replace("4F2A91C0B3", "5A5A5A5A5A")


@pytest.mark.parametrize("early", [True, False])
def test_a_filter_is_a_hop_and_the_relay_accepts_behind_it(early: bool) -> None:
    """The mail comes back before or after the filter's 250. Its new queue ID is followed to the relay."""
    back = [BACK, behind(ACTIVE)]
    passed = [at_filter("sent", "250 2.0.0 from MTA: Ok"), REMOVED]
    sent = [behind(delivery("sent", "250 2.0.0 relayed")), behind(REMOVED)]
    lines = [*back, *passed] if early else [*passed, *back]
    result = run(probed(*AT_FILTER, *lines, *sent))
    assert (result.outcome, result.detail, result.hop) == ("accepted", "250 2.0.0 relayed", "")
    steps = [milestone.step for milestone in result.timeline]
    assert steps[4:] == ["passed on", "connecting", "authenticated", "accepted", "removed"]
    assert result.timeline[4].note == "127.0.0.1:10024: 250 2.0.0 from MTA: Ok"


def test_a_filter_that_swallows_a_probe_is_blamed() -> None:
    """Its 250 does not count. The result names the filter, and leaves the login open."""
    result = run(probed(*AT_FILTER, at_filter("sent", "250 Ok"), REMOVED, lost=True))
    assert (result.outcome, result.step, result.relayed) == ("lost", "return", False)
    assert result.reason == (
        "probe lost at step return at 127.0.0.1:10024, which is not relay demo: "
        "this hop took it and has not given it back to Postfix"
    )
    assert result.login_accepted is None


def test_a_filter_that_refuses_a_probe_is_blamed() -> None:
    """Also if it does not answer, when only the reason of the delivery names it."""
    refused = run(
        probed(
            *AT_FILTER, at_filter("deferred", f"host {FILTER} said: 451 4.5.0 no (in reply to end of DATA)")
        )
    )
    silent = delivery("deferred", f"connect to {FILTER}: Connection refused").replace(
        "relay=r.test[192.0.2.1]:587", "relay=none"
    )
    for result in (refused, run(probed(*AT_FILTER, silent))):
        assert (result.outcome, result.hop) == ("failed", "127.0.0.1:10024")
        assert "at 127.0.0.1:10024, which is not relay demo: " in result.reason


def test_mail_that_is_delivered_on_this_host_is_not_accepted() -> None:
    """local(8) and another port of the relay's host are not the relay."""
    for relay in ("local", "r.test[192.0.2.1]:25"):
        sent = delivery("sent", "ok").replace("r.test[192.0.2.1]:587", relay)
        result = run(probed(*AT_FILTER, sent, REMOVED, lost=True))
        assert (result.outcome, result.relayed) == ("lost", False)


def test_a_probe_of_a_former_release_is_followed_without_the_check() -> None:
    """Its saved route has no next hops."""
    result = run(probed(*AT_FILTER, at_filter("sent", "250 Ok"), REMOVED, hops=()))
    assert result.outcome == "accepted"


def test_a_returned_probe_has_failed_behind_the_relay() -> None:
    """Only after the relay has accepted it; cause and words are those of the notification, with addresses masked."""
    recipient = Recipient("probe@r.test", "failed", "5.7.1", "550 5.7.1 bob@r.test: DMARC policy")

    async def scenario() -> ProbeResult:
        tracker = ProbeTracker(Clock())
        verdict = tracker.expect(PROBE, Route("demo", next_hops=("r.test:587",)), arrives=True)
        tracker.submitted(PROBE)
        assert not tracker.returned(PROBE, recipient), "the relay has not accepted it yet"
        for line in (PICKED_UP, QUEUED, ACTIVE, delivery("sent", "250 ok", "2.0.0"), REMOVED):
            record, event = parse(f"Nov 24 09:00:00 mx {line}")
            assert record is not None
            assert event is not None
            tracker.observe(record, event)
        assert tracker.returned(PROBE, recipient)
        assert not tracker.returned(PROBE, recipient), "it is counted once"
        return await verdict

    result = run(scenario())
    assert (result.outcome, result.step, result.cause) == ("returned", "arrival", Cause.POLICY)
    assert result.detail == "550 5.7.1 …@r.test: DMARC policy"
    assert result.relayed, "new settings are kept: the relay has accepted it"
    assert not result.accepted
    assert result.timeline[-1].step == "returned"
