"""What speaks for and against the candidates of a symptom. Pure.

A finding of lint proves a candidate; silence of the rules that would have found it takes it out. So does a parameter that
nobody set, where the mail went, and what the relay itself offered when the agent last talked to it. Nothing is ever proved
by being likely. Where something could not be read, or was changed after the mail failed, its silence says nothing.
"""

import re
from collections.abc import Collection, Sequence

from postward.agent.incidents.model import Incident
from postward.agent.incidents.symptom import LOGIN_TABLE, Candidate, Offer
from postward.config.lint import Finding
from postward.config.lint.facts import HostFacts

# Tables that say where mail goes.
_BY_SENDER = ("sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps")
_ROUTES = (*_BY_SENDER, "transport_maps")
_SAME_MOMENT = 1.0  # seconds; stamps of the log have no more
_BRACKETS = re.compile(r"\[([^\]]+)\]")


class Known:
    """What is known where an incident goes on.

    Args:
        incident: the incident.
        facts: of its host.
        findings: what lint finds in them.
        signs: the symptoms of the other incidents that go on.
        offer: what the relay said when the agent last talked to it.
    """

    def __init__(
        self,
        incident: Incident,
        facts: HostFacts,
        findings: Sequence[Finding],
        signs: Collection[str],
        offer: Offer | None,
    ) -> None:
        self._incident = incident
        self._facts = facts
        self._by_rule: dict[str, list[Finding]] = {}
        for finding in findings:
            self._by_rule.setdefault(finding.id, []).append(finding)
        self._server = incident.server.get("HOST", "").lower()
        self._signs = signs
        self._offer = offer or Offer()
        changed_since = any(
            file.mtime > incident.last + _SAME_MOMENT
            for path, file in facts.files.items()
            if path.startswith(f"{facts.config_directory}/")
        )
        self._looked = bool(facts.defaults) and not facts.fault and not changed_since

    def finding(self, candidate: Candidate) -> Finding | None:
        """The finding that proves it."""
        return self._first((*candidate.proofs, *candidate.hints))

    def _first(self, rules: Collection[str]) -> Finding | None:
        found = (finding for rule in rules for finding in self._by_rule.get(rule, ()))
        return next((finding for finding in found if self._concerns(finding)), None)

    def _concerns(self, finding: Finding) -> bool:
        """Not if it names other next hops alone: with several relays, each has its own faults."""
        _, goes_to, next_hop = finding.what.partition("mail goes to ")
        named = {
            name.lower()
            for name in _BRACKETS.findall(next_hop if goes_to else f"{finding.where} {finding.what}")
        }
        return not named or not self._server or self._server in named

    def proves(self, candidate: Candidate) -> bool:
        """It is this."""
        return bool(
            self.finding(candidate)
            or any(sign in self._signs for sign in candidate.signs)
            or (candidate.proved_by is not None and candidate.proved_by(self._offer))
            or (candidate.host is not None and candidate.host(self._facts, self._incident.domains))
            or (candidate.elsewhere and self._goes_elsewhere() and self._is_named_in(candidate.needs))
        )

    def not_ruled_out(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Those that nothing speaks against; all of them, if something speaks against each."""
        left = tuple(
            candidate
            for candidate in candidates
            if not (self._lint_knows_better(candidate) or self._is_refuted(candidate))
        )
        return left or candidates

    def _lint_knows_better(self, candidate: Candidate) -> bool:
        """Lint could have known, and did not speak."""
        rules = (*candidate.proofs, *candidate.only_if)
        if not rules or self._first(rules) or not self._looked or self._facts.unread:
            return False
        read = ("smtp_sasl_password_maps",) if candidate.parameter == LOGIN_TABLE else _ROUTES
        return all(self._was_read(name) for name in read)

    def _is_refuted(self, candidate: Candidate) -> bool:
        facts = self._facts
        overrides = {key.rpartition("/")[2] for key in facts.master.overrides}
        unset = candidate.needs and not any(
            name in facts.explicit or name in overrides for name in candidate.needs
        )
        return bool(
            (unset and self._looked)
            or (candidate.refuted_by is not None and candidate.refuted_by(self._offer))
            or (
                self._looked
                and candidate.host is not None
                and candidate.host(facts, self._incident.domains) is False
            )
            or (candidate.elsewhere and self._goes_elsewhere() is False)
        )

    def _was_read(self, parameter: str) -> bool:
        """Lint reads tables that are files; another kind (inline, ldap) it cannot judge."""
        tables = list(self._facts.table_of(parameter))
        return len(tables) == len(self._facts.words(parameter)) and all(
            table.entries is not None for table in tables
        )

    def _goes_elsewhere(self) -> bool | None:
        """The mail went to a host that is no relay of the configuration now; None if nobody can tell."""
        if self._incident.relay not in {"other", "none"}:
            return False
        hops = [route.next_hop for route in self._facts.relay_routes]
        names = [match[1].lower() for hop in hops if (match := _BRACKETS.match(hop))]
        unknown = not hops or len(names) < len(hops) or not all(self._was_read(name) for name in _BY_SENDER)
        if unknown or not self._looked:
            return None
        return self._incident.place.rpartition(":")[0].lower() not in names

    def _is_named_in(self, parameters: Collection[str]) -> bool:
        """Where it went stands in one of these parameters, or in a table of theirs."""
        host = self._incident.place.rpartition(":")[0].lower()
        texts = [self._facts.expanded.get(name, "") for name in parameters]
        for name in parameters:
            texts += [
                entry.value or "" for table in self._facts.table_of(name) for entry in table.entries or ()
            ]
        here = re.compile(rf"(?<![\w.-]){re.escape(host)}(?![\w.-])")
        return bool(host) and any(here.search(text.lower()) for text in texts)
