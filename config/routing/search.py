"""Searches for an address in tables: the whole address, without its extension, its local part, its domain.

Pure. Source: global/mail_addr_find.c.
"""

from collections.abc import Iterator

from postward.config.routing.addresses import in_quotes, is_local, needs_quotes, split_extension
from postward.config.routing.configuration import Configuration
from postward.config.routing.tables import Found, parent_domains


def find_address(
    maps: str,
    address: str,
    config: Configuration,
    service: str,
    *,
    substitute: bool = True,
    rewriting: bool = False,
) -> tuple[Found, str] | None:
    """Search tables of addresses: user+extension@domain, user@domain, local users, @domain (MA_FIND_DEFAULT).

    Args:
        maps: the list of tables.
        address: the address.
        config: the configuration.
        service: the service that searches.
        substitute: values may refer to groups of a pattern.
        rewriting: the tables are those of cleanup(8), which does not try a key with quotes without them.

    Returns:
        the entry, and the extension that had to be left out to find it.

    Raises:
        UnknownTableError, BrokenTableError: the search ended at a table without an answer.
    """
    local, at, domain = address.rpartition("@") if "@" in address else (address, "", "")
    suffix = f"{at}{domain}"
    for number, (name, behind, left_out) in enumerate(_keys(local, suffix, config, service)):
        for form in _forms(name, behind, both=not rewriting):
            if found := config.tables.find(maps, form, partial=number > 0, substitute=substitute):
                return found, left_out
    found = config.tables.find(maps, suffix, partial=True, substitute=substitute) if at else None
    return (found, "") if found else None


def _keys(local: str, suffix: str, config: Configuration, service: str) -> Iterator[tuple[str, str, str]]:
    """Yield (local part, what is behind it, the extension that is left out).

    Whether the domain is local is looked up only after the whole address, as Postfix does: a table of mydestination that
    cannot be opened does not matter before.
    """
    bare, extension = split_extension(local, config, service)
    whole = [(local, suffix, ""), *([(bare, suffix, extension)] if extension else [])]
    yield from whole
    if suffix and _is_at_origin(suffix[1:], config, service):
        yield from ((name, "", left_out) for name, _, left_out in whole)


def _forms(local: str, suffix: str, *, both: bool) -> Iterator[str]:
    """Yield an address or local part in its external form, and then, if it is another one, in its internal form."""
    if needs_quotes(local):
        yield f"{in_quotes(local)}{suffix}"
    if both or not needs_quotes(local):
        yield f"{local}{suffix}"


def find_transport(maps: str, address: str, config: Configuration, service: str) -> Found | None:
    """Search transport_maps without its wildcard (trivial-rewrite/transport.c: transport_lookup).

    Raises:
        UnknownTableError, BrokenTableError: as `find_address`.
    """
    local, _, domain = address.rpartition("@")
    bare, extension = split_extension(local, config, service)
    parents = "transport_maps" in config.words("parent_domain_matches_subdomains", service)
    keys = [*_forms(local, f"@{domain}", both=True)]
    whole = len(keys)
    if extension:
        keys += _forms(bare, f"@{domain}", both=True)
    keys += [domain, *parent_domains(domain, dotted=not parents)]
    for number, key in enumerate(keys):
        if found := config.tables.find(maps, key, partial=number >= whole, substitute=False):
            return found
    return None


def _is_at_origin(domain: str, config: Configuration, service: str) -> bool:
    return domain.lower() == config.value("myorigin", service).lower() or is_local(domain, config, service)
