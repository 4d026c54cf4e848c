"""The routes that are probed: a sender, and the relay that takes its mail."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from postward.config.relay import Relay
from postward.config.settings import Settings
from postward.parsers import Cause, relay_host_of, split_peer
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
        recipient: the recipient.
        elsewhere: MX records name the servers, so any other host may take the mail; `next_hops` are `:port`.
    """

    relay: str
    sender: str = ""
    login: bool = True
    next_hops: tuple[str, ...] = ()
    tls: str = ""
    recipient: str = ""
    elsewhere: bool = False

    def other_hop(self, delivery: Delivery) -> str:
        """Return the hop that a delivery reached, or meant, if it is not the relay; "" for the relay, or if unknown."""
        reached = relay_host_of(delivery)
        if self.elsewhere:
            _, address, port = split_peer(delivery.relay)
            passed = address in {"127.0.0.1", "::1"} and f":{port}" not in self.next_hops
            return delivery.relay if passed else ""
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
    """Return the routes to probe: each sender of the settings, and each relay at least once, if it can be.

    A relay that no such sender leads to is probed with a sender of its own: the first address of its `senders`, or
    postward@ at the first domain. A relay that only recipients lead to requires probe_recipients.
    """
    senders = list(dict.fromkeys([settings.probe_sender, *settings.probe.senders]))
    usual = settings.probe.recipient
    mails = [(sender, usual) for sender in senders if usual]
    reached = {_relay_of(settings, *mail).name for mail in mails}
    for relay in settings.relay:
        for recipient in relay.probe_recipients or ([usual] if usual and relay.name not in reached else []):
            candidates = [*senders, *([_own_sender(relay.senders[0])] if relay.senders else [])]
            leading = (one for one in candidates if _relay_of(settings, one, recipient) is relay)
            if sender := next(leading, None):
                mails.append((sender, recipient))
    return tuple(_route(settings, *mail) for mail in dict.fromkeys(mails))


def _own_sender(entry: str) -> str:
    return re.sub(r"^@\.?", lambda at: "postward@" if at[0] == "@" else "postward@mail.", entry)


def _route(settings: Settings, sender: str, recipient: str) -> Route:
    first, relay = settings.relay[0], _relay_of(settings, sender, recipient)
    fallbacks = [other for other in settings.relay if other.fallback and relay is first]
    candidates = (relay, *fallbacks)
    elsewhere = any(not hop.has_known_server for hop in candidates)
    peers = (f":{hop.port}" if elsewhere else f"{hop.host}:{hop.port}".lower() for hop in candidates)
    hops = () if relay.socket else tuple(peers)
    encrypted = all(hop.tls in {"starttls", "implicit"} for hop in candidates)
    verified = all(hop.verify or hop.fingerprints or (hop.dane and not hop.direct) for hop in candidates)
    tls = "verified" if verified else "encrypted" if encrypted else ""
    return Route(relay.name, sender, bool(relay.username), hops, tls, recipient, elsewhere)


def _relay_of(settings: Settings, sender: str, recipient: str) -> Relay:
    """Return the relay of a mail: by recipient as transport_maps is searched, else by sender (postconf(5))."""
    by_recipient = _chosen([(key, relay) for relay in settings.relay for key in relay.recipients], recipient)
    by_sender = _chosen([(key, relay) for relay in settings.relay for key in relay.senders], sender)
    return by_recipient or by_sender or settings.relay[0]


def _chosen(rows: Iterable[tuple[str, Relay]], address: str) -> Relay | None:
    """Return the relay of the most exact key: the address, its domain, the nearest parent of the domain."""
    keys = {key.lower(): relay for key, relay in rows}
    address = address.lower()
    domain = address.rpartition("@")[2]
    parents = (f"@{domain[place:]}" for place, char in enumerate(domain) if char == ".")
    return next((keys[key] for key in (address, f"@{domain}", *parents) if key in keys), None)


def relay_of_sender(settings: Settings, sender: str) -> str:
    """Return the relay of a sender, as sender_dependent_relayhost_maps is searched (postconf(5))."""
    return _relay_of(settings, sender, "").name
