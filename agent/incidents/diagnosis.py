"""An incident and what is known about the host → why, which setting is to blame, and the remedy. Pure.

Words of Postfix and facts of the host confirm candidates of the symptom or rule them out (`HostEvidence`). One
confirmed candidate is certain, one remaining candidate is likely, everything else is ambiguous and says what to check.
No candidate is confirmed for being probable or for being alone in its row. A fact that could not be read, or that
changed after the mail failed, neither confirms nor rules out. A remedy that could do harm is shown only under a
certain cause.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from postward.agent.incidents.catalog.symptom import LOGIN_TABLE, Candidate, Changes, Offer, Symptom
from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.agent.incidents.evidence import own_line
from postward.agent.incidents.model import CauseRow, Certainty, Incident, IncidentRow, is_safe_name
from postward.agent.incidents.remedies import fill_in, fill_in_names, fill_in_server
from postward.agent.senders.share import Users, share_row
from postward.config.lint import lint
from postward.config.lint.facts import HostFacts
from postward.config.lint.finding import Finding
from postward.config.resources import OWN_SERVICE
from postward.config.settings import Settings
from postward.parsers.scrub import SERVER_REPLY, mask_addresses

# Tables that route mail.
_BY_SENDER: Final = ("sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps")
_ROUTES: Final = (*_BY_SENDER, "transport_maps")
_STAMP_RESOLUTION: Final = 1.0  # seconds
_SAFE_VALUE: Final = re.compile(r"[A-Za-z0-9_.:/@+,\- ]{1,200}")
# The harm that a remedy of this kind can do.
_HARM: Final[Mapping[Changes, str]] = {
    Changes.OPENS: "lets more clients use this host",
    Changes.LOWERS: "checks less than before",
    Changes.STRANDS: "can leave mail behind",
}
_THE_RELAY: Final = re.compile(r"\bthe relay\b(?!\.\w)")
_RECIPIENTS_SERVER: Final = "the recipient's mail server"
# Names of the servers that large domains name in MX records.
_MX_NAME: Final = re.compile(
    r"(?:^|[.-])(?:mx[a-z]{0,2}\d*|aspmx\d*|smtp-in|inbound)(?=[.-])|\.mail\.protection\.outlook\.com$",
    re.IGNORECASE,
)
# Commands that read the settings file.
_COMMAND: Final = re.compile(r"\bpostward (?:apply|plan|check|rollback|probe|login)\b")
DRIFT: Final = "drift"  # id of the cause
_DRIFTS: Final = frozenset({"config-drift", "config-conflict"})
# Names of drift by which mail takes another way, another login or other TLS: parameters, tables, services, main.cf.
_IS_ROUTE: Final = re.compile(r"^relayhost|transport|_maps$|sender_relay|fallback|^postward-|^main\.cf$")
_IS_OF_RELAY: Final = re.compile(
    rf"{_IS_ROUTE.pattern}|sasl|smtp_(?!tls_loglevel)|tls_policy|inet_(?:interfaces|protocols)|^myhostname$"
)
_BRACKETS: Final = re.compile(r"\[([^\]]+)\]")


@dataclass(frozen=True, slots=True)
class Explanation:
    """One possible cause as text for this host; attributes as in `CauseRow`."""

    id: str
    what: str
    setting: str
    parameter: str
    remedy: str
    check: str = ""
    where: str = ""

    def to_dict(self) -> CauseRow:
        """Return the explanation as JSON values."""
        return {
            "id": self.id,
            "what": self.what,
            "setting": self.setting,
            "parameter": self.parameter,
            "remedy": self.remedy,
            "check": self.check,
            "where": self.where,
        }


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why: one cause, or several that the facts cannot separate."""

    certainty: Certainty
    title: str
    causes: tuple[Explanation, ...]


def diagnose(
    incident: Incident,
    facts: HostFacts | None = None,
    findings: Sequence[Finding] = (),
    open_symptoms: Collection[str] = (),
    offer: Offer | None = None,
    drift: Sequence[str] = (),
) -> Diagnosis:
    """Return the diagnosis of an incident.

    Args:
        incident: the incident.
        facts: facts about this host; None if the log is from another host, or the facts were not read.
        findings: the findings of lint in these facts.
        open_symptoms: symptoms of the other open incidents.
        offer: what the relay offered in the agent's last conversation; None if there was none.
        drift: names in which Postfix's configuration differs from the settings. All other causes are judged by the
            settings, so mail that fails meanwhile is explained by the drift alone.
    """
    symptom = SYMPTOMS[incident.symptom]
    facts = facts or HostFacts()
    if incident.cause is not None and (differing := [name for name in drift if _IS_OF_RELAY.search(name)]):
        return _by_drift(symptom, incident, facts, differing)
    evidence = HostEvidence(incident, facts, findings, open_symptoms, offer)
    confirmed = [candidate for candidate in symptom.candidates if evidence.confirms(candidate)]
    suggested = [candidate for candidate in symptom.candidates if evidence.suggests(candidate)]
    causes = confirmed or suggested or evidence.without_ruled_out(symptom.candidates)
    alone = Certainty.CERTAIN if confirmed else Certainty.LIKELY
    is_known = len(causes) == 1 and not causes[0].is_unknown
    certainty = alone if is_known else Certainty.AMBIGUOUS
    if certainty is not Certainty.CERTAIN:
        causes = sorted(causes, key=lambda candidate: candidate.changes.is_harmful)
    texts = _Texts(symptom, incident, facts, is_certain=certainty is Certainty.CERTAIN)
    return Diagnosis(
        certainty,
        texts.title,
        tuple(
            texts.explain(candidate, evidence.finding(candidate) if confirmed else None)
            for candidate in causes
        ),
    )


