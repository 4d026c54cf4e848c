"""The servers to which smtp(8) and lmtp(8) connect for a next hop, with the TLS level and the login for each.

Pure. Sources: smtp/smtp_connect.c, smtp/smtp_tls_policy.c, smtp/smtp_sasl_glue.c, util/host_port.c. DNS is not asked:
where a server's name decides, and MX records give it, the answer is unknown.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from postward.config.fields import is_address, is_host_name
from postward.config.routing.configuration import Configuration
from postward.config.routing.resolve import Origin
from postward.config.routing.search import find_address
from postward.config.routing.tables import (
    BrokenTableError,
    Found,
    Keyed,
    Static,
    UnknownTableError,
    parent_domains,
)
from postward.parsers.postconf import split_list

# smtp_tls_security_level, weakest first (tls/tls_level.c). Wrapper mode needs "encrypt" or stronger.
LEVELS = ("none", "may", "encrypt", "fingerprint", "dane", "dane-only", "verify", "secure")
_WEAKER_THAN_ENCRYPT = frozenset({"none", "may"})
INVALID = "invalid"  # the level of a policy entry with a fault: smtp(8) defers the mail
_MARK = re.compile(r"#[0-9]+")  # of a `Vault`
# The default of known_tcp_ports (postconf(5), 3.6). Releases before look a name up in services(5) alone.
PORT_NAMES = {"smtp": 25, "lmtp": 24, "submission": 587, "smtps": 465, "submissions": 465}


class Login(NamedTuple):
    """The entry of smtp_sasl_password_maps that smtp(8) uses.

    Attributes:
        table: the table.
        key: the sender, server or next hop that was found; "*" in a table that answers all.
        user: the user name.
        mark: stands for the password, if the configuration was read with a `Vault`.
    """

    table: str
    key: str
    user: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """A destination of smtp(8) or lmtp(8).

    Attributes:
        destination: as it is configured, as in "[mail.example.com]:587".
        host: the name or address; the domain whose MX records are looked up, if `mx`.
        port: the TCP port; None for a name of services(5), or a socket of type unix.
        mx: the servers are those of MX (or SRV) records.
        fallback: it is from smtp_fallback_relay, for mail that the destinations before it did not take.
        level: the TLS security level; `INVALID` for a faulty policy; "" if it is unknown.
        policy: the entry of the TLS policy table in force; None without one.
        wrapper: TLS from the first byte.
        login: the login; None without one.
        faults: why smtp(8) does not connect, or connects otherwise than its settings say.
        unknown: what only Postfix knows, and what decides about it: ("login", "the MX hosts of example.com").
    """

    destination: str
    host: str = ""
    port: int | None = None
    mx: bool = False
    fallback: bool = False
    level: str = ""
    policy: Origin | None = None
    wrapper: bool = False
    login: Login | None = None
    faults: tuple[str, ...] = ()
    unknown: tuple[tuple[str, str], ...] = field(default=())


def hops_of(sender: str, next_hop: str, service: str, config: Configuration) -> tuple[Hop, ...]:
    """Return the destinations in the order in which they are tried; empty for other programs than smtp and lmtp.

    Args:
        sender: the envelope sender after `rewriting`.
        next_hop: the next hop that was resolved.
        service: name and type of the delivering service, as in "smtp/unix".
        config: the configuration.
    """
    client = config.command(service)
    if client not in {"smtp", "lmtp"}:
        return ()
    fallbacks = config.words(f"{client}_fallback_relay", service)
    destinations = [(item, False) for item in split_list(next_hop)] + [(item, True) for item in fallbacks]
    return tuple(
        _hop(sender, Hop(destination, fallback=fallback), client, service, config)
        for destination, fallback in destinations
    )


def _hop(sender: str, hop: Hop, client: str, service: str, config: Configuration) -> Hop:
    hop = _parsed(hop, client, service, config)
    if not hop.host:
        return hop
    hop = _with_tls(hop, client, service, config)
    return _with_login(sender, hop, client, service, config)


def _parsed(hop: Hop, client: str, service: str, config: Configuration) -> Hop:
    text = hop.destination
    if client == "lmtp":
        if text.startswith("unix:"):
            return replace(hop, host=text)
        text = text.removeprefix("inet:")
    try:
        host, port = split_destination(text, config.value(f"{client}_tcp_port", service))
    except ValueError as error:
        return replace(hop, faults=(f"{error} in {hop.destination}",))
    without_dns = config.value("smtp_dns_support_level", service) == "disabled" or (
        not config.value("smtp_dns_support_level", service) and config.yes("disable_dns_lookups", service)
    )
    by_name = not without_dns and not text.startswith("[")
    port_name = re.sub(r".*[\]:]", "", text[1:]) if not text.startswith("[") or "]:" in text else ""
    srv = port_name in config.words("use_srv_lookup", service)  # since 3.8
    by_records = by_name and (client == "smtp" or srv)
    # An address has no MX records: smtp(8) connects to it, with and without brackets (smtp/smtp_addr.c: smtp_addr_one).
    return replace(hop, host=host, port=port, mx=by_records and not is_address(host))


def split_destination(text: str, default_port: str) -> tuple[str, int | None]:
    """Return host and port of a destination (util/host_port.c).

    Raises:
        ValueError: smtp(8) ends with this fatal error.
    """
    if match := re.fullmatch(r"\[(?:ipv6:)?([^\]]*)(?:\](.*))?", text, re.IGNORECASE | re.DOTALL):
        host, rest = match[1], match[2]
        if rest is None:
            raise ValueError('missing "]"')
        if rest and not rest.startswith(":"):
            raise ValueError('garbage after "]"')
        port = rest[1:]
    else:
        host, _, port = text.rpartition(":") if ":" in text else (text, "", "")
        if not host:
            raise ValueError("missing host information")
    if not is_host_name(host) and not is_address(host) and host.isascii():
        raise ValueError("valid hostname or network address required")
    number = port or default_port
    if number.isdecimal():
        if not 0 < int(number) < 65536:
            raise ValueError("bad network port")
        return host, int(number)
    if number[:1].isdigit():
        raise ValueError("garbage after numerical service")
    return host, PORT_NAMES.get(number)


# TLS


def _with_tls(hop: Hop, client: str, service: str, config: Configuration) -> Hop:
    """Return the hop with its TLS level (smtp/smtp_tls_policy.c: policy_create)."""
    hop = replace(hop, wrapper=config.yes(f"{client}_tls_wrappermode", service))
    level = _level(client, service, config)
    maps = config.value(f"{client}_tls_policy_maps", service)
    if not maps and (per_site := config.value(f"{client}_tls_per_site", service)):
        return replace(hop, unknown=(*hop.unknown, ("level", per_site)))
    try:
        found = _policy(hop.destination, maps, config)
    except UnknownTableError as error:
        return replace(hop, unknown=(*hop.unknown, ("level", str(error))))
    except BrokenTableError as error:
        return replace(hop, level=INVALID, faults=(*hop.faults, f"{error} cannot be searched"))
    if found:
        level, fault = _policy_level(found.value)
        hop = replace(
            hop,
            policy=Origin.of(f"{client}_tls_policy_maps", found),
            faults=(*hop.faults, *([fault] if fault else [])),
        )
    elif level not in LEVELS:
        hop = replace(hop, faults=(*hop.faults, f'"{level}" is not a TLS level'))
        level = INVALID
    if hop.wrapper and level in _WEAKER_THAN_ENCRYPT:
        hop = replace(hop, faults=(*hop.faults, "wrapper mode requires the level encrypt or stronger"))
    return replace(hop, level=level)


def _level(client: str, service: str, config: Configuration) -> str:
    """Return the level without a policy (smtp/smtp_tls_policy.c: global_tls_level)."""
    if level := config.value(f"{client}_tls_security_level", service):
        return level.lower()
    if config.yes(f"{client}_enforce_tls", service):
        return "verify" if config.yes(f"{client}_tls_enforce_peername", service) else "encrypt"
    return "may" if config.yes(f"{client}_use_tls", service) else "none"


def _policy(destination: str, maps: str, config: Configuration) -> Found | None:
    """Search the policy tables by the destination as it is written; for a plain domain, by its parents too."""
    parents = parent_domains(destination, dotted=True) if is_host_name(destination) else ()
    for key in (destination, *parents):
        if found := config.tables.find(maps, key):
            return found
    return None


# Attributes of a policy that take a value; those that only the levels "verify" and "secure" have.
_ATTRIBUTES = frozenset(
    {"ciphers", "protocols", "servername", "match", "exclude", "tafile", "connection_reuse", "enable_rpk"}
)
_ONCE = frozenset({"ciphers", "protocols", "servername", "exclude"})
_NOT_EMPTY = frozenset({"ciphers", "match", "tafile"})
_LEVELS_OF = {"match": {"fingerprint", "verify", "secure"}, "tafile": {"verify", "secure"}}


def policy_fault(value: str) -> str | None:
    """Return why smtp(8) defers mail because of a policy's value (tls_policy_lookup_one); None if it is valid."""
    return _policy_level(value)[1]


