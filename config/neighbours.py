"""The other SMTP hops of a Postfix, and the admin's tables beside Postward's.

Pure. One smtp(8) service can send to several next hops: the relay, a content filter, an inner mail server. Where there
are others, the relay's wishes must not go into the parameters that all of them share (`postward.config.beside`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from postward.config.logins import EVERY_KEY
from postward.config.resources import OWN_SERVICE
from postward.config.settings import Settings
from postward.parsers.postconf import Master, split_list

# Lists of tables. Postfix takes the first match, so Postward's come before the admin's.
LISTS = (
    "sender_canonical_maps",
    "sender_dependent_default_transport_maps",
    "sender_dependent_relayhost_maps",
    "smtp_sasl_password_maps",
    "smtp_tls_policy_maps",
    "transport_maps",
    "virtual_alias_maps",
)
# Lists that change addresses, and name no next hop.
REWRITING = frozenset({"sender_canonical_maps", "virtual_alias_maps"})
# Parameters that lead to an SMTP hop if the transport that they name is one of smtp(8).
_HOPS = ("content_filter", "fallback_transport", "local_transport", "mailbox_transport", "virtual_transport")
# Parameters by which Postfix chooses next hops, TLS and logins.
SCALARS = (
    *_HOPS,
    "default_transport",
    "fallback_transport_maps",
    "mailbox_transport_maps",
    "mydestination",
    "relay_domains",
    "relay_transport",
    "relayhost",
    "smtp_destination_concurrency_limit",
    "smtp_fallback_relay",
    "smtp_sasl_auth_enable",
    "smtp_sasl_auth_soft_bounce",
    "smtp_sasl_mechanism_filter",
    "smtp_sasl_security_options",
    "smtp_sasl_tls_security_options",
    "smtp_sasl_type",
    "smtp_sender_dependent_authentication",
    "smtp_tls_security_level",
    "smtp_tls_wrappermode",
)
# The parameters of logins by next hop, which Postward sets beside other hops.
LOGINS_BY_NEXT_HOP = {"smtp_sasl_auth_enable": "yes", "smtp_sasl_tls_security_options": "noanonymous"}
CONCURRENCY = "smtp_destination_concurrency_limit"
# Parameters of qmgr(8) and scache(8) that begin with the name of a transport: a service has no option for them.
_NOT_THE_CLIENTS = re.compile(
    r"smtp_((destination|initial|minimum|extra)_|recipient_|delivery_slot|transport_rate|time_limit|connection_cache_time)"
)
# Postfix's own clients (master.cf as distributed). Any other smtp(8) service is there for a hop of its own.
_STANDARD_CLIENTS = frozenset({"smtp", "relay"})


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The admin's part of the configuration that Postward's has to respect.

    Attributes:
        hops: where each other SMTP hop is configured; empty if smtp(8) only sends to Postward's relays.
        values: `SCALARS` and `LISTS` as the admin has them, without Postward's tables, services and relays.
        tables: files in config_directory that are the admin's and stay, although Postward has a table of that name.
        login_keys: the keys of the admin's tables of logins, in lowercase; `EVERY_KEY` for a table that answers all.
        policies: next hop of a relay → the admin's entry for it in smtp_tls_policy_maps.
        captured: domains in relay_domains whose mail goes to their own servers while relayhost is empty.
    """

    hops: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()
    login_keys: frozenset[str] = frozenset()
    policies: Mapping[str, str] = field(default_factory=dict)
    captured: str = ""

    @property
    def login_senders(self) -> frozenset[str]:
        """The keys by which Postfix finds the admin's logins by sender."""
        by_sender = self.values.get("smtp_sender_dependent_authentication") == "yes"
        return frozenset(key for key in self.login_keys if "@" in key) if by_sender else frozenset()


NO_NEIGHBOURS = Neighbours()


