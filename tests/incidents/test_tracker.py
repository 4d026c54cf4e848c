"""The state machine: what opens an incident, what it counts, what closes it, and that all of it is bounded."""

import json
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from postward.agent.incidents import Incident, IncidentTracker
from postward.agent.incidents.history import DeliveryHistory
from postward.agent.incidents.model import Effect, Server
from postward.agent.incidents.replay import read_logs
from postward.agent.metrics.labels import RelayNames
from postward.parsers import parse
from postward.parsers.scrub import mask_addresses

_NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
_RELAYS = RelayNames([("smtp.relay.test", 587, "demo"), ("smtp.other.test", 587, "other-relay")])
_CORPUS = Path(__file__).parents[1] / "corpus"
_LINES = [
    line for log in sorted(_CORPUS.glob("*.log")) for line in log.read_text(errors="replace").split("\n")
]
_TRAPS = sorted((_CORPUS / "traps").glob("*.log"))

REFUSED = "SASL authentication failed; server smtp.relay.test[192.0.2.1] said: 535 5.7.8 no"
NOT_OWNED = (
    "host smtp.relay.test[192.0.2.1] said: 553 5.7.1 Sender address rejected: not owned by user "
    "(in reply to MAIL FROM command)"
)
NO_LOGIN = (
    "host smtp.relay.test[192.0.2.1] said: 530 5.7.0 Authentication required (in reply to MAIL FROM command)"
)


def tracker() -> IncidentTracker:
    """The tracker of a host with two relays."""
    return IncidentTracker(_RELAYS, lambda: _NOW)


def observe(incidents: IncidentTracker, *lines: str) -> None:
    """Feed lines `daemon: text`, one a second."""
    for number, line in enumerate(lines):
        daemon, _, text = line.partition(": ")
        minute, second = divmod(number, 60)
        record, event = parse(
            f"2026-11-24T11:{minute:02}:{second:02}+00:00 mail postfix/{daemon}[77]: {text}"
        )
        assert record is not None, line
        assert event is not None, line
        incidents.observe(record, event)


def restored(incidents: IncidentTracker) -> IncidentTracker:
    """The tracker after a restart, its state through JSON."""
    after = tracker()
    after.restore(json.loads(json.dumps(incidents.state())))
    return after


def active(queue_id: str, sender: str) -> str:
    """The line of qmgr(8) about a mail."""
    return f"qmgr: {queue_id}: from=<{sender}>, size=300, nrcpt=1 (queue active)"


def attempt(
    queue_id: str, status: str, reason: str, host: str = "smtp.relay.test", to: str = "bob@dest.test"
) -> str:
    """The line of smtp(8) about a delivery."""
    relay = f"{host}[192.0.2.1]:587" if host else "none"
    return f"smtp: {queue_id}: to=<{to}>, relay={relay}, delay=1, delays=0/0/1/0, dsn=4.0.0, status={status} ({reason})"


def sent(queue_id: str, host: str = "smtp.relay.test", to: str = "bob@dest.test") -> str:
    """The line of smtp(8) about a mail that went out."""
    return attempt(queue_id, "sent", "250 ok", host, to)


def symptoms(incidents: list[Incident]) -> list[str]:
    """The symptoms of incidents."""
    return [incident.symptom for incident in incidents]


def test_attempts_and_mails_are_counted_separately() -> None:
    """A mail that is tried twice is one mail."""
    incidents = tracker()
    observe(
        incidents,
        *(attempt(queue_id, "deferred", REFUSED) for queue_id in ("A1B2C3D4E5", "A1B2C3D4E5", "B1B2C3D4E5")),
    )
    (incident,) = incidents.open

    assert (incident.attempts, len(incident.mails), incident.place, incident.relay) == (3, 2, "demo", "demo")
    assert incident.last - incident.first == 2


