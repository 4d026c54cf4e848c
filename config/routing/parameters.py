"""The parameters whose tables decide about routes, and their values without passwords."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

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


def user_of(login: str) -> str:
    """Return a login with its password masked; all of it if it has no colon."""
    user, colon, _ = login.partition(":")
    return f"{user}:{MASK}" if colon and not re.search(r"\s", user) else MASK


Conceal = Callable[[str], str]  # a login → what a configuration holds of it


@dataclass(frozen=True, slots=True)
class Vault:
    """Passwords apart from the configuration that uses them, which has marks in their place.

    Attributes:
        passwords: mark → password. One password has one mark, so logins can be compared.
    """

    passwords: dict[str, str] = field(default_factory=dict, repr=False)

    def conceal(self, login: str) -> str:
        """Return a login with a mark in the place of its password."""
        user, colon, password = login.partition(":")
        known = {password: mark for mark, password in self.passwords.items()}
        mark = known.get(password, f"#{len(known)}")
        self.passwords[mark] = password
        return f"{user}:{mark}" if colon else MASK


def without_passwords(parameter: str, value: str, conceal: Conceal = user_of) -> str:
    """Return a value with the passwords of its static and inline tables concealed; keys and users stay."""
    if not holds_logins(parameter):
        return value
    return " ".join(_concealed(item, conceal) for item in split_list(value))


def _concealed(item: str, conceal: Conceal) -> str:
    kind, _, text = item.partition(":")
    inside = text[1:-1] if text.startswith("{") else text
    if kind == "static":
        return f"static:{{ {conceal(inside.strip())} }}"
    if kind != "inline":
        return item
    pairs = (entry.strip("{}").partition("=") for entry in split_list(inside))
    return f"inline:{{ {', '.join(f'{{ {key.strip()} = {conceal(login.strip())} }}' for key, _, login in pairs)} }}"


def without_logins(contents: Contents, conceal: Conceal = user_of) -> Contents:
    """Return a table of logins with its passwords concealed."""
    if isinstance(contents, Keyed):
        return Keyed({key: conceal(login) for key, login in contents.entries.items()})
    if isinstance(contents, Patterns):
        rules = tuple(rule._replace(value=conceal(rule.value)) for rule in contents.rules)
        return replace(contents, rules=rules)
    assert isinstance(contents, Static)  # noqa: S101
    return Static(conceal(contents.value))
