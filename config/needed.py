"""Drift without the changes that change no mail.

Pure. An admin can say in other ways what Postward would write: in a table of another name, by `[host]` for `[host]:25`,
by a policy for a next hop. Where the relays get their mail, TLS and logins as the settings say, the admin's way stays.

Promise: a change is left out only if each mail of the settings takes the same way without it, with the same TLS level
and login. No other mail takes a way that neither configuration has. Where a way is unknown, nothing is
left out. A parameter that refers to Postward's own tables or services is never left out.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from postward.config.drift import ActualState, Drift, Kind
from postward.config.effective import mails_of
from postward.config.relay import Relay
from postward.config.resources import HEADER, OWN_SERVICE
from postward.config.routing import INTERNAL, Configuration, Hop, Route, Tables, routes
from postward.config.routing.configuration import REWRITE
from postward.config.routing.samples import ELSEWHERE, samples
from postward.config.routing.tables import Keyed
from postward.config.settings import Settings
from postward.config.tls_level import keeps
from postward.parsers.postconf import split_list

_CLEAR, _ENCRYPTED = "smtp_sasl_security_options", "smtp_sasl_tls_security_options"
_POLICIES = "smtp_tls_policy_maps"
# The parameters whose effect on mail `routes` and `_forbids_passwords` know.
_ROUTING = frozenset(
    {
        "default_transport",
        "relayhost",
        "sender_dependent_default_transport_maps",
        "sender_dependent_relayhost_maps",
        "smtp_fallback_relay",
        "smtp_sasl_auth_enable",
        "smtp_sasl_password_maps",
        "smtp_sender_dependent_authentication",
        _POLICIES,
        "smtp_tls_security_level",
        "smtp_tls_wrappermode",
        "transport_maps",
    }
)
_OPTIONS = frozenset({_CLEAR, _ENCRYPTED})
_Way = tuple[object, ...]


def needed(
    drifts: Iterable[Drift],
    settings: Settings,
    actual: ActualState,
    before: Configuration,
    after: Configuration,
    own: Collection[str],
    directory: str,
) -> list[Drift]:
    """Return the drift without the changes that change no mail.

    Args:
        drifts: all drift between desired and actual state.
        settings: the settings.
        actual: the actual state.
        before: the configuration in force.
        after: the configuration with all changes made. Its passwords have the same marks as those of `before`.
        own: tables of Postward's, as in "hash:/etc/postfix/sasl_passwd".
        directory: where Postward's tables are.
    """
    every = list(drifts)
    trial = _Trial(settings, before, after, {_reference(drift, directory) for drift in every})
    droppable = [
        drift
        for drift in every
        if may_be_needless(drift, settings, actual)
        and not _refers_to_own(before.values.get(drift.name, ""), own)
    ]
    dropped = droppable if trial.succeeds([drift for drift in every if drift not in droppable]) else []
    for drift in droppable if not dropped else ():
        if trial.succeeds([other for other in every if other not in (*dropped, drift)]):
            dropped.append(drift)
    kept = {drift.table.name for drift in every if drift.table and drift not in dropped}
    left = [drift for drift in every if drift not in dropped or (drift.table and drift.table.name in kept)]
    return list(_used(left, trial.configuration(left), directory))


def without_dropped(actual: ActualState, drifts: Iterable[Drift], left: Collection[Drift]) -> ActualState:
    """Return the actual state with the values that the remaining drift leaves, for its consequences."""
    dropped = {drift.name for drift in drifts if drift not in left}
    kept = {name: actual.expanded[name] for name in dropped if name in actual.expanded}
    exposed = () if "smtp_sasl_password_maps" in dropped else actual.exposed
    return replace(actual, expanded_desired={**actual.expanded_desired, **kept}, exposed=exposed)


def may_be_needless(drift: Drift, settings: Settings, actual: ActualState) -> bool:
    """Return True for drift of which the routes of mail can say that it does not matter."""
    further = settings.relay[1:]
    if any(map(_has_own_way, settings.relay)) or not all(relay.has_known_server for relay in further):
        # The routes do not say by which name and address smtp(8) connects, or how the log names it.
        return False
    compared = any(relay.fingerprints or relay.verify_names for relay in settings.relay)
    if compared and (drift.name == _POLICIES or (drift.table and drift.table.name.endswith("tls_policy"))):
        return False  # the routes do not say with what a certificate is compared
    if drift.kind is Kind.PARAMETER:
        tokens = any(relay.oauth2 for relay in settings.relay)
        return drift.name in _ROUTING or (drift.name in _OPTIONS and not tokens)
    if drift.kind in {Kind.TABLE, Kind.INDEX} and drift.table:
        text = actual.tables[drift.table.name].text
        return text is not None and not text.startswith(HEADER)
    return False


def _has_own_way(relay: Relay) -> bool:
    """Return True for a relay with keys of its service that the routes do not describe."""
    own = (relay.own_service, relay.helo_name, relay.bind_address, relay.max_connections)
    return any(own)


def _refers_to_own(value: str, own: Collection[str]) -> bool:
    return any(item in own or item.startswith(OWN_SERVICE) for item in split_list(value))


def _used(drifts: list[Drift], in_force: Configuration, directory: str) -> Iterator[Drift]:
    """Yield the drift without the services and tables to which the configuration does not refer."""
    items = [item for value in in_force.values.values() for item in split_list(value)]
    tables = [in_force.tables.contents.get(item) for item in items]
    values = [value for table in tables if isinstance(table, Keyed) for value in table.entries.values()]
    transports = {item.partition(":")[0] for item in (*items, *values)}
    unused = {drift.name for drift in drifts if drift.kind is Kind.SERVICE and drift.name not in transports}
    for key, value in in_force.master.overrides.items():
        if key.partition("/")[0] not in unused:
            items += split_list(value)
    for drift in drifts:
        if (reference := _reference(drift, directory)) and reference not in items:
            continue
        if drift.kind is not Kind.SERVICE or drift.name not in unused:
            yield drift


def _reference(drift: Drift, directory: str) -> str:
    """Return the reference to the table of a drift, as in "hash:/etc/postfix/sasl_passwd"; "" without one."""
    return f"{drift.table.type}:{directory}/{drift.table.name}" if drift.table else ""


class _Trial:
    """Tries configurations between two others."""

    def __init__(
        self, settings: Settings, before: Configuration, after: Configuration, desired: Collection[str]
    ) -> None:
        self._settings = settings
        self._before = before
        self._after = after
        self._desired = desired  # references to the tables that are written
        relayed = list(_mails(settings, before))
        self._wanted = {mail: self._way(mail, after) for mail in relayed}
        others = (mail for config in (before, after) for mail in samples(config))
        self._either = {mail: (self._way(mail, before), self._way(mail, after)) for mail in others}

    def configuration(self, drifts: Sequence[Drift]) -> Configuration:
        """Return the configuration with only this drift repaired."""
        before, after = self._before, self._after
        changed = {
            drift.name: after.values.get(drift.name, "") for drift in drifts if drift.kind is Kind.PARAMETER
        }
        repaired = {drift.table.name for drift in drifts if drift.table}
        contents = {
            name: table
            for name, table in after.tables.contents.items()
            if name not in self._desired or name.rpartition("/")[2] in repaired
        }
        contents |= {name: table for name, table in before.tables.contents.items() if name not in contents}
        lists = {**before.tables.lists, **after.tables.lists}
        return Configuration({**before.values, **changed}, after.master, Tables(contents, lists))

    def succeeds(self, drifts: Sequence[Drift]) -> bool:
        """Return True if the configuration with only this drift repaired does as the settings say."""
        tried = self.configuration(drifts)
        if _ends_the_client(tried) and not _ends_the_client(self._after):
            return False
        return (
            None not in self._wanted.values()
            and all(self._way(mail, tried) == way for mail, way in self._wanted.items())
            and all(self._way(mail, tried) in ways for mail, ways in self._either.items())
        )

    def _way(self, mail: tuple[str, str], config: Configuration) -> _Way | None:
        """Return what matters of a mail's routes behind a content filter; None if something of them is unknown."""
        answers = routes(*mail, config, entry=INTERNAL)
        if any(route.unknown or any(hop.unknown for hop in route.hops) for route in answers):
            return None
        return tuple(self._part(route, config) for route in answers)

    def _part(self, route: Route, config: Configuration) -> _Way:
        service = f"{route.transport}/unix"
        hops = tuple(self._hop(hop, service, config) for hop in route.hops)
        delivered = () if hops else (route.transport, route.next_hop)
        return (route.sender, route.recipient, route.broken, delivered, hops)

    def _hop(self, hop: Hop, service: str, config: Configuration) -> _Way:
        where = (hop.host.lower(), hop.port, hop.mx, hop.fallback, hop.wrapper, hop.faults)
        login = hop.login and (
            hop.login.user,
            hop.login.mark,
            *_forbids_passwords(hop.level, service, config),
        )
        return (*where, self._level(hop), login)

    def _level(self, hop: Hop) -> str:
        """Return the level; "encrypt" for one that also checks the certificate, which the settings leave as it is.

        A fallback has the level of the service that tries it, so its level is not compared.
        """
        if hop.fallback:
            return ""
        for relay in self._settings.relay:
            is_its = (
                hop.mx if relay.direct else (relay.host.lower(), relay.port) == (hop.host.lower(), hop.port)
            )
            if is_its and keeps(relay, hop.level):
                return "may" if relay.direct and relay.tls == "opportunistic" else "encrypt"
        return hop.level


def _ends_the_client(config: Configuration) -> bool:
    """Return True if smtp(8) as in main.cf ends with a fatal error, although its mail may have other services."""
    enabled = config.values.get("smtp_sasl_auth_enable") == "yes"
    return enabled and not config.values.get("smtp_sasl_password_maps")


def _mails(settings: Settings, config: Configuration) -> Iterator[tuple[str, str]]:
    """Yield the mails about which the settings say something."""
    senders = ["", f"root@{config.value('myorigin', REWRITE)}", settings.probe_sender]
    yield from ((sender, ELSEWHERE) for sender in senders)
    for relay in settings.relay:
        yield from mails_of(relay, takes_all=True)


def _forbids_passwords(level: str, service: str, config: Configuration) -> tuple[bool, ...]:
    """Return whether the SASL options forbid PLAIN and LOGIN: in clear text, and under TLS, as far as the level allows."""
    names = {"none": [_CLEAR], "may": [_CLEAR, _ENCRYPTED], "": [_CLEAR, _ENCRYPTED]}.get(level, [_ENCRYPTED])
    return tuple("noplaintext" in config.words(name, service) for name in names)
