"""Contradictions between the ways in which a relay takes mail: direct, by MX, by LMTP, beside others at one host.

Pure, and like `postward.config.contradictions` about tables before validation.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from postward.config.errors import Loc
from postward.config.fields import is_address, quoted
from postward.config.relay import PASSWORD_SOURCES, given

Table = Mapping[str, Any]
Found = Iterator[tuple[str, str]]

_LOGIN = ("username", "auth", *PASSWORD_SOURCES, "login_table", "oauth2")
_CHECKS_OF_CERTIFICATES = ("verify", "verify_names", "fingerprints")
_SERVER = ("provider", "region", "host", "port", "mx")
# Keys that smtp(8) has once for all mail to one host and port.
_SHARED = ("tls", "mx", "dane", *_CHECKS_OF_CERTIFICATES)
# Keys that a service of its own can have for one relay only.
SERVICE_KEYS = (
    "own_service",
    "helo_name",
    "bind_address",
    "max_connections",
    "client_certificate",
    "auth",
    "oauth2",
)


def delivery_problems(relays: object, main_cf: Table) -> Iterator[tuple[Loc, str]]:
    """Yield the location of each contradiction, and a message that says how to resolve it.

    Args:
        relays: the tables of the relays.
        main_cf: the table `[main_cf]`.
    """
    raw = [relay if isinstance(relay, dict) else {} for relay in relays] if isinstance(relays, list) else []
    tables = [given(relay) for relay in raw]
    for index, (written, relay) in enumerate(zip(raw, tables, strict=True)):
        for check in (_direct, _lmtp, _socket):
            for key, message in check(written, relay):
                yield ("relay", index, key), message
        for key, message in _certificates(relay):
            yield ("relay", index, key), message
        for key, message in _login_table(written):
            yield ("relay", index, key), message
        for key, message in _fallback(relay, tables[0]):
            yield ("relay", index, key), message
        for key, message in _at_one_server(index, tables):
            yield ("relay", index, key), message
        for number, message in _probes(index, relay):
            yield ("relay", index, "probe_recipients", number), message
    if any("recipients" in relay for relay in tables) and "transport_maps" in main_cf:
        yield (
            ("main_cf", "transport_maps"),
            "is derived from relay.recipients; set it in main.cf, where Postward leaves it behind its own table",
        )


def _set(table: Table, keys: tuple[str, ...]) -> Iterator[str]:
    """Yield the keys that are written and not empty."""
    yield from (key for key in keys if table.get(key) not in (None, "", False, []))


def _direct(written: Table, relay: Table) -> Found:
    if relay.get("direct") is not True:
        return
    for key in _set(written, (*_SERVER, "protocol", "socket", *_LOGIN, "fallback")):
        yield (
            key,
            "must be left out with direct = true: mail goes to the servers of each recipient's domain; remove it",
        )
    for key in _set(written, _CHECKS_OF_CERTIFICATES):
        yield (
            key,
            "must be left out with direct = true: servers of most domains have no valid certificate; write dane = true",
        )
    if relay.get("tls") == "implicit":
        yield (
            "tls",
            'must not be "implicit" with direct = true: port 25 greets in clear text; write "opportunistic"',
        )


def _lmtp(written: Table, relay: Table) -> Found:
    if relay.get("protocol") != "lmtp" or relay.get("direct") is True:
        return
    others = ("provider", "mx", *_LOGIN, *_CHECKS_OF_CERTIFICATES, "dane", "client_certificate", "fallback")
    for key in _set(written, (*others, "helo_name", "bind_address")):
        yield key, 'must be left out with protocol = "lmtp", which does not support it here; remove it'
    if relay.get("tls") == "implicit":
        yield (
            "tls",
            'must not be "implicit" with protocol = "lmtp": lmtp has no such port; write "none" or "starttls"',
        )


def _probes(index: int, relay: Table) -> Iterator[tuple[int, str]]:
    """Yield the probe recipients whose mail another relay takes: a probe would never be accepted."""
    keys, probes = relay.get("recipients"), relay.get("probe_recipients")
    if not index or "senders" in relay or not isinstance(keys, list) or not isinstance(probes, list):
        return
    for number, address in enumerate(probes):
        if isinstance(address, str) and "@" in address and not any(_is_for(key, address) for key in keys):
            yield (
                number,
                f"is {quoted(address)}, which is not among the recipients of this relay; write one of them",
            )


def _is_for(key: object, address: str) -> bool:
    """Return True if a key of `recipients` is for an address."""
    wanted = str(key).lower()
    domain = f"@{address.lower().rpartition('@')[2]}"
    below = wanted.startswith("@.") and domain.endswith(wanted[1:])
    return below or wanted in {address.lower(), domain}


def _socket(written: Table, relay: Table) -> Found:
    if "socket" not in relay or relay.get("direct") is True:
        return
    if relay.get("protocol") != "lmtp":
        yield (
            "socket",
            'requires protocol = "lmtp": smtp(8) connects to no Unix socket; write protocol = "lmtp"',
        )
    for key in _set(written, ("host", "port")):
        yield key, "must be left out beside socket; keep one of the two"


def _certificates(relay: Table) -> Found:
    if relay.get("direct") is True or relay.get("protocol") == "lmtp":
        return
    tls = relay.get("tls")
    if "verify_names" in relay and relay.get("verify") is not True:
        yield "verify_names", "requires verify = true, which checks the certificate for these names; add it"
    ways = [key for key in ("verify", "fingerprints", "dane") if relay.get(key)]
    if len(ways) > 1:
        yield (
            ways[1],
            f"must be left out beside {ways[0]}: Postfix checks a certificate in one way; keep one of them",
        )
    for key in ways:
        if key != "verify" and tls in {"opportunistic", "none"}:
            yield (
                key,
                f'checks a certificate, but tls = "{tls}" sends mail without one; write tls = "starttls" or "implicit"',
            )
    if relay.get("mx") is True and is_address(str(relay.get("host", ""))):
        yield "mx", f"is true, but host = {quoted(str(relay['host']))} is an address; write the domain"


def _login_table(relay: Table) -> Found:
    table = relay.get("login_table")
    if not isinstance(table, str) or not table or relay.get("direct") or relay.get("protocol") == "lmtp":
        return
    for key in _set(relay, ("username", "oauth2", *PASSWORD_SOURCES)):
        yield key, "must be left out beside login_table, which holds the login; keep one of the two"


def _fallback(relay: Table, first: Table) -> Found:
    """The first relay's service tries the fallback too."""
    if relay.get("fallback") is not True or relay is first:
        return
    for key in ("helo_name", "bind_address", "max_connections"):
        if key in relay and relay[key] != first.get(key):
            yield (
                key,
                "must be the first relay's: a fallback uses its service; write the same, or leave it out",
            )
    if first.get("direct") is True or first.get("protocol") == "lmtp":
        kind = "direct" if first.get("direct") else "protocol"
        yield "fallback", f"must not be true where the first relay has {kind}; list senders in its place"


