"""Relays whose settings do not decide: with all changes made, another part of the configuration still does.

Pure.
"""

from collections.abc import Iterator, Mapping

from postward.config.relay import Relay
from postward.config.routing import INTERNAL, Configuration, routes
from postward.config.routing.samples import ELSEWHERE
from postward.config.settings import Settings

UNNAMED = "someone@sender.invalid"  # a sender in no table


def ineffective(settings: Settings, logins: Mapping[str, str], after: Configuration) -> dict[str, str]:
    """Return relay name → what decides in its place, for relays that would not get their mail with their login.

    Args:
        settings: the settings.
        logins: relay name → login, with the mark of its password.
        after: the configuration with these settings in force, read with the same `Vault`.
    """
    found: dict[str, str] = {}
    for number, relay in enumerate(settings.relay):
        for mail in mails_of(relay, takes_all=number == 0 or relay.fallback):
            for decider in _deciders(mail, relay, logins.get(relay.name, ""), after):
                found.setdefault(relay.name, decider)
    return found


def mails_of(relay: Relay, *, takes_all: bool) -> list[tuple[str, str]]:
    """Return mails that a relay takes, as (sender, recipient): one for each key of its senders and recipients."""
    mails = [(UNNAMED, ELSEWHERE)] if takes_all else []
    mails += [(_sample(key), ELSEWHERE) for key in relay.senders]
    return mails + [(UNNAMED, _sample(key)) for key in relay.recipients]


def _sample(key: str) -> str:
    """Return an address that a key is for: itself, someone at a domain, or someone below it for `@.domain`."""
    if key.startswith("@."):
        return f"someone@sub{key[1:]}"
    return f"someone{key}" if key.startswith("@") else key


def _deciders(mail: tuple[str, str], relay: Relay, login: str, after: Configuration) -> Iterator[str]:
    route = routes(*mail, after, entry=INTERNAL)[0]
    hops = [hop for hop in route.hops if hop.fallback is relay.fallback]
    wanted = (relay.host.lower(), relay.port)
    if relay.direct:
        hop = next((hop for hop in hops if route.next_hop_origin is None), None)
    elif relay.socket:
        hop = next((hop for hop in hops if hop.destination == relay.next_hop), None)
    else:
        hop = next((hop for hop in hops if (hop.host.lower(), hop.port) == wanted), None)
    if hop is None:
        origin = route.next_hop_origin or route.transport_origin
        yield (
            " ".join(part for part in (origin.parameter, origin.table) if part) if origin else "another route"
        )
        return
    actual = f"{hop.login.user}:{hop.login.mark}" if hop.login else ""
    if actual != login and not relay.login_table and not hop.unknown:
        yield f"the login {hop.login.key} in {hop.login.table.partition(' ')[0]}" if hop.login else "no login"