def _by_drift(symptom: Symptom, incident: Incident, facts: HostFacts, names: Sequence[str]) -> Diagnosis:
    """Return the diagnosis of mail that fails while the relay's configuration differs from the settings.

    It is certain if the next hop differs and the mail went to a host that is not a relay of the settings.
    """
    is_certain = incident.relay == "other" and any(_IS_ROUTE.search(name) for name in names)
    cause = Explanation(
        DRIFT,
        f"Postfix's configuration differs from the settings: {', '.join(names)}",
        "nothing in the settings",
        f"{facts.config_directory}: {', '.join(names)}",
        "postward apply",
        "" if is_certain else "does it last after postward apply? Then postward why shows its own causes",
    )
    title = _Texts(symptom, incident, facts, is_certain=is_certain).title
    return Diagnosis(Certainty.CERTAIN if is_certain else Certainty.LIKELY, title, (cause,))


def visible_drift(settings: Settings, facts: HostFacts) -> tuple[str, ...]:
    """Return "relayhost" if it names another relay than the settings, which everybody can see without the enforcer.

    Where mail takes a service of Postward's, relayhost is the admin's.
    """
    relayhost = facts.expanded.get("relayhost", "")
    if not relayhost or facts.expanded.get("default_transport", "").startswith(OWN_SERVICE):
        return ()
    return () if relayhost.lower() in {relay.next_hop.lower() for relay in settings.relay} else ("relayhost",)


def drift_first(rows: Sequence[IncidentRow]) -> list[IncidentRow]:
    """Return incidents with the open drift before the mail that fails because of it."""
    if not any(cause["id"] == DRIFT and row["cause"] for row in rows for cause in row["causes"]):
        return list(rows)
    return sorted(rows, key=lambda row: row["closed"] is not None or row["symptom"] not in _DRIFTS)


def proofs_of(settings: Settings | None, facts: HostFacts, source: str = "") -> list[Finding]:
    """Return the findings of lint on a host where something is wrong, as input for `diagnose`.

    Lint skips what Postward manages; here that can be the fault, so nothing is skipped. Findings about managed
    parameters have no remedy of their own: the remedy of the catalogue names `postward apply`.
    """
    usual = {finding.id: finding for finding in lint(settings, facts, source)}
    everything = lint(settings, replace(facts, managed=frozenset()), source)
    return [usual.get(finding.id) or replace(finding, remedy="") for finding in everything]


def for_settings_file(row: IncidentRow, settings_file: Path) -> IncidentRow:
    """Return an incident whose remedies name the settings file of its instance, which is not the main one."""

    def named(text: str) -> str:
        return _COMMAND.sub(rf"\g<0> --config {settings_file}", text)

    causes: list[CauseRow] = [
        {**cause, "remedy": named(cause["remedy"]), "check": named(cause["check"])} for cause in row["causes"]
    ]
    return {**row, "causes": causes}


def to_dict(
    incident: Incident,
    diagnosis: Diagnosis,
    *,
    addresses: bool = False,
    host: str = "",
    users: Users = lambda _: None,
) -> IncidentRow:
    """Return an incident with its diagnosis as JSON values.

    Args:
        incident: the incident.
        diagnosis: its diagnosis.
        addresses: leave mail addresses unmasked.
        host: the host whose log shows it, in a log of several hosts.
        users: returns the name of a uid of the host; by default none is known, as for the log of another host.
    """
    share = incident.share if addresses or incident.share is None else incident.share.masked()
    mask: Callable[[str], str] = str if addresses else mask_addresses
    return {
        "host": host,
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
        "causes": [cause.to_dict() for cause in diagnosis.causes],
        "evidence": [mask(line) for line in incident.evidence],
        "sender": None if share is None else share_row(share, users),
    }


