"""Adopts a Postfix: its routes as relays, with logins, senders, TLS and rewriting.

Pure. The routes are those of `postward.config.routing`, so a relay is adopted in whatever way main.cf, master.cf and
the tables say it. Nothing is proposed that the settings can't say; that is listed instead.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from postward.config.adopt.adopted import Adopted, AdoptedRelay, NothingToAdoptError, Unmanaged, listed, named
from postward.config.effective import UNNAMED
from postward.config.fields import is_address
from postward.config.passwords import password_fault
from postward.config.relay import TlsMode
from postward.config.routing import INTERNAL, Configuration, Hop, Login, Route, routes
from postward.config.routing.configuration import REWRITE
from postward.config.routing.parameters import Vault
from postward.config.routing.samples import ELSEWHERE
from postward.config.routing.tables import KEYED_TYPES, PATTERN_TYPES, Keyed, Patterns, Static
from postward.config.sasl import PASSWORDLESS
from postward.parsers.postconf import split_list

_BY_SENDER = ("sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps")
_TLS: Mapping[str, TlsMode] = {"none": "none", "may": "opportunistic"}
_TOKENS = frozenset({"xoauth2", "oauthbearer"})
_REWRITES_SENDER = {
    "sender_canonical_classes": "envelope_sender, header_sender",
    "local_header_rewrite_clients": "permit_inet_interfaces, permit_mynetworks",
}
# Parameters that stay as they are, by the reason.
_STAYS = {
    "routes by recipient stay in these tables": (
        "transport_maps",
        "fallback_transport_maps",
        "relocated_maps",
    ),
    "mail passes this hop of its own; its probes are those of the relay behind it": ("content_filter",),
    "addresses stay rewritten by these tables": (
        *("canonical_maps", "sender_canonical_maps", "recipient_canonical_maps", "smtp_generic_maps"),
        *("masquerade_domains", "virtual_alias_maps"),
    ),
    "mail that this host receives is not Postward's": (
        *(
            "relay_domains",
            "relay_transport",
            "virtual_mailbox_domains",
            "virtual_transport",
            "local_transport",
        ),
        *("mailbox_transport", "fallback_transport", "smtpd_milters", "non_smtpd_milters"),
    ),
}
# Parameters that the settings of a relay say.
_SAID = frozenset(
    {
        *_BY_SENDER,
        *("myhostname", "relayhost", "default_transport", "smtp_fallback_relay"),
        *("smtp_sasl_auth_enable", "smtp_sasl_password_maps", "smtp_sasl_security_options"),
        *("smtp_sasl_tls_security_options", "smtp_sender_dependent_authentication"),
        *(
            "smtp_tls_security_level",
            "smtp_tls_wrappermode",
            "smtp_tls_policy_maps",
            "smtp_use_tls",
            "smtp_enforce_tls",
        ),
    }
)


def adopt_postfix(config: Configuration, explicit: Mapping[str, str], vault: Vault) -> Adopted:
    """Return the settings that say what a Postfix does already.

    Args:
        config: its configuration, read with the vault.
        explicit: the parameters that main.cf sets (`postconf -n`).
        vault: the passwords.

    Raises:
        NothingToAdoptError: the way of most mail is none that the settings can say.
    """
    usual = routes(UNNAMED, ELSEWHERE, config, entry=INTERNAL)
    if len(usual) > 1 or usual[0].unknown:
        raise NothingToAdoptError(f"{usual[0].unknown or 'a table of aliases'} decides where mail goes")
    adoption = _Adoption(config, vault, usual[0])
    by_sender = adoption.by_sender()
    relays = [replace(adoption.relay(usual[0]), senders=tuple(adoption.senders_of_usual))]
    relays += [
        replace(adoption.relay_at(hop), fallback=True) for hop in usual[0].hops if hop.fallback and hop.port
    ]
    relays += by_sender
    relays += adoption.by_recipient()
    host, said = _host(config, explicit)
    unmanaged = (*adoption.unmanaged, *_left(explicit, said | _SAID))
    return Adopted(host, named(relays), unmanaged)


class _Adoption:
    """Adopts the routes of a configuration.

    Attributes:
        unmanaged: what it leaves out.
        senders_of_usual: keys of tables of next hops that lead to the relay of most mail. The settings name them, so that
            they say all that these tables do.
    """

    def __init__(self, config: Configuration, vault: Vault, usual: Route) -> None:
        self._config = config
        self._vault = vault
        self._usual = usual
        self.unmanaged: list[Unmanaged] = []
        self.senders_of_usual: list[str] = []

    def by_sender(self) -> list[AdoptedRelay]:
        """Return the relays of some senders."""
        names = [*_BY_SENDER]
        if self._config.yes("smtp_sender_dependent_authentication", "smtp/unix"):
            names.append("smtp_sasl_password_maps")
        keys = [(key, name) for name in names for key in self._keys(name) if name in _BY_SENDER or "@" in key]
        samples = {
            key: (f"someone{key}" if key.startswith("@") else key, ELSEWHERE)
            for key, name in keys
            if self._has_form(key, name, r'[^\s@#"*]*@[^\s@*\[\]]+')
        }
        relays = [
            replace(relay, senders=tuple(named_keys)) for relay, named_keys in self._grouped("from", samples)
        ]
        if relays:
            routed = [key for key, name in keys if name == "sender_dependent_relayhost_maps"]
            usual = [key for key in routed if key in samples and self._is_usual(samples[key])]
            self.senders_of_usual = list(dict.fromkeys(usual))
        return relays

    def by_recipient(self) -> list[AdoptedRelay]:
        """Return the relays of some recipients."""
        samples: dict[str, tuple[str, str]] = {}
        for key in self._keys("transport_maps"):
            if key == "*" or not self._has_form(key, "transport_maps", r'([^\s@#"*]+@)?[^\s@*\[\]]+'):
                continue
            domain = f"someone@sub{key}" if key.startswith(".") else f"someone@{key}"
            samples[key if "@" in key else f"@{key}"] = (UNNAMED, key if "@" in key else domain)
        return [
            replace(relay, recipients=tuple(named_keys)) for relay, named_keys in self._grouped("to", samples)
        ]

    def _keys(self, name: str) -> Iterator[str]:
        """Yield the keys of a parameter's tables. Tables of patterns and in directories have keys that are not listed."""
        for table in split_list(self._config.value(name, REWRITE)):
            contents = self._config.tables.contents_of(table)
            if isinstance(contents, Keyed):
                yield from contents.entries
            elif not isinstance(contents, Static):
                kind = "patterns" if isinstance(contents, Patterns) else "entries"
                of_type = table.removeprefix("proxy:").partition(":")[0]
                self._leave(f"{name} = {of_type}:…", f"its {kind} stay with the admin")

    def _has_form(self, key: str, name: str, form: str) -> bool:
        if re.fullmatch(form, key):
            return True
        self._leave(f"{name}: {key}", "its key is neither an address nor a domain")
        return False

    def _grouped(
        self, way: str, samples: Mapping[str, tuple[str, str]]
    ) -> Iterator[tuple[AdoptedRelay, list[str]]]:
        """Yield each relay that takes other ways than most mail, and the keys that lead to it."""
        found: dict[object, tuple[AdoptedRelay, list[str]]] = {}
        for key, mail in samples.items():
            if self._is_usual(mail):
                continue
            route = routes(*mail, self._config, entry=INTERNAL)[0]
            try:
                found.setdefault(_identity(route), (self.relay(route), []))[1].append(key)
            except NothingToAdoptError as error:
                self._leave(f"mail {way} {key}", str(error))
        yield from found.values()

    def _is_usual(self, mail: tuple[str, str]) -> bool:
        route = routes(*mail, self._config, entry=INTERNAL)[0]
        return _identity(route) == _identity(self._usual)

    def _leave(self, what: str, why: str) -> None:
        self.unmanaged.append(Unmanaged(what, why))

    def relay(self, route: Route) -> AdoptedRelay:
        """Return the relay of a route. Raises NothingToAdoptError."""
        regular = [hop for hop in route.hops if not hop.fallback]
        if route.broken:
            raise NothingToAdoptError(f"{route.broken} cannot be searched, so its mail waits")
        if route.unknown:
            raise NothingToAdoptError(f"{route.unknown} decides where it goes")
        if route.command != "smtp" or not regular:
            raise NothingToAdoptError(f"it goes to {route.transport}:{route.next_hop}, which is not a relay")
        if len(regular) > 1:
            raise NothingToAdoptError(
                f"it goes to the first of {listed(hop.destination for hop in regular)} that answers"
            )
        if own := _own_parameters(route, self._config):
            raise NothingToAdoptError(
                f"its service {route.transport} in master.cf has parameters of its own ({listed(own)}), and stays"
            )
        if route.next_hop_origin is None:
            return self._direct(regular[0])
        return self.relay_at(regular[0])

    def _direct(self, hop: Hop) -> AdoptedRelay:
        if hop.login:
            raise NothingToAdoptError("it goes to the MX hosts of its recipients, with a login")
        if "level" in dict(hop.unknown):
            raise NothingToAdoptError(f"its TLS level is in {dict(hop.unknown)['level']}")
        mandatory = hop.level in {"encrypt", "fingerprint", "verify", "secure", "dane-only"}
        tls: TlsMode = "starttls" if mandatory else _TLS.get(hop.level, "opportunistic")
        return AdoptedRelay("", 0, tls, more={"direct": True})

    def relay_at(self, hop: Hop) -> AdoptedRelay:
        """Return a destination as a relay. Raises NothingToAdoptError."""
        if fault := next(_faults(hop), None):
            raise NothingToAdoptError(fault)
        assert hop.port is not None  # noqa: S101 - or it would be a fault
        tls: TlsMode = "implicit" if hop.wrapper else _TLS.get(hop.level, "starttls")
        more = {**({"mx": True} if hop.mx else {}), **dict(_verification(hop, self._config))}
        relay = AdoptedRelay(hop.host, hop.port, tls, more=more)
        return _with_login(relay, hop.login, self._config, self._vault) if hop.login else relay