def test_lost_mail_ranks_above_more_delayed_mail() -> None:
    """One bounce ranks above ten delays; the bounce message that reports it is not another loss."""
    incidents = tracker()
    observe(
        incidents,
        *(attempt(f"C1B2C3D4E{n}", "deferred", REFUSED, "smtp.other.test") for n in range(10)),
        active("A1B2C3D4E5", "app@client.test"),
        attempt("A1B2C3D4E5", "bounced", NO_LOGIN),
        active("B1B2C3D4E5", ""),
        attempt("B1B2C3D4E5", "bounced", NO_LOGIN),
    )

    assert symptoms(incidents.open) == ["login-missing", "login-refused"]
    assert incidents.open[0].lost == 1
    assert incidents.open[0].worst is Effect.LOST


def test_success_on_the_same_path_closes() -> None:
    """A mail sent through another relay closes nothing; one through this relay does, and is named as the proof."""
    incidents = tracker()
    failed = attempt("A1B2C3D4E5", "deferred", REFUSED)
    observe(incidents, failed, failed, sent("B1B2C3D4E5", "smtp.other.test"))
    assert symptoms(incidents.open) == ["login-refused"]
    observe(incidents, sent("C1B2C3D4E5"))

    assert incidents.open == []
    assert incidents.closed[0].closed_by == "mail C1B2C3D4E5 was sent by demo"
    assert [change.kind for change in incidents.take_changes()] == ["opened", "closed"]
    assert incidents.take_changes() == []


def test_failure_that_the_next_attempt_heals_is_not_an_incident() -> None:
    """It is shown while it lasts; it is neither announced nor kept, however often that happens, also after a restart."""
    incidents = tracker()
    for number in range(5):
        observe(incidents, attempt(f"A{number:09}", "deferred", REFUSED))
        incidents = restored(incidents)
        assert symptoms(incidents.open) == ["login-refused"]
        observe(incidents, sent(f"B{number:09}"))

    assert (incidents.open, incidents.closed, incidents.take_changes()) == ([], [], [])
    assert incidents.opened_total == 0


def test_second_failure_a_minute_or_a_bounce_confirms() -> None:
    """Each of the three announces the incident, once."""
    again, lasting, bounced = tracker(), tracker(), tracker()
    observe(again, attempt("A1B2C3D4E5", "deferred", REFUSED), attempt("B1B2C3D4E5", "deferred", REFUSED))
    observe(lasting, attempt("A1B2C3D4E5", "deferred", REFUSED))
    since = lasting.open[0].first
    lasting.confirm_lasting(since + 59)
    assert lasting.take_changes() == []
    lasting.confirm_lasting(since + 60)
    observe(bounced, attempt("A1B2C3D4E5", "bounced", NO_LOGIN))

    for incidents in (again, lasting, bounced):
        incidents.confirm_lasting(since + 600)
        assert [change.kind for change in incidents.take_changes()] == ["opened"]
        assert incidents.opened_total == 1


def test_failure_that_lasted_more_than_a_minute_is_an_incident_also_in_a_backlog() -> None:
    """Its lines are read long after they were written; the proof is a minute younger than the failure."""
    incidents = tracker()
    filler = ["pickup: A1B2C3D4E6: uid=0 from=<root>"] * 60
    observe(incidents, attempt("A1B2C3D4E5", "deferred", REFUSED), *filler, sent("B1B2C3D4E5"))

    assert [change.kind for change in incidents.take_changes()] == ["opened", "closed"]


def test_same_mail_sent_through_another_relay_closes() -> None:
    """The next hop was wrong and was corrected: the mail that waited went out."""
    incidents = tracker()
    lost = "Host or domain name not found. Name service error for name=smtp.typo.test type=A: Host not found"
    observe(incidents, attempt("A1B2C3D4E5", "deferred", lost, ""))
    assert [incident.place for incident in incidents.open] == ["smtp.typo.test"]
    observe(incidents, sent("A1B2C3D4E5"))

    assert incidents.open == []


def test_suspended_mail_belongs_to_the_incident_that_suspends_it() -> None:
    """error(8) repeats only the reason; the line of smtp(8) before the first failure names the symptom."""
    expired = (
        "server certificate verification failed for smtp.relay.test[192.0.2.1]:587: certificate has expired"
    )
    reason = "Server certificate not verified"
    incidents = tracker()
    observe(incidents, f"smtp: {expired}", attempt("A1B2C3D4E5", "deferred", reason))
    suspended = attempt("B1B2C3D4E5", "deferred", f"delivery temporarily suspended: {reason}", "")
    for _ in range(2):
        observe(incidents, suspended.replace("smtp: ", "error: "))

    (incident,) = incidents.open
    assert (incident.symptom, incident.attempts, incident.relay) == ("certificate-expired", 3, "demo")


