"""What no key can know alone: settings that are right each for itself and cannot hold together.

Pure. Looks at the tables before they are checked, so that a slip elsewhere hides nothing; what has the wrong
type is passed over here, because it is told anyway.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from postward.config.errors import Loc
from postward.config.fields import is_address, is_host_name, quoted, words_of
from postward.config.host import Host, supports
from postward.config.parameters import LOGIN_IN_MAIN_CF, references
from postward.config.providers import with_provider
from postward.config.relay import with_port_and_tls

Problem = tuple[Loc, str]


def contradictions(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Where settings contradict each other: the place, and what is wrong; what would be right."""
    host = _host(settings.get("host"))
    relays = [_texts(relay) for relay in _list(settings.get("relay"))]
    for check in (
        _repeated_name,
        _repeated_hop,
        _no_senders,
        _other_kind_of_fallback,
        _other_authorities,
        _sent_in_clear,
    ):
        for index, relay in enumerate(relays[1:], 1):
            yield from check(index, relay, relays)
    yield from _fallback_first(relays)
    yield from _repeated_senders(relays)
    yield from _one_sender(host, relays, settings.get("main_cf"))
    yield from _unreachable(host, relays)
    yield from _swallowed_probe(host, settings.get("probe"))
    yield from _circles(host, settings.get("main_cf"))
    yield from _logins(settings.get("main_cf"))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(relay: object) -> dict[str, Any]:
    """A relay's settings as far as they are usable; the port and tls that follow from each other are filled in."""
    if not isinstance(relay, dict):
        return {}
    kinds = {"port": int, "senders": list, "fallback": bool}
    return {
        key: value
        for key, value in with_port_and_tls(with_provider(relay)).items()
        if isinstance(value, kinds.get(key, str)) and value
    }


def _host(table: object) -> dict[str, str]:
    """The [host] table with its defaults."""
    given = table if isinstance(table, dict) else {}
    host = {
        key: ", ".join(filter(_is_text, value)) if isinstance(value, list) else value
        for key, value in ({key: info.default for key, info in Host.model_fields.items()} | given).items()
    }
    host = {key: value for key, value in host.items() if isinstance(value, str)}
    if host.get("mydomain") == "" and is_host_name(host.get("myhostname", "")):
        host["mydomain"] = host["myhostname"].partition(".")[2]
    return host


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _called(index: int, relay: dict[str, Any]) -> str:
    return f"relay {quoted(relay['name'])}" if "name" in relay else f"relay[{index + 1}]"


def _hop(relay: dict[str, Any]) -> tuple[str, int] | None:
    return (relay["host"].lower(), relay["port"]) if "host" in relay and "port" in relay else None


def _repeated_name(index: int, relay: dict[str, Any], relays: list[dict[str, Any]]) -> Iterator[Problem]:
    if "name" in relay and relay["name"] in [other.get("name") for other in relays[:index]]:
        yield ("relay", index, "name"), f"is {quoted(relay['name'])} for the second time; choose another name"


def _repeated_hop(index: int, relay: dict[str, Any], relays: list[dict[str, Any]]) -> Iterator[Problem]:
    hops = [_hop(other) for other in relays[:index]]
    if (hop := _hop(relay)) and hop in hops:
        first = hops.index(hop)
        yield (
            ("relay", index, "host"),
            (
                f"is, with port {hop[1]}, also that of {_called(first, relays[first])}, and Postfix knows a login by host and port; "
                "use another name or port of the relay, or one [[relay]] for both"
            ),
        )


def _no_senders(index: int, relay: dict[str, Any], relays: list[dict[str, Any]]) -> Iterator[Problem]:
    if relay and "senders" not in relay and "fallback" not in relay:
        yield (
            ("relay", index, "senders"),
            (
                "is empty, so that the relay would never get mail: the first one takes all; "
                'say whose mail goes here, as in senders = ["@example.com"], or fallback = true'
            ),
        )


def _other_kind_of_fallback(
    index: int, relay: dict[str, Any], relays: list[dict[str, Any]]
) -> Iterator[Problem]:
    """A fallback is tried within the same delivery, by the same smtp(8) service, which has one smtp_tls_wrappermode."""
    first, tls = relays[0].get("tls"), relay.get("tls")
    if "fallback" in relay and first and tls and (first == "implicit") != (tls == "implicit"):
        yield (
            ("relay", index, "tls"),
            (
                f"is {quoted(tls)}, and that of {_called(0, relays[0])} is {quoted(first)}: a fallback is reached in the same way "
                "as the first relay; use the STARTTLS port of both, or implicit TLS for both"
            ),
        )


def _other_authorities(index: int, relay: dict[str, Any], relays: list[dict[str, Any]]) -> Iterator[Problem]:
    others = [other["ca_file"] for other in relays[:index] if "ca_file" in other]
    if others and "ca_file" in relay and relay["ca_file"] != others[0]:
        yield (
            ("relay", index, "ca_file"),
            f"is not {quoted(others[0])}, and smtp_tls_CAfile holds for all relays; write one file with the authorities of all",
        )


