"""The same line, the host it comes from: logs of staged faults joined with the facts of the host that had the fault.

The host is a real Postfix's configuration, read as `postward why` reads it (`hosts.py`).
"""

from collections.abc import Iterator

import pytest

from postward.agent.incidents.diagnosis import Diagnosis, diagnose, proofs_of
from postward.agent.incidents.symptom import Certainty, Offer
from tests.config.lint.host import Host
from tests.support import require_postfix
from tools.incidents.hosts import Trap, hosts, incidents_of, join
from tools.incidents.traps import TRAPS, path_of, truths

HOSTS = hosts()
MENDED = [
    tuple(line.split("\t"))
    for line in (TRAPS / "mended.tsv").read_text().splitlines()
    if not line.startswith("#")
]


@pytest.fixture(scope="module")
def one_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host, as it should be."""
    require_postfix(sasl=False)
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.mark.parametrize(("log", "trap"), HOSTS.items(), ids=list(HOSTS))
def test_facts_tell_the_causes_apart(one_host: Host, log: str, trap: Trap) -> None:
    """As sure as the corpus says, and never of another thing than it was; what stays ambiguous says what to look at."""
    joined = join(one_host, log, trap.lines)

    assert joined.alone.certainty is Certainty.AMBIGUOUS
    assert joined.verdict == trap.verdict, joined.joined
    assert all(cause.remedy for cause in joined.joined.causes)
    assert trap.verdict != "ambiguous" or all(cause.check for cause in joined.joined.causes)


@pytest.mark.parametrize(("log", "mended", "what"), MENDED, ids=[row[0] for row in MENDED])
def test_the_remedy_is_what_mended_the_fault(one_host: Host, log: str, mended: str, what: str) -> None:
    """Where a log of the mended run exists: mail goes out in it, and the remedy at the fault's cause says what was changed."""
    alone = diagnose(incidents_of(log)[0])
    told = join(one_host, log, HOSTS[log].lines).joined if log in HOSTS else alone
    (cause,) = (cause for cause in told.causes if cause.id in truths()[log])

    assert "status=sent" in path_of(mended).read_text()
    assert what in cause.remedy


def test_a_healthy_host_does_not_make_a_guess_sure(one_host: Host) -> None:
    """Facts that speak against some of several causes leave the others as they are: told, and not chosen from."""
    one_host.repair()
    facts = one_host.facts()
    (refused, *_) = incidents_of("cred-wrong-password.log")
    (missing, *_) = incidents_of("cred-noentry.log")

    for incident in (refused, missing):
        diagnosis = diagnose(incident, facts, proofs_of(None, facts))
        assert diagnosis.certainty is Certainty.AMBIGUOUS, diagnosis
    assert [cause.id for cause in diagnose(refused, facts, ()).causes] == [
        "password-wrong",
        "mechanism-preferred",
    ]


def test_what_was_changed_since_says_nothing_of_then(one_host: Host) -> None:
    """The key was put right after the mail was lost: that lint finds nothing now does not make another cause the likelier one."""
    one_host.repair()
    (refused, *_) = incidents_of("cred-wrong-password.log")
    offer = Offer.of({"mechanisms": ["PLAIN"]})
    now = diagnose(refused, one_host.facts(), offer=offer)
    refused.last -= 3600
    before = diagnose(refused, one_host.facts(), offer=offer)

    assert [cause.id for cause in now.causes] == ["password-wrong"]
    assert (before.certainty, len(before.causes)) == (Certainty.AMBIGUOUS, 4)


def test_a_fault_of_another_relay_proves_nothing_of_this_one(one_host: Host) -> None:
    """Each relay has its own key in the table of passwords; that one is missing says nothing of mail by the other."""
    one_host.repair()
    one_host.set("sender_dependent_relayhost_maps = hash:$config_directory/senders")
    one_host.table("senders", "@b.test [smtp.b.test]:587\n")
    facts = one_host.facts()
    findings = proofs_of(None, facts)
    (lost, *_) = incidents_of("cred-noentry.log")
    of_the_other = [line.replace("smtp.relay.test", "smtp.b.test") for line in lost.evidence]
    here = diagnose(lost, facts, findings)
    lost.evidence = of_the_other
    there = diagnose(lost, facts, findings)

    assert "password-key-mismatch" in {finding.id for finding in findings}
    assert here.certainty is Certainty.AMBIGUOUS, here
    assert (there.certainty, there.causes[0].id) == (Certainty.CERTAIN, "password-key")


def test_a_route_is_proved_by_the_table_that_names_it(one_host: Host) -> None:
    """In a file, which is read; what stands in main.cf itself (inline) may hold logins and is not."""
    one_host.repair()
    one_host.set("transport_maps = hash:$config_directory/transport")
    one_host.table("transport", "dest.test smtp:[127.0.0.12]:20025\n")
    facts = one_host.facts()
    (refused, *_) = incidents_of("route-transport-override.log")
    told = diagnose(refused, facts, proofs_of(None, facts))

    assert (told.certainty, told.causes[0].id) == (Certainty.CERTAIN, "transport-overrides")


def test_a_relay_that_was_exchanged_is_no_sign_of_another_route(one_host: Host) -> None:
    """The incident is about the former one until mail goes out; a table of transports that does not name it is not to blame."""
    one_host.repair()
    one_host.set(
        "relayhost = [smtp.new.test]:587", "transport_maps = inline:{other.test=smtp:[mx.other.test]:25}"
    )
    facts = one_host.facts()
    (refused, *_) = incidents_of("net-refused.log")

    assert diagnose(refused, facts, proofs_of(None, facts)).certainty is Certainty.AMBIGUOUS


def test_what_the_relay_offers_speaks_too(one_host: Host) -> None:
    """Without a mechanism that goes before PLAIN, a refused login is a wrong one; what the agent never heard says nothing."""
    one_host.repair()
    facts = one_host.facts()
    (refused, *_) = incidents_of("cred-wrong-password.log")

    def told(seen: object) -> Diagnosis:
        return diagnose(refused, facts, offer=Offer.of(seen))

    assert told({"mechanisms": ["LOGIN", "PLAIN"]}).certainty is Certainty.LIKELY
    for seen in ({"mechanisms": ["CRAM-MD5", "PLAIN"]}, {"mechanisms": None}, None, "damaged"):
        assert told(seen).certainty is Certainty.AMBIGUOUS
