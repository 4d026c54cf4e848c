"""The state machine: what opens an incident, what it counts, what closes it, and that all of it is bounded."""

import json
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from postward.agent.incidents import Incident, Incidents
from postward.agent.incidents.history import BUCKETS, DeliveryHistory
from postward.agent.incidents.symptom import Effect
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


def made() -> Incidents:
    """A host with two relays."""
    return Incidents(_RELAYS, lambda: _NOW)


def tell(incidents: Incidents, *lines: str) -> None:
    """Lines of smtp(8), qmgr(8) and the like, one a second."""
    for number, line in enumerate(lines):
        daemon, _, text = line.partition(": ")
        minute, second = divmod(number, 60)
        record, event = parse(
            f"2026-11-24T11:{minute:02}:{second:02}+00:00 mail postfix/{daemon}[77]: {text}"
        )
        assert record is not None, line
        assert event is not None, line
        incidents.observe(record, event)


def active(mail: str, sender: str) -> str:
    """Qmgr's line about a mail."""
    return f"qmgr: {mail}: from=<{sender}>, size=300, nrcpt=1 (queue active)"


def attempt(
    mail: str, status: str, reason: str, host: str = "smtp.relay.test", to: str = "bob@dest.test"
) -> str:
    """smtp(8)'s line about a delivery."""
    relay = f"{host}[192.0.2.1]:587" if host else "none"
    return f"smtp: {mail}: to=<{to}>, relay={relay}, delay=1, delays=0/0/1/0, dsn=4.0.0, status={status} ({reason})"


def sent(mail: str, host: str = "smtp.relay.test", to: str = "bob@dest.test") -> str:
    """A mail that went out."""
    return attempt(mail, "sent", "250 ok", host, to)


REFUSED = "SASL authentication failed; server smtp.relay.test[192.0.2.1] said: 535 5.7.8 no"
NOT_OWNED = "host smtp.relay.test[192.0.2.1] said: 553 5.7.1 Sender address rejected: not owned by user (in reply to MAIL FROM command)"
NO_LOGIN = (
    "host smtp.relay.test[192.0.2.1] said: 530 5.7.0 Authentication required (in reply to MAIL FROM command)"
)


def symptoms(incidents: list[Incident]) -> list[str]:
    """What they are."""
    return [incident.symptom for incident in incidents]


def test_attempts_and_mails_are_counted_apart() -> None:
    """A mail that is tried three times is one mail."""
    incidents = made()
    tell(
        incidents,
        *(attempt(mail, "deferred", REFUSED) for mail in ("A1B2C3D4E5", "A1B2C3D4E5", "B1B2C3D4E5")),
    )
    (incident,) = incidents.open

    assert (incident.attempts, len(incident.mails), incident.place, incident.relay) == (3, 2, "demo", "demo")
    assert incident.last - incident.first == 2