def test_refused_sender_needs_a_success_of_that_sender() -> None:
    """Mail of other senders closes nothing."""
    incidents = tracker()
    observe(
        incidents,
        active("A1B2C3D4E5", "billing@client.test"),
        attempt("A1B2C3D4E5", "bounced", NOT_OWNED),
        active("B1B2C3D4E5", "app@client.test"),
        sent("B1B2C3D4E5"),
    )
    assert symptoms(incidents.open) == ["sender-rejected"]
    observe(incidents, active("C1B2C3D4E5", "billing@client.test"), sent("C1B2C3D4E5"))

    assert incidents.open == []


def test_third_opening_needs_a_success_of_the_same_sender() -> None:
    """After two reopenings only mail of the same sender closes it: other senders may have other logins."""
    incidents = tracker()
    queue_ids = iter(f"A{n}B2C3D4E5" for n in range(10, 99))
    for _ in range(3):
        queue_id = next(queue_ids)
        failed = attempt(queue_id, "deferred", REFUSED)
        observe(incidents, active(queue_id, "a@client.test"), failed, failed)
        queue_id = next(queue_ids)
        observe(incidents, active(queue_id, "b@client.test"), sent(queue_id))
    assert symptoms(incidents.open) == ["login-refused"]
    assert incidents.open[0].opened == 3
    queue_id = next(queue_ids)
    observe(incidents, active(queue_id, "a@client.test"), sent(queue_id))

    assert incidents.open == []
    assert len(incidents.closed) == 1


def test_expired_mail_is_lost() -> None:
    """The incident that delayed a mail has lost it when Postfix gives it up for its age."""
    incidents = tracker()
    observe(
        incidents,
        attempt("A1B2C3D4E5", "deferred", REFUSED),
        "qmgr: A1B2C3D4E5: from=<a@client.test>, status=expired, returned to sender",
    )

    assert incidents.open[0].worst is Effect.LOST


def test_suspended_mail_with_a_host_counts_for_its_cause() -> None:
    """qmgr(8) defers many mails after one failure: that is still one incident."""
    incidents = tracker()
    down = "connect to smtp.relay.test[192.0.2.1]:587: Connection refused"
    observe(incidents, attempt("A1B2C3D4E5", "deferred", down, ""))
    line = attempt("B1B2C3D4E5", "deferred", f"delivery temporarily suspended: {down}", "")
    observe(incidents, line.replace("smtp:", "error:", 1))

    assert [(row.symptom, row.attempts, row.place) for row in incidents.open] == [
        ("connection-refused", 2, "demo")
    ]


def test_exit_of_a_daemon_is_one_incident_with_its_reason() -> None:
    """The fatal line says why; the lines of master(8) and qmgr(8) after it belong to it, also after a restart."""
    incidents = tracker()
    observe(incidents, 'smtp: fatal: Invalid TLS level "encrpyt"')
    incidents = restored(incidents)
    observe(
        incidents,
        "master: warning: process /usr/lib/postfix/sbin/smtp pid 77 exit status 1",
        "master: warning: /usr/lib/postfix/sbin/smtp: bad command startup -- throttling",
        "qmgr: warning: private/smtp socket: malformed response",
    )
    assert [(row.symptom, row.attempts) for row in incidents.open] == [("tls-level", 3)]
    assert incidents.open[0].daemons == {"smtp", "master", "qmgr"}
    observe(incidents, sent("A1B2C3D4E5"))

    assert incidents.open == []


