"""Load on the endpoint: scrapes while connections are held, and the time of a known login while others guess."""

import base64
import contextlib
import itertools
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt

from tests.http.serving import Endpoint, serving

_GUESSERS = 60
# Kind of connection that is held → the bytes sent on it.
_HELD = {
    "silent": b"",
    "half a head": b"GET /metrics HTTP/1.1\r\nX: ",
    "resting after an answer": b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n",
}


def load(held: int, seconds: float) -> None:
    """Print the figures."""
    for name, sent in _HELD.items():
        with serving() as endpoint, _holding(endpoint, held, sent):
            _say(f"{held} connections held, {name}: {_scrapes(endpoint, seconds)}")
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        config = Path(folder) / "web.yml"
        config.write_text(
            f"basic_auth_users:\n  me: {bcrypt.hashpw(b'right', bcrypt.gensalt(10)).decode()}\n"
        )
        with serving(config) as endpoint:
            _scrape(endpoint, "right")
            _say(f"known login, without guesses: {_scrapes(endpoint, seconds, 'right')}")
            with _guessing(endpoint) as answered:
                before, began = time.process_time(), time.monotonic()
                figures = _scrapes(endpoint, seconds, "right")
                cores = (time.process_time() - before) / (time.monotonic() - began)
            _say(
                f"known login, {_GUESSERS} guessers: {figures}; guesses by status {answered()}; {cores:.2f} cores"
            )


@contextlib.contextmanager
def _holding(endpoint: Endpoint, number: int, sent: bytes) -> Iterator[None]:
    """Hold so many connections, and open each again when the endpoint closes it."""
    stop = threading.Event()

    def hold(mine: int) -> None:
        with contextlib.ExitStack() as held:
            while not stop.is_set():
                for _ in range(mine):
                    with contextlib.suppress(OSError):
                        client = held.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), 5))
                        client.sendall(sent)
                stop.wait(0.5)
                held.close()

    threads = [threading.Thread(target=hold, args=(number // 4,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def _guessing(endpoint: Endpoint) -> Iterator[Callable[[], dict[int, int]]]:
    stop, counts = threading.Event(), dict[int, int]()

    def guess(who: int) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            with contextlib.suppress(OSError, ValueError, IndexError):
                status = _scrape(endpoint, f"guess {who} {number}")
                counts[status] = counts.get(status, 0) + 1

    threads = [threading.Thread(target=guess, args=(who,)) for who in range(_GUESSERS)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: counts
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _scrapes(endpoint: Endpoint, seconds: float, password: str = "") -> str:
    times, failed, end = [], 0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            failed += _scrape(endpoint, password) != 200
        except (OSError, ValueError, IndexError):
            failed += 1
        times.append(time.monotonic() - began)
        time.sleep(0.02)
    times.sort()
    return (
        f"{len(times) - failed} of {len(times)} answered, median {statistics.median(times) * 1000:.0f} ms, "
        f"99 % {times[int(len(times) * 0.99)] * 1000:.0f} ms, max {times[-1] * 1000:.0f} ms"
    )


def _scrape(endpoint: Endpoint, password: str) -> int:
    login = (
        {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()} if password else {}
    )
    return endpoint.ask("GET /metrics", **login)[0]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