def clients(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters that concern the connections of smtp(8): HELO name, certificates, mechanisms, timeouts."""
    return {
        name: value
        for name, value in parameters.items()
        if name == CONCURRENCY or (name.startswith("smtp_") and not _NOT_THE_CLIENTS.match(name))
    }


def neighbours(
    settings: Settings,
    values: Mapping[str, str],
    master: Master,
    tables: frozenset[str],
    ignored: frozenset[str],
    keys: Mapping[str, frozenset[str]] = {},
    policies: Mapping[str, str] = {},
) -> Neighbours:
    """Return the neighbours of Postward's configuration.

    Args:
        settings: the settings. A parameter in `[main_cf]` counts as it will be, except those of the client.
        values: `SCALARS` and the client's parameters in `[main_cf]`, expanded, and `LISTS` as main.cf has them.
        master: the services of master.cf and their parameters.
        tables: files of the admin under the names of Postward's tables.
        ignored: items of `LISTS` that are Postward's, or that lead nowhere, as they name no existing table.
        keys: file in `tables`, or table of logins or next hops by sender → its keys in lowercase; missing if they cannot
            be read.
        policies: as in `Neighbours`.
    """
    own_hops = {relay.next_hop for relay in settings.relay if relay.next_hop}
    main_cf = {
        name: value for name, value in settings.main_cf.items() if name not in clients(settings.main_cf)
    }
    admins = {**values, **main_cf, **settings.host.parameters}
    for name in LISTS:
        admins[name] = ", ".join(item for item in split_list(admins.get(name, "")) if item not in ignored)
    logins = split_list(admins["smtp_sasl_password_maps"])
    kept = [item for item in logins if not _is_replaced(item, keys, settings)]
    # A table of senders that the settings name too decides nothing more.
    by_sender = "sender_dependent_relayhost_maps"
    senders = {sender.lower() for relay in settings.relay for sender in relay.senders}
    admins[by_sender] = ", ".join(
        item for item in split_list(admins[by_sender]) if not keys.get(item, {""}) <= senders
    )
    fallbacks = split_list(admins.get("smtp_fallback_relay", ""))
    admins["smtp_fallback_relay"] = ", ".join(hop for hop in fallbacks if hop not in own_hops)
    if settings.host.profile == "send-only" or _is_first_relays(
        admins.get("default_transport", ""), settings
    ):
        admins["default_transport"] = "smtp"
    if not kept:  # without logins of the admin, only Postward's own could be looked up by sender
        admins["smtp_sender_dependent_authentication"] = "no"
    captured = _captured(admins)
    hops = tuple(_hops(admins, master, captured))
    if not hops:  # the settings replace the configuration of their own relay
        admins["smtp_sasl_password_maps"] = ", ".join(kept)
        tables = frozenset(name for name in tables if not _is_replaced(name, keys, settings))
    logins_of = (_keys(item, keys) for item in split_list(admins["smtp_sasl_password_maps"]))
    return Neighbours(hops, admins, tables, frozenset().union(*logins_of), policies, captured)


def _is_first_relays(transport: str, settings: Settings) -> bool:
    """Return True for a service of Postward's, and for Postfix's own client with the first relay as its next hop."""
    service, _, next_hop = transport.partition(":")
    host = re.sub(r"^\[(.*?)\].*|^([^:]*).*", r"\1\2", next_hop).lower()
    return service.startswith(OWN_SERVICE) or (
        service in _STANDARD_CLIENTS and bool(host) and host == settings.relay[0].host.lower()
    )


def _keys(table: str, keys: Mapping[str, frozenset[str]]) -> frozenset[str]:
    answers_all = table.removeprefix("proxy:").startswith("static:")
    return frozenset({EVERY_KEY}) if answers_all else keys.get(table, frozenset())


def _is_replaced(table: str, keys: Mapping[str, frozenset[str]], settings: Settings) -> bool:
    """Return True for a table whose entries are all for what the settings name."""
    named = {
        name.lower() for relay in settings.relay for name in (relay.host, relay.next_hop, *relay.senders)
    }
    return table in keys and keys[table] <= named


def _captured(values: Mapping[str, str]) -> str:
    """Return the domains of relay_domains that relayhost would take over (trivial-rewrite/resolve.c)."""
    if values.get("relayhost") or values.get("transport_maps") or ":" in values.get("relay_transport", ""):
        return ""
    local = split_list(values.get("mydestination", ""))
    return ", ".join(item for item in split_list(values.get("relay_domains", "")) if item not in local)


def _hops(values: Mapping[str, str], master: Master, captured: str) -> Iterator[str]:
    if captured:
        yield f"relay_domains = {captured}"
    clients = {
        service.name
        for service in master.services.values()
        if service.type == "unix" and service.command.split()[0] == "smtp"
    }
    services = {name: value for name, value in master.overrides.items() if name.rpartition("/")[2] in _HOPS}
    for name, value in {**{name: values.get(name, "") for name in _HOPS}, **services}.items():
        if value.partition(":")[0] in clients:
            yield f"{name} = {value}"
    usual = {
        "relay_transport": "relay",
        "default_transport": "smtp",
        "smtp_sender_dependent_authentication": "no",
    }
    for name, value in usual.items():
        if values.get(name, value) != value:
            yield f"{name} = {values[name]}"
    for name in ("fallback_transport_maps", "mailbox_transport_maps", "smtp_fallback_relay", *LISTS):
        if values.get(name) and name not in {"smtp_sasl_password_maps", *REWRITING}:
            yield f"{name} = {values[name]}"
    for name in sorted(clients - _STANDARD_CLIENTS):
        if not name.startswith(OWN_SERVICE):
            yield f"the service {name} of master.cf"