def test_incident_names_the_server_of_its_latest_line() -> None:
    """From the peer, the reason or the failed lookup; a name that is unsafe in a shell command is left out."""
    incidents = tracker()
    refused = "connect to smtp.relay.test[192.0.2.1]:587: Connection refused"
    observe(
        incidents,
        attempt("A1B2C3D4E5", "deferred", refused, ""),
        attempt("B1B2C3D4E5", "deferred", "connect to $(reboot)[192.0.2.1]:25: Connection refused", ""),
        attempt("C1B2C3D4E5", "deferred", REFUSED, to='"connect to evil[192.0.2.9]:25"@dest.test'),
        attempt("D1B2C3D4E5", "deferred", "unable to look up host typo.test: Name or service not known", ""),
    )
    servers = {incident.place: incident.server for incident in restored(incidents).open}

    assert servers == {
        "demo": Server("smtp.relay.test", "192.0.2.1", "587"),
        "$(reboot):25": None,
        "typo.test": Server("typo.test"),
    }


def test_silence_closes_nothing() -> None:
    """A week without a line: the incident stays open."""
    incidents = tracker()
    observe(incidents, attempt("A1B2C3D4E5", "deferred", REFUSED))
    for day in range(7):
        incidents.set_condition("postfix-down", "this host", None, _NOW.timestamp() + 86400 * day)

    assert symptoms(incidents.open) == ["login-refused"]


def test_condition_opens_updates_and_closes() -> None:
    """The text and the time of the latest report are kept."""
    incidents = tracker()
    incidents.set_condition("config-drift", "this host", "drift in relayhost", 1000.0)
    incidents.set_condition("config-drift", "this host", "drift in relayhost, myhostname", 1060.0)
    (incident,) = incidents.open
    assert (incident.evidence, incident.first, incident.last) == (
        ["drift in relayhost, myhostname"],
        1000.0,
        1060.0,
    )
    incidents.set_condition("config-drift", "this host", None, 1100.0)

    assert (incidents.closed[0].closed, incidents.closed[0].closed_by) == (1100.0, "the condition is over")


def test_hostile_log_is_bounded_and_hides_no_loss() -> None:
    """Thousands of hosts fail: 64 incidents stay, a loss still finds room, and the others are counted as dropped."""
    incidents = tracker()
    for number in range(3000):
        reason = f"connect to h{number}.test[192.0.2.1]:25: Connection refused"
        observe(incidents, attempt(f"A{number:09}", "deferred", reason, ""))
    observe(incidents, attempt("B1B2C3D4E5", "bounced", NO_LOGIN))

    assert len(incidents.open) == 64
    assert incidents.open[0].symptom == "login-missing"
    assert incidents.dropped_total == 3001 - 64
    assert restored(incidents).dropped_total == incidents.dropped_total
    assert len(json.dumps(incidents.state())) < 200_000


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(_TRAPS), max_size=6), st.integers(0, 200))
def test_restart_at_any_line_keeps_all_incidents(logs: list[Path], count: int) -> None:
    """`restore(state())` gives the same incidents, through JSON, after any line of any logs."""
    lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()][:count]
    incidents = tracker()
    for line in lines:
        record, event = parse(line)
        if record is not None and event is not None:
            incidents.observe(record, event)
    after = restored(incidents)

    assert after.state() == incidents.state()
    assert all(len(incident.evidence) <= 5 for incident in incidents.open)


def test_error_of_a_daemon_that_does_not_deliver_closes_when_mail_leaves() -> None:
    """However often it comes back: the incident has no mail, and each mail that leaves has passed the daemon."""
    incidents = tracker()
    for number in range(4):
        observe(incidents, "cleanup: fatal: out of luck", "qmgr: fatal: out of luck")
        assert [incident.place for incident in incidents.open] == ["cleanup", "qmgr"]
        observe(incidents, sent(f"A{number:09}"))
        assert incidents.open == []


def test_error_of_a_delivery_agent_closes_when_the_agent_delivers() -> None:
    """A delivery by another agent is not a proof, however often the incident comes back."""
    incidents = tracker()
    for number in range(4):
        observe(incidents, "lmtp: fatal: out of luck")
        observe(incidents, sent(f"A{number:09}"))
        assert [incident.place for incident in incidents.open] == ["lmtp"]
        observe(incidents, sent(f"B{number:09}").replace("smtp: ", "lmtp: ", 1))
        assert incidents.open == []


