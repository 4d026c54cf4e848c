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
from postward.config.relay import PASSWORDLESS, TlsMode
from postward.config.routing import INTERNAL, Configuration, Hop, Login, Route, routes
from postward.config.routing.configuration import REWRITE
from postward.config.routing.parameters import Vault
from postward.config.routing.samples import ELSEWHERE
from postward.config.routing.tables import KEYED_TYPES, PATTERN_TYPES, Keyed, Patterns, Static
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
    first, fallbacks = _default(config)
    relays = [_relay(first, config, vault)]
    relays += [replace(_relay(hop, config, vault), fallback=True) for hop in fallbacks]
    unmanaged: list[Unmanaged] = []
    for hop, senders in _by_sender(config, unmanaged):
        try:
            relay = replace(_relay(hop, config, vault), senders=tuple(senders))
        except NothingToAdoptError as error:
            unmanaged.append(Unmanaged(f"mail from {listed(senders)}", str(error)))
            continue
        relays.append(relay)
    host, said = _host(config, explicit)
    unmanaged += _left(explicit, said | _SAID)
    return Adopted(host, named(relays), tuple(unmanaged))


def _default(config: Configuration) -> tuple[Hop, tuple[Hop, ...]]:
    """Return the relay of most mail, and its fallbacks."""
    way = routes(UNNAMED, ELSEWHERE, config, entry=INTERNAL)
    route = way[0]
    if len(way) > 1 or route.unknown:
        raise NothingToAdoptError(f"{route.unknown or 'a table of aliases'} decides where mail goes")
    return _first(route), tuple(hop for hop in route.hops if hop.fallback)


def _first(route: Route) -> Hop:
    """Return the only regular destination of a route."""
    if route.broken or not route.hops:
        what = route.broken or f"{route.transport}:{route.next_hop}"
        raise NothingToAdoptError(f"it goes to {what}, which is no relay")
    regular = [hop for hop in route.hops if not hop.fallback]
    if route.next_hop_origin is None:
        raise NothingToAdoptError("it goes to the MX hosts of its recipients, and not to a relay")
    if len(regular) > 1:
        raise NothingToAdoptError(
            f"it goes to the first of {listed(hop.destination for hop in regular)} that answers"
        )
    return regular[0]


def _by_sender(config: Configuration, unmanaged: list[Unmanaged]) -> Iterator[tuple[Hop, list[str]]]:
    """Yield the further relays and their senders. What has another form is listed as unmanaged."""
    usual = _first(routes(UNNAMED, ELSEWHERE, config, entry=INTERNAL)[0])
    found: dict[tuple[Any, ...], tuple[Hop, list[str]]] = {}
    for key, name in _sender_keys(config, unmanaged):
        sample = f"someone{key}" if key.startswith("@") else key
        try:
            hop = _first(routes(sample, ELSEWHERE, config, entry=INTERNAL)[0])
        except NothingToAdoptError as error:
            unmanaged.append(Unmanaged(f"mail from {key} ({name})", str(error)))
            continue
        if _identity(hop) != _identity(usual):
            found.setdefault(_identity(hop), (hop, []))[1].append(key)
    yield from found.values()


def _sender_keys(config: Configuration, unmanaged: list[Unmanaged]) -> Iterator[tuple[str, str]]:
    """Yield the addresses and @domains in the tables of senders, and the parameter of each."""
    names = [*_BY_SENDER]
    if config.yes("smtp_sender_dependent_authentication", "smtp/unix"):
        names.append("smtp_sasl_password_maps")
    seen: set[str] = set()
    for name in names:
        for table in split_list(config.value(name, REWRITE)):
            contents = config.tables.contents_of(table)
            if isinstance(contents, Static) and name == "smtp_sasl_password_maps":
                continue
            if not isinstance(contents, Keyed):
                kind = "patterns" if isinstance(contents, Patterns) else "entries"
                unmanaged.append(
                    Unmanaged(f"{name} = {table.partition(':')[0]}:…", f"its {kind} stay with the admin")
                )
                continue
            for key in contents.entries:
                if key in seen or (name == "smtp_sasl_password_maps" and "@" not in key):
                    continue
                seen.add(key)
                if re.fullmatch(r'[^\s@#"*]*@[^\s@*\[\]]+', key):
                    yield key, name
                else:
                    unmanaged.append(Unmanaged(f"{name}: {key}", "its key is no address and no @domain"))


def _identity(hop: Hop) -> tuple[Any, ...]:
    login = hop.login and (hop.login.user, hop.login.mark)
    return (hop.host.lower(), hop.port, hop.mx, hop.level, hop.wrapper, login, hop.unknown)


def _relay(hop: Hop, config: Configuration, vault: Vault) -> AdoptedRelay:
    """Return a destination as a relay. Raises NothingToAdoptError."""
    if fault := next(_faults(hop), None):
        raise NothingToAdoptError(fault)
    assert hop.port is not None  # noqa: S101 - or it would be a fault
    tls: TlsMode = "implicit" if hop.wrapper else _TLS.get(hop.level, "starttls")
    relay = AdoptedRelay(hop.host, hop.port, tls, more=dict(_verification(hop, config)))
    return _with_login(relay, hop.login, config, vault) if hop.login else relay


def _faults(hop: Hop) -> Iterator[str]:
    """Yield why the settings can't say a destination."""
    unknown = dict(hop.unknown)
    if hop.faults:
        yield f"{hop.destination} has a fault: {'; '.join(hop.faults)}"
    if hop.mx:
        yield f"{hop.destination} has no brackets: its servers are found by MX records"
    if hop.port is None:
        yield f"the port of {hop.destination} is a name that the settings can't say"
    if "login" in unknown:
        yield f"the login at {hop.destination} is in {unknown['login']}, and stays with the admin"
    if not hop.level:
        yield f"the TLS level of {hop.destination} is in {unknown.get('level', 'a table')}"


def _with_login(relay: AdoptedRelay, login: Login, config: Configuration, vault: Vault) -> AdoptedRelay:
    kind = login.table.removeprefix("proxy:").partition(":")[0]
    if kind not in KEYED_TYPES | PATTERN_TYPES | {"static", "inline"}:
        raise NothingToAdoptError(f"the login at {relay.host} is in {kind}, and stays with the admin")
    mechanisms = [item.lower() for item in config.words("smtp_sasl_mechanism_filter", "smtp/unix")]
    if _TOKENS & set(mechanisms):
        raise NothingToAdoptError(f"the login at {relay.host} is a token that another program renews")
    password = vault.passwords[login.mark]
    if fault := password_fault(password):
        raise NothingToAdoptError(f"the password at {relay.host} {fault}")
    more = dict(relay.more)
    if len(mechanisms) == 1 and mechanisms[0] not in PASSWORDLESS:
        more["auth"] = mechanisms[0]
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
