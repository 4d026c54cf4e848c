"""Asks a sink which probes have arrived (`postward sink` answers).

The identifiers in the question are signed and hard to guess, so that nobody learns of probes that are not his.

Promise: never raises for what is wrong outside, never takes longer than its deadline; an answer is bounded and
believed only as far as it has the right form.
"""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from postward.agent.probe.result import Arrival
from postward.agent.probe.tracker import ProbeTracker

_DEADLINE = 5.0  # seconds
_LARGEST_ANSWER = 1 << 20  # bytes
MOST_ASKED = 500  # probes a question

_threads = ThreadPoolExecutor(2, "arrivals")


async def ask_for_arrivals(url: str, tracker: ProbeTracker) -> str | None:
    """Tell the tracker what has arrived. Why the sink could not be asked; None if it could."""
    waiting = tracker.awaiting_arrival()
    for start in range(0, len(waiting), MOST_ASKED):
        asked = waiting[start : start + MOST_ASKED]
        try:
            loop = asyncio.get_running_loop()
            answer = await asyncio.wait_for(loop.run_in_executor(_threads, _post, url, asked), 2 * _DEADLINE)
            for message_id, arrival in parse_answer(answer):
                tracker.arrived(message_id, arrival)
        except (OSError, ValueError, TimeoutError) as error:
            return f"{url}: {error}"
    return None


def _post(url: str, message_ids: list[str]) -> bytes:
    request = urllib.request.Request(  # noqa: S310 - the settings allow http and https only
        f"{url.rstrip('/')}/arrivals",
        json.dumps(message_ids).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_DEADLINE) as answer:  # noqa: S310
        data: bytes = answer.read(_LARGEST_ANSWER)
    return data


def parse_answer(answer: bytes) -> Iterator[tuple[str, Arrival]]:
    """Message-ID and arrival of each probe in an answer. Raises ValueError."""
    data: Any = json.loads(answer)
    if not isinstance(data, dict):
        raise ValueError("the answer is no object")  # noqa: TRY004 - callers know one kind of bad answer
    for message_id, entry in data.items():
        try:
            at = tuple(float(moment) for moment in entry["at"])
            altered = tuple(str(part) for part in entry["altered"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the answer has an entry of another form: {error}") from error
        yield message_id, Arrival(at, altered)