def test_a_main_cf_that_is_read_again_closes() -> None:
    """A mail is submitted without a start of Postfix. Of a table's file, which a daemon reads, it proves nothing."""
    incidents = tracker()
    fault = "line 8: missing '=' after attribute name: \"relayhost x\""
    observe(incidents, f"sendmail: fatal: /etc/postfix/main.cf, {fault}")
    observe(incidents, f"cleanup: fatal: /etc/postfix/mysql.cf, {fault}")
    observe(incidents, "pickup: 4F2A91C0B3: uid=0 from=<root>")
    assert symptoms(incidents.open) == ["table-file-syntax"]
    observe(incidents, "master: daemon started -- version 3.7.11, configuration /etc/postfix")
    assert incidents.open == []


def test_incidents_of_a_removed_relay_close() -> None:
    """No mail goes through it any more that could prove them over; incidents of other relays stay open."""
    incidents = tracker()
    observe(incidents, attempt("A1B2C3D4E5", "deferred", REFUSED))
    observe(incidents, attempt("B1B2C3D4E5", "deferred", REFUSED, host="smtp.other.test"))
    for relay in ("demo", "other-relay"):
        incidents.set_condition("probe-late", relay, "the last probe was not accepted", _NOW.timestamp())
    incidents.close_unobservable({"demo", "other", "none", "local"}, {}, _NOW.timestamp())

    assert [incident.place for incident in incidents.open] == ["demo", "demo"]
    assert {incident.closed_by for incident in incidents.closed} == {"the settings no longer have this relay"}
    assert len(incidents.closed) == 2


def test_unobserved_conditions_close() -> None:
    """Probes that are switched off are never accepted; incidents from the log stay open."""
    incidents = tracker()
    observe(incidents, attempt("A1B2C3D4E5", "deferred", REFUSED))
    incidents.set_condition("probe-late", "demo", "the last probe was not accepted", _NOW.timestamp())
    incidents.close_unobservable({"demo"}, {"probe-late": "probes are switched off"}, _NOW.timestamp())

    assert symptoms(incidents.open) == ["login-refused"]
    assert [incident.closed_by for incident in incidents.closed] == ["probes are switched off"]


def test_state_of_another_release_is_restored_as_far_as_possible() -> None:
    """A row with an unknown symptom, or with another shape, is left out; the others stay."""
    incidents = tracker()
    observe(incidents, attempt("A1B2C3D4E5", "deferred", REFUSED))
    state = json.loads(json.dumps(incidents.state()))
    state["open"] += [{**state["open"][0], "symptom": "of-tomorrow"}, {"x": 1}, 7]
    after = tracker()
    after.restore(state)

    assert symptoms(after.open) == ["login-refused"]


def test_addresses_are_masked_and_secrets_are_scrubbed() -> None:
    """The local part is masked, the domain stays; a password in a debugging line is scrubbed."""
    assert mask_addresses("to=<bob@dest.test>, orig_to=<root@a.test>, relay=h[1.2.3.4]:25") == (
        "to=<…@dest.test>, orig_to=<…@a.test>, relay=h[1.2.3.4]:25"
    )
    assert (
        mask_addresses('from=<"a b"@x.test> bob@y.test and böb@z.test')
        == "from=<…@x.test> …@y.test and …@z.test"
    )
    incidents = tracker()
    observe(incidents, "smtp: fatal: smtp_sasl_passwd_lookup: host `h' user `u' pass `Gr33n-Fern'")

    assert "Gr33n" not in json.dumps(incidents.state())


def test_address_that_a_server_asks_to_write_to_is_readable() -> None:
    """An address of the server in its reply is the remedy; those of sender and recipient are masked in it too."""

    def masked(reply: str) -> str:
        line = f"to=<bob@dest.test>, relay=mx.relay.test[192.0.2.1]:25, status=bounced (host mx.relay.test[192.0.2.1] said: {reply})"
        return mask_addresses(line).rpartition(" said: ")[2].removesuffix(")")

    assert (
        masked("554 blocked, contact postmaster@relay.test") == "554 blocked, contact postmaster@relay.test"
    )
    assert masked("550 write to <help-1@lists.test>") == "550 write to <help-1@lists.test>"
    assert masked("550 abuse@relay.test handles this") == "550 abuse@relay.test handles this"
    assert masked("550 e-mail this to delist@other.test.") == "550 e-mail this to delist@other.test."
    assert masked("550 <bob@dest.test>: unknown") == "550 <…@dest.test>: unknown"
    assert masked("550 contact bob@dest.test") == "550 contact …@dest.test"
    assert masked("553 app@client.test may not send") == "553 …@client.test may not send"
    assert masked("553 support@client.test may not send") == "553 …@client.test may not send"
    assert mask_addresses("from=<contact@a.test> contact x@b.test") == "from=<…@a.test> contact …@b.test"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_LINES), st.integers(0, 400), st.text(max_size=6)), max_size=20))
