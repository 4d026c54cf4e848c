"""The transport and next hop of a recipient, as trivial-rewrite(8) resolves them for the queue manager.

Pure. Sources: trivial-rewrite/resolve.c, trivial-rewrite/transport.c, and qmgr/qmgr_message.c for what the queue
manager puts in the place of an answer. The same in 3.7, 3.10 and 3.11, except for relocated_prefix_enable (3.11).
"""

from dataclasses import dataclass, replace

from postward.config.fields import is_address
from postward.config.routing.addresses import completed, is_local, is_valid_domain, needs_quotes
from postward.config.routing.configuration import REWRITE, Configuration
from postward.config.routing.search import find_address, find_transport
from postward.config.routing.tables import BrokenTableError, Found, UnknownTableError

LOCAL, ALIAS, VIRTUAL, RELAY, DEFAULT = "local", "virtual alias", "virtual mailbox", "relay", "default"
_UNDELIVERABLE = "Address is undeliverable"


@dataclass(frozen=True, slots=True)
class Origin:
    """The place in the configuration that decided: a parameter, and the entry of its tables if it is a list of them."""

    parameter: str
    table: str = ""
    key: str = ""

    @classmethod
    def of(cls, parameter: str, found: Found) -> "Origin":
        """Return the origin of an entry."""
        return cls(parameter, found.table, found.key)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The answer for one recipient.

    Attributes:
        recipient: the recipient, without layers of routing such as `user%example.com@localhost`.
        address_class: one of the classes of ADDRESS_CLASS_README; "" for an address with bad syntax.
        transport: the service of master.cf that delivers.
        next_hop: its argument: hosts, a domain, or the text of an error.
        transport_origin: what decided about the transport.
        next_hop_origin: what decided about the next hop; None if it is the domain of the recipient.
        unknown: the table that decides and cannot be searched; then transport and next hop are "".
        broken: the table that Postfix cannot search either, so the mail is deferred.
    """

    recipient: str
    address_class: str = ""
    transport: str = ""
    next_hop: str = ""
    transport_origin: Origin | None = None
    next_hop_origin: Origin | None = None
    unknown: str = ""
    broken: str = ""


def resolve(sender: str, recipient: str, config: Configuration) -> Resolved:
    """Return transport and next hop.

    Args:
        sender: the envelope sender after `rewriting`; "" for the null sender.
        recipient: the envelope recipient, likewise.
        config: the configuration.
    """
    answer = Resolved(recipient)
    try:
        address, here = _stripped(recipient, config)
        answer = _classified(Resolved(address), here, config)
        if answer.address_class:
            answer = _routed(sender, answer, config)
    except UnknownTableError as error:
        return replace(answer, transport="", next_hop="", unknown=str(error))
    except BrokenTableError as error:
        text = "4.3.0 address resolver failure"
        return replace(answer, transport="retry", next_hop=text, broken=str(error))
    bad = not answer.address_class or (
        answer.recipient.startswith("-") and not config.yes("allow_min_user", REWRITE)
    )
    return replace(answer, transport="error", next_hop="5.1.3 bad address syntax") if bad else answer


# The domain


def _stripped(address: str, config: Configuration) -> tuple[str, bool]:
    """Return the address without local domains and routing operators, and whether it is local."""
    saved: str | None = None
    for _ in range(len(address) + 100):
        local, at, domain = address.rpartition("@") if "@" in address else (address, "", "")
        if domain.endswith(".") and domain[-2:-1] not in {"", "."}:
            domain = domain[:-1]
        if at and domain and not is_local(domain, config, REWRITE):
            return f"{local}@{domain}", False
        if at and not (not domain and config.yes("resolve_null_domain", REWRITE)):
            saved = domain
        if (cracked := _cracked(local, config)) is not None:
            address = cracked
            continue
        if not local:
            address = config.value("empty_address_recipient", REWRITE)
        elif saved is None:
            address = f"{local}@{config.value('myhostname', REWRITE)}"
        else:
            return f"{local}@{saved}", True
    raise BrokenTableError(address)


def _cracked(local: str, config: Configuration) -> str | None:
    """Return the address that a local part contains with routing operators; None without any."""
    operators = "!" if config.yes("swap_bangpath", REWRITE) else ""
    operators += "%" if config.yes("allow_percent_hack", REWRITE) else ""
    if not local:
        return None
    if not needs_quotes(local):
        return completed(local, config) if any(char in local for char in operators) else None
    if not config.yes("resolve_dequoted_address", REWRITE):
        return None
    for operator in ("@", *sorted(operators)[::-1]):
        place = local.rfind(operator)
        if place >= 0:
            return completed(local if operator == "!" else f"{local[:place]}@{local[place + 1 :]}", config)
    return None


# Class, transport and next hop


def _classified(answer: Resolved, here: bool, config: Configuration) -> Resolved:
    """Return the answer with the address class; without one for a bad domain."""
    local, _, domain = answer.recipient.rpartition("@")
    if is_address(domain) and config.yes("resolve_numeric_domain", REWRITE):
        domain = f"[{domain}]"
        here = is_local(domain, config, REWRITE)
        answer = replace(answer, recipient=f"{local}@{domain}")
    if not is_valid_domain(domain):
        return answer
    if here:
        return replace(answer, address_class=LOCAL)
    lists, value = config.tables.lists_string, config.value
    if lists(value("virtual_alias_domains", REWRITE), domain):
        return replace(answer, address_class=ALIAS)
    if lists(value("virtual_mailbox_domains", REWRITE), domain):
        return replace(answer, address_class=VIRTUAL)
    parents = "relay_domains" in config.words("parent_domain_matches_subdomains", REWRITE)
    relayed = lists(value("relay_domains", REWRITE), domain, parents=parents)
    return replace(answer, address_class=RELAY if relayed else DEFAULT)


_TRANSPORTS = {
    LOCAL: "local_transport",
    VIRTUAL: "virtual_transport",
    RELAY: "relay_transport",
    DEFAULT: "default_transport",
}


def _routed(sender: str, answer: Resolved, config: Configuration) -> Resolved:
    if answer.address_class == ALIAS:
        shown = config.yes("show_user_unknown_table_name", REWRITE)
        text = "5.1.1 User unknown" + (" in virtual alias table" if shown else "")
        return _relocated(
            replace(
                answer,
                transport="error",
                next_hop=text,
                transport_origin=Origin("virtual_alias_domains"),
            ),
            config,
        )
    answer = _by_class(sender, answer, config)
    if maps := config.value("transport_maps", REWRITE):
        answer = _by_table(answer, maps, config)
    return _relocated(answer, config)


def _by_class(sender: str, answer: Resolved, config: Configuration) -> Resolved:
    name = _TRANSPORTS[answer.address_class]
    transport, origin = config.value(name, REWRITE), Origin(name)
    if answer.address_class == DEFAULT:
        maps_name = "sender_dependent_default_transport_maps"
        found = _by_sender(sender, maps_name, "empty_address_default_transport_maps_lookup_key", config)
        if found and found.value.upper() != "DUNNO":
            transport, origin = found.value, Origin.of(maps_name, found)
    hop, hop_origin = answer.recipient.rpartition("@")[2], None
    if answer.address_class in {RELAY, DEFAULT}:
        maps_name = "sender_dependent_relayhost_maps"
        relay = _by_sender(sender, maps_name, "empty_address_relayhost_maps_lookup_key", config)
        if relay and relay.value.upper() != "DUNNO":
            hop, hop_origin = relay.value, Origin.of(maps_name, relay)
        elif relayhost := config.value("relayhost", REWRITE):
            hop, hop_origin = relayhost, Origin("relayhost")
    channel, _, own_hop = transport.partition(":")
    if own_hop:
        hop, hop_origin = own_hop, origin
    if not channel:
        raise BrokenTableError(origin.table or name)
    return replace(
        answer, transport=channel, next_hop=hop, transport_origin=origin, next_hop_origin=hop_origin
    )


def _by_sender(sender: str, maps_name: str, null_key: str, config: Configuration) -> Found | None:
    maps = config.value(maps_name, REWRITE)
    key = sender or config.value(null_key, REWRITE)
    entry = find_address(maps, key, config, REWRITE, substitute=False) if maps else None
    return entry[0] if entry else None


def _by_table(answer: Resolved, maps: str, config: Configuration) -> Resolved:
    """Return the answer with the entry of transport_maps (trivial-rewrite/transport.c: update_entry)."""
    found = find_transport(maps, answer.recipient, config, REWRITE) or config.tables.find(
        maps, "*", substitute=False
    )
    if found is None:
        return answer
    channel, _, hop = found.value.partition(":")
    origin = Origin.of("transport_maps", found)
    if not channel:
        return replace(answer, next_hop=hop, next_hop_origin=origin) if hop else answer
    domain = answer.recipient.rpartition("@")[2]
    default = _UNDELIVERABLE if channel in {"error", "retry"} else domain
    return replace(
        answer,
        transport=channel,
        next_hop=hop or default,
        transport_origin=origin,
        next_hop_origin=origin if hop else None,
    )


def _relocated(answer: Resolved, config: Configuration) -> Resolved:
    maps = config.value("relocated_maps", REWRITE)
    entry = find_address(maps, answer.recipient, config, REWRITE) if maps else None
    if entry is None:
        return answer
    return replace(
        answer,
        transport="error",
        next_hop=f"5.1.6 User has moved to {entry[0].value}",
        transport_origin=Origin.of("relocated_maps", entry[0]),
        next_hop_origin=None,
    )
