"""Settings → the desired state of Postfix: main.cf parameters, lookup tables and services of master.cf.

Pure: the same arguments give the same `DesiredState`. Postward derives `smtp_tls_wrappermode`, the TLS levels and the
keys of `sasl_passwd` from the relays; an admin does not write them. Beside other SMTP hops, the relays' parameters hold
for the relays alone (`postward.config.beside`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from postward.config.beside import (
    authorities,
    before_admins,
    beside,
    lmtp_parameters,
    log_name,
    max_processes,
    needs_services,
    own_target,
    recipient_routes,
)
from postward.config.host import Host
from postward.config.logins import (
    BY_SENDER,
    DELIMITER,
    Logins,
    logins_of,
    looks_senders_up,
    with_host_names,
)
from postward.config.neighbours import CONCURRENCY, NO_NEIGHBOURS, Neighbours, clients
from postward.config.oauth2 import MECHANISMS
from postward.config.providers import PROVIDERS
from postward.config.relay import Relay
from postward.config.resources import INDEX_SUFFIX, LookupTable, Tables, Transport
from postward.config.settings import Settings
from postward.config.tls_level import tls_level, tls_policy
from postward.parsers.postconf import split_list

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
# Of these, the ones that hold for all hops, and parameters that Postward reads in main.cf.
_FOR_ALL_HOPS = frozenset({"smtp_sender_dependent_authentication", "smtp_tls_loglevel"})


@dataclass(frozen=True, slots=True)
class PostfixFacts:
    """Facts about the installed Postfix.

    Attributes:
        config_directory: the directory of main.cf.
        default_map_type: default_database_type, as in "hash".
        map_types: the types that `postconf -m` lists.
        delimits_logins: it knows smtp_sasl_password_result_delimiter.
        log_name: syslog_name, which differs from one instance to the next.
    """

    config_directory: str
    default_map_type: str
    map_types: frozenset[str]
    delimits_logins: bool = False
    log_name: str = "postfix"


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The parameters of main.cf that the settings require, and the tables and services to which they refer."""

    parameters: Mapping[str, str]
    tables: tuple[LookupTable, ...]
    transports: tuple[Transport, ...] = ()


class UnsupportedError(Exception):
    """The installed Postfix lacks a type of table, or a delimiter of logins, that the settings require."""


def desired_state(
    settings: Settings, facts: PostfixFacts, passwords: Mapping[str, str], others: Neighbours = NO_NEIGHBOURS
) -> DesiredState:
    """Return the desired state of Postfix.

    Args:
        settings: the settings.
        facts: the capabilities of this Postfix.
        passwords: relay name → password, for each relay with a username.
        others: the other SMTP hops of this Postfix.

    Raises:
        UnsupportedError: this Postfix cannot build tables of postfix.map_type, or read a user name with a colon.
        SharedHopError: the relays' wishes cannot be met without changing other hops.
    """
    tables = Tables(facts.config_directory, _map_type(settings.postfix.map_type, facts), others.tables)
    host, relays = settings.host, settings.relay
    logins = logins_of(relays, passwords, others.login_senders)
    _require_delimiter(logins, facts, others)
    defaults = _DEFAULTS if host.profile == "send-only" else {}
    wishes = _wishes({**defaults, **settings.main_cf}, others) if others.hops else {}
    if others.hops or needs_services(relays):
        of_relays, transports = beside(relays, logins, tables, others, wishes)
    else:
        of_relays, transports = (
            _alone(relays, logins, tables, others) | _delimiter(logins, facts),
            _transports(relays, logins, others),
        )
    parameters = {
        **defaults,
        **({} if others.hops else _limits(relays[0], host)),
        **host.parameters,
        **of_relays,
        **_rewriting(host, tables, others),
        **_local_mail(host, tables, others),
        **settings.main_cf,
    }
    parameters = {name: value for name, value in parameters.items() if name not in wishes}
    logged = tuple(_logged_as(facts.log_name, transport) for transport in transports)
    return DesiredState(parameters, tuple(tables.collected), logged)


def _logged_as(name: str, transport: Transport) -> Transport:
    """Return a service whose lines in the log are those of its instance."""
    overrides = tuple(
        (key, f"{name}{value.removeprefix('postfix')}" if key == "syslog_name" else value)
        for key, value in transport.overrides
    )
    return replace(transport, overrides=overrides)


def _delimiter(logins: Logins, facts: PostfixFacts) -> dict[str, str]:
    """Return the delimiter in main.cf: also Postfix's own, which former settings may have changed."""
    return {DELIMITER: logins.delimiter} if facts.delimits_logins and logins.entries else {}


