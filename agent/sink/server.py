"""A receiver for the probes of a fleet: `postward sink`, at which the probes' domain points.

It records when each probe arrived and what was changed on the way, tells the agents that ask (POST /arrivals), serves
metrics, and keeps no mail. Whatever is not a probe of its fleet (signed with its key, not older than a day) is refused.

Promise: everything is bounded: connections, sizes, what is remembered, the length of questions and answers. Nothing is
ever sent on, and no error of a stranger ends it. What is remembered ends with the process: a probe under way meanwhile
is lost to the agent that asks.

Needs aiosmtpd (the extra `sink`).
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from email import message_from_bytes
from typing import Any

from aiosmtpd.smtp import SMTP
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.tally import Tally
from postward.agent.probe.message import PROBE_HEADER, altered_parts, identifier_in, signed_at
from postward.agent.sink.client import MOST_ASKED

_OLDEST = 86400.0  # seconds
_AHEAD = 600.0  # seconds that a host's clock may be before ours
_MAX_REMEMBERED = 50_000
_MAX_COPIES = 10
_LARGEST_MAIL = 65536  # bytes; a probe has about one thousand, and relays add headers
MAX_CONNECTIONS = 200
_TIMEOUT = 30.0  # seconds between two commands
_LARGEST_QUESTION = MOST_ASKED * 200  # bytes
_OUTCOMES = ("arrived", "duplicate", "altered", "refused")


class Arrivals:
    """What arrived, by identifier.

    Args:
        key: the fleet's.
        tally: where it is counted.
        clock: seconds since the epoch.
    """

    def __init__(self, key: bytes, tally: Tally, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._tally = tally
        self._clock = clock
        self._known: dict[str, tuple[list[float], set[str]]] = {}
        for outcome in _OUTCOMES:
            tally.add("postward_sink_mails_total", (outcome,), 0)

    def take(self, data: bytes) -> str | None:
        """Record a mail. Why it is refused; None if it is a probe of this fleet."""
        now = self._clock()
        message = message_from_bytes(data)
        # The header may be gone and the Message-ID rewritten: either is enough.
        claims = (
            str(message.get(PROBE_HEADER, "")).strip(),
            identifier_in(str(message.get("Message-ID", ""))),
        )
        for identifier in filter(None, claims):
            made = signed_at(identifier, self._key)
            if made is not None and -_AHEAD <= now - made <= _OLDEST:
                self._record(identifier, now - made, altered_parts(message, identifier, self._key), now)
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
        while len(self._known) > _MAX_REMEMBERED:
            del self._known[next(iter(self._known))]

    def of(self, message_ids: Iterable[Any]) -> dict[str, dict[str, Any]]:
        """What is known of these probes; nothing of what is not known."""
        answer = {}
        for message_id in message_ids:
            known = self._known.get(identifier_in(str(message_id)) or "")
            if known is not None:
                answer[str(message_id)] = {"at": known[0], "altered": sorted(known[1])}
        return answer

    @property
    def remembered(self) -> int:
        """How many probes are remembered."""
        return len(self._known)


class _Handler:
    """aiosmtpd's hooks."""

    def __init__(self, arrivals: Arrivals, domain: str) -> None:
        self._arrivals = arrivals
        self._domain = domain.lower()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd finds its hooks by these names
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if self._domain and address.rpartition("@")[2].lower() != self._domain:
            return "550 5.7.1 Only probes are taken here"
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        reason = self._arrivals.take(bytes(envelope.content or b""))
        return f"550 5.7.1 Refused: {reason}" if reason else "250 2.0.0 Ok: noted, and not kept"

    async def handle_exception(self, _error: Exception) -> str:
        return "451 4.3.0 Not now"


class _Conversation(SMTP):
    """One connection, of a limited number."""

    open = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _Conversation.open += 1
        super().connection_made(transport)
        if _Conversation.open > MAX_CONNECTIONS:
            transport.abort()  # type: ignore[attr-defined]

    def connection_lost(self, error: Exception | None) -> None:
        _Conversation.open -= 1
        super().connection_lost(error)


async def listen(arrivals: Arrivals, host: str, port: int, domain: str, name: str) -> asyncio.Server:
    """Receive probes. Raises OSError."""
    loop = asyncio.get_running_loop()

    def conversation() -> _Conversation:
        return _Conversation(
            _Handler(arrivals, domain),
            data_size_limit=_LARGEST_MAIL,
            hostname=name,
            ident="Postward sink",
            timeout=_TIMEOUT,
            loop=loop,
        )

    return await loop.create_server(conversation, host, port)


def application(arrivals: Arrivals, tally: Tally) -> Starlette:
    """What the endpoint answers: POST /arrivals (a list of Message-IDs, answered by an object of those that have
    arrived), /metrics, /-/healthy, /-/ready.
    """
    registry = CollectorRegistry()
    registry.register(
        PostwardCollector(tally, lambda: {"postward_sink_remembered": {(): float(arrivals.remembered)}})
    )

    async def answer(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_QUESTION:
                return PlainTextResponse("too many at once\n", 413)
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, list) or len(asked) > MOST_ASKED:
            return PlainTextResponse(f"write a JSON list of at most {MOST_ASKED} Message-IDs\n", 400)
        return JSONResponse(arrivals.of(asked))

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    async def alive(_request: Request) -> Response:
        return PlainTextResponse("The sink is well.\n")

    return Starlette(
        routes=[
            Route("/arrivals", answer, methods=["POST"]),
            Route("/metrics", metrics),
            Route("/-/healthy", alive),
            Route("/-/ready", alive),
        ]
    )