def _policy_level(value: str) -> tuple[str, str | None]:
    words = split_list(value)
    if not words:
        return INVALID, "an empty policy"
    level = words[0].lower()
    if level not in LEVELS:
        return INVALID, f'"{words[0]}" is not a TLS level'
    fault = next(_attribute_faults(level, words[1:]), None) if level != "none" else None
    return (INVALID, fault) if fault else (level, None)


def _attribute_faults(level: str, words: list[str]) -> Iterator[str]:
    seen: set[str] = set()
    for word in words:
        bare = word[1:-1].strip() if word.startswith("{") else word  # braces: since 3.10
        name, equals, value = (part.strip() for part in bare.partition("="))
        name = name.lower()
        if not equals or not name:
            yield f'"{word}" is not an attribute with a value'
        elif name not in _ATTRIBUTES and not name.startswith(("policy_", "mx_host_")):
            yield f'"{name}" is not an attribute of a policy'
        elif name in seen & _ONCE:
            yield f'"{name}" is given twice'
        elif name in _NOT_EMPTY and not value:
            yield f'"{name}" has no value'
        elif level not in _LEVELS_OF.get(name, {level}):
            yield f'"{name}" does not go with the level {level}'
        elif name in {"connection_reuse", "enable_rpk"} and value.lower() not in {"yes", "no"}:
            yield f'"{name}" is yes or no'
        elif name == "servername" and not is_host_name(value):
            yield f'"{value}" is not a host name'
        seen.add(name)


