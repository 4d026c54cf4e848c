"""Faults of Postward itself and of the host, as its parts report them: the cause, and what follows from them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from postward.agent.incidents.catalog.symptom import Offer
from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.agent.incidents.diagnosis import condition_row, diagnose, drift_first, to_dict, visible_drift
from postward.agent.incidents.model import Certainty, Effect, Incident
from postward.agent.incidents.monitor import keeps_mail_back
from postward.agent.incidents.tracker import IncidentTracker
from postward.agent.metrics.labels import RelayNames
from postward.config.lint.facts import HostFacts
from postward.config.lint.table_facts import Table, TableReference
from postward.config.settings import parse_settings
from postward.parsers import parse

_NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
# Symptom, evidence, cause that it makes certain.
_CERTAIN = (
    ("log-silent", "Postward's test line is lost; no syslog daemon runs on this host", "log-daemon"),
    ("log-silent", "Postward's test line is lost; the log's file system has no free space", "log-disk"),
    ("enforcer-silent", "the enforcer has not …; its file system has no free space", "enforcer-disk"),
    ("state-unwritable", "checkpoint.json: No space left on device; after a crash, …", "state-disk"),
    ("permissions", "/etc/postfix/main.cf has mode 0640: only some users may read it", "main-cf-mode"),
    ("permissions", "/var/spool/postfix/maildrop is owned by uid 0", "queue-owner"),
    ("permissions", "/usr/sbin/postdrop has mode 0755 and group 107", "postdrop-setgid"),
    *(
        ("token-not-renewed", f"relay m365: no new token ({fault}): a reason; a remedy", f"token-{fault}")
        for fault in ("sign-in", "secret", "policy", "settings", "clock", "server", "host", "service")
    ),
    *(
        (f"{section}-unreadable", f"imap.example.com:993: ({fault}) a reason", f"{section}-{fault}")
        for fault in ("login", "tls", "server", "folder", "host", "behind")
        for section in ("mailbox", "bounces")
    ),
)
# Evidence of the same symptoms that leaves one cause, and does not prove it.
_LIKELY = (
    ("log-silent", "Postward's test line is lost", "log-elsewhere"),
    ("enforcer-silent", "the enforcer has not compared the configuration since 09:12:33", "enforcer-stopped"),
    ("state-unwritable", "checkpoint.json: Permission denied; after a crash, …", "state-permission"),
    (
        "probe-returned",
        "the relay accepted the last probe and returned it (quota): 5.7.1 (policy)",
        "probe-returned-account",
    ),
    (
        "mail-returned",
        "relay demo returned mail to 3 recipients in the last 6 hours, lately (policy): 550 (quota)",
        "mail-returned-sender",
    ),
    ("permissions", "/var/lib/postfix is owned by uid 0", "data-owner"),
    ("probe-unauthenticated", "the receiver of the last probe says: DKIM failed", "unauthenticated-dkim"),
    ("probe-unauthenticated", "the receiver of the last probe says: SPF failed", "unauthenticated-spf"),
)


@pytest.mark.parametrize(("symptom", "evidence", "cause"), _CERTAIN, ids=lambda value: value[:20])
def test_the_reason_of_a_part_makes_its_cause_certain(symptom: str, evidence: str, cause: str) -> None:
    """The parts print these words, and nothing else does."""
    row = condition_row(symptom, evidence)
    assert (row["certainty"], [one["id"] for one in row["causes"]]) == ("certain", [cause])


@pytest.mark.parametrize(("symptom", "evidence", "cause"), _LIKELY, ids=lambda value: value[:20])
def test_other_causes_are_ruled_out(symptom: str, evidence: str, cause: str) -> None:
    """One cause is left."""
    row = condition_row(symptom, evidence)
    assert (row["certainty"], [one["id"] for one in row["causes"]]) == ("likely", [cause])


def tracker() -> IncidentTracker:
    """A tracker of a host without settings."""
    return IncidentTracker(RelayNames(), lambda: _NOW)


def log(incidents: IncidentTracker, second: int, line: str) -> None:
    """Give it a line of the log."""
    record, event = parse(f"2026-11-24T11:00:{second:02}+00:00 mail postfix/{line}")
    assert record is not None
    assert event is not None
    incidents.observe(record, event)


_DOWN = "postqueue[9]: fatal: Queue report unavailable - mail system is down"
_FORBIDDEN = "sendmail[9]: fatal: open /etc/postfix/main.cf: Permission denied"


@pytest.mark.parametrize(
    ("condition", "line"), [("postfix-down", _DOWN), ("permissions", _FORBIDDEN)], ids=["down", "permissions"]
)
def test_lines_that_follow_from_a_condition_open_nothing_beside_it(condition: str, line: str) -> None:
    """Whether they come before it is noticed or after, there is one incident for one fault."""
    incidents = tracker()
    log(incidents, 1, line)
    assert len(incidents.open) == 1
    incidents.set_condition(condition, "this host", "it is so", _NOW.timestamp())
    log(incidents, 2, line)
    incidents.set_condition(condition, "this host", "it is so", _NOW.timestamp())

    assert [incident.symptom for incident in incidents.open] == [condition]
    assert incidents.open[0].evidence[0] == "it is so"
    assert any("fatal" in text for text in incidents.open[0].evidence[1:])


def test_a_full_disk_is_one_incident() -> None:
    """sendmail(1) says only that it could not write, after the reason of its postdrop(1)."""
    incidents = tracker()
    for line in (
        "postdrop[8]: warning: uid=0: No space left on device",
        "sendmail[9]: warning: mail_stream_cleanup: close error",
        "sendmail[9]: fatal: cron@example.test(0): queue file write error",
    ):
        log(incidents, 0, line)
    assert [incident.symptom for incident in incidents.open] == ["queue-full"]


def test_a_fault_of_this_host_explains_its_failed_probes() -> None:
    """Neither the relay's faults do, nor a fault with which mail goes out."""
    incidents = tracker()
    refused = (
        "smtp[9]: A1B2C3D4E5: to=<a@b.test>, relay=relay.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=4.4.1, "
        "status=deferred (connect to relay.test[192.0.2.1]:587: Connection refused)"
    )
    full = "postdrop[9]: warning: uid=0: No space left on device"
    for line, keeps in ((refused, False), (full, True)):
        log(incidents, 0, line)
        assert keeps_mail_back(incidents.open) is keeps, line


