"""Settings → the desired state of Postfix: main.cf parameters, lookup tables and services of master.cf.

Pure: the same settings, facts and passwords give the same `DesiredState`. Postward derives `smtp_tls_wrappermode`, the
TLS levels (`_TLS_LEVEL`) and the keys of `sasl_passwd` from the relays; an admin does not write them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from postward.config.host import Host
from postward.config.providers import PROVIDERS
from postward.config.relay import Relay
from postward.config.settings import Settings

# relay.tls → smtp_tls_security_level (postconf(5)); with relay.verify, "encrypt" becomes "secure".
_TLS_LEVEL = {"starttls": "encrypt", "implicit": "encrypt", "opportunistic": "may", "none": "none"}

# Table type → suffix of the index that postmap(1) builds; "" if Postfix reads the text itself.
INDEX_SUFFIX: Mapping[str, str] = {
    "hash": ".db",
    "btree": ".db",
    "lmdb": ".lmdb",
    "cdb": ".cdb",
    "dbm": ".pag",
    "sdbm": ".pag",
    "texthash": "",
}
_TABLE_TYPES = frozenset(INDEX_SUFFIX)

# Values on a host that only sends; [main_cf] can override them. Most are Postfix's defaults. With another value in one
# of them, left over from an old how-to, mail can stay or get lost whatever the relay's settings are.
_DEFAULTS = {
    "default_transport": "smtp",
    "defer_transports": "",
    "soft_bounce": "no",
    "smtp_sasl_type": "cyrus",
    "smtp_sasl_mechanism_filter": "",
    "smtp_sasl_auth_soft_bounce": "yes",
    "smtp_sender_dependent_authentication": "no",
    # At 0, Postfix does not log successful TLS sessions.
    "smtp_tls_loglevel": "1",
}


@dataclass(frozen=True, slots=True)
class PostfixFacts:
    """Facts about the installed Postfix.

    Attributes:
        config_directory: the directory of main.cf.
        default_map_type: default_database_type, as in "hash".
        map_types: the types that `postconf -m` lists.
    """

    config_directory: str
    default_map_type: str
    map_types: frozenset[str]


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A lookup table that Postward owns: source text and index.

    Attributes:
        name: file name in config_directory.
        type: Postfix's table type, as in "hash".
        entries: (key, value), in order.
        secret: only root may read the files (0600), and printed values are masked.
    """

    name: str
    type: str
    entries: tuple[tuple[str, str], ...] = field(repr=False)
    secret: bool

    @property
    def text(self) -> str:
        """The content of the source file, in the format of postmap(1)."""
        header = "# Written by Postward from its settings. Changes made here are overwritten.\n"
        return header + "".join(f"{key} {value}\n" for key, value in self.entries)

    @property
    def mode(self) -> int:
        """The permission bits of the source file and of the index."""
        return 0o600 if self.secret else 0o644

    @property
    def index_name(self) -> str | None:
        """File name of the index (postmap(1)); None for types that Postfix reads as text."""
        suffix = INDEX_SUFFIX[self.type]
        return f"{self.name}{suffix}" if suffix else None


# Prefix of Postward's own services in master.cf. Other services are not touched.
OWN_SERVICE = "postward-"


@dataclass(frozen=True, slots=True)
class Transport:
    """A service of master.cf: smtp(8) with its own parameters.

    Attributes:
        relay: the name of the relay that it serves.
        overrides: (parameter, value); the values contain no white space.
    """

    relay: str
    overrides: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The service's name."""
        return f"{OWN_SERVICE}{self.relay}"

    @property
    def definition(self) -> str:
        """The line of master.cf (master(5)), its fields separated by one space. Not chrooted."""
        options = " ".join(f"-o {name}={value}" for name, value in self.overrides)
        return f"{self.name} unix - - n - - smtp {options}"


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The parameters of main.cf that the settings require, and the tables and services to which they refer."""

    parameters: Mapping[str, str]
    tables: tuple[LookupTable, ...]
    transports: tuple[Transport, ...] = ()


class UnsupportedMapTypeError(Exception):
    """Postfix cannot build tables of the configured type."""


def desired_state(settings: Settings, facts: PostfixFacts, passwords: Mapping[str, str]) -> DesiredState:
    """Return the desired state of Postfix.

    Args:
        settings: the settings.
        facts: the capabilities of this Postfix.
        passwords: relay name → password, for each relay with a username.

    Raises:
        UnsupportedMapTypeError: this Postfix cannot build tables of postfix.map_type.
    """
    tables = _Tables(facts, _map_type(settings.postfix.map_type, facts))
    host = settings.host
    parameters = {
        **(_DEFAULTS if host.profile == "send-only" else {}),
        **_limits(settings.relay[0]),
        **host.parameters,
        **_routing(settings.relay, tables),
        **_tls(settings.relay, tables),
        **_sasl(settings.relay, passwords, tables),
        **_rewriting(host),
        **settings.main_cf,
    }
    return DesiredState(parameters, tuple(tables.collected), _transports(settings.relay))


def _map_type(setting: str, facts: PostfixFacts) -> str:
    map_type = facts.default_map_type if setting == "auto" else setting
    possible = sorted(facts.map_types & _TABLE_TYPES)
    if map_type not in possible:
        raise UnsupportedMapTypeError(
            f'postfix.map_type: must be a table type that this Postfix can build, not "{map_type}"; '
            f"write one of: {', '.join(possible)}"
        )
    return map_type


class _Tables:
    """Collect the tables to which the derived parameters refer."""

    def __init__(self, facts: PostfixFacts, map_type: str) -> None:
        self._directory = facts.config_directory
        self._type = map_type
        self.collected: list[LookupTable] = []

    def refer(self, name: str, entries: list[tuple[str, str]], *, secret: bool = False) -> str:
        """Add a table with these entries, and return its reference, `type:path`; "" without entries."""
        if not entries:
            return ""
        self.collected.append(LookupTable(name, self._type, tuple(entries), secret))
        return f"{self._type}:{self._directory}/{name}"


def _routing(relays: list[Relay], tables: _Tables) -> dict[str, str]:
    """Route mail by sender. A relay whose wrapper mode differs from the first relay's gets its own transport."""
    routes = [(sender, relay) for relay in relays for sender in relay.senders]
    next_hops = [(sender, relay.next_hop) for sender, relay in routes if not _needs_transport(relay, relays)]
    transports = [
        (sender, f"{OWN_SERVICE}{relay.name}:{relay.next_hop}")
        for sender, relay in routes
        if _needs_transport(relay, relays)
    ]
    return {
        "relayhost": relays[0].next_hop,
        "smtp_fallback_relay": ", ".join(relay.next_hop for relay in relays if relay.fallback),
        "sender_dependent_relayhost_maps": tables.refer("sender_relay", next_hops),
        "sender_dependent_default_transport_maps": tables.refer("sender_transport", transports),
    }


