"""A receiver for the probes of a fleet (`postward sink`): the probes' domain points at it.

It records when each probe arrived and which parts changed on the way, answers the agents that ask (POST /arrivals),
exports metrics, and keeps no mail. Mail that is not a probe of its fleet (signed with its key, at most a day old) is
refused.

Promise: connections, sizes, memory, questions and answers are bounded. No mail is sent on. No client can end the
process.

How it fails: arrivals are remembered in memory only. After a restart, a probe that arrived before it is reported lost.

Needs aiosmtpd (the extra `sink`).
"""

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable
from email import message_from_bytes
from typing import Any

from aiosmtpd.smtp import SMTP
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from postward.agent.http.headers import HeadersMiddleware
from postward.agent.http.server import group_of
from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.tally import Tally
from postward.agent.probe.arrivals import MAX_ASKED
from postward.agent.probe.message import altered_parts, identifier_in, signed_identifiers
from postward.agent.stored import parse_json

_MAX_AGE = 86400.0  # seconds
_MAX_CLOCK_SKEW = 600.0  # seconds that a host's clock may be ahead
_MAX_REMEMBERED = 50_000  # probes
_MAX_COPIES = 10
_MAX_MAIL = 65536  # bytes; a probe has about 1000, and relays add headers
MAX_CONNECTIONS = 200
_COMMAND_TIMEOUT = 30.0  # seconds between two commands
_MAX_SESSION = 120.0  # seconds; a probe takes one
_MAX_QUESTION = MAX_ASKED * 200  # bytes
_OUTCOMES = ("arrived", "duplicate", "altered", "refused")


class Arrivals:
    """The arrivals of probes, by identifier.

    Args:
        key: the fleet's key.
        tally: where mails are counted.
        clock: seconds since the epoch.
        max_remembered: probes to remember; the oldest is forgotten.
    """

    def __init__(
        self,
        key: bytes,
        tally: Tally,
        clock: Callable[[], float] = time.time,
        max_remembered: int = _MAX_REMEMBERED,
    ) -> None:
        self._key = key
        self._tally = tally
        self._clock = clock
        self._max_remembered = max_remembered
        self._known: dict[str, tuple[list[float], set[str]]] = {}
        for outcome in _OUTCOMES:
            tally.add("postward_sink_mails_total", (outcome,), 0)

    def take(self, data: bytes) -> str | None:
        """Record a mail. Return why it is refused, or None for a probe of this fleet."""
        now = self._clock()
        message = message_from_bytes(data)
        for identifier, signed in signed_identifiers(message, self._key):
            if -_MAX_CLOCK_SKEW <= now - signed <= _MAX_AGE:
                self._record(identifier, now - signed, altered_parts(message, identifier, self._key), now)
                return None
        self._tally.add("postward_sink_mails_total", ("refused",))
        return "not a probe of this fleet"

    def _record(self, identifier: str, delay: float, altered: Iterable[str], now: float) -> None:
        first = identifier not in self._known
        at, parts = self._known.setdefault(identifier, ([], set()))
        if len(at) < _MAX_COPIES:
            at.append(now)
        parts.update(altered)
        outcome = "duplicate" if not first else "altered" if parts else "arrived"
        self._tally.add("postward_sink_mails_total", (outcome,))
        if first:
            self._tally.observe("postward_sink_delay_seconds", (), max(0.0, delay))
        while len(self._known) > self._max_remembered:
            del self._known[next(iter(self._known))]

    def of(self, message_ids: Iterable[Any]) -> dict[str, dict[str, Any]]:
        """Return the arrivals of those of these probes that have arrived."""
        answer = {}
        for message_id in message_ids:
            known = self._known.get(identifier_in(str(message_id)) or "")
            if known is not None:
                answer[str(message_id)] = {"at": known[0], "altered": sorted(known[1])}
        return answer

    @property
    def remembered(self) -> int:
        """The number of probes that are remembered."""
        return len(self._known)


class _Handler:
    """The hooks that aiosmtpd calls."""

    def __init__(self, arrivals: Arrivals, domain: str) -> None:
        self._arrivals = arrivals
        self._domain = domain.lower()

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's names
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if self._domain and address.rpartition("@")[2].lower() != self._domain:
            return "550 5.7.1 Only probes are accepted here"
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        reason = self._arrivals.take(bytes(envelope.content or b""))
        return f"550 5.7.1 Refused: {reason}" if reason else "250 2.0.0 Ok: recorded, not stored"

    async def handle_exception(self, _error: Exception) -> str:
        return "451 4.3.0 Internal error, try again later"


class _Connection(SMTP):
    """An SMTP connection. When all places are taken, the oldest of the address that has most gives way to a new one."""

    def __init__(
        self, handler: _Handler, connections: dict["_Connection", str], max_connections: int, **options: Any
    ) -> None:
        super().__init__(handler, **options)
        self._connections = connections
        self._max_connections = max_connections
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections[self] = group_of(transport.get_extra_info("peername"))
        super().connection_made(transport)
        self._end = asyncio.get_running_loop().call_later(_MAX_SESSION, self.give_way)
        if len(self._connections) > self._max_connections:
            numbers = Counter(self._connections.values())
            others = [other for other in self._connections if other is not self]
            max(others, key=lambda other: numbers[self._connections[other]], default=self).give_way()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.pop(self, None)
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(error)

    def give_way(self) -> None:
        self._connections.pop(self, None)
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


async def create_smtp_server(
    arrivals: Arrivals,
    host: str,
    port: int,
    *,
    domain: str,
    hostname: str,
    max_connections: int = MAX_CONNECTIONS,
) -> asyncio.Server:
    """Receive probes by SMTP.

    Args:
        arrivals: where they are recorded.
        host: the address to listen on.
        port: its port.
        domain: the only domain whose recipients are accepted; "": any.
        hostname: the name in the greeting.
        max_connections: connections at the same time.

    Raises:
        OSError: the address cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    connections: dict[_Connection, str] = {}  # the oldest first
    max_connections = min(max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)

    def connect() -> _Connection:
        return _Connection(
            _Handler(arrivals, domain),
            connections,
            max_connections,
            data_size_limit=_MAX_MAIL,
            hostname=hostname,
            ident="Postward sink",
            timeout=_COMMAND_TIMEOUT,
            loop=loop,
        )

    return await loop.create_server(connect, host, port)


def create_app(arrivals: Arrivals, tally: Tally) -> Starlette:
    """Return the HTTP endpoint: /arrivals, /metrics, /-/healthy, /-/ready.

    POST a JSON list of Message-IDs to /arrivals; the answer is an object with those that have arrived.
    """
    registry = CollectorRegistry()
    registry.register(
        PostwardCollector(tally, lambda: {"postward_sink_remembered": {(): float(arrivals.remembered)}})
    )

    async def answer_arrivals(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_QUESTION:
                return PlainTextResponse("the question is too large\n", 413)
        try:
            asked = parse_json(body)
        except ValueError:
            asked = None
        if not isinstance(asked, list) or len(asked) > MAX_ASKED:
            return PlainTextResponse(f"send a JSON list of at most {MAX_ASKED} Message-IDs\n", 400)
        return JSONResponse(arrivals.of(asked))

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("The sink is healthy.\n")

    return Starlette(
        routes=[
            Route("/arrivals", answer_arrivals, methods=["POST"]),
            Route("/metrics", metrics),
            Route("/-/healthy", healthy),
            Route("/-/ready", healthy),
        ],
        middleware=[Middleware(HeadersMiddleware)],
    )
