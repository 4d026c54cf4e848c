"""Asks the receiving side which probes have arrived: a sink (`postward sink`), or a mailbox (`inbox.py`).

The Message-IDs in the question are signed and hard to guess, so no host learns of another's probes.

Promise: errors are returned, not raised; a question has a deadline; an answer is bounded, and one of another form is
an error.
"""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from postward.agent.http_client import request
from postward.agent.probe.result import Arrival
from postward.agent.probe.tracker import ProbeTracker
from postward.agent.stored import Form
from postward.config.settings import Settings
from postward.parsers.scrub import printable

_FORM: Form[dict[str, Arrival]] = Form(dict[str, Arrival])
MAX_ASKED = 500  # probes in a question
_DEADLINE = 5.0  # seconds
_THREADS = 2  # a name look-up that hangs holds one


class ArrivalClient(Protocol):
    """Asks the receiving side which probes have arrived."""

    async def update(self, tracker: ProbeTracker) -> str | None:
        """Give the arrivals of its probes to the tracker. Return why the receiving side could not be asked, or None."""

    def close(self) -> None:
        """Release its threads, without waiting."""


def arrival_client(settings: Settings) -> ArrivalClient | None:
    """Return the client of the sink or the mailbox that the settings name. Raises KeyFileError."""
    if settings.mailbox.is_set:
        # The modules that read mail are in memory only where a mailbox is read.
        from postward.agent.probe.inbox import MailboxClient

        return MailboxClient(settings)
    return SinkClient(settings.probe.sink_url) if settings.probe.sink_url else None


class SinkClient:
    """Asks one sink. Close it to release its threads.

    Args:
        url: the sink's URL, `probe.sink_url`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._threads: ThreadPoolExecutor | None = None

    async def update(self, tracker: ProbeTracker) -> str | None:
        """Give the arrivals of its probes to the tracker. Return why the sink could not be asked, or None."""
        waiting = tracker.awaiting_arrival()
        for start in range(0, len(waiting), MAX_ASKED):
            try:
                answer = await self._post(waiting[start : start + MAX_ASKED])
                for message_id, arrival in parse_answer(answer):
                    tracker.arrived(message_id, arrival)
            except (OSError, ValueError) as error:
                return f"{self._url}: {error}"
        return None

    async def _post(self, message_ids: list[str]) -> bytes:
        self._threads = self._threads or ThreadPoolExecutor(_THREADS, "sink")
        question = asyncio.get_running_loop().run_in_executor(self._threads, _post, self._url, message_ids)
        try:
            return await asyncio.wait_for(question, 2 * _DEADLINE)
        except TimeoutError:  # in the resolver, which has no deadline
            raise TimeoutError(f"no answer within {2 * _DEADLINE:g} s") from None

    def close(self) -> None:
        """Release the threads, without waiting for a question under way."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _post(url: str, message_ids: list[str]) -> bytes:
    headers = {"Content-Type": "application/json"}
    body = json.dumps(message_ids).encode()
    return request(f"{url.rstrip('/')}/arrivals", body, headers, deadline=_DEADLINE).body


def parse_answer(answer: bytes) -> Iterator[tuple[str, Arrival]]:
    """Yield Message-ID and arrival of each probe in an answer. Raises ValueError."""
    for message_id, arrival in _FORM.parse(answer).items():
        yield message_id, Arrival(arrival.at, tuple(printable(part)[:100] for part in arrival.altered[:100]))
