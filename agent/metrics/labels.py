"""The `relay` label: the relay of the settings that a log line is about.

Postfix prints peers as `host[address]:port`. The label is a name from the settings, or other, none, local. So neither a
pool of addresses nor a foreign host creates series.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from postward.parsers import relay_host_of, split_peer
from postward.parsers.events import Delivery

if TYPE_CHECKING:  # a replay without settings need not load pydantic
    from postward.config.settings import Settings

_MAX_PEERS = 4096  # in the cache; a relay with a pool of addresses has dozens


class RelayNames:
    """Maps peers, as printed in the log, to names of relays.

    Args:
        relays: (host, port, name) of each relay of the settings.
    """

    def __init__(self, relays: Iterable[tuple[str, int, str]] = ()) -> None:
        self._by_peer = {(host.lower(), port): name for host, port, name in relays}
        self._by_host = {host: name for (host, _), name in self._by_peer.items()}
        self._cache: dict[str, str] = {}

    @classmethod
    def of_settings(cls, settings: "Settings") -> "RelayNames":
        """Create the mapping from the relays of the settings."""
        return cls((relay.host, relay.port, relay.name) for relay in settings.relay)

    @property
    def known(self) -> tuple[str, ...]:
        """The names of the relays, in the order of the settings."""
        return tuple(self._by_peer.values())

    def of_peer(self, peer: str) -> str:
        """Return the name of a peer as Postfix prints it, or "other"."""
        name = self._cache.get(peer)
        if name is None:
            if len(self._cache) >= _MAX_PEERS:
                self._cache.clear()
            host, _, port = split_peer(peer)
            name = self._cache[peer] = self.of_host(host or "", port)
        return name

    def of_delivery(self, delivery: Delivery) -> str:
        """Return the name of the relay that a delivery reached or, if it reached none, the intended one.

        Return "local" for a delivery on this host, "none" if the intended relay is unknown, "other" for other hosts.
        """
        relay = delivery.relay
        if relay in {"local", "virtual"}:
            return "local"
        if "[" in relay:
            return self.of_peer(relay)
        meant = relay_host_of(delivery)
        named = self.of_host(*meant) if meant else "other"
        return "none" if named == "other" and relay == "none" else named

    def of_host(self, host: str, port: int | None) -> str:
        """Return the name of a relay by host and port, or by host alone if no relay has that port; else "other"."""
        host = host.lower()
        return self._by_peer.get((host, port or 0)) or self._by_host.get(host, "other")
