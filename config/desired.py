"""Settings → what Postfix should have: main.cf parameters and lookup tables, as a value.

Pure: the same settings, facts and passwords give the same `DesiredState`. How each parameter follows from a
relay's `tls` is in `_TLS_LEVEL`; an administrator never writes `smtp_tls_wrappermode` or a `sasl_passwd` key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from postward.config.host import Host
from postward.config.providers import PROVIDERS
from postward.config.relay import Relay
from postward.config.settings import Settings

# relay.tls → smtp_tls_security_level (postconf(5)); with relay.verify, "encrypt" becomes "secure".
_TLS_LEVEL = {"starttls": "encrypt", "implicit": "encrypt", "opportunistic": "may", "none": "none"}

# Table type → how the file ends that postmap(1) makes of it; "" where Postfix reads the text itself.
_INDEX_SUFFIX = {
    "hash": ".db",
    "btree": ".db",
    "lmdb": ".lmdb",
    "cdb": ".cdb",
    "dbm": ".pag",
    "sdbm": ".pag",
    "texthash": "",
}
_TABLE_TYPES = frozenset(_INDEX_SUFFIX)

# What Postward wants unless [main_cf] says otherwise. Most are Postfix's own defaults: a left-over of an old
# how-to in one of these, and no mail leaves, or is lost, whatever the relay's settings are.
_DEFAULTS = {
    "default_transport": "smtp",
    "defer_transports": "",
    "soft_bounce": "no",
    "smtp_sasl_type": "cyrus",
    "smtp_sasl_mechanism_filter": "",
    "smtp_sasl_auth_soft_bounce": "yes",
    "smtp_sender_dependent_authentication": "no",
    # Without it Postfix logs no successful TLS session.
    "smtp_tls_loglevel": "1",
}


@dataclass(frozen=True, slots=True)
class PostfixFacts:
    """What is known of the Postfix at hand before anything is decided.

    Attributes:
        config_directory: the folder of main.cf.
        default_map_type: default_database_type, as in "hash".
        map_types: what `postconf -m` lists.
    """

    config_directory: str
    default_map_type: str
    map_types: frozenset[str]


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A lookup table that Postward writes whole, text and index.

    Attributes:
        name: file name in config_directory.
        type: Postfix's table type, as in "hash".
        entries: (key, value), in order; never shown when `secret`.
        secret: the files are for root alone (0600), and values are masked wherever they are printed.
    """

    name: str
    type: str
    entries: tuple[tuple[str, str], ...] = field(repr=False)
    secret: bool

    @property
    def text(self) -> str:
        """The source file, as postmap(1) reads it."""
        header = "# Written by Postward from its settings; changes made here are undone.\n"
        return header + "".join(f"{key} {value}\n" for key, value in self.entries)

    @property
    def mode(self) -> int:
        """The permission bits of the source file and of the index."""
        return 0o600 if self.secret else 0o644

    @property
    def index_name(self) -> str | None:
        """File name of the compiled table (postmap(1)); None for types that Postfix reads as text."""
        suffix = _INDEX_SUFFIX[self.type]
        return f"{self.name}{suffix}" if suffix else None


# Services of master.cf that are Postward's own begin so; any other is left alone.
OWN_SERVICE = "postward-"


