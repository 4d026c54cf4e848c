"""Diagnoses of the same line on different hosts: logs of staged faults, joined with the facts of the faulty host.

The host is the configuration of a real Postfix, read as `postward why` reads it (`tools/incidents/hosts.py`).
"""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from postward.agent.incidents.catalog.symptom import Offer
from postward.agent.incidents.diagnosis import Diagnosis, diagnose, proofs_of
from postward.agent.incidents.model import Certainty, Effect, Incident, Server
from postward.config.lint.facts import HostFacts
from tests.config.lint.host import Host
from tests.support import require_postfix
from tools.incidents.hosts import Trap, hosts, incidents_of, join
from tools.incidents.traps import TRAPS, path_of, truths

HOSTS = hosts()
REMEDIES = [
    tuple(line.split("\t"))
    for line in (TRAPS / "remedies.tsv").read_text().splitlines()
    if not line.startswith("#")
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host for all tests of the module."""
    require_postfix(sasl=False)
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.mark.parametrize(("log", "trap"), HOSTS.items(), ids=list(HOSTS))
def test_facts_separate_the_causes(host: Host, log: str, trap: Trap) -> None:
    """The certainty is that of the corpus and the cause is right; an ambiguous cause says what to check."""
    joined = join(host, log, trap.lines)

    assert joined.alone.certainty is Certainty.AMBIGUOUS
    assert joined.verdict == trap.verdict, joined.joined
    assert all(cause.remedy for cause in joined.joined.causes)
    assert trap.verdict != "ambiguous" or all(cause.check for cause in joined.joined.causes)


@pytest.mark.parametrize(("log", "log_after", "change"), REMEDIES, ids=[row[0] for row in REMEDIES])
def test_remedy_is_the_change_that_repaired_the_fault(
    host: Host, log: str, log_after: str, change: str
) -> None:
    """Mail goes out in the log after the change, and the remedy of the cause names this change."""
    alone = diagnose(incidents_of(log)[0])
    diagnosis = join(host, log, HOSTS[log].lines).joined if log in HOSTS else alone
    (cause,) = (cause for cause in diagnosis.causes if cause.id in truths()[log])

    assert "status=sent" in path_of(log_after).read_text()
    assert change in cause.remedy


def test_healthy_host_does_not_turn_a_guess_into_certainty(host: Host) -> None:
    """Facts rule out some of several causes; the others stay, ambiguous."""
    host.repair()
    facts = host.facts()
    (refused, *_) = incidents_of("cred-wrong-password.log")
    (missing, *_) = incidents_of("cred-noentry.log")

    for incident in (refused, missing):
        diagnosis = diagnose(incident, facts, proofs_of(None, facts))
        assert diagnosis.certainty is Certainty.AMBIGUOUS, diagnosis
    assert [cause.id for cause in diagnose(refused, facts, ()).causes] == [
        "password-wrong",
        "mechanism-preferred",
    ]


def test_later_changes_rule_out_nothing(host: Host) -> None:
    """The table was edited after the mail was lost: no finding in it now says nothing about the fault then."""
    host.repair()
    (refused, *_) = incidents_of("cred-wrong-password.log")
    offer = Offer.of({"mechanisms": ["PLAIN"]})
    now = diagnose(refused, host.facts(), offer=offer)
    refused.last -= 3600
    before = diagnose(refused, host.facts(), offer=offer)

    assert [cause.id for cause in now.causes] == ["password-wrong"]
    assert (before.certainty, len(before.causes)) == (Certainty.AMBIGUOUS, 4)


def test_fault_of_another_relay_confirms_nothing(host: Host) -> None:
    """Each relay has a key of its own in the password table; a missing key concerns only mail through its relay."""
    host.repair()
    host.set("sender_dependent_relayhost_maps = hash:$config_directory/senders")
    host.table("senders", "@b.test [smtp.b.test]:587\n")
    facts = host.facts()
    findings = proofs_of(None, facts)
    (lost, *_) = incidents_of("cred-noentry.log")
    assert lost.server is not None
    this_relay = diagnose(lost, facts, findings)
    lost.server = replace(lost.server, host="smtp.b.test")
    other_relay = diagnose(lost, facts, findings)

    assert "password-key-mismatch" in {finding.id for finding in findings}
    assert this_relay.certainty is Certainty.AMBIGUOUS, this_relay
    assert (other_relay.certainty, other_relay.causes[0].id) == (Certainty.CERTAIN, "password-key")


def test_route_is_confirmed_by_the_table_that_names_it(host: Host) -> None:
    """The table is a file here. One whose entries stand in main.cf is read too, if it holds no logins."""
    host.repair()
    host.set("transport_maps = hash:$config_directory/transport")
    host.table("transport", "dest.test smtp:[127.0.0.12]:20025\n")
    facts = host.facts()
    (refused, *_) = incidents_of("route-transport-override.log")
    diagnosis = diagnose(refused, facts, proofs_of(None, facts))

    assert (diagnosis.certainty, diagnosis.causes[0].id) == (Certainty.CERTAIN, "transport-overrides")


def test_replaced_relay_is_not_another_route(host: Host) -> None:
    """The incident is about the former relay until mail goes out; a transport table without it is not to blame."""
    host.repair()
    host.set(
        "relayhost = [smtp.new.test]:587", "transport_maps = inline:{other.test=smtp:[mx.other.test]:25}"
    )
    facts = host.facts()
    (refused, *_) = incidents_of("net-refused.log")

    assert diagnose(refused, facts, proofs_of(None, facts)).certainty is Certainty.AMBIGUOUS


def test_offer_of_the_relay_rules_out_causes(host: Host) -> None:
    """Without a mechanism that is preferred to PLAIN, the login itself is wrong; an unknown offer rules out nothing."""
    host.repair()
    facts = host.facts()
    (refused, *_) = incidents_of("cred-wrong-password.log")

    def with_offer(snapshot: object) -> Diagnosis:
        return diagnose(refused, facts, offer=Offer.of(snapshot))

    assert with_offer({"mechanisms": ["LOGIN", "PLAIN"]}).certainty is Certainty.LIKELY
    for snapshot in ({"mechanisms": ["CRAM-MD5", "PLAIN"]}, {"mechanisms": None}, None, "damaged"):
        assert with_offer(snapshot).certainty is Certainty.AMBIGUOUS


def test_commands_name_the_server_and_the_domain() -> None:
    """They can be copied as they are; a domain that is unsafe in a shell command is left out."""
    incident = Incident(
        "connection-refused", "postfix", "x", "other", "smtp", "refused", Effect.DELAYED, 0.0, 0.0
    )
    incident.server = Server("smtp.relay.test", "192.0.2.1", "2525")
    incident.domains = ["dest.test"]
    checks = {cause.id: cause.check for cause in diagnose(incident).causes}
    incident.server = None
    incident.domains = ["dest.test;reboot"]
    texts = " ".join(cause.check + cause.remedy for cause in diagnose(incident).causes)

    assert checks["relay-down"] == "nc -vz smtp.relay.test 2525 from another network"
    assert checks["transport-overrides"] == 'postmap -q dest.test "$(postconf -h transport_maps)"'
    assert "reboot" not in texts
    assert "nc -vz with the server's name and port" in texts
    assert not re.search(r"\b(?:HOST|PORT|DOMAIN)\b", texts)


def test_server_of_the_recipient_is_not_called_the_relay() -> None:
    """Mail goes to an MX on port 25 if no relay is configured; a server that may be a relay of main.cf is "the server"."""
    incident = Incident("blocked", "postfix", "x", "none", "smtp", "blocked", Effect.DELAYED, 0.0, 0.0)
    incident.domains = ["dest.test"]

    def title(server: Server, relayhost: str | None = None) -> str:
        incident.server = server
        facts = None
        if relayhost is not None:
            facts = HostFacts(defaults={"relayhost": ""}, expanded={"relayhost": relayhost})
        return diagnose(incident, facts).title

    of_recipient = "the recipient's mail server blocks this host's address"
    assert title(Server("mail.dest.test", "192.0.2.1", "25")) == of_recipient
    assert title(Server("gmail-smtp-in.l.google.com", "192.0.2.1", "25")) == of_recipient
    assert title(Server("post.filter.test", "192.0.2.1", "25"), "") == of_recipient
    assert title(Server("smtp.relay.test", "192.0.2.1", "25")) == "the server blocks this host's address"
    assert (
        title(Server("smtp.relay.test", "192.0.2.1", "25"), "smtp.relay.test")
        == "the relay blocks this host's address"
    )
    assert title(Server("smtp.relay.test", "192.0.2.1", "587")) == "the relay blocks this host's address"
