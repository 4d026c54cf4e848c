"""The catalogue against every log of a staged fault: the cause is named, and no other cause is ever certain."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postward.agent.incidents import tracker
from postward.agent.incidents.catalog.symptom import Candidate, Offer, Resolution, Symptom
from postward.agent.incidents.catalog.table import ROWS, SYMPTOMS, UNEXPLAINED, of_delivery, of_line
from postward.agent.incidents.diagnosis import diagnose
from postward.agent.incidents.model import Certainty, Incident
from postward.agent.incidents.remedies import fill_in
from postward.agent.incidents.replay import read_logs
from postward.agent.metrics.labels import RelayNames
from postward.config.lint import HOST_RULES, SETTINGS_RULES
from postward.config.lint.facts import HostFacts
from postward.config.lint.finding import Finding, Severity
from postward.parsers import Cause
from tools.incidents.traps import NOW, SYMPTOM_LOGS, TRAPS, diagnosed, judge, path_of, truths

TRUTHS = truths()
CANDIDATES = [candidate for row in ROWS for candidate in row.candidates]
LINT_RULES = {
    rule
    for candidate in CANDIDATES
    for rule in (*candidate.lint_decides, *candidate.lint_proves, *candidate.lint_required)
}
REQUIRED_PARAMETERS = {name for candidate in CANDIDATES for name in candidate.required_parameters}


@pytest.mark.parametrize("log", TRUTHS)
def test_no_log_has_a_wrong_diagnosis(log: str) -> None:
    """The fault is named; if several causes fit, none of them is certain."""
    verdict = judge(log, TRUTHS[log])

    assert verdict.verdict in {"right", "ambiguous"}, verdict


def test_every_log_has_an_expected_diagnosis() -> None:
    """A log without one would not be tested."""
    assert set(TRUTHS) == {path.name for folder in (TRAPS, SYMPTOM_LOGS) for path in folder.glob("*.log")}


@pytest.fixture(scope="module")
def rows_in_logs() -> set[int]:
    """The rows of the catalogue that some log reaches, by object identity."""
    matched: list[Symptom | None] = []

    def recorded(lookup: Callable[..., Symptom | None]) -> Callable[..., Symptom | None]:
        def look_up(*arguments: object) -> Symptom | None:
            matched.append(lookup(*arguments))
            return matched[-1]

        return look_up

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker, "of_delivery", recorded(of_delivery))
        patch.setattr(tracker, "of_line", recorded(of_line))
        opened = [symptom for log in TRUTHS for symptom, _, _ in diagnosed(path_of(log))]
    # These symptoms are looked up only by their names.
    by_name = [SYMPTOMS[symptom] for symptom in opened if symptom in {"fallback", UNEXPLAINED}]
    return {id(row) for row in (*matched, *by_name) if row is not None}


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.resolution is not Resolution.CONDITION], ids=lambda row: row.id
)
def test_every_row_is_in_a_log(rows_in_logs: set[int], row: Symptom) -> None:
    """A row that no real line reaches explains nothing. (`test_monitor.py` has the conditions.)"""
    assert id(row) in rows_in_logs


def test_rows_with_one_id_have_the_same_candidates() -> None:
    """An incident stores only the id of its symptom."""
    assert all(row.candidates == SYMPTOMS[row.id].candidates for row in ROWS)


def test_most_logs_have_one_cause() -> None:
    """Ambiguity is for lines that have several causes and no fact that separates them; here, no fact is read."""
    verdicts = [judge(log, truth).verdict for log, truth in TRUTHS.items()]

    assert verdicts.count("right") > len(verdicts) / 2
    assert verdicts.count("wrong") == 0


@pytest.mark.parametrize("log", [log for log, truth in TRUTHS.items() if truth])
def test_one_fault_has_one_certain_cause(log: str) -> None:
    """Not more diagnoses are certain than the log has faults."""
    certain = {
        diagnosis.causes[0].id
        for _, _, diagnosis in diagnosed(path_of(log))
        if diagnosis.certainty is Certainty.CERTAIN
    }

    assert len(certain) <= len(TRUTHS[log])


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_a_symptom(cause: Cause) -> None:
    """Every failed delivery has a symptom, whatever the server replied."""
    assert of_delivery("smtp", cause, "status=deferred an unknown reply").cause is cause


def test_lint_rules_and_symptoms_of_candidates_exist() -> None:
    """A candidate that refers to a renamed rule would never be confirmed."""
    rules = {rule.id for _, rules in HOST_RULES for rule in rules} | {rule.id for rule in SETTINGS_RULES}
    symptoms = {symptom for candidate in CANDIDATES for symptom in candidate.proving_symptoms}

    assert rules >= LINT_RULES
    assert set(SYMPTOMS) >= symptoms


@given(
    row=st.sampled_from(ROWS),
    rules=st.sets(st.sampled_from(sorted(LINT_RULES)), max_size=5),
    explicit=st.sets(st.sampled_from(sorted(REQUIRED_PARAMETERS))),
    mechanisms=st.none() | st.frozensets(st.sampled_from(["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"])),
    facts_are_read=st.booleans(),
)
def test_any_facts_leave_one_cause_or_ambiguity(
    row: Symptom, rules: set[str], explicit: set[str], mechanisms: frozenset[str] | None, facts_are_read: bool
) -> None:
    """A diagnosis always has a cause of its symptom; several causes are ambiguous."""
    facts = HostFacts(defaults={"a": "b"} if facts_are_read else {}, explicit=dict.fromkeys(explicit, "x"))
    findings = [Finding(rule, Severity.ERROR, "here", "wrong", "remedy it", "why") for rule in rules]
    incident = Incident(row.id, "postfix", "x:25", "other", "", None, row.effect, 0.0, 0.0)
    diagnosis = diagnose(incident, facts, findings, offer=Offer(mechanisms))

    assert {cause.id for cause in diagnosis.causes} <= {candidate.id for candidate in row.candidates}
    assert diagnosis.causes
    assert len(diagnosis.causes) == 1 or diagnosis.certainty is Certainty.AMBIGUOUS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_remedy_is_filled_in(row: Symptom) -> None:
    """No placeholder remains, whatever is known about the host, and no text is empty."""
    incident = Incident(row.id, "postfix", "x", "none", "", None, row.effect, 0.0, 0.0)
    for facts in (None, HostFacts(distribution="rhel", managed=frozenset({"relayhost"}))):
        for cause in diagnose(incident, facts).causes:
            assert not re.search(r"\{\w+( [^}]*)?\}", cause.remedy), cause.remedy
            assert cause.what
            assert cause.setting
            assert cause.remedy


def test_remedies_name_the_package_of_the_distribution() -> None:
    """The same plug-in has different names."""
    assert fill_in("{install_sasl}", HostFacts(distribution="debian")).startswith(
        "apt-get install libsasl2-modules"
    )
    assert fill_in("{install_sasl}", HostFacts(distribution="alpine")).startswith("apk add cyrus-sasl")
    assert fill_in("{ca_file}", HostFacts(distribution="rhel")) == "/etc/pki/tls/certs/ca-bundle.crt"


def certain_incidents() -> Iterator[tuple[str, Incident, Candidate]]:
    """Yield each incident of a log whose lines alone make one cause certain, with that cause."""
    for log in TRUTHS:
        incidents = read_logs([path_of(log)], RelayNames(), NOW)
        for incident in (*incidents.open, *incidents.closed):
            diagnosis = diagnose(incident)
            if diagnosis.certainty is Certainty.CERTAIN:
                candidates = SYMPTOMS[incident.symptom].candidates
                yield log, incident, next(one for one in candidates if one.id == diagnosis.causes[0].id)


CERTAIN = list(certain_incidents())


@pytest.mark.parametrize(("log", "incident", "candidate"), CERTAIN)
def test_certainty_goes_with_the_words_that_name_the_cause(
    log: str, incident: Incident, candidate: Candidate
) -> None:
    """Without the words of Postfix that name the cause, the same lines make it likely at most."""
    words = candidate.certain_by
    assert words is not None, log
    evidence = [words.sub("something", line) for line in incident.evidence]

    assert diagnose(replace(incident, evidence=evidence)).certainty is not Certainty.CERTAIN


@pytest.mark.parametrize(("log", "incident", "candidate"), CERTAIN)
def test_words_of_a_server_make_no_cause_certain(log: str, incident: Incident, candidate: Candidate) -> None:
    """The same words in a reply are a stranger's."""
    words = candidate.certain_by
    assert words is not None, log
    spoken = [match[0] for line in incident.evidence if (match := words.search(line))]
    evidence = [
        f"x x postfix/smtp[1]: A1: status=deferred (host h[192.0.2.1] said: 450 {text}" for text in spoken
    ]

    assert diagnose(replace(incident, evidence=evidence)).certainty is not Certainty.CERTAIN


