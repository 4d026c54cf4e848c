"""Rules about the mail of local users, such as cron's reports to root: it can stay unread, or bounce."""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

from postward.config.lint.facts import HostFacts
from postward.config.lint.finding import Fault, Rule, Severity
from postward.parsers.logical_lines import logical_lines

Facts = HostFacts

# By these parameters, other programs than local(8) take the mail of users, or it goes elsewhere.
_OTHER_MAILBOXES = (
    *("mailbox_transport", "mailbox_transport_maps", "mailbox_command", "mailbox_command_maps"),
    *("fallback_transport", "fallback_transport_maps", "luser_relay"),
)
_REMEDY = 'write host.admin = "you@example.com" into the settings, then postward apply'


def aliases_from(user: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the aliases by which the mail of a user goes on, in their order: name → a user or address.

    "…" stands for any other value, such as a list or a command, which can hold a secret.

    Args:
        user: the user.
        texts: the alias files (aliases(5)) in the order of alias_maps: name → content.
    """
    entries: dict[str, str] = {}
    for text in texts.values():
        for lines in logical_lines(text):
            name, colon, value = " ".join(part for _, part in lines).partition(":")
            if colon:
                entries.setdefault(name.strip().strip('"').lower(), value.strip())
    found: dict[str, str] = {}
    while user.lower() in entries and user.lower() not in found:
        value = entries[user.lower()]
        found[user.lower()] = value if re.fullmatch(r"[\w.+@-]+", value) else "…"
        user = value
    return found


def _stays(facts: Facts) -> Iterator[Fault]:
    route = facts.root_route
    if route is None or route.command != "local" or facts.aliases is None or facts.root_forwards is not False:
        return
    if any(facts.value(name) for name in _OTHER_MAILBOXES):
        return
    last = list(facts.aliases.values())[-1] if facts.aliases else route.recipient.rpartition("@")[0]
    if is_user := re.fullmatch(r"[A-Za-z0-9_.-]+", last):
        steps = " → ".join(dict.fromkeys(["root", *facts.aliases.values()]))
        yield Fault("mail to root", f"stays in the mailbox of {is_user[0]} on this host ({steps})", _REMEDY)


def _leaves(facts: Facts) -> Iterator[Fault]:
    route = facts.root_route
    if route is None or route.command != "smtp":
        return
    user, _, domain = route.recipient.lower().rpartition("@")
    name = facts.value("myhostname").lower()
    own = {name, *_parents(name)}
    if user == "root" and domain in own:
        yield Fault("mail to root", f"goes out as {route.recipient}", _REMEDY)


def _parents(name: str) -> Iterator[str]:
    """Yield the domains above a host name, except top-level domains."""
    labels = name.split(".")
    yield from (".".join(labels[start:]) for start, _ in pairwise(range(1, len(labels))))


RULES: tuple[Rule[HostFacts], ...] = (
    Rule(
        id="root-mail-unread",
        severity=Severity.NOTE,
        check=_stays,
        why="Reports of cron and of failed services collect there unread.",
    ),
    Rule(
        id="root-mail-to-root",
        severity=Severity.NOTE,
        check=_leaves,
        why="If that mailbox does not exist, reports of cron and of failed services bounce and are lost.",
    ),
)
