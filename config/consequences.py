"""The consequences of a change of the configuration, as text: what ends and what begins.

Pure. Values are compared expanded: a new `myhostname` also ends the domain that `$myhostname` in mydestination named.
A consequence with an `Effect` can cost inbound mail, or let strangers send; it is made only if it was agreed to.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network

from postward.config.drift import ActualState, Drift, Kind
from postward.config.lint.text import without_secrets
from postward.config.receiving import PARAMETERS as RECEIVING
from postward.config.receiving import Received, received
from postward.config.resources import LOCAL_MAIL
from postward.parsers.postconf import split_list


class Effect(StrEnum):
    """An effect that has to be agreed to; the value is that of the option `--allow`."""

    END_INBOUND = "end-inbound"
    OPEN_RELAYING = "open-relaying"

    @property
    def description(self) -> str:
        """The effect as a predicate of the settings."""
        return {"end-inbound": "end inbound mail", "open-relaying": "let more clients relay"}[self.value]


@dataclass(frozen=True, slots=True)
class Consequence:
    """Something that a change ends or begins.

    Attributes:
        text: a sentence without a full stop. It holds no secret.
        effect: what has to be agreed to; None for other consequences.
    """

    text: str
    effect: Effect | None = None

    def __str__(self) -> str:
        return self.text


Network = IPv4Network | IPv6Network
_SENDERS = ("canonical_maps", "masquerade_domains", "sender_canonical_maps", "smtp_generic_maps")
# Tables without which recipients are unknown.
_RECIPIENTS = (
    "alias_maps",
    "local_recipient_maps",
    "relay_recipient_maps",
    "virtual_alias_maps",
    "virtual_mailbox_maps",
)
_RELAY_RULES = ("smtpd_recipient_restrictions", "smtpd_relay_restrictions")
_RULES = (
    "smtpd_client_restrictions",
    "smtpd_data_restrictions",
    "smtpd_helo_restrictions",
    "smtpd_sender_restrictions",
    *_RELAY_RULES,
)
# The parameters to compare: also where they are not changed themselves, a changed `$name` can stand in them.
PARAMETERS = (
    *RECEIVING,
    "inet_protocols",
    "master_service_disable",
    "myorigin",
    "smtp_sasl_auth_enable",
    "smtp_sasl_password_maps",
    *_SENDERS,
    *_RECIPIENTS,
    *_RULES,
)


def consequences(drifts: Iterable[Drift], actual: ActualState) -> tuple[Consequence, ...]:
    """Return what the repair of drift ends or begins, those with an effect first.

    Args:
        drifts: the drift to be repaired.
        actual: with the expanded values of `PARAMETERS` before and after.
    """
    drifts, before = list(drifts), actual.expanded
    after = {**before, **actual.expanded_desired}
    found = [
        *_inbound(received(before), received(after), actual.listeners),
        *_protocols(before, after, received(before)),
        *_rules(before, after),
        *_recipients(before, after),
        *_logins(drifts, before, after),
        *_senders(before, after),
        *_files(drifts, actual),
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda one: one.effect is None))


# Inbound mail


def _inbound(before: Received, after: Received, listeners: tuple[str, ...]) -> Iterator[Consequence]:
    yield from _interfaces(before, after, ", ".join(listeners))
    yield from _networks(before, after)
    yield from _domains(before, after)


def _interfaces(before: Received, after: Received, listeners: str) -> Iterator[Consequence]:
    ended = _lost(before.interfaces, after.interfaces)
    begun = _lost(after.interfaces, before.interfaces)
    services = f" to {listeners}" if listeners else ""
    if ended and "all" not in after.interfaces:
        only = f", except at {', '.join(after.interfaces)}" if after.interfaces else ""
        formerly = f"inet_interfaces was {', '.join(before.interfaces)}"
        yield Consequence(
            f"other hosts can no longer connect{services}{only} ({formerly})", Effect.END_INBOUND
        )
    elif begun:
        yield Consequence(f"other hosts can connect{services} (inet_interfaces: {', '.join(begun)})")


def _networks(before: Received, after: Received) -> Iterator[Consequence]:
    """Networks matter while other hosts can connect."""
    if before.interfaces and (ended := _outside(before.networks, after.networks)):
        yield Consequence(f"{', '.join(ended)} may no longer relay (mynetworks)", Effect.END_INBOUND)
    former = before.networks if before.interfaces else ()
    if after.interfaces and (begun := _outside(after.networks, former)):
        yield Consequence(f"{', '.join(begun)} may relay (mynetworks)", Effect.OPEN_RELAYING)


def _outside(networks: Iterable[str], others: Iterable[str]) -> list[str]:
    """Return the items of mynetworks that lie in none of the others."""
    wider = [network for item in others if (network := _network(item))]
    return [
        item
        for item in _lost(networks, others)
        if (network := _network(item)) is None or not any(_is_within(network, other) for other in wider)
    ]


def _network(item: str) -> Network | None:
    try:
        return ip_network(item.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return None


def _is_within(network: Network, other: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and network.subnet_of(other)
    return isinstance(other, IPv6Network) and network.subnet_of(other)


def _domains(before: Received, after: Received) -> Iterator[Consequence]:
    everywhere = [domain for listed in after.domains.values() for domain in listed]
    formerly = [domain for listed in before.domains.values() for domain in listed]
    for name, listed in before.domains.items():
        for domain in _lost(listed, after.domains[name]):
            moved = not _lost([domain], everywhere)
            expected = before.interfaces or not before.is_own(domain)
            effect = Effect.END_INBOUND if expected and not moved else None
            yield Consequence(f"mail for {domain} is no longer accepted here ({name})", effect)
    for name, listed in after.domains.items():
        for domain in _lost(listed, before.domains[name]):
            opens = name == "relay_domains" and after.interfaces and _lost([domain], formerly)
            effect = Effect.OPEN_RELAYING if opens else None
            yield Consequence(f"mail for {domain} is accepted here ({name})", effect)


def _protocols(before: Mapping[str, str], after: Mapping[str, str], host: Received) -> Iterator[Consequence]:
    ended = _versions(before) - _versions(after)
    if ended and host.interfaces:
        text = f"other hosts can no longer connect by {', '.join(sorted(ended))} (inet_protocols)"
        yield Consequence(text, Effect.END_INBOUND)


def _versions(values: Mapping[str, str]) -> set[str]:
    versions = set(split_list(values.get("inet_protocols", "")))
    return {"ipv4", "ipv6"} if "all" in versions else versions


def _rules(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Consequence]:
    """Yield restrictions that refuse everything, or that are not certain to refuse all that they refused before."""
    for name in _RULES:
        former, wanted = split_list(before.get(name, "")), split_list(after.get(name, ""))
        if former == wanted:
            continue
        text = f"{name} becomes {' '.join(wanted) or 'empty'}, instead of {' '.join(former) or 'empty'}"
        if {"reject", "defer"} & set(_lost(wanted, former)):
            yield Consequence(text, Effect.END_INBOUND)
        elif name in _RELAY_RULES and not _is_stricter(former, wanted):
            yield Consequence(text, Effect.OPEN_RELAYING)
        else:
            yield Consequence(text)
    if disabled := _lost(_items(after, "master_service_disable"), _items(before, "master_service_disable")):
        text = f"the listeners {', '.join(disabled)} end (master_service_disable)"
        yield Consequence(text, Effect.END_INBOUND)


def _is_stricter(former: list[str], wanted: list[str]) -> bool:
    """Return True if only refusals were added, with their arguments such as names of block lists."""
    added = [item for item in wanted if item not in former and re.fullmatch("[a-z_]+", item)]
    kept = [item for item in wanted if item in former]
    return kept == former and all(item.startswith(("reject_", "defer_")) for item in added)


def _recipients(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Consequence]:
    for name in _RECIPIENTS:
        for table in _lost(_items(before, name), _items(after, name)):
            if LOCAL_MAIL.search(table):
                yield Consequence(f"mail to root and other local users no longer goes to the admin ({name})")
            else:
                yield Consequence(f"recipients in {table} are no longer known ({name})", Effect.END_INBOUND)
        if any(LOCAL_MAIL.search(table) for table in _lost(_items(after, name), _items(before, name))):
            yield Consequence(f"mail to root and other local users goes to the admin ({name})")


# Outbound mail; its routes are `postward.config.routing.changes`


def _logins(
    drifts: list[Drift], before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[Consequence]:
    name = "smtp_sasl_password_maps"
    for table in _lost(_items(before, name), _items(after, name)):
        yield Consequence(f"logins in {table} are no longer used ({name})")
    for key, former, wanted in _entries(drifts):
        if wanted is None:
            yield Consequence(f"the login{_user(former)} at {key} ends")
        elif former is None:
            yield Consequence(f"the login{_user(wanted)} at {key} begins")
        elif _user(former) != _user(wanted):
            yield Consequence(f"the login at {key} is{_user(wanted)} instead of{_user(former)}")
        else:
            yield Consequence(f"the password of{_user(wanted)} at {key} changes")
    enabled = "smtp_sasl_auth_enable"
    if (before.get(enabled), after.get(enabled)) == ("no", "yes") and (tables := _items(before, name)):
        yield Consequence(f"logins in {', '.join(tables)} are used ({enabled})")
    if before.get("smtp_sasl_auth_enable") == "yes" and after.get("smtp_sasl_auth_enable") == "no":
        yield Consequence("Postfix logs in at no relay (smtp_sasl_auth_enable)")


def _user(login: str | None) -> str:
    """Return the user name of a login, with a blank before it; "" for a password alone."""
    user, colon, _ = (login or "").partition(":")
    return f" {user}" if colon else ""


def _entries(drifts: list[Drift]) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield key, former and new value of each entry that changes in the tables of logins."""
    for drift in drifts:
        former, wanted = dict(drift.removed), dict(drift.added)
        for key in dict.fromkeys([*former, *wanted]) if drift.table and drift.table.secret else ():
            yield key, former.get(key), wanted.get(key)