# Logins


def _with_login(sender: str, hop: Hop, client: str, service: str, config: Configuration) -> Hop:
    """Return the hop with its login (smtp/smtp_sasl_glue.c: smtp_sasl_passwd_lookup).

    The order is: the sender, the name of the server, the destination as it is written.
    """
    if not config.yes(f"{client}_sasl_auth_enable", service) or hop.host.startswith("unix:"):
        return hop
    maps = config.value(f"{client}_sasl_password_maps", service)
    if not maps:  # a fatal error of smtp(8) (smtp_sasl_glue.c: smtp_sasl_initialize)
        return replace(hop, faults=(*hop.faults, f"{client}_sasl_auth_enable = yes without passwords"))
    by_sender = client == "smtp" and config.yes("smtp_sender_dependent_authentication", service)
    try:
        entry = find_address(maps, sender, config, service) if by_sender and sender else None
        if found := entry[0] if entry else None:
            return replace(hop, login=_login(found))
        if hop.mx and _may_name_servers(maps, config):
            return replace(hop, unknown=(*hop.unknown, ("login", f"the MX hosts of {hop.host}")))
        # No table has the name of a server that MX records may give, so all names have the same answer.
        found = config.tables.find(maps, hop.host) or config.tables.find(maps, hop.destination)
    except UnknownTableError as error:
        return replace(hop, unknown=(*hop.unknown, ("login", str(error))))
    except BrokenTableError as error:
        return replace(hop, faults=(*hop.faults, f"{error} cannot be searched"))
    return replace(hop, login=_login(found) if found else None)


def _login(found: Found) -> Login:
    user, _, mark = found.value.partition(":")
    return Login(found.table, found.key, user, mark if _MARK.fullmatch(mark) else "")


def _may_name_servers(maps: str, config: Configuration) -> bool:
    """Return True if it matters which servers MX records name: a table has other keys than senders and `[host]`.

    A static table answers for every server.
    """
    for name in split_list(maps):
        contents = config.tables.contents_of(name)
        if isinstance(contents, Static):
            return False
        if not isinstance(contents, Keyed) or any(is_host_name(key) for key in contents.entries):
            return True
    return False