def test_harmful_remedies_are_withheld_under_doubt() -> None:
    """A remedy that opens access, checks less or strands mail is shown only under a certain cause."""
    for row in ROWS:
        incident = Incident(row.id, "postfix", "x:25", "other", "", None, row.effect, 0.0, 0.0)
        diagnosis = diagnose(incident)
        assert diagnosis.certainty is not Certainty.CERTAIN
        harmful = {one.id for one in row.candidates if one.changes.is_harmful}
        shown = {cause.id: cause.remedy for cause in diagnosis.causes}
        assert all(shown[name].startswith("none before the check") for name in harmful & shown.keys())
        # None comes before a harmless one.
        order = [cause.id in harmful for cause in diagnosis.causes]
        assert order == sorted(order)


@pytest.mark.parametrize(
    ("line", "symptom"),
    [
        (
            "smtp[1]: warning: hash:/etc/postfix/sasl_passwd is unavailable. open database /etc/postfix/sasl_passwd.db: No such file",
            "password-table-missing",
        ),
        (
            "smtp[1]: 4C0FFEE001: SASL authentication failed; cannot authenticate to server r[192.0.2.1]: no mechanism available",
            "mechanism-none",
        ),
        (
            'smtp[1]: SMTPS wrappermode (TCP port 465) requires setting "smtp_tls_wrappermode = yes"',
            "tls-wrapper-needed",
        ),
        ("smtp[1]: warning: a complaint that no release has printed", "unexplained"),
    ],
)
def test_a_complaint_without_its_delivery_is_explained(tmp_path: Path, line: str, symptom: str) -> None:
    """People post one line; a log that ends before the delivery is not all well."""
    log = tmp_path / "log"
    log.write_text(f"Nov  4 06:05:01 mx1 postfix/{line}\n")
    (incident,) = read_logs([log], RelayNames(), NOW).open
    assert incident.symptom == symptom
    assert incident.evidence == [f"Nov  4 06:05:01 mx1 postfix/{line}"]


def test_complaints_beside_an_incident_open_no_other(tmp_path: Path) -> None:
    """They are its evidence, or belong to mail that was delivered by another server."""
    log = tmp_path / "log"
    log.write_text(
        "Nov  4 06:05:01 mx1 postfix/smtp[1]: warning: a complaint that no release has printed\n"
        "Nov  4 06:05:02 mx1 postfix/smtp[2]: 4C0FFEE001: to=<u@example.com>, relay=none, delay=1, delays=0/0/1/0, dsn=4.4.1, "
        "status=deferred (connect to r[192.0.2.1]:25: Connection refused)\n"
    )
    (incident,) = read_logs([log], RelayNames(), NOW).open
    assert incident.symptom == "mx-refused"


def test_an_unknown_cause_is_never_likely() -> None:
    """A row that says "read the line" claims nothing."""
    unknown = [row for row in ROWS if len(row.candidates) == 1 and row.candidates[0].is_unknown]
    assert unknown
    assert {row.certainty for row in unknown} == {Certainty.AMBIGUOUS}