def server_of(relay: Table) -> tuple[str, int] | None:
    """Return host and port of a relay's table with its values filled in; None without a server of its own."""
    host, port = relay.get("host"), relay.get("port")
    if relay.get("direct") is True or relay.get("protocol") == "lmtp":
        return None
    return (host.lower(), port) if isinstance(host, str) and host and isinstance(port, int) else None


def _at_one_server(index: int, relays: list[dict[str, Any]]) -> Found:
    """Relays at one host and port: Postfix distinguishes their logins by sender alone (smtp_sasl_glue.c)."""
    relay, server = relays[index], server_of(relays[index])
    first = next((other for other in relays[:index] if server and server_of(other) == server), None)
    if first is None or server is None:
        return
    name = f"relay {quoted(str(first['name']))}" if isinstance(first.get("name"), str) else "another relay"
    same = f"is at the host and port of {name} ({server[0]}, {server[1]})"
    alike = ("username", "login_table", *SERVICE_KEYS)
    if all(relay.get(key) == first.get(key) for key in alike):
        yield "host", f"{same}, with the same login; write one [[relay]] with the senders of both"
    for key in _SHARED:
        if relay.get(key) != first.get(key):
            yield key, f"must be that of {name}, which is at the same host and port; write the same in both"
    logins = [one.get("username") for one in (first, relay)]
    if logins[0] == logins[1] and "login_table" not in relay and "login_table" not in first:
        return
    if None in logins:
        which = "username" if logins[1] is None else "host"
        yield (
            which,
            f"{same}, and one of them has no username: Postfix would log in for both; write one for each",
        )
    if "senders" not in relay:
        yield (
            "senders",
            f"is required: the relay {same}, and Postfix distinguishes their logins by sender; list senders",
        )
    if "recipients" in relay or "recipients" in first:
        yield (
            "recipients",
            f"must be left out: the relay {same}, and Postfix distinguishes their logins by sender; list senders",
        )
    if any(one.get("fallback") is True for one in relays):
        yield (
            "host",
            f"{same}, and a fallback would get the login of each sender; use another host name or port of the relay",
        )
