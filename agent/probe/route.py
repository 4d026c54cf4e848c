"""The routes that are probed: a sender, and the relay that takes its mail."""

from dataclasses import dataclass

from postward.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Route:
    """A route of mail.

    Attributes:
        relay: the relay's name in the settings.
        sender: the envelope sender.
        login: the relay has a login.
    """

    relay: str
    sender: str = ""
    login: bool = True


def routes_of(settings: Settings) -> tuple[Route, ...]:
    """Return the routes to probe: each sender of the settings, and each relay at least once.

    A relay that no such sender leads to is probed with a sender of its own: the first address of its `senders`, or
    postward@ at the first domain.
    """
    senders = list(dict.fromkeys([settings.probe_sender, *settings.probe.senders]))
    reached = {relay_of_sender(settings, sender) for sender in senders}
    for relay in settings.relay:
        if relay.name not in reached and relay.senders:
            entry = relay.senders[0]
            senders.append(f"postward{entry}" if entry.startswith("@") else entry)
    logins = {relay.name: bool(relay.username) for relay in settings.relay}
    relays = [(relay_of_sender(settings, sender), sender) for sender in senders]
    return tuple(Route(relay, sender, logins[relay]) for relay, sender in relays)


def relay_of_sender(settings: Settings, sender: str) -> str:
    """Return the relay of a sender, as sender_dependent_relayhost_maps is searched (postconf(5))."""
    domain = "@" + sender.rpartition("@")[2]
    for key in (sender.lower(), domain.lower()):
        for relay in settings.relay:
            if key in {entry.lower() for entry in relay.senders}:
                return relay.name
    return settings.relay[0].name