def condition_row(symptom: str, problem: str, now: float = 0.0) -> IncidentRow:
    """Return the incident of a condition that no agent reports."""
    incident = Incident(
        symptom, "postfix", "this host", "none", "", None, SYMPTOMS[symptom].effect, now, now, 1
    )
    incident.evidence = [problem]
    return to_dict(incident, diagnose(incident))


class _Texts:
    """The texts of causes for one incident on one host."""

    def __init__(self, symptom: Symptom, incident: Incident, facts: HostFacts, *, is_certain: bool) -> None:
        self._symptom = symptom
        self._facts = facts
        self._is_certain = is_certain
        self._relay = _relay_as_text(incident, facts)
        self._server = _placeholders(incident)
        self._names = names_in(symptom, [own_line(line) for line in incident.evidence])
        self._password_file = facts.password_files.get(incident.relay, "relay.password_file")

    @property
    def title(self) -> str:
        """The headline."""
        return self._plain(self._symptom.title)

    def explain(self, candidate: Candidate, finding: Finding | None) -> Explanation:
        """Return a candidate as text; a finding of lint confirms it and has the better remedy."""
        remedy, check, where = self._fill(candidate.remedy), self._fill(candidate.check), ""
        if finding is not None:
            remedy, check, where = finding.remedy or remedy, "", f"{finding.where} {finding.what}"
        elif candidate.changes.is_harmful and not self._is_certain:
            remedy = f"none before the check: the change {_HARM[candidate.changes]}"
        return Explanation(
            candidate.id,
            self._plain(candidate.what),
            self._plain(candidate.setting),
            self._plain(candidate.parameter),
            remedy,
            check,
            where,
        )

    def _fill(self, text: str) -> str:
        text = text.replace("{password_file}", self._password_file)
        return fill_in_server(fill_in(self._plain(text), self._facts), self._server)

    def _plain(self, text: str) -> str:
        text = fill_in_names(text, self._names)
        return _THE_RELAY.sub(self._relay, text) if self._relay else text


def names_in(symptom: Symptom, lines: Sequence[str]) -> dict[str, str]:
    """Return what the lines name: the groups of the symptom's pattern that are safe in a shell command."""
    names: dict[str, str] = {}
    for match in (regex.search(line) for line in lines for regex in symptom.names):
        for name, value in match.groupdict().items() if match else ():
            if value and _SAFE_VALUE.fullmatch(value):
                names.setdefault(name, value)
    return names


def _relay_as_text(incident: Incident, facts: HostFacts) -> str:
    """Return the words for a server that is not a relay of the settings; "" for a relay.

    It is the recipient's own if this host has no relayhost, or if its name is that of an MX or in the recipient's domain.
    Any other server on port 25 can be a relay of main.cf that was not read.
    """
    server = incident.server
    if server is None or server.port != "25" or incident.relay not in {"other", "none"}:
        return ""
    if facts.defaults:
        return "" if facts.expanded.get("relayhost") else _RECIPIENTS_SERVER
    is_in_domain = any(f".{server.host.lower()}".endswith(f".{domain}") for domain in incident.domains)
    return _RECIPIENTS_SERVER if is_in_domain or _MX_NAME.search(server.host) else "the server"


def _placeholders(incident: Incident) -> dict[str, str]:
    """Return HOST, ADDRESS and PORT of the server and the DOMAIN of the mail, if known and safe in a shell command."""
    names: dict[str, str] = {}
    if server := incident.server:
        names = {"HOST": server.host, "ADDRESS": server.address, "PORT": server.port}
    if len(incident.domains) == 1 and is_safe_name(incident.domains[0]):
        names["DOMAIN"] = incident.domains[0]
    return {name: value for name, value in names.items() if value}


