"""The parameters whose tables decide about routes, and their values without passwords."""

import re
from dataclasses import replace

from postward.config.routing.tables import Contents, Keyed, Patterns, Static
from postward.parsers.postconf import split_list
from postward.parsers.scrub import MASK

# Lists of tables (global/maps.c).
MAPS = (
    "canonical_maps",
    "lmtp_sasl_password_maps",
    "lmtp_tls_policy_maps",
    "recipient_canonical_maps",
    "relocated_maps",
    "sender_canonical_maps",
    "sender_dependent_default_transport_maps",
    "sender_dependent_relayhost_maps",
    "smtp_sasl_password_maps",
    "smtp_tls_policy_maps",
    "transport_maps",
    "virtual_alias_maps",
)
# Lists of names, tables and files (util/match_list.c).
LISTS = (
    "masquerade_exceptions",
    "mydestination",
    "relay_domains",
    "virtual_alias_domains",
    "virtual_mailbox_domains",
)


def holds_logins(parameter: str) -> bool:
    """Return True for a list of tables with logins."""
    return parameter.endswith("_sasl_password_maps")


def without_passwords(parameter: str, value: str) -> str:
    """Return a value with the passwords of its static and inline tables masked; keys and users stay."""
    if not holds_logins(parameter):
        return value
    return " ".join(_masked_table(item) for item in split_list(value))


def _masked_table(item: str) -> str:
    kind, _, text = item.partition(":")
    inside = text[1:-1] if text.startswith("{") else text
    if kind == "static":
        return f"static:{{ {user_of(inside.strip())} }}"
    if kind != "inline":
        return item
    pairs = (entry.strip("{}").partition("=") for entry in split_list(inside))
    return f"inline:{{ {', '.join(f'{{ {key.strip()} = {user_of(login.strip())} }}' for key, _, login in pairs)} }}"


def user_of(login: str) -> str:
    """Return a login with its password masked; all of it if it has no colon."""
    user, colon, _ = login.partition(":")
    return f"{user}:{MASK}" if colon and not re.search(r"\s", user) else MASK


def without_logins(contents: Contents) -> Contents:
    """Return a table of logins with its passwords masked."""
    if isinstance(contents, Keyed):
        return Keyed({key: user_of(login) for key, login in contents.entries.items()})
    if isinstance(contents, Patterns):
        rules = tuple(rule._replace(value=user_of(rule.value)) for rule in contents.rules)
        return replace(contents, rules=rules)
    assert isinstance(contents, Static)  # noqa: S101
    return Static(user_of(contents.value))
