"""Every log of a staged fault: the cause is named, and no other is ever said to be certain."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postward.agent.incidents import tracker
from postward.agent.incidents.catalog.table import ROWS, SYMPTOMS, of_delivery, of_line
from postward.agent.incidents.diagnosis import diagnose, filled
from postward.agent.incidents.model import Incident
from postward.agent.incidents.symptom import Certainty, Effect, Offer, Resolution, Symptom
from postward.config.lint import HOST_RULES, SETTINGS_RULES
from postward.config.lint.facts import HostFacts
from postward.config.lint.finding import Finding, Severity
from postward.parsers import Cause
from tools.incidents.traps import SYMPTOM_LOGS, TRAPS, diagnosed, judge, path_of, truths

TRUTHS = truths()


@pytest.mark.parametrize("log", TRUTHS)
def test_no_log_is_diagnosed_wrongly(log: str) -> None:
    """What the fault was is named; where several causes fit, none of them is said to be certain."""
    verdict = judge(log, TRUTHS[log])

    assert verdict.verdict in {"right", "ambiguous"}, verdict


def test_every_log_has_its_truth() -> None:
    """A log without an expectation would be measured by nobody."""
    assert set(TRUTHS) == {path.name for folder in (TRAPS, SYMPTOM_LOGS) for path in folder.glob("*.log")}


@pytest.fixture(scope="module")
def shown() -> set[int]:
    """The rows of the catalogue that some log shows."""
    seen: list[Symptom | None] = []

    def noted(look: Callable[..., Symptom | None]) -> Callable[..., Symptom | None]:
        def found(*line: object) -> Symptom | None:
            seen.append(look(*line))
            return seen[-1]

        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker, "of_delivery", noted(of_delivery))
        patch.setattr(tracker, "of_line", noted(of_line))
        opened = [symptom for log in TRUTHS for symptom, _, _ in diagnosed(path_of(log))]
    # What is looked up by its name alone: nothing else opens it.
    named = [SYMPTOMS[symptom] for symptom in opened if symptom == "fallback"]
    return {id(row) for row in (*seen, *named) if row is not None}


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.proof is not Resolution.CONDITION], ids=lambda row: row.id
)
def test_every_row_is_shown_by_a_log(shown: set[int], row: Symptom) -> None:
    """A row that no real line ever reaches explains nothing. (What other parts of the agent tell: `test_watch.py`.)"""
    assert id(row) in shown


def test_rows_of_one_name_have_the_same_causes() -> None:
    """An incident knows its symptom by name."""
    assert all(row.candidates == SYMPTOMS[row.id].candidates for row in ROWS)


def test_two_logs_in_three_are_told_for_sure() -> None:
    """Ambiguity is for lines that have several causes, and no way out."""
    verdicts = [judge(log, truth).verdict for log, truth in TRUTHS.items()]

    assert verdicts.count("right") >= 2 * len(verdicts) / 3
    assert verdicts.count("wrong") == 0


@pytest.mark.parametrize("log", [log for log, truth in TRUTHS.items() if truth])
def test_one_fault_has_one_certain_cause(log: str) -> None:
    """At most one diagnosis of what keeps mail back is certain, unless there are several faults."""
    found = diagnosed(path_of(log))
    certain = {d.causes[0].id for _, _, d in found if d.certainty is Certainty.CERTAIN}

    assert len(certain) <= len(TRUTHS[log])


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_is_a_symptom(cause: Cause) -> None:
    """No failed delivery is without a name, whatever the server said."""
    assert of_delivery("smtp", cause, "status=deferred words that nobody knows").cause is cause


def test_rows_refer_to_rules_and_symptoms_that_exist() -> None:
    """A proof by a rule that was renamed would never come."""
    rules = {rule.id for _, rules in HOST_RULES for rule in rules} | {rule.id for rule in SETTINGS_RULES}
    candidates = [candidate for row in ROWS for candidate in row.candidates]

    assert {
        rule for candidate in candidates for rule in (*candidate.proofs, *candidate.hints, *candidate.only_if)
    } <= rules
    assert {sign for candidate in candidates for sign in candidate.signs} <= set(SYMPTOMS)


_RULES = sorted({rule for row in ROWS for c in row.candidates for rule in (*c.proofs, *c.hints, *c.only_if)})


@given(
    row=st.sampled_from(ROWS),
    rules=st.sets(st.sampled_from(_RULES), max_size=5),
    explicit=st.sets(
        st.sampled_from(sorted({name for row in ROWS for c in row.candidates for name in c.needs}))
    ),
    mechanisms=st.none() | st.frozensets(st.sampled_from(["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"])),
    looked=st.booleans(),
)
def test_whatever_is_known_one_cause_at_most_is_sure(
    row: Symptom, rules: set[str], explicit: set[str], mechanisms: frozenset[str] | None, looked: bool
) -> None:
    """Some cause of the symptom is always told; several are never called sure."""
    facts = HostFacts(defaults={"a": "b"} if looked else {}, explicit=dict.fromkeys(explicit, "x"))
    findings = [Finding(rule, Severity.ERROR, "here", "wrong", "remedy it", "why") for rule in rules]
    incident = Incident(row.id, "postfix", "x:25", "other", "", None, row.effect, 0.0, 0.0)
    told = diagnose(incident, facts, findings, offer=Offer(mechanisms))

    assert {cause.id for cause in told.causes} <= {candidate.id for candidate in row.candidates}
    assert told.causes
    assert len(told.causes) == 1 or told.certainty is Certainty.AMBIGUOUS


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_every_remedy_is_a_whole_sentence_for_a_host(row: object) -> None:
    """Placeholders are filled in, whatever is known of the host."""
    for symptom in ROWS:
        if symptom is row:
            incident = Incident(symptom.id, "postfix", "x", "none", "", None, symptom.effect, 0.0, 0.0)
            for facts in (None, HostFacts(distribution="rhel", managed=frozenset({"relayhost"}))):
                for cause in diagnose(incident, facts).causes:
                    assert not re.search(r"\{\w+( [^}]*)?\}", cause.remedy), cause.remedy
                    assert cause.what
                    assert cause.setting
                    assert cause.remedy


def test_commands_name_the_server_and_the_domain() -> None:
    """To be copied as they are; a name that a stranger chose to do harm stays out."""
    incident = Incident(
        "connection-refused", "postfix", "x", "other", "smtp", "refused", Effect.DELAYED, 0.0, 0.0
    )
    incident.evidence = ["connect to smtp.relay.test[192.0.2.1]:2525: Connection refused"]
    incident.domains = ["dest.test"]
    looks = {cause.id: cause.check for cause in diagnose(incident).causes}
    incident.evidence = ["connect to $(reboot)[192.0.2.1]:25: Connection refused"]
    incident.domains = ["dest.test;reboot"]
    printable = " ".join(cause.check + cause.remedy for cause in diagnose(incident).causes)

    assert looks["relay-down"] == "nc -vz smtp.relay.test 2525 from another network"
    assert looks["transport-overrides"] == 'postmap -q dest.test "$(postconf -h transport_maps)"'
    assert "reboot" not in printable
    assert "nc -vz HOST PORT" in printable


def test_remedies_name_the_package_of_the_distribution() -> None:
    """The same plug-in has another name elsewhere."""
    assert filled("{install_sasl}", HostFacts(distribution="debian")).startswith(
        "apt-get install libsasl2-modules"
    )
    assert filled("{install_sasl}", HostFacts(distribution="alpine")).startswith("apk add cyrus-sasl")
    assert filled("{ca_file}", HostFacts(distribution="rhel")) == "/etc/pki/tls/certs/ca-bundle.crt"