def test_lost_mail_ranks_above_more_that_waits() -> None:
    """One bounce of the relay's making stands before ten delays; the notice about it is no further loss."""
    incidents = made()
    tell(
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


def test_a_success_on_the_same_path_closes() -> None:
    """By another relay it does not; by this one it does, and the proof is named."""
    incidents = made()
    tell(incidents, attempt("A1B2C3D4E5", "deferred", REFUSED), sent("B1B2C3D4E5", "smtp.other.test"))
    assert symptoms(incidents.open) == ["login-refused"]
    tell(incidents, sent("C1B2C3D4E5"))

    assert incidents.open == []
    assert incidents.closed[0].closed_by == "mail C1B2C3D4E5 was sent by demo"
    assert [change.kind for change in incidents.take_changes()] == ["opened", "closed"]
    assert incidents.take_changes() == []


def test_the_same_mail_sent_by_another_relay_is_a_proof() -> None:
    """The next hop was wrong and has been put right: the mail that waited went out."""
    incidents = made()
    lost = "Host or domain name not found. Name service error for name=smtp.typo.test type=A: Host not found"
    tell(incidents, attempt("A1B2C3D4E5", "deferred", lost, ""))
    assert [incident.place for incident in incidents.open] == ["smtp.typo.test"]
    tell(incidents, sent("A1B2C3D4E5"))

    assert incidents.open == []


def test_mail_that_is_not_tried_any_more_belongs_to_what_keeps_it_back() -> None:
    """error(8) repeats the reason alone; what smtp(8) said before the first one tells why."""
    expired = (
        "server certificate verification failed for smtp.relay.test[192.0.2.1]:587: certificate has expired"
    )
    reason = "Server certificate not verified"
    incidents = made()
    tell(incidents, f"smtp: {expired}", attempt("A1B2C3D4E5", "deferred", reason))
    suspended = attempt("B1B2C3D4E5", "deferred", f"delivery temporarily suspended: {reason}", "")
    for _ in range(2):
        tell(incidents, suspended.replace("smtp: ", "error: "))

    (incident,) = incidents.open
    assert (incident.symptom, incident.attempts, incident.relay) == ("certificate-expired", 3, "demo")


def test_a_refused_sender_is_proved_by_that_sender_alone() -> None:
    """Others being sent says nothing of it."""
    incidents = made()
    tell(
        incidents,
        active("A1B2C3D4E5", "billing@client.test"),
        attempt("A1B2C3D4E5", "bounced", NOT_OWNED),
        active("B1B2C3D4E5", "app@client.test"),
        sent("B1B2C3D4E5"),
    )
    assert symptoms(incidents.open) == ["sender-rejected"]
    tell(incidents, active("C1B2C3D4E5", "billing@client.test"), sent("C1B2C3D4E5"))

    assert incidents.open == []


def test_what_comes_and_goes_wants_a_stronger_proof() -> None:
    """The third time, only mail of the same sender closes it: some senders' logins may work, and others' not."""
    incidents = made()
    mails = iter(f"A{n}B2C3D4E5" for n in range(10, 99))
    for _ in range(3):
        mail = next(mails)
        tell(incidents, active(mail, "a@client.test"), attempt(mail, "deferred", REFUSED))
        mail = next(mails)
        tell(incidents, active(mail, "b@client.test"), sent(mail))
    assert symptoms(incidents.open) == ["login-refused"]
    assert incidents.open[0].opened == 3
    mail = next(mails)
    tell(incidents, active(mail, "a@client.test"), sent(mail))

    assert incidents.open == []
    assert len(incidents.closed) == 1


def test_a_mail_given_up_for_its_age_is_lost() -> None:
    """What delayed it has lost it."""
    incidents = made()
    tell(
        incidents,
        attempt("A1B2C3D4E5", "deferred", REFUSED),
        "qmgr: A1B2C3D4E5: from=<a@client.test>, status=expired, returned to sender",
    )

    assert incidents.open[0].worst is Effect.LOST


def test_suspended_mail_counts_for_the_cause_behind_it() -> None:
    """Qmgr answers for many mails after one failure: still one incident."""
    incidents = made()
    down = "connect to smtp.relay.test[192.0.2.1]:587: Connection refused"
    tell(incidents, attempt("A1B2C3D4E5", "deferred", down, ""))
    line = attempt("B1B2C3D4E5", "deferred", f"delivery temporarily suspended: {down}", "")
    tell(incidents, line.replace("smtp:", "error:", 1))

    assert [(row.symptom, row.attempts, row.place) for row in incidents.open] == [
        ("connection-refused", 2, "demo")
    ]


def test_a_daemon_that_dies_is_one_incident_with_its_reason() -> None:
    """The fatal line says why; what master and qmgr say after is the same."""
    incidents = made()
    tell(
        incidents,
        'smtp: fatal: Invalid TLS level "encrpyt"',
        "master: warning: process /usr/lib/postfix/sbin/smtp pid 77 exit status 1",
        "master: warning: /usr/lib/postfix/sbin/smtp: bad command startup -- throttling",
        "qmgr: warning: private/smtp socket: malformed response",
    )
    assert [(row.symptom, row.attempts) for row in incidents.open] == [("tls-level", 3)]
    tell(incidents, sent("A1B2C3D4E5"))

    assert incidents.open == []


def test_silence_closes_nothing() -> None:
    """A week without a line: it goes on."""
    incidents = made()
    tell(incidents, attempt("A1B2C3D4E5", "deferred", REFUSED))
    for day in range(7):
        incidents.note("postfix-down", "this host", None, _NOW.timestamp() + 86400 * day)

    assert symptoms(incidents.open) == ["login-refused"]


def test_conditions_open_and_close_by_who_tells_of_them() -> None:
    """What no line shows."""
    incidents = made()
    incidents.note("config-drift", "this host", "differs: relayhost", 1000.0)
    incidents.note("config-drift", "this host", "differs: relayhost, myhostname", 1060.0)
    (incident,) = incidents.open
    assert (incident.evidence, incident.first, incident.last) == (
        ["differs: relayhost, myhostname"],
        1000.0,
        1060.0,
    )
    incidents.note("config-drift", "this host", None, 1100.0)

    assert incidents.closed[0].closed == 1100.0


def test_a_hostile_log_makes_no_more_than_fits_and_hides_nothing() -> None:
    """Thousands of hosts, each failing: 64 stay, and a loss still finds room."""
    incidents = made()
    for number in range(3000):
        reason = f"connect to h{number}.test[192.0.2.1]:25: Connection refused"
        tell(incidents, attempt(f"A{number:09}", "deferred", reason, ""))
    tell(incidents, attempt("B1B2C3D4E5", "bounced", NO_LOGIN))

    assert len(incidents.open) == 64
    assert incidents.open[0].symptom == "login-missing"
    assert incidents.dropped > 2900
    assert len(json.dumps(incidents.as_json())) < 200_000


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(_TRAPS), max_size=6), st.integers(0, 200))
def test_a_restart_anywhere_changes_nothing_that_is_known(logs: list[Path], cut: int) -> None:
    """`restore(as_json())` gives the same incidents, through JSON, at any line of any logs."""
    lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()][:cut]
    incidents = made()
    for line in lines:
        record, event = parse(line)
        if record is not None and event is not None:
            incidents.observe(record, event)
    again = made()
    again.restore(json.loads(json.dumps(incidents.as_json())))

    assert again.open == incidents.open
    assert again.closed == incidents.closed
    assert all(len(incident.evidence) <= 5 for incident in incidents.open)