def _needs_transport(relay: Relay, relays: list[Relay]) -> bool:
    """Return True if the first relay's service cannot serve this relay: a service has one smtp_tls_wrappermode."""
    return bool(relay.senders) and (relay.tls == "implicit") != (relays[0].tls == "implicit")


def _transports(relays: list[Relay]) -> tuple[Transport, ...]:
    return tuple(
        Transport(
            relay.name,
            (
                ("smtp_tls_wrappermode", "yes" if relay.tls == "implicit" else "no"),
                ("smtp_tls_security_level", _level(relay)),
                # The fallback is for the first relay's wrapper mode.
                ("smtp_fallback_relay", ""),
            ),
        )
        for relay in relays
        if _needs_transport(relay, relays)
    )


def _rewriting(host: Host) -> dict[str, str]:
    """Rewrite the sender of all mail, in headers too, and for clients of the LAN too (ADDRESS_REWRITING_README)."""
    if not host.rewrite_sender:
        return {}
    return {
        "sender_canonical_maps": f"static:{host.rewrite_sender}",
        "sender_canonical_classes": "envelope_sender, header_sender",
        "local_header_rewrite_clients": "permit_inet_interfaces, permit_mynetworks",
    }


def _limits(relay: Relay) -> Mapping[str, str]:
    """Return the parameters that respect the limits of the first relay's provider."""
    provider = PROVIDERS.get(relay.provider)
    return provider.parameters if provider else {}


def _level(relay: Relay) -> str:
    return "secure" if relay.verify else _TLS_LEVEL[relay.tls]


def _tls(relays: list[Relay], tables: _Tables) -> dict[str, str]:
    """Set one TLS level in main.cf, and a policy table if the relays differ (TLS_README)."""
    levels = [(relay.next_hop, _level(relay)) for relay in relays]
    mixed = len({level for _, level in levels}) > 1
    parameters = {
        "smtp_tls_security_level": levels[0][1],
        "smtp_tls_wrappermode": "yes" if relays[0].tls == "implicit" else "no",
        "smtp_tls_policy_maps": tables.refer("tls_policy", levels if mixed else []),
    }
    if authorities := next((relay.ca_file for relay in relays if relay.ca_file), None):
        parameters["smtp_tls_CAfile"] = authorities
    return parameters


def _sasl(relays: list[Relay], passwords: Mapping[str, str], tables: _Tables) -> dict[str, str]:
    """Set credentials by next hop. Postfix's default forbids PLAIN and LOGIN; allow them, under TLS only where possible."""
    logins = [relay for relay in relays if relay.username]
    if not logins:
        return {"smtp_sasl_auth_enable": "no", "smtp_sasl_password_maps": ""}
    in_clear = any(relay.tls == "none" for relay in logins)
    always_encrypted = all(relay.tls in {"starttls", "implicit"} for relay in logins)
    entries = [(relay.next_hop, f"{relay.username}:{passwords[relay.name]}") for relay in logins]
    return {
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": tables.refer("sasl_passwd", entries, secret=True),
        "smtp_sasl_security_options": "noanonymous"
        if in_clear or always_encrypted
        else "noplaintext, noanonymous",
        "smtp_sasl_tls_security_options": "noanonymous",
    }
