"""The logins of relays as Postfix looks them up: by sender, by host, by next hop (smtp/smtp_sasl_glue.c).

Pure. Logins at one host and port are distinguished by sender alone. A service that looks senders up finds the login of a
sender at every server, so a relay with another login, or without one, gets a service that does not.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from postward.config.relay import Relay

BY_SENDER = "smtp_sender_dependent_authentication"
DELIMITER = "smtp_sasl_password_result_delimiter"
EVERY_KEY = "*"  # of a table that answers for all
_DELIMITERS = ":|~^;"  # the first one that no user name has


@dataclass(frozen=True, slots=True)
class Logins:
    """The logins of all relays.

    Attributes:
        entries: (key, login) of Postward's table.
        renewed: the keys of logins with a token, which is renewed every hour.
        tables: the admin's tables that hold logins.
        by_sender: the names of the relays that share a host and port with another login.
        enabled: Postfix logs in at some relay.
        delimiter: the character between user name and password.
    """

    entries: tuple[tuple[str, str], ...] = field(repr=False)
    renewed: frozenset[str]
    tables: tuple[str, ...]
    by_sender: frozenset[str]
    enabled: bool
    delimiter: str = ":"


def logins_of(
    relays: Sequence[Relay], passwords: Mapping[str, str], admins: Collection[str] = frozenset()
) -> Logins:
    """Return the logins of relays.

    Args:
        relays: the relays of the settings.
        passwords: relay name → password, for each relay with a username.
        admins: keys in lowercase under which Postfix finds logins of the admin by sender. They come before any login for a
            next hop, so a sender of a relay that is among them has an entry of its own.
    """
    shared = {relay.name for relay in relays if _shares(relay, relays)}
    owners: dict[str, Relay] = {}
    for relay in relays:
        if relay.username:
            for key in _keys(relay, bool(shared), admins):
                owners.setdefault(key, relay)
    users = "".join(relay.username for relay in relays)
    delimiter = next(char for char in _DELIMITERS if char not in users or char == _DELIMITERS[-1])
    entries = tuple(
        (key, f"{owner.username}{delimiter}{passwords[owner.name]}") for key, owner in owners.items()
    )
    return Logins(
        entries,
        frozenset(key for key, owner in owners.items() if owner.oauth2),
        tuple(dict.fromkeys(relay.login_table for relay in relays if relay.login_table)),
        frozenset(shared),
        any(relay.has_login for relay in relays),
        delimiter,
    )


def with_host_names(relays: Sequence[Relay], logins: Logins, admins: Collection[str]) -> dict[str, str]:
    """Return the entries of Postward's table, and the name of each server for which the admin's tables have a login.

    Postfix looks for the name in all tables before it looks for the next hop. A server with several logins is left out.

    Args:
        relays: the relays of the settings.
        logins: their logins.
        admins: the keys of the admin's tables in lowercase.
    """
    entries = dict(logins.entries)
    found: dict[str, set[str]] = {}
    for relay in relays:
        if relay.username and {relay.host.lower(), EVERY_KEY} & {*admins}:
            found.setdefault(relay.host, set()).add(entries[relay.next_hop])
    return entries | {host: login for host, (login, *others) in found.items() if not others}


def _shares(relay: Relay, relays: Sequence[Relay]) -> bool:
    """Return True for a relay with other logins at its host and port."""
    users = {one.username for one in relays if one.next_hop.lower() == relay.next_hop.lower()}
    return bool(relay.username) and len(users) > 1


def _keys(relay: Relay, by_sender: bool, admins: Collection[str]) -> Iterator[str]:
    """Yield the keys of a relay's login. The first relay at a next hop has its key, for bounces too."""
    yield relay.next_hop
    for sender in relay.senders:
        domain = sender[sender.index("@") :].lower()
        if by_sender or sender.lower() in admins or domain in admins:
            yield sender


def looks_senders_up(relay: Relay, relays: Sequence[Relay], logins: Logins) -> bool:
    """Return True if the relay's service may find logins by sender.

    A relay that takes only the mail of its own senders has entries for them. Others go along with the first relay
    unless a login that is not theirs could be found.
    """
    if not logins.by_sender or relay.name in logins.by_sender:
        return bool(logins.by_sender)
    follows = bool(relay.username and relay.senders and not relay.recipients)
    return follows and relays[0].name in logins.by_sender