def _senders(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Consequence]:
    origin, new = before.get("myorigin", ""), after.get("myorigin", "")
    if origin.lower() != new.lower():
        yield Consequence(
            f"senders without a domain, such as root, are @{new} instead of @{origin} (myorigin)"
        )
    for name in _SENDERS:
        former, wanted = before.get(name, ""), after.get(name, "")
        if split_list(former) != split_list(wanted):
            shown, instead = without_secrets(name, wanted), without_secrets(name, former)
            yield Consequence(
                f"{name} rewrites addresses by {shown or 'nothing'} instead of {instead or 'nothing'}"
            )


# Files


def _files(drifts: list[Drift], actual: ActualState) -> Iterator[Consequence]:
    made = [drift.name for drift in drifts if drift.table and drift.actual == "missing"]
    if made:
        yield Consequence(f"files are made: {', '.join(made)}")
    removed = [drift.name for drift in drifts if drift.kind is Kind.STALE_TABLE]
    if removed:
        yield Consequence(f"files are removed: {', '.join(removed)}")
    for path in actual.exposed:
        yield Consequence(
            f"{path} stays, with logins that every user of the host can read: chmod 0600 it, or remove it"
        )


def _items(values: Mapping[str, str], name: str) -> list[str]:
    """Return the items of a list of tables. A login in it is masked before a comma in its password could split it."""
    return split_list(without_secrets(name, values.get(name, "")))


def _lost(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Return the items of a list that another lacks."""
    kept = {item.lower() for item in after}
    return [item for item in before if item.lower() not in kept]