class HostEvidence:
    """The facts known about the host of an incident. Arguments as in `diagnose`."""

    def __init__(
        self,
        incident: Incident,
        facts: HostFacts,
        findings: Sequence[Finding],
        open_symptoms: Collection[str],
        offer: Offer | None,
    ) -> None:
        self._incident = incident
        self._facts = facts
        self._by_rule: dict[str, list[Finding]] = {}
        for finding in findings:
            self._by_rule.setdefault(finding.id, []).append(finding)
        self._lines = [own_line(line) for line in incident.evidence]
        self._own_lines = [SERVER_REPLY.split(line, maxsplit=1)[0] for line in self._lines]
        self._server = incident.server.host.lower() if incident.server else ""
        self._open_symptoms = open_symptoms
        self._offer = offer or Offer()
        changed_since = any(
            file.mtime > incident.last + _STAMP_RESOLUTION
            for path, file in facts.files.items()
            if path.startswith(f"{facts.config_directory}/")
        )
        # Whether the facts are those of the moment when the mail failed.
        self._is_valid = bool(facts.defaults) and not facts.fault and not changed_since

    def finding(self, candidate: Candidate) -> Finding | None:
        """Return the finding of lint that confirms a candidate."""
        return self._first((*candidate.lint_decides, *candidate.lint_proves))

    def confirms(self, candidate: Candidate) -> bool:
        """Whether words of Postfix or a fact confirm a candidate."""
        return bool(
            self._names(candidate, self._own_lines)
            or self.finding(candidate)
            or any(symptom in self._open_symptoms for symptom in candidate.proving_symptoms)
            or (candidate.offer_proves is not None and candidate.offer_proves(self._offer))
            or (
                candidate.host_check is not None and candidate.host_check(self._facts, self._incident.domains)
            )
            or (
                candidate.goes_elsewhere
                and self._goes_elsewhere()
                and self._is_named_in(candidate.required_parameters)
            )
        )

    def suggests(self, candidate: Candidate) -> bool:
        """Whether the words of a server name a candidate. They prove nothing: a stranger writes them."""
        return self._names(candidate, self._lines)

    def without_ruled_out(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return the candidates that no fact rules out; all of them if every one is ruled out."""
        remaining = [
            candidate
            for candidate in candidates
            if not (
                self._says(candidate.refuted_by, self._lines)
                or self._lint_rules_out(candidate)
                or self._facts_rule_out(candidate)
            )
        ]
        return remaining or candidates

    def _names(self, candidate: Candidate, lines: list[str]) -> bool:
        """Whether lines have words that name a candidate, and none that rule it out."""
        return self._says(candidate.certain_by, lines) and not self._says(candidate.refuted_by, lines)

    @staticmethod
    def _says(words: re.Pattern[str] | None, lines: Sequence[str]) -> bool:
        return words is not None and any(words.search(line) for line in lines)

    def _first(self, rules: Collection[str]) -> Finding | None:
        findings = (finding for rule in rules for finding in self._by_rule.get(rule, ()))
        return next((finding for finding in findings if self._concerns(finding)), None)

    def _concerns(self, finding: Finding) -> bool:
        """Whether a finding is not about other next hops only: each of several relays has its own faults."""
        return not finding.next_hops or not self._server or self._server in finding.next_hops

    def _lint_rules_out(self, candidate: Candidate) -> bool:
        """Whether lint had everything to find this cause, and did not."""
        rules = (*candidate.lint_decides, *candidate.lint_required)
        if not rules or self._first(rules) or not self._is_valid or self._facts.unknown:
            return False
        tables = ("smtp_sasl_password_maps",) if candidate.parameter == LOGIN_TABLE else _ROUTES
        return all(self._was_read(name) for name in tables)

    def _facts_rule_out(self, candidate: Candidate) -> bool:
        facts, required = self._facts, candidate.required_parameters
        overrides = {key.rpartition("/")[2] for key in facts.master.overrides}
        unset = required and not any(name in facts.explicit or name in overrides for name in required)
        return bool(
            (unset and self._is_valid)
            or (candidate.offer_refutes is not None and candidate.offer_refutes(self._offer))
            or (
                self._is_valid
                and candidate.host_check is not None
                and candidate.host_check(facts, self._incident.domains) is False
            )
            or (candidate.goes_elsewhere and self._goes_elsewhere() is False)
        )

    def _was_read(self, parameter: str) -> bool:
        """Whether all tables of a parameter were read: lint reads files, but not inline or ldap tables."""
        tables = list(self._facts.table_of(parameter))
        return len(tables) == len(self._facts.words(parameter)) and all(
            table.entries is not None or self._facts.vouches_for(table) for table in tables
        )

    def _goes_elsewhere(self) -> bool | None:
        """Whether the mail went to a host that is not a relay of the configuration; None if that is not known."""
        if self._incident.relay not in {"other", "none"}:
            return False
        hops = [route.next_hop for route in self._facts.relay_routes]
        names = [match[1].lower() for hop in hops if (match := _BRACKETS.match(hop))]
        unknown = not hops or len(names) < len(hops) or not all(self._was_read(name) for name in _BY_SENDER)
        if unknown or not self._is_valid:
            return None
        return self._incident_host() not in names

    def _is_named_in(self, parameters: Collection[str]) -> bool:
        """Whether one of these parameters, or one of their tables, names the host that the mail went to."""
        host = self._incident_host()
        texts = [self._facts.expanded.get(name, "") for name in parameters]
        for name in parameters:
            texts += [
                entry.value or "" for table in self._facts.table_of(name) for entry in table.entries or ()
            ]
        whole_name = re.compile(rf"(?<![\w.-]){re.escape(host)}(?![\w.-])")
        return bool(host) and any(whole_name.search(text.lower()) for text in texts)

    def _incident_host(self) -> str:
        return self._incident.place.rpartition(":")[0].lower()
