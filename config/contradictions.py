"""Contradictions between settings that are valid each for itself.

Pure. The checks read the tables before validation: pydantic returns no values at all if one of them is invalid, and an
error in one key must not hide a contradiction between others. Values of the wrong type are ignored here, since
validation reports them. Derived values come from the functions that validation uses too.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from postward.config.delivery_contradictions import delivery_problems
from postward.config.errors import Problem
from postward.config.fields import is_address, joined, quoted
from postward.config.host import supports, with_mydomain, with_profile
from postward.config.login_contradictions import login_problems
from postward.config.mailbox import bounces_problems, mailbox_problems
from postward.config.parameters import LOGIN_IN_MAIN_CF, references, runs_code
from postward.config.providers import with_provider
from postward.config.relay import with_port_and_tls
from postward.parsers.postconf import split_list

Table = Mapping[str, Any]


def contradictions(settings: Table) -> Iterator[Problem]:
    """Yield the location of each contradiction and a message that says how to resolve it."""
    host, relays, main_cf = _host(settings), _relays(settings), _table(settings, "main_cf")
    for check in (
        _repeated_name,
        _no_senders,
        _other_wrapper_mode,
        _other_authorities,
        _cleartext_login,
    ):
        for index, relay in enumerate(relays[1:], 1):
            yield from check(index, relay, relays)
    yield from login_problems(settings.get("relay"), main_cf, _table(settings, "postfix"))
    yield from delivery_problems(settings.get("relay"), main_cf)
    yield from _fallback_first(relays)
    yield from _repeated_addresses("senders", relays)
    yield from _repeated_addresses("recipients", relays)
    yield from _rewritten_senders(_table(settings, "host"), relays, main_cf)
    yield from _unreachable_relays(host, relays)
    yield from _local_probe(host, _table(settings, "probe"))
    yield from mailbox_problems(_table(settings, "mailbox"), _table(settings, "probe"), settings.get("relay"))
    yield from bounces_problems(_table(settings, "bounces"), settings.get("relay"))
    yield from _report(_table(settings, "report"), _table(settings, "notify"))
    yield from _collected_log(_table(settings, "log"), _table(settings, "postfix"))
    yield from _admin(_table(settings, "host"), host, main_cf)
    yield from _circular_references({"host": host, "main_cf": main_cf})
    yield from _logins(main_cf)
    yield from _code(main_cf, _table(settings, "postfix").get("allow_code"))


def _report(report: Table, notify: Table) -> Iterator[Problem]:
    template = notify.get("template")
    if report.get("webhook") is True and template == "pagerduty":
        yield (
            ("report", "webhook"),
            "must be false: PagerDuty takes incidents, not reports; write mail_to, or another notify.template",
        )
    elif report.get("webhook") is True and "webhook_url" not in notify and template != "telegram":
        yield ("report", "webhook"), "requires an address; write notify.webhook_url"
    if report.get("send") in ("daily", "weekly") and not (  # a list, too, can stand there
        report.get("webhook") or report.get("mail_to") or notify.get("mail_to")
    ):
        yield (
            ("report", "send"),
            'requires a recipient; write mail_to = "ops@example.net", or webhook = true with notify.webhook_url',
        )


def _collected_log(log: Table, postfix: Table) -> Iterator[Problem]:
    if log.get("hosts") and postfix.get("instances"):
        yield (
            ("log", "hosts"),
            "must be left out with postfix.instances: no line would show to which of them it belongs",
        )


def _table(settings: Table, name: str) -> dict[str, Any]:
    table = settings.get(name)
    return table if isinstance(table, dict) else {}


def _host(settings: Table) -> dict[str, str]:
    """Return the strings of the `[host]` table, with the values of its profile and mydomain."""
    host = with_mydomain(with_profile(_table(settings, "host")))
    return {key: text for key, value in host.items() if isinstance(text := joined(value), str)}


def _relays(settings: Table) -> list[dict[str, Any]]:
    """Return the usable values of each relay that are not empty, with provider, port and tls filled in."""
    relays = settings.get("relay")
    return [_usable(relay) for relay in relays] if isinstance(relays, list) else []


def _usable(relay: object) -> dict[str, Any]:
    if not isinstance(relay, dict):
        return {}
    types = {
        "port": int,
        "senders": list,
        "recipients": list,
        "fallback": bool,
        "direct": bool,
        "allow_cleartext_password": bool,
    }
    filled = with_port_and_tls(with_provider(relay))
    return {key: value for key, value in filled.items() if isinstance(value, types.get(key, str)) and value}


def _named(index: int, relay: Table) -> str:
    return f"relay {quoted(relay['name'])}" if "name" in relay else f"relay[{index + 1}]"


def _repeated_name(index: int, relay: Table, relays: list[dict[str, Any]]) -> Iterator[Problem]:
    if "name" in relay and relay["name"] in [other.get("name") for other in relays[:index]]:
        yield (
            ("relay", index, "name"),
            f"must be unique, and another relay is called {quoted(relay['name'])}; choose another name",
        )


def _no_senders(index: int, relay: Table, _relays: list[dict[str, Any]]) -> Iterator[Problem]:
    if relay and not {"senders", "recipients", "fallback"} & relay.keys():
        yield (
            ("relay", index, "senders"),
            (
                "is required: the first relay takes all mail, and this one would receive none; "
                'write senders = ["@example.com"], recipients = ["@example.com"], or fallback = true'
            ),
        )


def _other_wrapper_mode(index: int, relay: Table, relays: list[dict[str, Any]]) -> Iterator[Problem]:
    """The same smtp(8) service tries the fallback in the same delivery, and has one smtp_tls_wrappermode."""
    first, tls = relays[0].get("tls"), relay.get("tls")
    if (
        "fallback" in relay
        and "direct" not in relay
        and first
        and tls
        and (first == "implicit") != (tls == "implicit")
    ):
        yield (
            ("relay", index, "tls"),
            (
                f"is {quoted(tls)}, but that of {_named(0, relays[0])} is {quoted(first)}: a fallback uses the first relay's "
                "smtp_tls_wrappermode; use the STARTTLS port of both, or implicit TLS for both"
            ),
        )


def _other_authorities(index: int, relay: Table, relays: list[dict[str, Any]]) -> Iterator[Problem]:
    for key, parameter in (("ca_file", "smtp_tls_CAfile"), ("ca_path", "smtp_tls_CApath")):
        others = [other[key] for other in relays[:index] if key in other]
        if others and key in relay and relay[key] != others[0]:
            what = "file" if key == "ca_file" else "directory"
            yield (
                ("relay", index, key),
                f"must be {quoted(others[0])}: {parameter} applies to all relays; write one {what} with the authorities of all",
            )


def _cleartext_login(index: int, relay: Table, relays: list[dict[str, Any]]) -> Iterator[Problem]:
    modes = {_cleartext_mode(other) for other in relays[:index] if "username" in other}
    conflict = {"opportunistic": "none", "none": "opportunistic"}.get(_cleartext_mode(relay))
    if "username" in relay and conflict in modes:
        yield (
            ("relay", index, "tls"),
            (
                f'is {quoted(relay["tls"])}, but another relay with a login has "{conflict}": smtp_sasl_security_options '
                "applies to all relays, and the password of the opportunistic one could be sent unencrypted; "
                'write tls = "starttls" there'
            ),
        )


def _cleartext_mode(relay: Table) -> str:
    """Return the TLS mode; "" for an opportunistic one whose password may be sent unencrypted."""
    tls = str(relay.get("tls", ""))
    return "" if tls == "opportunistic" and "allow_cleartext_password" in relay else tls


def _fallback_first(relays: list[dict[str, Any]]) -> Iterator[Problem]:
    if relays and "fallback" in relays[0]:
        yield (
            ("relay", 0, "fallback"),
            "must not be true for the first relay, which takes all mail; remove it here",
        )


def _rewritten_senders(host: Table, relays: list[dict[str, Any]], main_cf: Table) -> Iterator[Problem]:
    """Postfix rewrites senders before it routes mail by them."""
    rewritten = host.get("rewrite_senders")
    former = (
        {key.lower() for key in rewritten if isinstance(key, str)} if isinstance(rewritten, dict) else set()
    )
    if not host.get("rewrite_sender") and not former:
        return
    if host.get("rewrite_sender") and former:
        yield (
            ("host", "rewrite_senders"),
            "never match: host.rewrite_sender gives all mail the same sender; remove one of the two",
        )
    for index, relay in enumerate(relays):
        if "senders" in relay and host.get("rewrite_sender"):
            yield (
                ("relay", index, "senders"),
                "never match: host.rewrite_sender gives all mail the same sender; remove one of the two",
            )
        for number, sender in enumerate(relay.get("senders", [])):
            if isinstance(sender, str) and sender.lower() in former:
                yield (
                    ("relay", index, "senders", number),
                    f"never matches: host.rewrite_senders changes {quoted(sender)} first; write its new address",
                )
    for name in ("sender_canonical_maps", "sender_canonical_classes"):
        if name in main_cf:
            yield (
                ("main_cf", name),
                "is derived from host.rewrite_sender and rewrite_senders; remove one of the two",
            )


def _repeated_addresses(key: str, relays: list[dict[str, Any]]) -> Iterator[Problem]:
    listed: dict[str, int] = {}
    for index, relay in enumerate(relays):
        for number, address in enumerate(relay.get(key, [])):
            if not isinstance(address, str):
                continue
            first = listed.get(address.lower())
            if first is None:
                listed[address.lower()] = index
            else:
                yield (
                    ("relay", index, key, number),
                    f"must be unique, and {_named(first, relays[first])} lists {quoted(address)} already; remove one",
                )


def _unreachable_relays(host: Mapping[str, str], relays: list[dict[str, Any]]) -> Iterator[Problem]:
    protocols, own_name = host.get("inet_protocols", "all"), host.get("myhostname", "").lower()
    for index, relay in enumerate(relays):
        name = relay.get("host", "")
        if is_address(name) and not supports(protocols, name):
            yield (
                ("relay", index, "host"),
                (
                    f"is {quoted(name)}, but host.inet_protocols is {quoted(protocols)}: Postfix could not connect; "
                    'write inet_protocols = "all"'
                ),
            )
        if name and name.lower() == own_name:
            yield (
                ("relay", index, "host"),
                f"must not be host.myhostname ({quoted(name)}): mail would loop back to this host; write the relay's name",
            )


def _local_probe(host: Mapping[str, str], probe: Table) -> Iterator[Problem]:
    """A probe that is delivered on this host does not test the relay."""
    if domain := _local_domain(probe.get("recipient"), host):
        yield (
            ("probe", "recipient"),
            (
                f"is in {quoted(domain)}, which is delivered on this host (host.mydestination): probes would not reach the "
                "relay; write an address elsewhere, or remove the domain from host.mydestination"
            ),
        )


def _local_domain(address: object, host: Mapping[str, str]) -> str:
    """Return the domain of an address if host.mydestination has it; else ""."""
    if not isinstance(address, str) or "@" not in address:
        return ""
    destinations = host.get("mydestination", "")
    for name in ("myorigin", "mydomain", "myhostname"):
        for reference in (f"${name}", f"${{{name}}}"):
            destinations = destinations.replace(reference, host.get(name, ""))
    domain = address.rpartition("@")[2].lower()
    return domain if domain in split_list(destinations.lower()) else ""


def _admin(table: Table, host: Mapping[str, str], main_cf: Table) -> Iterator[Problem]:
    """Mail of root must not come back to root."""
    users = table.get("admin_for")
    if isinstance(users, list) and users and not host.get("admin"):
        yield ("host", "admin_for"), "has no effect without host.admin; write the address, or remove this"
    if not host.get("admin"):
        return
    if domain := _local_domain(host["admin"], host):
        yield (
            ("host", "admin"),
            (
                f"is in {quoted(domain)}, which is delivered on this host (host.mydestination): root's mail would stay here; "
                "write an address elsewhere, or remove the domain from host.mydestination"
            ),
        )
    if "virtual_alias_maps" in main_cf:
        yield ("main_cf", "virtual_alias_maps"), "is derived from host.admin; remove one of the two"


def _circular_references(tables: Mapping[str, Table]) -> Iterator[Problem]:
    """A parameter that refers to itself stops every Postfix command ("unreasonable macro call nesting")."""
    values = {
        name: value for table in tables.values() for name, value in table.items() if isinstance(value, str)
    }
    for section, table in tables.items():
        for name in table:
            if path := _path_to_itself(name, values):
                yield (
                    (section, name),
                    (
                        f"must not refer to itself ({' → '.join(path)}): every Postfix command fails with that; "
                        "write the value out"
                    ),
                )


def _path_to_itself(name: str, values: Mapping[str, str]) -> list[str] | None:
    """Return the references that lead from a parameter back to itself, or None."""
    paths, visited = [[name]], {name}
    while paths:
        path = paths.pop()
        for reference in references(values.get(path[-1], "")):
            if reference == name:
                return [*path, name]
            if reference not in visited:
                visited.add(reference)
                paths.append([*path, reference])
    return None


def _logins(main_cf: Table) -> Iterator[Problem]:
    """Password tables whose entries stand in main.cf itself."""
    for name, value in main_cf.items():
        if (
            name.endswith("_password_maps")
            and isinstance(value, str)
            and re.search(r"\b(static|inline):", value)
        ):
            yield ("main_cf", name), LOGIN_IN_MAIN_CF


def _code(main_cf: Table, allowed: Any) -> Iterator[Problem]:
    """Parameters that run programs, which a mistake or another's line in the settings must not do as root."""
    named = allowed if isinstance(allowed, list) else []
    for name, value in main_cf.items():
        text = joined(value)
        if runs_code(name, text if isinstance(text, str) else "") and name not in named:
            advice = f'write allow_code = ["{name}"] under [postfix], else set it in main.cf'
            text = f"decides which programs Postfix runs, or as which user; if that is meant, {advice}"
            yield ("main_cf", name), text
