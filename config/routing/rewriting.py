"""The addresses of a mail after cleanup(8): completed, canonical, masqueraded, and with virtual aliases expanded.

Pure. Sources: cleanup/cleanup_addr.c, cleanup/cleanup_map11.c, cleanup/cleanup_map1n.c,
cleanup/cleanup_masquerade.c, global/mail_addr_map.c. smtp_generic_maps is not applied: smtp(8) rewrites the addresses
that it sends by it, and searches its own tables by the addresses before.
"""

import re

from postward.config.routing.addresses import completed, needs_quotes
from postward.config.routing.configuration import CLEANUP, Configuration
from postward.config.routing.search import find_address
from postward.config.routing.tables import BrokenTableError, UnknownTableError

_MAX_RECURSION = 10


def sender_of(address: str, config: Configuration, *, mapping: bool) -> str:
    """Return the envelope sender as cleanup(8) queues it.

    Args:
        address: the sender that the client gave; "" for the null sender.
        config: the configuration.
        mapping: False if the mail came in with `receive_override_options = no_address_mappings`.

    Raises:
        UnknownTableError, BrokenTableError: a table without an answer decides.
    """
    sender = completed(address, config)
    if sender.lower() == completed("MAILER-DAEMON", config).lower():
        sender = ""
    return _mapped(sender, "sender", config) if mapping else sender


def recipients_of(address: str, config: Configuration, *, mapping: bool) -> tuple[str, ...]:
    """Return the envelope recipients as cleanup(8) queues them. Arguments and errors as `sender_of`."""
    recipient = completed(address or config.value("empty_address_recipient", CLEANUP), config)
    if not mapping:
        return (recipient,)
    recipient = _mapped(recipient, "recipient", config)
    maps = config.value("virtual_alias_maps", CLEANUP)
    return tuple(_expanded(recipient, maps, config)) if maps else (recipient,)


def _mapped(address: str, role: str, config: Configuration) -> str:
    for name in (f"{role}_canonical", "canonical"):
        maps = config.value(f"{name}_maps", CLEANUP)
        if maps and f"envelope_{role}" in config.words(f"{name}_classes", CLEANUP):
            address = _rewritten(address, maps, config)
    if f"envelope_{role}" in config.words("masquerade_classes", CLEANUP):
        address = _masqueraded(address, config)
    return address


def _rewritten(address: str, maps: str, config: Configuration) -> str:
    """Rewrite an address until it stays the same (cleanup_map11_external)."""
    for _ in range(_MAX_RECURSION):
        results = _results(address, maps, "canonical", config)
        if not results:
            return address
        former, address = address, results[0]
        if former.lower() == address.lower():
            return address
    return address


def _expanded(address: str, maps: str, config: Configuration) -> list[str]:
    """Expand an address by virtual_alias_maps until no result has an entry (cleanup_map1n_internal)."""
    max_depth = int(config.value("virtual_alias_recursion_limit", CLEANUP) or 1000)
    max_count = int(config.value("virtual_alias_expansion_limit", CLEANUP) or 1000)
    addresses = [address]
    own: set[str] = set()  # addresses that have themselves among their results
    for place, _ in enumerate(addresses):  # which grows
        for depth in range(max_depth + 1):
            before = addresses[place]
            if before.lower() in own or not (results := _results(before, maps, "virtual", config)):
                break
            if depth == max_depth or len(addresses) > max_count:
                raise BrokenTableError(maps)
            addresses[place], addresses[len(addresses) :] = results[0], results[1:]
            own |= {before.lower()} & {result.lower() for result in results}
    first = {address.lower(): address for address in reversed(addresses)}
    return [first[key] for key in dict.fromkeys(address.lower() for address in addresses)]


def _results(address: str, maps: str, kind: str, config: Configuration) -> list[str]:
    """Return the addresses to which an address is mapped (global/mail_addr_map.c); empty without an entry."""
    entry = find_address(maps, address, config, CLEANUP, rewriting=True)
    if entry is None:
        return []
    found, extension = entry
    value = found.value
    local, at, _ = address.rpartition("@")
    if value.startswith("@"):
        value = f"{(local if at else address).removesuffix(extension)}{value}"
    propagated = extension if kind in config.words("propagate_unmatched_extensions", CLEANUP) else ""
    results = [
        _with_extension(completed(item, config), propagated) for item in _addresses(value, found.table)
    ]
    if not results:
        raise BrokenTableError(found.table)
    return results


def _addresses(value: str, table: str) -> list[str]:
    """Split a list of plain addresses. Postfix also takes comments, names and quotes, which this does not parse."""
    items = [item for item in re.split(r"[\s,]+", value) if item]
    bare = ["" if item == "<>" else item.removeprefix("<").removesuffix(">") for item in items]
    for address in bare:
        local = address.rpartition("@")[0] or address
        if address and needs_quotes(local):
            raise UnknownTableError(table)
    return bare


def _with_extension(address: str, extension: str) -> str:
    local, at, domain = address.rpartition("@")
    return f"{local}{extension}@{domain}" if at else f"{address}{extension}"


def _masqueraded(address: str, config: Configuration) -> str:
    local, at, domain = address.rpartition("@")
    exceptions = config.value("masquerade_exceptions", CLEANUP)
    if not at or (exceptions and config.tables.lists_string(exceptions, local)):
        return address
    name = domain.lower()
    for item in config.words("masquerade_domains", CLEANUP):
        parent = item.lstrip("!").lower()
        if not parent:
            continue
        if name == parent:
            return address
        if name.endswith(f".{parent}"):
            negated = (len(item) - len(item.lstrip("!"))) % 2
            return address if negated else f"{local}@{parent}"
    return address
