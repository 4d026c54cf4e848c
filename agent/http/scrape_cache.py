"""Pages of metrics, each kept for five times as long as it took to write.

Promise: scrapes take at most a sixth of the agent's time, however many there are. A page that took 20 ms to write is
served again for 100 ms. Collecting takes no lock.
"""

import gzip
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

_KEEP_FACTOR: Final = 5
_MAX_PAGES: Final = 8


class _Families(Collector):
    """Given families, in the form that an encoder takes."""

    def __init__(self, *families: Family) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


class ScrapeCache:
    """Encoded pages by format.

    When a page is written again, only families that changed are encoded: on most hosts most series do not change, and
    encoding them is nine tenths of the work.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.perf_counter) -> None:
        self._registry = registry
        self._clock = clock
        self._pages: dict[tuple[str, bool], tuple[float, bytes]] = {}  # → time of expiry, body
        self._encoded: dict[str, list[tuple[Family, bytes]]] = {}

    def page(self, accept: str, *, compressed: bool) -> tuple[bytes, str]:
        """Return a page in the format that `accept` asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        started = self._clock()
        expires, body = self._pages.get((content_type, compressed), (0.0, b""))
        if started >= expires:
            # A client that invents versions must not fill the memory.
            if len(self._pages) > _MAX_PAGES:
                self._pages.clear()
                self._encoded.clear()
            body = self._encode(encode, content_type)
            if compressed:
                body = gzip.compress(body, compresslevel=4, mtime=0)
            ended = self._clock()
            self._pages[content_type, compressed] = (ended + _KEEP_FACTOR * (ended - started), body)
        return body, content_type

    def _encode(self, encode: Callable[[Any], bytes], content_type: str) -> bytes:
        former = self._encoded.get(content_type, [])
        end = encode(_Families())
        current = []
        for place, family in enumerate(self._registry.collect()):
            if place < len(former) and former[place][0] == family:
                current.append(former[place])
            else:
                current.append((family, encode(_Families(family)).removesuffix(end)))
        self._encoded[content_type] = current
        return b"".join([*(text for _, text in current), end])