def test_a_silent_log_explains_the_probe_that_it_does_not_show() -> None:
    """The probe is not blamed."""
    incidents = tracker()
    incidents.set_condition("probe-late", "this host", "the last probe was not accepted", _NOW.timestamp())
    incidents.set_condition("log-silent", "this host", "Postward's test line is lost", _NOW.timestamp())

    assert [incident.symptom for incident in incidents.open] == ["log-silent"]
    assert SYMPTOMS["log-silent"].effect is Effect.BLIND


def test_a_fault_that_returns_later_is_a_period_of_its_own() -> None:
    """One that returns within half a minute was not over."""
    incidents = tracker()
    start = _NOW.timestamp()
    for moment, problem in ((0, "first"), (10, None), (20, "again"), (60, None), (300, "later")):
        incidents.set_condition("postfix-down", "this host", problem, start + moment)

    (now,) = incidents.open
    (before,) = incidents.closed
    assert (before.first, before.closed, before.opened) == (start, start + 60, 2)
    assert (now.first, now.opened, now.evidence) == (start + 300, 3, ["later"])


def refused(relay: str = "other") -> Incident:
    """A refused login."""
    incident = Incident(
        "login-refused",
        "postfix",
        "smtp.other.test:25",
        relay,
        "smtp",
        "auth_rejected",
        Effect.DELAYED,
        1.0,
        9.0,
    )
    incident.evidence = ["Nov 24 10:00:00 mx postfix/smtp[1]: 4A: status=deferred (… said: 535 5.7.8 no)"]
    return incident


def test_drift_is_the_only_cause_of_mail_that_fails_meanwhile() -> None:
    """A remedy for the configuration as it is could send the login of the relay to another host."""
    other = diagnose(refused(), drift=["relayhost"])
    same = diagnose(refused("demo"), drift=["smtp_sasl_password_maps"])
    none = diagnose(refused(), drift=["smtp_tls_loglevel", "minimal_backoff_time"])

    assert (other.certainty, [cause.id for cause in other.causes]) == (Certainty.CERTAIN, ["drift"])
    assert (same.certainty, [cause.id for cause in same.causes]) == (Certainty.LIKELY, ["drift"])
    assert {cause.remedy for cause in (*other.causes, *same.causes)} == {"postward apply"}
    assert "drift" not in {cause.id for cause in none.causes}


def test_a_foreign_relayhost_is_drift_that_everybody_can_see() -> None:
    """It is, unless mail takes a service of Postward's, or nothing is known of the host."""
    settings = parse_settings(
        {"host": {"myhostname": "mx.example.test"}, "relay": [{"name": "demo", "host": "relay.test"}]}, "test"
    )
    service = {"relayhost": "[inner.test]", "default_transport": "postward-demo:[relay.test]:587"}
    for values, drift in (
        ({"relayhost": "[other.test]:25", "default_transport": "smtp"}, ("relayhost",)),
        ({"relayhost": "[Relay.test]:587", "default_transport": "smtp"}, ()),
        (service, ()),
        ({}, ()),
    ):
        assert visible_drift(settings, HostFacts(expanded=values)) == drift, values


def test_drift_is_shown_before_the_mail_that_fails_for_it() -> None:
    """Without such mail, the worst incident stays first."""
    drift = condition_row("config-drift", "drift in relayhost")
    fails, other = (to_dict(refused(), diagnose(refused(), drift=names)) for names in (["relayhost"], []))

    assert drift_first([fails, drift]) == [drift, fails]
    assert drift_first([other, drift]) == [other, drift]


def test_the_enforcer_vouches_for_tables_that_the_agent_may_not_read() -> None:
    """Causes in the password table are then ruled out."""
    table = Table(
        TableReference("hash", "/etc/postfix/sasl_passwd"), ("smtp_sasl_password_maps",), None, None
    )
    facts = HostFacts(
        defaults={"mail_version": "3.7.11"},
        expanded={"smtp_sasl_password_maps": "hash:/etc/postfix/sasl_passwd"},
        tables=(table,),
        managed=frozenset({"smtp_sasl_password_maps"}),
        unread=("/etc/postfix/sasl_passwd: Permission denied",),
        password_files={"demo": "/etc/postward/passwords/demo"},
    )
    offer = Offer(frozenset({"PLAIN", "LOGIN"}))
    causes = {
        vouched: diagnose(refused("demo"), replace(facts, vouched=vouched), offer=offer)
        for vouched in (False, True)
    }

    assert len(causes[False].causes) > 1
    assert [cause.id for cause in causes[True].causes] == ["password-wrong"]
    assert "/etc/postward/passwords/demo" in causes[True].causes[0].remedy
