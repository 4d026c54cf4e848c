"""The `relay` label: which relay of the settings a line of the log is about.

Postfix prints peers as `host[address]:port`; a label is a name from the settings, or other, none, local, so
that no pool of addresses and no stranger makes series.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from postward.parsers import relay_host_of, split_peer
from postward.parsers.events import Delivery

if TYPE_CHECKING:  # a replay without settings does not wait for pydantic
    from postward.config.settings import Settings

_MAX_PEERS = 4096  # remembered; a relay behind a pool of addresses has dozens


class RelayNames:
    """Peers → names.

    Args:
        relays: (host, port, name) of each relay of the settings.
    """

    def __init__(self, relays: Iterable[tuple[str, int, str]] = ()) -> None:
        self._by_peer = {(host.lower(), port): name for host, port, name in relays}
        self._by_host = {host: name for (host, _), name in self._by_peer.items()}
        self._cache: dict[str, str] = {}

    @classmethod
    def of_settings(cls, settings: "Settings") -> "RelayNames":
        """The names of the relays in the settings."""
        return cls((relay.host, relay.port, relay.name) for relay in settings.relay)

    @property
    def known(self) -> tuple[str, ...]:
        """The names, in the order of the settings."""
        return tuple(self._by_peer.values())

    def of_peer(self, peer: str) -> str:
        """The name of a peer as Postfix prints it, or "other"."""
        name = self._cache.get(peer)
        if name is None:
            if len(self._cache) >= _MAX_PEERS:
                self._cache.clear()
            host, _, port = split_peer(peer)
            name = self._cache[peer] = self.of_host(host or "", port)
        return name

    def of_delivery(self, delivery: Delivery) -> str:
        """The relay that a delivery went to or, if it got nowhere, the one it was meant for."""
        relay = delivery.relay
        if relay in {"local", "virtual"}:
            return "local"
        if "[" in relay:
            return self.of_peer(relay)
        meant = relay_host_of(delivery)
        named = self.of_host(*meant) if meant else "other"
        return "none" if named == "other" and relay == "none" else named

    def of_host(self, host: str, port: int | None) -> str:
        """The name of a relay, with or without its port, or "other"."""
        host = host.lower()
        return self._by_peer.get((host, port or 0)) or self._by_host.get(host, "other")
