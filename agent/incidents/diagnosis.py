"""An incident and what is known of the host → why, which setting, and what mends it. Pure.

What is known speaks for and against the candidates of the symptom (`weighing.py`). What is proved alone is certain, what is
left alone is likely, and everything else is told as ambiguous, with what to look at.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.agent.incidents.model import Incident
from postward.agent.incidents.symptom import Candidate, Certainty, Offer
from postward.agent.incidents.weighing import Known
from postward.config.lint import lint, remedies
from postward.config.lint.facts import HostFacts
from postward.config.lint.finding import Finding
from postward.config.settings import Settings
from postward.parsers.scrub import mask_addresses

# Not in [HOST]:PORT, where the next hop is what was to be written, and not what was.
_NAME = re.compile(r"(?<![\w\[])(?<!\]:)(?:HOST|ADDRESS|PORT|DOMAIN)(?![\w\]])")
_PLACEHOLDER = re.compile(r"\{(\w+)(?: ([^{}]+))?\}")


@dataclass(frozen=True, slots=True)
class Explanation:
    """One possible cause, in words for this host.

    Attributes:
        id: of the catalogue.
        what: the cause.
        setting: the setting responsible, in the words of the settings file.
        parameter: what Postfix calls it.
        remedy: the command or edit.
        look: what to look at to be sure; "" where nothing is left to look at.
        where: the place on this host, if lint found it.
    """

    id: str
    what: str
    setting: str
    parameter: str
    remedy: str
    check: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why: one cause, or several of which the facts do not tell which."""

    certainty: Certainty
    title: str
    causes: tuple[Explanation, ...]


def diagnose(
    incident: Incident,
    facts: HostFacts | None = None,
    findings: Sequence[Finding] = (),
    signs: Collection[str] = (),
    offer: Offer | None = None,
) -> Diagnosis:
    """What an incident comes of.

    Args:
        incident: the incident.
        facts: of this host; None if the log is another host's, or nobody looked.
        findings: what lint finds in them.
        signs: the symptoms of the other incidents that go on.
        offer: what the relay said when the agent last talked to it; None if it did not.
    """
    symptom = SYMPTOMS[incident.symptom]
    facts = facts or HostFacts()
    known = Known(incident, facts, findings, signs, offer)
    proved = [
        (candidate, known.finding(candidate)) for candidate in symptom.candidates if known.proves(candidate)
    ]
    if proved:
        causes = tuple(_explained(candidate, facts, finding, incident) for candidate, finding in proved)
        return Diagnosis(
            Certainty.CERTAIN if len(causes) == 1 else Certainty.AMBIGUOUS, symptom.title, causes
        )
    left = known.not_ruled_out(symptom.candidates)
    causes = tuple(_explained(candidate, facts, None, incident) for candidate in left)
    if len(symptom.candidates) == 1:
        return Diagnosis(symptom.certainty, symptom.title, causes)
    if len(left) == 1 and len(left) < len(symptom.candidates):
        return Diagnosis(Certainty.LIKELY, symptom.title, causes)
    return Diagnosis(Certainty.AMBIGUOUS, symptom.title, causes)


def proofs_of(settings: Settings | None, facts: HostFacts, source: str = "") -> list[Finding]:
    """What lint finds on a host where something is wrong, to be weighed by `diagnose`.

    Lint passes over what Postward itself keeps right; here that may be what is wrong, so nothing is passed over. Its remedy
    is then that of the catalogue, which knows `postward apply`.
    """
    usual = {finding.id: finding for finding in lint(settings, facts, source)}
    everything = lint(settings, replace(facts, managed=frozenset()), source)
    return [usual.get(finding.id) or replace(finding, remedy="") for finding in everything]


def _explained(
    candidate: Candidate, facts: HostFacts, finding: Finding | None, incident: Incident
) -> Explanation:
    names = incident.server
    explanation = Explanation(
        candidate.id,
        candidate.what,
        candidate.setting,
        candidate.parameter,
        _with_names(filled(candidate.remedy, facts), names),
        _with_names(candidate.check, names),
    )
    if finding is None:
        return explanation
    return replace(
        explanation,
        remedy=finding.remedy or explanation.remedy,
        check="",
        where=f"{finding.where} {finding.what}",
    )


def _with_names(text: str, names: Mapping[str, str]) -> str:
    return _NAME.sub(lambda match: names.get(match[0], match[0]), text)


def filled(text: str, facts: HostFacts) -> str:
    """A remedy of the catalogue with its placeholders filled in for this host."""
    while _PLACEHOLDER.search(text):
        text = _PLACEHOLDER.sub(lambda match: _FILL[match[1]](facts, match[2] or ""), text)
    return text


def _set(facts: HostFacts, text: str) -> str:
    names = [tuple(item.split("=", 1)) for item in text.split("|")]
    return remedies.assign(facts, *((name, value) for name, value in names))


