"""The routes that are probed: a sender, and the relay that takes its mail."""

import re
from dataclasses import dataclass

from postward.config.settings import Settings
from postward.parsers import Cause, relay_host_of
from postward.parsers.events import Delivery, TlsEstablished


@dataclass(frozen=True, slots=True)
class Route:
    """A route of mail.

    Attributes:
        relay: the relay's name in the settings.
        sender: the envelope sender.
        login: the relay has a login.
        next_hops: `host:port` of each relay that may take the mail: the relay itself, and fallbacks of the first one.
            Empty: not checked, for a route of a former release.
        tls: "encrypted" or "verified", if the settings require that of all of them.
    """

    relay: str
    sender: str = ""
    login: bool = True
    next_hops: tuple[str, ...] = ()
    tls: str = ""

    def other_hop(self, delivery: Delivery) -> str:
        """Return the hop that a delivery reached, or meant, if it is not the relay; "" for the relay, or if unknown."""
        reached = relay_host_of(delivery)
        if not self.next_hops:
            return ""
        if reached is None:
            return "" if delivery.relay == "none" else delivery.relay
        host, port = reached
        hops = self.next_hops if port else tuple(hop.rpartition(":")[0] for hop in self.next_hops)
        peer = f"{host}:{port}" if port else host
        return "" if peer.lower() in hops else peer

    def tls_fault(
        self, delivery: Delivery, session: TlsEstablished | None, *, logged: bool
    ) -> tuple[Cause, str] | None:
        """Return what the log shows to be missing of the TLS that the settings require; None if it shows nothing missing.

        Args:
            delivery: a mail that the relay accepted.
            session: the TLS session that the log shows for it.
            logged: Postfix logs each TLS session. One that it reuses was logged before, and one whose level is in the
                record (from 3.11 on) needs no line.
        """
        if not self.tls:
            return None
        level = delivery.tls or ""
        unseen = session is None and logged and not delivery.tls and not delivery.conn_use
        if unseen or re.search(r"(^|:)none\b", level):
            return (
                Cause.LOCAL_CONFIG,
                "accepted without TLS, which the settings require; does master.cf override smtp_tls_security_level?",
            )
        if self.tls == "verified" and session is not None and session.trust not in {None, "Verified"}:
            return (
                Cause.TLS_VERIFY,
                f"accepted although the relay's certificate was not verified ({session.trust})",
            )
        return None


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
    return tuple(_route(settings, sender) for sender in senders)


def _route(settings: Settings, sender: str) -> Route:
    name = relay_of_sender(settings, sender)
    first = settings.relay[0]
    relay = next(relay for relay in settings.relay if relay.name == name)
    fallbacks = [other for other in settings.relay if other.fallback and relay is first]
    candidates = (relay, *fallbacks)
    hops = tuple(f"{hop.host}:{hop.port}".lower() for hop in candidates)
    encrypted = all(hop.tls in {"starttls", "implicit"} for hop in candidates)
    verified = all(hop.verify for hop in candidates)
    tls = "verified" if verified else "encrypted" if encrypted else ""
    return Route(name, sender, bool(relay.username), hops, tls)


def relay_of_sender(settings: Settings, sender: str) -> str:
    """Return the relay of a sender, as sender_dependent_relayhost_maps is searched (postconf(5))."""
    domain = "@" + sender.rpartition("@")[2]
    for key in (sender.lower(), domain.lower()):
        for relay in settings.relay:
            if key in {entry.lower() for entry in relay.senders}:
                return relay.name
    return settings.relay[0].name