def _own_parameters(route: Route, config: Configuration) -> list[str]:
    """Return the parameters of a service that make its mail differ from that of smtp(8) as in main.cf."""
    prefix = f"{route.transport}/unix/"
    usual = ("smtp_tls_", "smtp_use_tls", "smtp_enforce_tls", "smtp_sasl_", "smtp_sender_dependent")
    more = ("smtp_fallback_relay", "syslog_name", "relayhost")  # smtp(8) does not read relayhost
    names = [key.removeprefix(prefix) for key in config.master.overrides if key.startswith(prefix)]
    return [name for name in names if not name.startswith((*usual, *more))]


def _identity(route: Route) -> object:
    """Return what distinguishes the way of a mail: a relay, direct delivery, or something that is neither."""
    hop = next((hop for hop in route.hops if not hop.fallback), None)
    if hop is None or route.command != "smtp":
        return (route.transport, route.next_hop, route.unknown, route.broken)
    login = hop.login and (hop.login.user, hop.login.mark)
    where = (hop.host.lower(), hop.port, hop.mx) if route.next_hop_origin else "direct"
    return (where, hop.level, hop.wrapper, login, hop.unknown, route.transport)


def _faults(hop: Hop) -> Iterator[str]:
    """Yield why the settings can't say a destination."""
    unknown = dict(hop.unknown)
    if hop.faults:
        yield f"{hop.destination} has a fault: {'; '.join(hop.faults)}"
    if hop.port is None:
        yield f"the port of {hop.destination} is a name that the settings can't say"
    if "login" in unknown and hop.mx:
        yield (
            f"the login at {hop.destination} depends on {unknown['login']}; "
            "write the name of a server in brackets, if all mail goes there"
        )
    elif "login" in unknown:
        yield f"the login at {hop.destination} is in {unknown['login']}, and stays with the admin"
    if not hop.level:
        yield f"the TLS level of {hop.destination} is in {unknown.get('level', 'a table')}"