def test_an_error_of_a_daemon_that_delivers_nothing_is_over_when_mail_leaves() -> None:
    """However often it came back: no mail concerns it, and each that leaves has passed it."""
    incidents = made()
    for number in range(4):
        tell(incidents, "cleanup: fatal: out of luck", "qmgr: fatal: out of luck")
        assert [incident.place for incident in incidents.open] == ["cleanup", "qmgr"]
        tell(incidents, sent(f"A{number:09}"))
        assert incidents.open == []


def test_a_delivering_daemon_that_dies_again_and_again_is_well_when_it_delivers() -> None:
    """No mail and no sender is known of a line: what another daemon delivers proves nothing, what it delivers itself does."""
    incidents = made()
    for number in range(4):
        tell(incidents, "lmtp: fatal: out of luck")
        tell(incidents, sent(f"A{number:09}"))
        assert [incident.place for incident in incidents.open] == ["lmtp"]
        tell(incidents, sent(f"B{number:09}").replace("smtp: ", "lmtp: ", 1))
        assert incidents.open == []


def test_a_relay_that_the_settings_lost_takes_its_incidents_with_it() -> None:
    """No mail will take it and prove them to be over; what concerns others goes on."""
    incidents = made()
    tell(incidents, attempt("A1B2C3D4E5", "deferred", REFUSED))
    tell(incidents, attempt("B1B2C3D4E5", "deferred", REFUSED, host="smtp.other.test"))
    for relay in ("demo", "other-relay"):
        incidents.note("probe-late", relay, "the last probe was not accepted", _NOW.timestamp())
    incidents.keep({"demo", "other", "none", "local"}, {}, _NOW.timestamp())

    assert [incident.place for incident in incidents.open] == ["demo", "demo"]
    assert {incident.closed_by for incident in incidents.closed} == {"the settings no longer have this relay"}
    assert len(incidents.closed) == 2