def _require_delimiter(logins: Logins, facts: PostfixFacts, others: Neighbours) -> None:
    """Raise UnsupportedError if this Postfix would take the end of a user name for the password."""
    if logins.delimiter == ":":
        return
    if not facts.delimits_logins:
        raise UnsupportedError(
            "relay.username: has a colon, behind which this Postfix expects the password: it does not know "
            f"{DELIMITER}; upgrade Postfix, or ask the relay's operator for another login"
        )
    if any(":" in login.partition(logins.delimiter)[2] for _, login in logins.entries):
        raise UnsupportedError(
            "relay.password: must not contain a colon where a user name has one: plans could show a part of it; "
            "set another password"
        )
    if logins.tables or others.values.get("smtp_sasl_password_maps"):
        raise UnsupportedError(
            f"relay.username: has a colon, which requires another {DELIMITER} for all tables of logins; "
            "list the logins of the other tables in [[relay]] tables"
        )


def _wishes(parameters: Mapping[str, str], others: Neighbours) -> dict[str, str]:
    """Return the parameters of smtp(8) that must not reach other hops: those that differ from what these have."""
    return {
        name: value
        for name, value in clients(parameters).items()
        if name not in _FOR_ALL_HOPS and split_list(others.values.get(name, value)) != split_list(value)
    }


def _alone(relays: list[Relay], logins: Logins, tables: Tables, others: Neighbours) -> dict[str, str]:
    """Return the parameters of main.cf where smtp(8) sends to these relays alone."""
    return {
        # A service of Postward's in default_transport is left over from a time with other hops.
        **{name: value for name, value in others.values.items() if name == "default_transport"},
        **_routing(relays, logins, tables),
        **_tls(relays, tables, others),
        **_sasl(relays, logins, tables, others),
        **_first_relays_own(relays, others),
    }


def _map_type(setting: str, facts: PostfixFacts) -> str:
    map_type = facts.default_map_type if setting == "auto" else setting
    possible = sorted(facts.map_types & INDEX_SUFFIX.keys())
    if map_type not in possible:
        raise UnsupportedError(
            f'postfix.map_type: must be a table type that this Postfix can build, not "{map_type}"; '
            f"write one of: {', '.join(possible)}"
        )
    return map_type


def _routing(relays: list[Relay], logins: Logins, tables: Tables) -> dict[str, str]:
    """Route mail by sender and recipient. A relay that the first relay's service cannot serve has its own."""
    own = {relay.name for relay in relays if _needs_transport(relay, relays, logins)}
    targets = {
        relay.name: (own_target(relay) if relay.name in own else f"smtp:{relay.next_hop}") for relay in relays
    }
    by_sender = [(sender, relay) for relay in relays for sender in relay.senders]
    next_hops = [(sender, relay.next_hop) for sender, relay in by_sender if relay.name not in own]
    transports = [(sender, targets[relay.name]) for sender, relay in by_sender if relay.name in own]
    return {
        "relayhost": relays[0].next_hop,
        "smtp_fallback_relay": ", ".join(relay.next_hop for relay in relays if relay.fallback),
        "sender_dependent_relayhost_maps": tables.refer("sender_relay", next_hops),
        "sender_dependent_default_transport_maps": tables.refer("sender_transport", transports),
        "transport_maps": recipient_routes(relays, targets, tables),
    }


def _needs_transport(relay: Relay, relays: list[Relay], logins: Logins) -> bool:
    """Return True if the first relay's service cannot serve this relay.

    A service has one smtp_tls_wrappermode, one filter of SASL mechanisms, one client certificate, one name in EHLO, and
    one way to look logins up.
    """
    first = relays[0]
    return (
        relay.selects
        and relay is not first
        and (
            relay.protocol != "smtp"
            or relay.own_service
            or not relay.has_known_server  # only its service's name shows in the log
            or bool(relay.max_connections)
            or (relay.tls == "implicit") != (first.tls == "implicit")
            or relay.own_parameters != first.own_parameters
            or looks_senders_up(relay, relays, logins) != looks_senders_up(first, relays, logins)
        )
    )


def _transports(relays: list[Relay], logins: Logins, others: Neighbours) -> tuple[Transport, ...]:
    return tuple(
        _transport(relay, relays, logins, others)
        for relay in relays
        if _needs_transport(relay, relays, logins)
    )


def _transport(relay: Relay, relays: list[Relay], logins: Logins, others: Neighbours) -> Transport:
    limit = max_processes(relay, {})
    if relay.protocol == "lmtp":
        return Transport(relay.name, lmtp_parameters(relay, relays), limit, "lmtp")
    first = relays[0]
    looks_up = looks_senders_up(relay, relays, logins)
    by_sender = (
        [(BY_SENDER, "yes" if looks_up else "no")]
        if looks_up != looks_senders_up(first, relays, logins)
        else []
    )
    return Transport(
        relay.name,
        (
            ("smtp_tls_wrappermode", "yes" if relay.tls == "implicit" else "no"),
            ("smtp_tls_security_level", tls_level(relay, others.values)),
            # The fallback is for the first relay's wrapper mode.
            ("smtp_fallback_relay", ""),
            *_differing(relay.own_parameters, first.own_parameters),
            *by_sender,
            *log_name(relay, relays),
        ),
        limit if relay.max_connections else "-",
    )


