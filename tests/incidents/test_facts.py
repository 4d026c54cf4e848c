"""The same line, the host it comes from: logs of staged faults joined with the facts of a host that has that fault.

The host is a real Postfix's configuration with the trap's mistake in it, read as `postward why` reads it.
"""

from collections.abc import Callable, Iterator

import pytest

from agent.incidents.diagnosis import diagnose, proofs_of
from agent.incidents.incident import Incident
from agent.incidents.incidents import Incidents
from agent.incidents.reading import read_logs
from agent.incidents.symptom import Certainty
from agent.relay_names import RelayNames
from tests.bed import require_postfix
from tests.incidents.traps import NOW, TRAPS, truths
from tests.lint.host import LOGIN, RELAY, Host
from tests.lint.mistakes import MISTAKES

_MISTAKES = {name: damage for name, damage, _ in MISTAKES}
_SENDERS = "smtp_sender_dependent_authentication = yes"

# A log, what its host had done to it, and how sure the diagnosis is with that known.
FACTS: tuple[tuple[str, Callable[[Host], object], Certainty], ...] = (
    ("sasl-plugins-missing.log", _MISTAKES["no SASL plug-ins"], Certainty.CERTAIN),
    ("sasl-noplaintext-tls.log", _MISTAKES["PLAIN forbidden"], Certainty.CERTAIN),
    ("sasl-null-list.log", lambda _: None, Certainty.NEAR),
    ("cred-key-nobrackets.log", lambda h: h.passwords(f"smtp.relay.test:587 {LOGIN}\n"), Certainty.CERTAIN),
    ("cred-key-otherport.log", lambda h: h.passwords(f"[smtp.relay.test]:465 {LOGIN}\n"), Certainty.CERTAIN),
    ("cred-noentry.log", lambda h: h.passwords("[other.test]:587 a:b-Gr33n\n"), Certainty.CERTAIN),
    ("cred-indented.log", lambda h: h.passwords(f"# relay\n  {RELAY} {LOGIN}\n"), Certainty.CERTAIN),
    ("cred-equals.log", lambda h: h.passwords(f"{RELAY}={LOGIN}\n"), Certainty.CERTAIN),
    ("tls-level-unset-authneedstls.log", lambda h: h.set("smtp_tls_security_level ="), Certainty.CERTAIN),
    (
        "route-sender-dep-nullsender.log",
        lambda h: (h.set(_SENDERS), h.passwords(f"app@client.example.test {LOGIN}\n")),
        Certainty.CERTAIN,
    ),
    ("cred-quoted.log", _MISTAKES["quotes around the login"], Certainty.CERTAIN),
    ("cred-comment-tail.log", lambda h: h.passwords(f"{RELAY} {LOGIN} # new\n"), Certainty.CERTAIN),
    ("cred-nocolon.log", lambda h: h.passwords(f"{RELAY} relay-user\n"), Certainty.CERTAIN),
    ("flow-fix-reload.log", _MISTAKES["the how-to: wrapper mode on 587"], Certainty.CERTAIN),
    (
        "route-tls-policy-wrapper.log",
        _MISTAKES["wrapper mode for a route to another port"],
        Certainty.CERTAIN,
    ),
    ("tls-starttls-on-465-hang.log", _MISTAKES["port 465 without wrapper mode"], Certainty.CERTAIN),
    ("tls-starttls-on-465-closed.log", _MISTAKES["port 465 without wrapper mode"], Certainty.CERTAIN),
    ("tls-verify-noca.log", _MISTAKES["verify without authorities"], Certainty.CERTAIN),
    ("chroot-capath.log", _MISTAKES["an authorities' folder outside the chroot"], Certainty.CERTAIN),
    ("chroot-resolv.log", lambda h: h.master(chroot=True), Certainty.CERTAIN),
    ("dns-mx-points-elsewhere.log", _MISTAKES["brackets forgotten"], Certainty.CERTAIN),
    ("route-relayhost-empty.log", _MISTAKES["no relayhost"], Certainty.CERTAIN),
    ("route-mydestination-swallows.log", _MISTAKES["the domain in mydestination"], Certainty.CERTAIN),
    ("dns-nxdomain-relayhost.log", lambda _: None, Certainty.NEAR),
)


@pytest.fixture(scope="module")
def one_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host, as it should be."""
    require_postfix(sasl=False)
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.mark.parametrize(("log", "damage", "certainty"), FACTS, ids=[row[0] for row in FACTS])
def test_facts_tell_the_causes_apart(
    one_host: Host, log: str, damage: Callable[[Host], object], certainty: Certainty
) -> None:
    """What is ambiguous in the log alone is sure on its host, and it is what the fault was."""
    one_host.repair()
    damage(one_host)
    facts = one_host.facts()
    findings = proofs_of(None, facts)
    (worst, *_) = _incidents(log)
    alone, joined = diagnose(worst), diagnose(worst, facts, findings)

    assert alone.certainty is Certainty.AMBIGUOUS
    assert (joined.certainty, {cause.id for cause in joined.causes}) == (certainty, set(truths()[log])), (
        joined
    )
    assert joined.causes[0].mend


def test_a_healthy_host_does_not_make_a_guess_sure(one_host: Host) -> None:
    """Facts that speak against some of several causes leave the others as they are: told, and not chosen from."""
    one_host.repair()
    facts = one_host.facts()
    (refused, *_) = _incidents("cred-wrong-password.log")
    (missing, *_) = _incidents("cred-noentry.log")

    for incident in (refused, missing):
        diagnosis = diagnose(incident, facts, proofs_of(None, facts))
        assert diagnosis.certainty is Certainty.AMBIGUOUS, diagnosis
    assert [cause.id for cause in diagnose(refused, facts, ()).causes] == [
        "password-wrong",
        "mechanism-preferred",
    ]


def _incidents(log: str) -> list[Incident]:
    path = TRAPS / log
    incidents: Incidents = read_logs([path], RelayNames(), NOW)
    return [*incidents.open, *incidents.closed]
