"""Mail addresses as trivial-rewrite(8) completes and splits them.

Pure. Addresses are in Postfix's internal form, without quotes. Sources: trivial-rewrite/rewrite.c,
global/quote_822_local.c, global/split_addr.c, global/resolve_local.c.
"""

import ipaddress
import re

from postward.config.fields import is_address, is_host_name
from postward.config.routing.configuration import REWRITE, Configuration
from postward.config.routing.tables import UnknownTableError
from postward.parsers.postconf import split_list

_SPECIALS = re.compile(r'[\x00-\x20\x7f()<>@,;:\\"\[\]]')
_UNSPLIT = frozenset({"postmaster", "mailer-daemon"})


def needs_quotes(local: str) -> bool:
    """Return True for a local part that is written in quotes, so that its characters are not operators."""
    return not local or local[0] == "." or local[-1] == "." or ".." in local or bool(_SPECIALS.search(local))


def in_quotes(local: str) -> str:
    """Return a local part in quotes."""
    escaped = re.sub(r'(["\\\r\n])', r"\\\1", local)
    return f'"{escaped}"'


def quoted(address: str) -> str:
    """Return an address in its external form, with its local part in quotes if it needs them."""
    local, at, domain = address.rpartition("@") if "@" in address else (address, "", "")
    return f"{in_quotes(local) if needs_quotes(local) else local}{at}{domain}"


def completed(address: str, config: Configuration) -> str:
    """Return an address with the domains that Postfix appends (trivial-rewrite/rewrite.c: rewrite_tree)."""
    if not address:
        return ""
    local, _, domain = address.rpartition("@") if "@" in address else _with_domain(address, config)
    if domain is None:
        return local
    if config.yes("append_dot_mydomain", REWRITE) and domain and not re.search(r"[.\[]", domain):
        domain += f".{config.value('mydomain', REWRITE)}"
    if domain.endswith(".") and not domain.endswith("..") and domain != ".":
        domain = domain[:-1]
    return f"{local}@{domain}"


def _with_domain(local: str, config: Configuration) -> tuple[str, str, str | None]:
    """Split an address without "@" as `rpartition` does; the domain is None if none is appended."""
    plain = not needs_quotes(local)
    if plain and "!" in local and config.yes("swap_bangpath", REWRITE):
        domain, _, user = local.partition("!")
        return user, "@", domain
    if plain and "%" in local and config.yes("allow_percent_hack", REWRITE):
        user, _, domain = local.rpartition("%")
        return user, "@", domain
    origin = config.value("myorigin", REWRITE)
    return local, "@", origin if origin and config.yes("append_at_myorigin", REWRITE) else None


def split_extension(local: str, config: Configuration, service: str) -> tuple[str, str]:
    """Return a local part without its extension, and the extension with its delimiter (global/split_addr.c)."""
    delimiters = config.value("recipient_delimiter", service)
    double_bounce = config.value("double_bounce_sender", service).lower()
    name = local.lower()
    if not delimiters or name in _UNSPLIT or name == double_bounce:
        return local, ""
    special = "-" in delimiters and config.yes("owner_request_special", service)
    if special and (name.startswith("owner-") or (name.endswith("-request") and len(name) > len("-request"))):
        return local, ""
    places = [place for char in delimiters if (place := local.find(char)) >= 0]
    first = min(places, default=0)
    return (local[:first], local[first:]) if first else (local, "")


def is_local(domain: str, config: Configuration, service: str) -> bool:
    """Return True if mail for a domain is delivered on this host (global/resolve_local.c).

    Raises:
        UnknownTableError, BrokenTableError: a table in mydestination decides; for an address, the host's addresses.
    """
    domain = domain.removesuffix(".")
    if not domain or domain.endswith("."):
        return False
    if config.tables.lists_string(config.value("mydestination", service), domain):
        return True
    return domain[0] == "[" and domain[-1] == "]" and _is_own_address(domain[1:-1], config)


def _is_own_address(literal: str, config: Configuration) -> bool:
    bare = re.sub(r"^ipv6:", "", literal, flags=re.IGNORECASE)
    if not is_address(bare) or (":" in bare) is not (bare != literal):
        return False
    address = str(ipaddress.ip_address(bare))
    for name in ("inet_interfaces", "proxy_interfaces"):
        for item in split_list(config.value(name, REWRITE)):
            word = item.strip("[]").lower()
            if is_address(word):
                if str(ipaddress.ip_address(word)) == address:
                    return True
            elif word in {"all", "loopback-only", "localhost"}:
                if address == "127.0.0.1":
                    return True
                if word == "all" or address == "::1":
                    raise UnknownTableError("the addresses of this host")
            else:
                raise UnknownTableError(f"the addresses of {word}")
    return False


def is_valid_domain(domain: str) -> bool:
    """Return True for a host name, or an address in brackets as of RFC 5321 (util/valid_hostname.c)."""
    if domain.startswith("["):
        literal = domain[1:-1]
        bare = re.sub(r"^ipv6:", "", literal, flags=re.IGNORECASE)
        return domain.endswith("]") and is_address(bare) and (":" in bare) is (bare != literal)
    return is_host_name(domain) or (not domain.isascii() and _is_idn(domain))


def _is_idn(domain: str) -> bool:
    try:
        return is_host_name(domain.encode("idna").decode())
    except UnicodeError:
        return False
