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
        senders = [UNNAMED] if number == 0 or relay.fallback else []
        senders += [f"someone{sender}" if sender.startswith("@") else sender for sender in relay.senders]
        for sender in senders:
            for decider in _deciders(sender, relay, logins.get(relay.name, ""), after):
                found.setdefault(relay.name, decider)
    return found


def _deciders(sender: str, relay: Relay, login: str, after: Configuration) -> Iterator[str]:
    route = routes(sender, ELSEWHERE, after, entry=INTERNAL)[0]
    hops = [hop for hop in route.hops if hop.fallback is relay.fallback]
    wanted = (relay.host.lower(), relay.port)
    hop = next((hop for hop in hops if (hop.host.lower(), hop.port) == wanted), None)
    if hop is None:
        origin = route.next_hop_origin
        yield (
            " ".join(part for part in (origin.parameter, origin.table) if part) if origin else "another route"
        )
        return
    actual = f"{hop.login.user}:{hop.login.mark}" if hop.login else ""
    if actual != login:
        yield f"the login {hop.login.key} in {hop.login.table.partition(' ')[0]}" if hop.login else "no login"