@dataclass(frozen=True, slots=True)
class Transport:
    """A service of master.cf: smtp(8) with parameters of its own.

    Attributes:
        relay: the relay that it is for.
        overrides: (parameter, value), without white space.
    """

    relay: str
    overrides: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The service's name."""
        return f"{OWN_SERVICE}{self.relay}"

    @property
    def definition(self) -> str:
        """The line of master.cf (master(5)), its words separated by one blank. Not chrooted."""
        options = " ".join(f"-o {name}={value}" for name, value in self.overrides)
        return f"{self.name} unix - - n - - smtp {options}"


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What the settings say: parameters as main.cf would have them, and the tables and services they refer to."""

    parameters: Mapping[str, str]
    tables: tuple[LookupTable, ...]
    transports: tuple[Transport, ...] = ()


class UnsupportedMapTypeError(Exception):
    """The table type asked for is not one this Postfix can build."""


def desired_state(settings: Settings, facts: PostfixFacts, passwords: Mapping[str, str]) -> DesiredState:
    """What Postfix should have.

    Args:
        settings: the settings.
        facts: what this Postfix can do.
        passwords: relay name → password, for each relay with a username.

    Raises:
        UnsupportedMapTypeError: postfix.map_type is not supported here.
    """
    tables = _Tables(facts, _map_type(settings.postfix.map_type, facts))
    host = settings.host
    parameters = {
        **_DEFAULTS,
        **_limits(settings.relay[0]),
        "myhostname": host.myhostname,
        "mydomain": host.mydomain,
        "myorigin": host.myorigin,
        "inet_interfaces": host.inet_interfaces,
        "inet_protocols": host.inet_protocols,
        "mydestination": host.mydestination,
        "mynetworks": host.mynetworks,
        "relay_domains": host.relay_domains,
        **_routing(settings.relay, tables),
        **_tls(settings.relay, tables),
        **_sasl(settings.relay, passwords, tables),
        **_rewriting(host),
        **settings.main_cf,
    }
    return DesiredState(parameters, tuple(tables.written), _transports(settings.relay))


def _map_type(wanted: str, facts: PostfixFacts) -> str:
    chosen = facts.default_map_type if wanted == "auto" else wanted
    possible = sorted(facts.map_types & _TABLE_TYPES)
    if chosen not in possible:
        raise UnsupportedMapTypeError(
            f'postfix.map_type: "{chosen}" is no kind of table that this Postfix can build; write one of: {", ".join(possible)}'
        )
    return chosen


class _Tables:
    """Collects the tables while parameters are derived, and gives each the form in which main.cf refers to it."""

    def __init__(self, facts: PostfixFacts, map_type: str) -> None:
        self._directory = facts.config_directory
        self._type = map_type
        self.written: list[LookupTable] = []

    def refer(self, name: str, entries: list[tuple[str, str]], *, secret: bool = False) -> str:
        """`type:path` of a table with these entries; "" if there are none."""
        if not entries:
            return ""
        self.written.append(LookupTable(name, self._type, tuple(entries), secret))
        return f"{self._type}:{self._directory}/{name}"


def _routing(relays: list[Relay], tables: _Tables) -> dict[str, str]:
    """Which relay takes whose mail. One with another wrapper mode than the first needs a transport of its own."""
    hops = [(sender, relay) for relay in relays for sender in relay.senders]
    own = [(sender, relay) for sender, relay in hops if _needs_transport(relay, relays)]
    shared = [(sender, relay.next_hop) for sender, relay in hops if not _needs_transport(relay, relays)]
    transports = [(sender, f"{OWN_SERVICE}{relay.name}:{relay.next_hop}") for sender, relay in own]
    return {
        "relayhost": relays[0].next_hop,
        "smtp_fallback_relay": ", ".join(relay.next_hop for relay in relays if relay.fallback),
        "sender_dependent_relayhost_maps": tables.refer("sender_relay", shared),
        "sender_dependent_default_transport_maps": tables.refer("sender_transport", transports),
    }


def _needs_transport(relay: Relay, relays: list[Relay]) -> bool:
    """smtp_tls_wrappermode holds for a whole service of master.cf."""
    return bool(relay.senders) and (relay.tls == "implicit") != (relays[0].tls == "implicit")


def _transports(relays: list[Relay]) -> tuple[Transport, ...]:
    return tuple(
        Transport(
            relay.name,
            (
                ("smtp_tls_wrappermode", "yes" if relay.tls == "implicit" else "no"),
                ("smtp_tls_security_level", _level(relay)),
                # A fallback is reached with the first relay's wrapper mode.
                ("smtp_fallback_relay", ""),
            ),
        )
        for relay in relays
        if _needs_transport(relay, relays)
    )


def _rewriting(host: Host) -> dict[str, str]:
    """One sender for all mail (ADDRESS_REWRITING_README), also in headers, also for the LAN's clients."""
    if not host.rewrite_sender:
        return {}
    return {
        "sender_canonical_maps": f"static:{host.rewrite_sender}",
        "sender_canonical_classes": "envelope_sender, header_sender",
        "local_header_rewrite_clients": "permit_inet_interfaces, permit_mynetworks",
    }


def _limits(relay: Relay) -> Mapping[str, str]:
    """What the first relay's provider is known to want."""
    provider = PROVIDERS.get(relay.provider)
    return provider.parameters if provider else {}


def _level(relay: Relay) -> str:
    return "secure" if relay.verify else _TLS_LEVEL[relay.tls]


def _tls(relays: list[Relay], tables: _Tables) -> dict[str, str]:
    """One level for all in main.cf; a policy table only if relays differ (TLS_README, "Policy table")."""
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
    """Credentials by next hop. PLAIN and LOGIN must be allowed (Postfix's default forbids them), but only under TLS."""
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