def test_damaged_lines_do_not_raise(damaged: list[tuple[str, int, str]]) -> None:
    """Every message of the corpus, with characters inserted anywhere: at worst it is not recognised."""
    incidents, history = tracker(), DeliveryHistory(lambda: _NOW)
    for line, place, inserted in damaged:
        record, event = parse(line[:place] + inserted + line[place:])
        if record is not None and event is not None:
            incidents.observe(record, event)
            history.observe(record, event)

    json.dumps([incidents.state(), history.state()])


def test_control_characters_are_escaped() -> None:
    """A server's reply and host name cannot steer the terminal."""
    incidents = tracker()
    reason = "host smtp.relay.test[192.0.2.1] said: 550 5.1.1 \x1b[2J\u202e no (in reply to RCPT TO command)"
    observe(incidents, attempt("A1B2C3D4E5", "bounced", reason, to="x@dest.test"))
    down = "connect to h\x1b[31m.test[192.0.2.1]:25: Connection refused"
    observe(incidents, attempt("B1B2C3D4E5", "deferred", down, ""))

    assert all(line.isprintable() for row in incidents.open for line in row.evidence)
    assert all(row.place.isprintable() for row in incidents.open)


def test_repetitions_of_the_line_before_count(tmp_path: Path) -> None:
    """Sysklogd prints "last message repeated N times" without a tag."""
    log = tmp_path / "log"
    log.write_text(
        "Nov  4 06:05:01 mx1 postfix/smtp[1]: 4C0FFEE001: to=<u@example.com>, relay=none, delay=1, delays=0/0/1/0, "
        "dsn=4.4.1, status=deferred (connect to r[192.0.2.1]:587: Connection refused)\n"
        "Nov  4 06:06:01 mx1 last message repeated 3 times\n"
        "Nov  4 06:07:01 mx1 sshd[1]: last message repeated 5 times\n"
    )
    (incident,) = read_logs([log], RelayNames(), datetime(2026, 11, 24, tzinfo=UTC)).open
    assert incident.attempts == 4


def test_wrapped_deliveries_are_joined(tmp_path: Path) -> None:
    """Mail clients and forums wrap lines; another program's line does not continue one that Postfix has cut."""
    log = tmp_path / "log"
    log.write_text(
        "Nov  4 06:05:01 mx1 postfix/smtp[1]: 4C0FFEE001: to=<u@example.com>,\n"
        "    relay=r.example.net[192.0.2.1]:587, delay=1, delays=0/0/1/0,\n"
        "    dsn=4.7.8, status=deferred (SASL authentication failed; server\n"
        "    r.example.net[192.0.2.1] said: 535 5.7.8 no)\n"
        "Nov  4 06:05:02 mx1 postfix/smtp[1]: 4C0FFEE002: to=<u@example.com>, relay=none, delay=1, delays=0/0/1/0, "
        "dsn=4.7.8, status=deferred (SASL authentication failed; server r.example.net[192.0.2.1] said: 535 5.7.8 cut\n"
        "Nov  4 06:05:03 mx1 dovecot: imap-login: Login)\n"
    )
    incidents = read_logs([log], RelayNames(), datetime(2026, 11, 24, tzinfo=UTC)).open
    evidence = [line for incident in incidents for line in incident.evidence]
    assert sum(incident.attempts for incident in incidents) == 2
    assert any(line.endswith("server r.example.net[192.0.2.1] said: 535 5.7.8 no)") for line in evidence)
    assert not any("dovecot" in line for line in evidence)