def _with_login(relay: AdoptedRelay, login: Login, config: Configuration, vault: Vault) -> AdoptedRelay:
    kind = login.table.removeprefix("proxy:").partition(":")[0]
    if kind not in KEYED_TYPES | PATTERN_TYPES | {"static", "inline"}:
        return replace(relay, more={**relay.more, "login_table": login.table})
    mechanisms = [item.lower() for item in config.words("smtp_sasl_mechanism_filter", "smtp/unix")]
    if _TOKENS & set(mechanisms):
        raise NothingToAdoptError(f"the login at {relay.host} is a token that another program renews")
    more = dict(relay.more)
    if len(mechanisms) == 1:
        more["auth"] = mechanisms[0]
        if mechanisms[0] in PASSWORDLESS:
            return replace(relay, username=login.user, more=more)
    password = vault.passwords[login.mark]
    if fault := password_fault(password):
        raise NothingToAdoptError(f"the password at {relay.host} {fault}")
    in_clear = "noplaintext" not in config.words("smtp_sasl_security_options", "smtp/unix")
    if relay.tls == "opportunistic" and in_clear:
        more["allow_cleartext_password"] = True
    return replace(relay, username=login.user, password=password, more=more)


def _verification(hop: Hop, config: Configuration) -> Iterator[tuple[str, Any]]:
    authorities = config.value("smtp_tls_CAfile", "smtp/unix")
    if hop.level == "secure" and not hop.policy and authorities and not is_address(hop.host):
        yield "verify", True
        yield "ca_file", authorities


def _host(config: Configuration, explicit: Mapping[str, str]) -> tuple[dict[str, str], set[str]]:
    """Return the `[host]` table, and the parameters that it says."""
    host = {"myhostname": config.value("myhostname", REWRITE)}
    static = re.fullmatch(
        r"static:\{?\s*([^\s{}@,]+@[^\s{}@,]+)\s*\}?", explicit.get("sender_canonical_maps", "")
    )
    same = all(
        split_list(explicit.get(name, "")) == split_list(value) for name, value in _REWRITES_SENDER.items()
    )
    if static and same:
        return {**host, "rewrite_sender": static[1]}, {"sender_canonical_maps", *_REWRITES_SENDER}
    return host, set()


def _left(explicit: Mapping[str, str], said: set[str] | frozenset[str]) -> Iterator[Unmanaged]:
    """Yield the parameters of main.cf that the settings leave as they are."""
    left = [name for name, value in explicit.items() if name not in said and value]
    for why, names in _STAYS.items():
        if found := [name for name in names if name in left]:
            yield Unmanaged(", ".join(found), why)
            left = [name for name in left if name not in found]
    if left:
        yield Unmanaged(", ".join(sorted(left)), "further parameters of main.cf, which no setting names")
