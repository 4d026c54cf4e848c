"""Values of labels. Each vocabulary is closed and stands here once, so no log creates series without limit.

The `relay` label is the relay of the settings that a log line is about. Postfix prints peers as `host[address]:port`. The
label is a name from the settings, or other, none, local. So neither a pool of addresses nor a foreign host creates series.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from postward.parsers import next_hop, split_peer
from postward.parsers.events import Delivery

if TYPE_CHECKING:  # a replay without settings need not load pydantic
    from postward.config.relay import Relay
    from postward.config.settings import Settings

STATUSES: Final = ("sent", "deferred", "bounced")
_STATUS_OF: Final = {**{status: status for status in STATUSES}, "SOFTBOUNCE": "deferred"}
# Of `delays=a/b/c/d`.
STAGES: Final = ("before_queue_manager", "queue_manager", "connection_setup", "transmission")
TLS_PROTOCOLS: Final = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")  # weakest first
# The trust levels of a certificate that Postfix prints (tls/tls_misc.c), in lower case.
_TRUSTS: Final = frozenset({"anonymous", "untrusted", "trusted", "verified"})
NO_RELAYS: Final = ("other", "none", "local")  # values of `relay` beside the names in the settings

_MAX_DELAY: Final = 1e9  # seconds, 30 years; a greater delay is not valid
_MAX_INSTANCES: Final = 32  # a host has a few; a hostile log must not create more
# Peers, of which a relay with a pool of addresses has dozens; delays, which have two digits.
_MAX_CACHED: Final = 4096
_THIS_HOST: Final = frozenset({"", "127.0.0.1", "::1", "localhost"})  # a content filter, for example
# Prefix of Postward's services, as in `config.resources`, which loads pydantic.
OWN_SERVICE: Final = "postward-"


def status_of(printed: str) -> str:
    """Return the label of a delivery's status, as printed; "other" for an unknown one."""
    return _STATUS_OF.get(printed, "other")


def tls_labels(protocol: str, trust: str | None) -> tuple[str, str]:
    """Return the labels of a TLS session: its protocol or "other", its trust level or "unknown"."""
    level = (trust or "").lower()
    return (
        protocol if protocol in TLS_PROTOCOLS else "other",
        level if level in _TRUSTS else "unknown",
    )


@lru_cache(_MAX_CACHED)
def delay_seconds(printed: str) -> float | None:
    """Parse a delay as printed; None if it is invalid."""
    try:
        value = float(printed)
    except ValueError:
        return None
    return value if 0 <= value < _MAX_DELAY else None  # also "nan"


def by_stage(printed: Sequence[str | None]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each stage with its delays, from `delays=a/b/c/d`."""
    rows = [(text or "").split("/") for text in printed]
    if set(map(len, rows)) == {len(STAGES)}:
        yield from zip(STAGES, zip(*rows, strict=True), strict=True)
    else:
        for row in rows:
            yield from zip(STAGES, ([text] for text in row), strict=False)


Row = tuple[str, int, str]


def rows_of(relays: "Iterable[Relay]") -> tuple[Row, ...]:
    """Return (host, port, name) of each relay of the settings, as `RelayNames` takes them.

    The host is the path for a Unix socket. Where MX records name the servers, it is ""; a domain without such records has a
    second row, since it is its own server.
    """
    rows: list[Row] = []
    for relay in relays:
        if not relay.has_known_server:
            rows.append(("", relay.port, relay.name))
        if relay.socket or relay.host:
            rows.append((relay.socket or relay.host, relay.port, relay.name))
    return tuple(rows)


class RelayNames:
    """Maps peers, as printed in the log, to names of relays.

    Postfix prints no login. Of several relays at one host and port, each with a service of its own is known by the name of
    that service. The others count as the first of them. Servers that no setting names belong to the first relay if MX
    records name its servers, as in direct delivery.

    Args:
        relays: (host, port, name) of each relay of the settings, as from `rows_of`.

    Attributes:
        known: the names of the relays, in the order of the settings.
        direct: the names that stand for direct delivery.
    """

    def __init__(self, relays: Iterable[Row] = ()) -> None:
        rows = tuple(relays)
        self.known = tuple(dict.fromkeys(name for _, _, name in rows))
        self._by_peer = {(host.lower(), port): name for host, port, name in reversed(rows) if host}
        self._by_host = {host: name for (host, _), name in self._by_peer.items()}
        self._elsewhere = rows[0][2] if rows and not rows[0][0] else "other"
        self.direct = frozenset(self.known) - {name for host, _, name in rows if host}
        self._services: dict[str, str] = {}
        self._cache: dict[str, str] = {}

    @classmethod
    def of_settings(cls, settings: "Settings") -> "RelayNames":
        """Create the mapping from the relays of the settings."""
        return cls(rows_of(settings.relay))

    def of_service(self, instance: str) -> str:
        """Return the relay whose own service logs under this name, as in "postfix/postward-shop"; "" for others."""
        name = self._services.get(instance)
        if name is None:
            service = instance.rpartition("/")[2]
            name = service.removeprefix(OWN_SERVICE)
            name = name if name != service and name in self.known else ""
            if len(self._services) < _MAX_CACHED:
                self._services[instance] = name
        return name

    def of_peer(self, peer: str, instance: str = "") -> str:
        """Return the name of a peer as Postfix prints it, or "other".

        Args:
            peer: the peer.
            instance: the instance that logged it.
        """
        if service := self.of_service(instance):
            return service
        name = self._cache.get(peer)
        if name is None:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            host, _, port = split_peer(peer)
            name = self._cache[peer] = self.of_host(host or "", port)
        return name

    def of_delivery(self, delivery: Delivery, instance: str = "") -> str:
        """Return the name of the relay of a delivery; `of` explains it."""
        return self.of(delivery.relay, delivery.reason, instance)

    def of(self, relay: str, reason: str | None, instance: str = "") -> str:
        """Return the name of the relay that a delivery reached or, if it reached none, the intended one.

        Return "local" for a delivery on this host, "none" if the intended relay is unknown, "other" for other hosts.

        Args:
            relay: the peer, or another value of the field.
            reason: names the intended relay, if there was no peer.
            instance: the instance that logged it.
        """
        if relay in {"local", "virtual"}:
            return "local"
        if service := self.of_service(instance):
            return service
        if "[" in relay:
            return self.of_peer(relay)
        meant = next_hop(relay, reason)
        named = self.of_host(*meant) if meant else "other"
        return "none" if named == "other" and relay == "none" else named

    def of_host(self, host: str, port: int | None) -> str:
        """Return the name of a relay by host and port, or by host alone if no relay has that port; else "other"."""
        host = host.lower()
        name = self._by_peer.get((host, port or 0)) or self._by_host.get(host)
        return name or ("other" if host in _THIS_HOST else self._elsewhere)


class Instances:
    """Maps names of Postfix instances to the label `postfix_instance`: "other" after the first 32.

    Args:
        names: the relays; a service of Postward's for one of them is not an instance.
    """

    def __init__(self, names: RelayNames) -> None:
        self._names = names
        self._known = {"postfix": "postfix"}

    def __call__(self, name: str) -> str:
        """Return the label."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _MAX_INSTANCES:
                return "other"
            service = self._names.of_service(name)
            bare = name.removesuffix(f"/{OWN_SERVICE}{service}") if service else name
            known = self._known[name] = bare
        return known