def _sent_in_clear(index: int, relay: dict[str, Any], relays: list[dict[str, Any]]) -> Iterator[Problem]:
    kinds = {other.get("tls") for other in relays[:index] if "username" in other}
    clash = {"opportunistic": "none", "none": "opportunistic"}.get(relay.get("tls", ""))
    if "username" in relay and clash in kinds:
        yield (
            ("relay", index, "tls"),
            (
                f'is {quoted(relay["tls"])}, and another login has "{clash}": smtp_sasl_security_options holds for all relays, '
                'so that the password of the opportunistic one could be sent unencrypted; write tls = "starttls" there'
            ),
        )


def _fallback_first(relays: list[dict[str, Any]]) -> Iterator[Problem]:
    if relays and "fallback" in relays[0]:
        yield (
            ("relay", 0, "fallback"),
            "is true for the first relay, which takes all mail anyway; remove it here",
        )


def _one_sender(host: dict[str, str], relays: list[dict[str, Any]], main_cf: object) -> Iterator[Problem]:
    """Senders are rewritten before mail is routed, so that nothing is left to route by."""
    if not host.get("rewrite_sender"):
        return
    for index, relay in enumerate(relays):
        if "senders" in relay:
            yield (
                ("relay", index, "senders"),
                "never match, because host.rewrite_sender gives all mail the same sender; remove one of the two",
            )
    for name in ("sender_canonical_maps", "sender_canonical_classes"):
        if isinstance(main_cf, dict) and name in main_cf:
            yield ("main_cf", name), "is derived from host.rewrite_sender; remove one of the two"


def _repeated_senders(relays: list[dict[str, Any]]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, relay in enumerate(relays):
        for number, sender in enumerate(relay.get("senders", [])):
            if not isinstance(sender, str):
                continue
            first = seen.get(sender.lower())
            if first is None:
                seen[sender.lower()] = index
            else:
                yield (
                    ("relay", index, "senders", number),
                    f"is {quoted(sender)}, which stands under {_called(first, relays[first])} already; remove one",
                )


def _unreachable(host: dict[str, str], relays: list[dict[str, Any]]) -> Iterator[Problem]:
    for index, relay in enumerate(relays):
        name, protocols = relay.get("host", ""), host.get("inet_protocols", "all")
        if is_address(name) and not supports(protocols, name):
            yield (
                ("relay", index, "host"),
                f'is {quoted(name)}, and host.inet_protocols is {quoted(protocols)}: it can never be reached; write inet_protocols = "all"',
            )
        if name and name.lower() == host.get("myhostname", "").lower():
            yield (
                ("relay", index, "host"),
                f"is {quoted(name)}, which is host.myhostname: mail would loop back to this host; write the name of the relay",
            )


def _swallowed_probe(host: dict[str, str], probe: object) -> Iterator[Problem]:
    """A probe that is delivered here proves nothing."""
    recipient = probe.get("recipient") if isinstance(probe, dict) else None
    if not isinstance(recipient, str) or "@" not in recipient:
        return
    destinations = host.get("mydestination", "")
    for name in ("myorigin", "mydomain", "myhostname"):
        destinations = destinations.replace(f"${name}", host.get(name, "")).replace(
            f"${{{name}}}", host.get(name, "")
        )
    domain = recipient.rpartition("@")[2].lower()
    if domain in words_of(destinations.lower()):
        yield (
            ("probe", "recipient"),
            (
                f"is in {quoted(domain)}, which ends on this host (host.mydestination), so that probes would never reach the relay; "
                "write an address elsewhere, or take the domain out of host.mydestination"
            ),
        )


def _circles(host: dict[str, str], main_cf: object) -> Iterator[Problem]:
    """A parameter that refers to itself stops every Postfix command ("unreasonable macro call nesting")."""
    tables = {"host": host, "main_cf": main_cf if isinstance(main_cf, dict) else {}}
    values = {
        name: value for table in tables.values() for name, value in table.items() if isinstance(value, str)
    }
    for section, table in tables.items():
        for name in table:
            if circle := _circle(name, values):
                yield (
                    (section, name),
                    f"refers to itself ({' → '.join(circle)}), which stops every Postfix command; write the value out",
                )


def _circle(name: str, values: Mapping[str, str]) -> list[str] | None:
    """The way from a parameter back to itself."""
    ways, seen = [[name]], {name}
    while ways:
        way = ways.pop()
        for reference in references(values.get(way[-1], "")):
            if reference == name:
                return [*way, name]
            if reference not in seen:
                seen.add(reference)
                ways.append([*way, reference])
    return None


def _logins(main_cf: object) -> Iterator[Problem]:
    """Tables of passwords whose entries stand in main.cf itself."""
    for name, value in main_cf.items() if isinstance(main_cf, dict) else ():
        if (
            name.endswith("_password_maps")
            and isinstance(value, str)
            and re.search(r"\b(static|inline):", value)
        ):
            yield ("main_cf", name), LOGIN_IN_MAIN_CF