def _postmap(facts: HostFacts, parameter: str) -> str:
    tables = list(facts.table_of(parameter))
    if tables and not any(table.reference.index_path for table in tables):
        return remedies.postfix(facts, "reload")  # Postfix reads their text
    if tables:
        return " && ".join(remedies.postmap(facts, table) for table in tables)
    if parameter == "alias_maps":
        return "newaliases"
    return f"postmap the table of {parameter}" if parameter != "smtp_sasl_password_maps" else (
        "postmap hash:/etc/postfix/sasl_passwd (the table of smtp_sasl_password_maps)"
    )  # fmt: skip


def _anew(facts: HostFacts, parameter: str) -> str:
    """postmap(1) opens an index that is there, and fails if it is damaged."""
    indexes = [table.reference.index_path for table in facts.table_of(parameter)]
    if not all(indexes) or not indexes:
        return f"delete the index, then {_postmap(facts, parameter)}"
    return f"rm -f {' '.join(map(str, indexes))} && {_postmap(facts, parameter)}"


def _rebuilt(facts: HostFacts, parameter: str) -> str:
    """For daemons that go on with a table that they could not open: trivial-rewrite(8) lives long."""
    build, reload = _postmap(facts, parameter), remedies.postfix(facts, "reload")
    if build == reload:
        return reload
    return f"{build} && {reload}" if facts.tables else f"{build}, then {reload}"


def _of_instance(facts: HostFacts, command: str) -> str:
    """A command of Postfix's for this instance."""
    program, _, rest = command.partition(" ")
    option = "" if facts.config_directory == "/etc/postfix" else f"-c {facts.config_directory} "
    return f"{program} {option}{rest}"


def _folder(facts: HostFacts, name: str) -> str:
    return facts.expanded.get(name) or f'"$({_of_instance(facts, "postconf -hx")} {name})"'


def _managed(facts: HostFacts, managed: str, otherwise: str) -> str:
    return managed if facts.managed else otherwise


# Placeholder → what holds on this host.
_FILL: dict[str, Callable[[HostFacts, str], str]] = {
    "set": _set,
    "remove": lambda facts, name: remedies.remove(facts, name),
    "postmap": _postmap,
    "anew": lambda facts, name: _anew(facts, name),
    "rebuild": lambda facts, name: _rebuilt(facts, name),
    "reload": lambda facts, _: remedies.postfix(facts, "reload"),
    "restart": lambda facts, _: remedies.restart(facts),
    "ca_file": lambda facts, _: remedies.ca_file(facts),
    "install_sasl": lambda facts, _: remedies.install(facts, "sasl"),
    "install_map": lambda facts, _: remedies.install(facts, "map", type="lmdb"),
    "apply": lambda facts, _: _managed(
        facts, "postward apply", "postward apply (or edit main.cf and postfix reload)"
    ),
    "apply_login": lambda facts, _: _managed(
        facts, "postward apply", "postward apply (or edit the password table, postmap it and {flush})"
    ),
    "set_login": lambda facts, _: _managed(
        facts,
        "postward apply",
        "write relay.host, relay.username and relay.password_file, then postward apply",
    ),
    "flush": lambda facts, _: _of_instance(facts, "postqueue -f"),
    "permissions": lambda facts, _: remedies.postfix(facts, "set-permissions"),
    "newaliases": lambda facts, _: _postmap(facts, "alias_maps"),
    "queue": lambda facts, _: _folder(facts, "queue_directory"),
    "data": lambda facts, _: _folder(facts, "data_directory"),
    "hold": lambda facts, _: (
        f"{_set(facts, 'defer_transports=smtp')} keeps mail meanwhile instead of losing it"
    ),
}


def to_dict(incident: Incident, diagnosis: Diagnosis, *, addresses: bool = False) -> dict[str, Any]:
    """An incident with its diagnosis as it goes into JSON, to web hooks and to the status page.

    Args:
        incident: the incident.
        diagnosis: its diagnosis.
        addresses: also show mail addresses.
    """
    show = (lambda text: text) if addresses else mask_addresses
    return {
        "symptom": incident.symptom,
        "title": diagnosis.title,
        "effect": incident.worst.value,
        "relay": incident.relay,
        "place": incident.place,
        "postfix_instance": incident.instance,
        "daemon": incident.daemon,
        "cause": incident.cause,
        "first": incident.first,
        "last": incident.last,
        "closed": incident.closed,
        "closed_by": incident.closed_by,
        "attempts": incident.attempts,
        "mails": len(incident.mails),
        "lost": incident.lost,
        "certainty": diagnosis.certainty.value,
        "causes": [asdict(cause) for cause in diagnosis.causes],
        "evidence": [show(line) for line in incident.evidence],
    }