def test_what_nobody_tells_of_any_more_is_over() -> None:
    """Probes that are switched off never come through; what the log tells goes on."""
    incidents = made()
    tell(incidents, attempt("A1B2C3D4E5", "deferred", REFUSED))
    incidents.note("probe-late", "demo", "the last probe was not accepted", _NOW.timestamp())
    incidents.keep({"demo"}, {"probe-late": "no probes are sent any more"}, _NOW.timestamp())

    assert symptoms(incidents.open) == ["login-refused"]
    assert [incident.closed_by for incident in incidents.closed] == ["no probes are sent any more"]


def test_what_a_former_release_saved_is_taken_over_as_far_as_it_is_known() -> None:
    """An unknown symptom, or a row that is none, is left out; the rest stays."""
    incidents = made()
    tell(incidents, attempt("A1B2C3D4E5", "deferred", REFUSED))
    data = json.loads(json.dumps(incidents.as_json()))
    data["open"] += [{**data["open"][0], "symptom": "of-tomorrow"}, {"x": 1}, 7]
    again = made()
    again.restore(data)

    assert symptoms(again.open) == ["login-refused"]


def test_addresses_are_masked_and_secrets_never_shown() -> None:
    """The local part goes, the domain stays; a password in a debugging line is scrubbed."""
    assert mask_addresses("to=<bob@dest.test>, orig_to=<root@a.test>, relay=h[1.2.3.4]:25") == (
        "to=<…@dest.test>, orig_to=<…@a.test>, relay=h[1.2.3.4]:25"
    )
    assert (
        mask_addresses('from=<"a b"@x.test> bob@y.test and böb@z.test')
        == "from=<…@x.test> …@y.test and …@z.test"
    )
    incidents = made()
    tell(incidents, "smtp: fatal: smtp_sasl_passwd_lookup: host `h' user `u' pass `Gr33n-Fern'")

    assert "Gr33n" not in json.dumps(incidents.as_json())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_LINES), st.integers(0, 400), st.text(max_size=6)), max_size=20))
def test_no_line_raises_however_it_is_damaged(damaged: list[tuple[str, int, str]]) -> None:
    """Every message of the corpus, with something strange put in anywhere: at worst it is not understood."""
    incidents, day = made(), DeliveryHistory(lambda: _NOW)
    for line, place, strange in damaged:
        record, event = parse(line[:place] + strange + line[place:])
        if record is not None and event is not None:
            incidents.observe(record, event)
            day.observe(record, event)

    json.dumps([incidents.as_json(), day.as_json()])


def test_control_characters_are_spelled_out() -> None:
    """A server's words and a host's name do not steer the terminal."""
    incidents = made()
    reason = "host smtp.relay.test[192.0.2.1] said: 550 5.1.1 \x1b[2J\u202e no (in reply to RCPT TO command)"
    tell(incidents, attempt("A1B2C3D4E5", "bounced", reason, to="x@dest.test"))
    down = "connect to h\x1b[31m.test[192.0.2.1]:25: Connection refused"
    tell(incidents, attempt("B1B2C3D4E5", "deferred", down, ""))

    assert all(line.isprintable() for row in incidents.open for line in row.evidence)
    assert all(row.place.isprintable() for row in incidents.open)


def test_the_day_is_bounded_and_survives() -> None:
    """144 pieces, whatever the stamps say; sent, delays and causes are in them."""
    day = DeliveryHistory(lambda: _NOW)
    for number in range(400):
        stamp = datetime.fromtimestamp(_NOW.timestamp() - 600 * number, UTC).isoformat(timespec="seconds")
        for line in (sent("A1B2C3D4E5"), attempt("B1B2C3D4E5", "deferred", REFUSED)):
            record, event = parse(f"{stamp} mail postfix/smtp[7]: {line.partition(': ')[2]}")
            assert record is not None
            assert event is not None
            day.observe(record, event)
    again = DeliveryHistory(lambda: _NOW)
    again.restore(json.loads(json.dumps(day.as_json())))
    pieces = again.pieces(_NOW.timestamp())

    assert len(day.as_json()) <= BUCKETS + 1
    assert len(pieces) == BUCKETS
    assert sum(piece.status["sent"] for piece in pieces) == BUCKETS
    assert pieces[-1].causes == {"auth_rejected": 1}
    assert pieces[-1].delays == [1, 0, 0, 0, 0, 0]
