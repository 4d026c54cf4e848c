"""The other SMTP hops of a Postfix, and the admin's tables beside Postward's.

Pure. One smtp(8) service can send to several next hops: the relay, a content filter, an inner mail server. Where there
are others, the relay's wishes must not go into the parameters that all of them share (`postward.config.beside`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from postward.config.resources import OWN_SERVICE
from postward.config.settings import Settings
from postward.parsers.postconf import Master, split_list

# Lists of tables. Postfix takes the first match, so Postward's come before the admin's.
LISTS = (
    "sender_dependent_default_transport_maps",
    "sender_dependent_relayhost_maps",
    "smtp_sasl_password_maps",
    "smtp_tls_policy_maps",
    "transport_maps",
)
# Parameters that lead to an SMTP hop if the transport that they name is one of smtp(8).
_HOPS = ("content_filter", "fallback_transport", "local_transport", "mailbox_transport", "virtual_transport")
SCALARS = (
    *_HOPS,
    "default_transport",
    "fallback_transport_maps",
    "mailbox_transport_maps",
    "relay_transport",
    "smtp_fallback_relay",
    "smtp_sasl_mechanism_filter",
    "smtp_sender_dependent_authentication",
    "smtp_tls_security_level",
    "smtp_tls_wrappermode",
)
# Postfix's own clients (master.cf as distributed). Any other smtp(8) service is there for a hop of its own.
_STANDARD_CLIENTS = frozenset({"smtp", "relay"})


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The admin's part of the configuration that Postward's has to respect.

    Attributes:
        hops: where each other SMTP hop is configured; empty if smtp(8) only sends to Postward's relays.
        values: `SCALARS` and `LISTS` as the admin has them, without Postward's tables, services and relays.
        tables: files in config_directory that are the admin's, although Postward has a table of that name.
    """

    hops: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()


NO_NEIGHBOURS = Neighbours()


def neighbours(
    settings: Settings,
    values: Mapping[str, str],
    master: Master,
    tables: frozenset[str],
    ignored: frozenset[str],
) -> Neighbours:
    """Return the neighbours of Postward's configuration.

    Args:
        settings: the settings. A parameter in `[main_cf]` counts as it will be.
        values: `SCALARS`, expanded, and `LISTS` as main.cf has them.
        master: the services of master.cf and their parameters.
        tables: files of the admin under the names of Postward's tables.
        ignored: items of `LISTS` that are Postward's, or that name no existing table.
    """
    own_hops = {relay.next_hop for relay in settings.relay}
    admins = {**values, **settings.main_cf}
    for name in LISTS:
        admins[name] = ", ".join(item for item in split_list(admins.get(name, "")) if item not in ignored)
    fallbacks = split_list(admins.get("smtp_fallback_relay", ""))
    admins["smtp_fallback_relay"] = ", ".join(hop for hop in fallbacks if hop not in own_hops)
    if settings.host.profile == "send-only" or admins.get("default_transport", "").startswith(OWN_SERVICE):
        admins["default_transport"] = "smtp"
    if settings.host.profile == "send-only":
        admins["smtp_sender_dependent_authentication"] = "no"
    return Neighbours(tuple(_hops(admins, master)), admins, tables)


def _hops(values: Mapping[str, str], master: Master) -> Iterator[str]:
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
        if values.get(name) and name != "smtp_sasl_password_maps":
            yield f"{name} = {values[name]}"
    for name in sorted(clients - _STANDARD_CLIENTS):
        if not name.startswith(OWN_SERVICE):
            yield f"the service {name} of master.cf"
