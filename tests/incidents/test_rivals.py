"""Every row against the other causes of its line: no cause stays certain with the evidence of another one.

`tests/corpus/rivals.txt` has the lines of those causes, each with the source file that prints them.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from postward.agent.incidents.catalog.symptom import Candidate, Resolution, Symptom
from postward.agent.incidents.catalog.table import ROWS, SYMPTOMS
from postward.agent.incidents.diagnosis import Diagnosis, diagnose
from postward.agent.incidents.model import Certainty, Incident
from postward.agent.incidents.replay import read_logs
from postward.agent.incidents.tracker import IncidentTracker
from postward.agent.metrics.labels import RelayNames
from postward.config.lint.finding import Finding, Severity
from postward.parsers import parse
from postward.parsers.scrub import SERVER_REPLY
from tools.incidents.traps import NOW, path_of, truths

# Rows that lines show. Postward's own words are the evidence of the others: `test_watching.py`.
LOGGED = [row for row in ROWS if row.resolution is not Resolution.CONDITION]
CORPUS = Path(__file__).parents[1] / "corpus"
HEADER = re.compile(r"# (?P<symptom>[\w-]+) (?P<cause>[\w-]+): (?P<printer>\S+)")
# Causes whose words are those of servers.
OF_SERVERS = {"loop-beyond", "not-smtp"}
# Rows with one cause that words make certain → the source file that prints them: nothing else does.
SOLE_PRINTERS = {
    "login-user-empty": "xsasl/xsasl_cyrus_client.c",
    "map-type-unsupported": "util/dict_open.c",
    "sasl-no-table": "smtp/smtp_sasl_glue.c",
    "sasl-option": "xsasl/xsasl_cyrus_security.c",
    "tls-weak-signature": "OpenSSL ssl/t1_lib.c",
    "tls-weak-dh": "OpenSSL ssl/statem/statem_clnt.c",
    "tls-old-renegotiation": "OpenSSL ssl/statem/extensions.c",
    "certificate-expired": "OpenSSL crypto/x509/x509_txt.c",
    "tls-own-certificate": "tls/tls_certkey.c",
    "soft-bounce": "global/bounce.c",
    "password-table-unreadable": "util/dict_surrogate.c",
    "table-syntax": "util/dict_regexp.c",
    "relayhost-bracket": "smtp/smtp_connect.c",
    "relayhost-url": "smtp/smtp_connect.c",
    "relayhost-transport": "smtp/smtp_connect.c",
    "relayhost-port-inside": "smtp/smtp_connect.c",
    "relayhost-quoted": "smtp/smtp_connect.c",
    "relayhost-comment": "smtp/smtp_connect.c",
    "relayhost-port-name": "smtp/smtp_connect.c",
    "relayhost-syntax": "smtp/smtp_connect.c",
    "transport-deferred": "qmgr/qmgr_message.c",
    "main-cf-syntax": "util/dict.c",
    "table-file-syntax": "util/dict.c",
    "bad-boolean": "global/mail_conf_bool.c",
    "bad-number": "global/mail_conf_int.c",
    "master-option-blanks": "master/single_server.c",
    "indented-line": "util/name_mask.c",
    "inet-protocols": "util/name_mask.c",
    "mailbox-limit": "local/local.c",
    "relay-restrictions-missing": "smtpd/smtpd_check.c",
    "restart-needed": "master/master_ent.c",
    "master-duplicate": "master/master_conf.c",
    "compatibility": "postfix/postfix.c",
    "chroot-copy-differs": "conf/postfix-script",
    "message-too-big": "global/cleanup_strerror.c",
    "postdrop-setgid": "conf/postfix-script",
    "maildrop-group": "conf/postfix-script",
    "postfix-twice": "conf/postfix-script",
}


class Rival(NamedTuple):
    """Lines of a cause.

    Attributes:
        symptom: identifier of the symptom that they show.
        cause: identifier of the candidate that is the cause.
        lines: the lines, as `daemon: text`, or `sasl-PLUGIN: text` for those of a SASL plug-in.
    """

    symptom: str
    cause: str
    lines: tuple[str, ...]


def rivals() -> Iterator[Rival]:
    """Yield the blocks of the corpus."""
    for block in (CORPUS / "rivals.txt").read_text().strip().split("\n\n"):
        header, *lines = block.splitlines()
        match = HEADER.fullmatch(header)
        assert match is not None, header
        yield Rival(match["symptom"], match["cause"], tuple(lines))


def incidents_of(rival: Rival) -> list[Incident]:
    """Return the incidents that the lines of a cause open."""
    tracker = IncidentTracker(RelayNames(), lambda: datetime(2026, 11, 24, 12, tzinfo=UTC))
    for second, line in enumerate(rival.lines):
        program, _, text = line.partition(": ")
        if program.startswith("sasl-"):
            tracker.observe_foreign(f"2026-11-24T11:00:{second:02}+00:00 mail {program}[88]: {text}")
            continue
        record, event = parse(f"2026-11-24T11:00:{second:02}+00:00 mail postfix/{program}[77]: {text}")
        assert record is not None, line
        assert event is not None, line
        tracker.observe(record, event)
    return [incident for incident in tracker.open if incident.symptom == rival.symptom]


RIVALS = list(rivals())
TRUTHS = truths()


def incidents() -> Iterator[tuple[Incident, str]]:
    """Yield each incident of the corpus with the cause of its log."""
    for log, truth in TRUTHS.items():
        found = read_logs([path_of(log)], RelayNames(), NOW)
        yield from ((incident, cause) for incident in (*found.open, *found.closed) for cause in truth)
    for rival in RIVALS:
        yield from ((incident, rival.cause) for incident in incidents_of(rival))


INCIDENTS = list(incidents())


def candidate_of(symptom: str, cause: str) -> Candidate | None:
    """Return a candidate of a symptom by its identifier."""
    return next((one for one in SYMPTOMS[symptom].candidates if one.id == cause), None)


def name_of(candidate: Candidate) -> str:
    """Return what makes two candidates of different symptoms the same cause."""
    words = (candidate.certain_by, candidate.refuted_by)
    return " ".join((candidate.id, *(regex.pattern for regex in words if regex)))


def own_lines(incident: Incident) -> list[str]:
    """Return the words of Postfix: the lines of an incident without the replies in them."""
    return [SERVER_REPLY.split(line, maxsplit=1)[0] for line in incident.evidence]


def shows(incident: Incident, candidate: Candidate) -> bool:
    """Whether the lines of an incident have the words that name a cause."""
    words = candidate.certain_by
    return words is not None and any(words.search(line) for line in own_lines(incident))


def witnesses() -> dict[str, Incident]:
    """Return an incident of each cause, with the words that name it if there are any."""
    found: dict[str, Incident] = {}
    for incident, cause in INCIDENTS:
        candidate = candidate_of(incident.symptom, cause)
        if candidate is not None and (name_of(candidate) not in found or shows(incident, candidate)):
            found[name_of(candidate)] = incident
    return found


WITNESSES = witnesses()


def is_certain_of(diagnosis: Diagnosis, candidate: Candidate) -> bool:
    """Whether a diagnosis is certain of a cause."""
    return diagnosis.certainty is Certainty.CERTAIN and diagnosis.causes[0].id == candidate.id


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: f"{rival.symptom}-{rival.cause}")
def test_cause_of_a_line_is_named_and_no_other_is_certain(rival: Rival) -> None:
    """The lines show the symptom, and its cause is among those named."""
    found = incidents_of(rival)

    assert found, "the lines show another symptom"
    for incident in found:
        diagnosis = diagnose(incident)
        assert rival.cause in {cause.id for cause in diagnosis.causes}, diagnosis
        assert diagnosis.certainty is not Certainty.CERTAIN or diagnosis.causes[0].id == rival.cause


@pytest.mark.parametrize("row", LOGGED, ids=lambda row: row.id)
def test_other_causes_of_a_certain_one_are_in_the_corpus(row: Symptom) -> None:
    """A cause that words make certain is tried against each other cause of its row."""
    if not any(one.certain_by for one in row.candidates) or len(row.candidates) == 1:
        return
    missing = [one.id for one in row.candidates if name_of(one) not in WITNESSES]

    assert missing == []


def test_a_cause_alone_in_its_row_names_the_printer_of_its_words() -> None:
    """A row is not certain for want of other causes: its words were looked for in all sources of Postfix."""
    alone = {
        row.id
        for row in LOGGED
        if len(row.candidates) == 1
        and row.candidates[0].certain_by
        and row.candidates[0].id not in OF_SERVERS
    }

    assert alone == set(SOLE_PRINTERS)


def mutations() -> Iterator[tuple[Incident, Candidate, Candidate]]:
    """Yield each incident that is certain of a cause, with that cause and each other one of its symptom."""
    for incident, _ in INCIDENTS:
        diagnosis = diagnose(incident)
        if diagnosis.certainty is not Certainty.CERTAIN:
            continue
        first = candidate_of(incident.symptom, diagnosis.causes[0].id)
        assert first is not None
        for other in SYMPTOMS[incident.symptom].candidates:
            if other is not first:
                yield incident, first, other


MUTATIONS = list(mutations())


@pytest.mark.parametrize(
    ("incident", "first", "other"),
    MUTATIONS,
    ids=[f"{incident.symptom}-{first.id}-{other.id}" for incident, first, other in MUTATIONS],
)
def test_evidence_of_another_cause_ends_certainty(
    incident: Incident, first: Candidate, other: Candidate
) -> None:
    """The line of the row, without the words of the first cause and with the evidence of another, is not certain of it."""
    assert first.certain_by is not None
    line = [first.certain_by.sub("something", text) for text in own_lines(incident)]
    evidence = own_lines(WITNESSES[name_of(other)])

    assert not is_certain_of(diagnose(replace(incident, evidence=[*line, *evidence])), first)
    assert not is_certain_of(diagnose(replace(incident, evidence=evidence)), first)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_finding_of_another_cause_ends_certainty(row: Symptom) -> None:
    """With a finding of lint for another cause, words make no cause of a row certain alone."""
    for incident, _ in INCIDENTS:
        if incident.symptom != row.id:
            continue
        for other in row.candidates:
            for rule in (*other.lint_decides, *other.lint_proves)[:1]:
                finding = Finding(rule, Severity.ERROR, "here", "wrong", "remedy", "why")
                diagnosis = diagnose(incident, findings=[finding])
                assert diagnosis.certainty is not Certainty.CERTAIN or diagnosis.causes[0].id == other.id


@pytest.mark.parametrize("row", LOGGED, ids=lambda row: row.id)
def test_words_that_make_a_cause_certain_are_printed_by_postfix(row: Symptom) -> None:
    """A line of the corpus has them outside of replies; words that only servers use make a cause likely at most."""
    known = [*(incident for incident, _ in INCIDENTS if incident.symptom == row.id), *WITNESSES.values()]
    unseen = {
        one.id
        for one in row.candidates
        if one.certain_by and not any(shows(incident, one) for incident in known)
    }

    assert unseen <= OF_SERVERS