def _differing(own: Mapping[str, str], firsts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what a service has other than the first relay. Postfix's own value stands for an empty EHLO name."""
    usual = {"smtp_helo_name": "$myhostname", "smtp_tls_fingerprint_digest": "sha256"}
    return [(name, value or usual.get(name, "")) for name, value in own.items() if value != firsts[name]]


def _first_relays_own(relays: list[Relay], others: Neighbours) -> dict[str, str]:
    """Return the first relay's own parameters.

    An empty one leaves main.cf as it is, unless it is the filter for tokens, which a former first relay required.
    """
    own = relays[0].own_parameters
    del own["smtp_sasl_tls_security_options"]  # beside the other parameters of logins
    present = split_list(others.values.get("smtp_sasl_mechanism_filter", ""))
    left_over = present == list(MECHANISMS)
    return {
        name: value
        for name, value in own.items()
        if value or (left_over and name == "smtp_sasl_mechanism_filter")
    }


def _rewriting(host: Host, tables: Tables, others: Neighbours) -> dict[str, str]:
    """Rewrite senders, in headers too, and for clients of the LAN too (ADDRESS_REWRITING_README)."""
    name = "sender_canonical_maps"
    in_headers = {
        "sender_canonical_classes": "envelope_sender, header_sender",
        "local_header_rewrite_clients": "permit_inet_interfaces, permit_mynetworks",
    }
    if host.rewrite_sender:
        return {name: f"static:{host.rewrite_sender}", **in_headers}
    own = tables.refer("sender_canonical", list(host.rewrite_senders.items()))
    if own:
        return {name: before_admins(own, name, others), **in_headers}
    return {name: others.values[name]} if name in others.values else {}


def _local_mail(host: Host, tables: Tables, others: Neighbours) -> dict[str, str]:
    """Send the mail of local users to the admin, whether their domain is delivered here or elsewhere (virtual(5))."""
    name = "virtual_alias_maps"
    if own := tables.refer("local_mail", list(host.local_mail)):
        return {name: before_admins(own, name, others)}
    return {name: others.values[name]} if name in others.values else {}


def _limits(relay: Relay, host: Host) -> dict[str, str]:
    """Return the parameters that respect the limits of the first relay's provider.

    Those that are not smtp(8)'s, such as message_size_limit, would also limit what a host receives.
    """
    provider = PROVIDERS.get(relay.provider)
    limits = provider.parameters if provider else {}
    if relay.max_connections:
        limits = {**limits, CONCURRENCY: str(relay.max_connections)}
    only_sends = host.profile == "send-only"
    return {name: value for name, value in limits.items() if only_sends or name.startswith("smtp_")}


def _tls(relays: list[Relay], tables: Tables, others: Neighbours) -> dict[str, str]:
    """Set one TLS level in main.cf, and a policy table if the relays differ (TLS_README)."""
    general = next((relay for relay in relays if relay.direct), relays[0])
    level = tls_level(general, others.values)
    policies = {
        relay.next_hop: tls_policy(relay, others.values)
        for relay in relays
        if relay.next_hop and relay.protocol == "smtp"
    }
    differ = any(policy != level for policy in policies.values())
    parameters = {
        "smtp_tls_security_level": level,
        "smtp_tls_wrappermode": "yes" if relays[0].tls == "implicit" else "no",
        "smtp_tls_policy_maps": tables.refer("tls_policy", list(policies.items()) if differ else []),
    }
    return parameters | authorities(relays)


def _sasl(relays: list[Relay], logins: Logins, tables: Tables, others: Neighbours) -> dict[str, str]:
    """Set credentials by next hop. Postfix's default forbids PLAIN and LOGIN; allow them, under TLS only where possible."""
    name = "smtp_sasl_password_maps"
    if not logins.enabled:
        return {"smtp_sasl_auth_enable": "no", name: before_admins("", name, others)}
    with_login = [relay for relay in relays if relay.has_login]
    in_clear = any(relay.password_in_clear for relay in with_login)
    always_encrypted = all(relay.tls in {"starttls", "implicit"} for relay in with_login)
    entries = with_host_names(relays, logins, others.login_keys)
    tokens = {relay.host for relay in with_login if relay.oauth2}
    own = tables.refer_logins([*entries.items()], logins.renewed | tokens)
    by_sender = {BY_SENDER: "yes"} if looks_senders_up(relays[0], relays, logins) else {}
    return {
        "smtp_sasl_auth_enable": "yes",
        name: before_admins(", ".join(filter(None, (own, *logins.tables))), name, others),
        "smtp_sasl_security_options": "noanonymous"
        if in_clear or always_encrypted
        else "noplaintext, noanonymous",
        "smtp_sasl_tls_security_options": relays[0].own_parameters["smtp_sasl_tls_security_options"],
        **by_sender,
    }
