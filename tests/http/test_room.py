"""The endpoint under load: held connections and guessed passwords keep others working."""

import asyncio
import base64
import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from postward.agent.http.auth import Guesses
from postward.agent.http.server import group_of
from tests.http.serving import Endpoint, serving
from tests.support.waiting import wait_for


@pytest.mark.parametrize(
    "sent", [b"", b"GET /metrics HTTP/1.1\r\nX: ", b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n"]
)
def test_held_connections_do_not_keep_scrapes_out(sent: bytes) -> None:
    """Twice as many as fit are held: silent, with half a head, or resting after an answer. Each scrape is answered."""
    with serving() as endpoint, contextlib.ExitStack() as held:
        for _ in range(128):
            client = held.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), 10))
            client.sendall(sent)
            if sent.endswith(b"\r\n\r\n"):
                client.recv(65536)
        answers = {endpoint.ask("GET /metrics")[0] for _ in range(20)}

        assert answers == {200}
        wait_for(lambda: endpoint.server.open <= 64, what="the connections that gave way to end")


def test_one_address_holds_a_part_of_the_room() -> None:
    """Of addresses elsewhere each has a limit, an IPv6 network of 64 bits counts as one; this host's have none."""
    assert group_of(("192.0.2.7", 4012)) == "192.0.2.7"
    assert group_of(("::ffff:192.0.2.7", 4012, 0, 0)) == "192.0.2.7"
    assert group_of(("2001:db8:1:2:3::4", 4012, 0, 0)) == group_of(("2001:db8:1:2::9", 1, 0, 0))
    assert group_of(("2001:db8:1:2:3::4", 4012, 0, 0)) != group_of(("2001:db8:1:3::9", 1, 0, 0))
    assert group_of(("fe80::1%eth0", 1, 0, 2)) == "fe80::/64"
    assert group_of(("127.0.0.1", 1)) == group_of(("::1", 1, 0, 0)) == group_of("") == ""


def guessing(endpoint: Endpoint, *, threads: int, stop: threading.Event) -> list[threading.Thread]:
    """Start clients that try passwords until `stop`."""

    def guess() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            with contextlib.suppress(OSError):
                endpoint.ask("GET /metrics", Authorization=basic("me", f"guess {number}"))

    started = [threading.Thread(target=guess) for _ in range(threads)]
    for thread in started:
        thread.start()
    return started


def basic(user: str, password: str) -> str:
    """Return the value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_guesses_do_not_delay_a_known_login(tmp_path: Path) -> None:
    """While others guess, a login that was accepted before is answered, and guesses mostly wait their turn."""
    config = tmp_path / "web.yml"
    config.write_text(f"basic_auth_users:\n  me: {bcrypt.hashpw(b'right', bcrypt.gensalt(10)).decode()}\n")
    with serving(config) as endpoint:
        known = basic("me", "right")
        assert endpoint.ask("GET /metrics", Authorization=known)[0] == 200
        stop = threading.Event()
        threads = guessing(endpoint, threads=8, stop=stop)
        answers = [endpoint.ask("GET /metrics", Authorization=known)[0] for _ in range(50)]
        stop.set()
        for thread in threads:
            thread.join()

    assert set(answers) == {200}


def test_wrong_logins_wait_longer_each_time() -> None:
    """One of each address at a time, a few of all addresses; an accepted one clears the pauses."""

    async def scenario() -> tuple[list[bool | None], int]:
        now = [0.0]
        guesses = Guesses(lambda: now[0])

        async def at(moment: float, answer: bool) -> bool | None:
            now[0] = moment
            return await guesses.check("192.0.2.7", lambda: answer)

        answers = [await at(0.0, False) for _ in range(5)]
        answers += [await at(0.9, True), await at(1.0, False), await at(2.9, True), await at(3.1, True)]
        answers += [await at(3.2, False)]
        many = (guesses.check(f"192.0.2.{number}", lambda: False) for number in (8, 8, *range(9, 20)))
        return answers, (await asyncio.gather(*many)).count(False)

    assert asyncio.run(scenario()) == ([False] * 4 + [None, None, False, None, True, False], 4)


def test_other_names_are_refused(endpoint_only: Endpoint) -> None:
    """A page that makes its own name lead here (DNS rebinding) reads nothing but metrics."""

    def status(path: str, host: str) -> int:
        with socket.create_connection(("127.0.0.1", endpoint_only.port), 10) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return int(client.makefile().readline().split()[1])

    for path in ("/", "/status", "/api/status", "/api/incidents", "/-/reload"):
        assert status(path, "evil.example") == 421
        assert status(path, "localhost.evil.example:19787") == 421
    for host in ("127.0.0.1:19787", "[::1]:19787", "localhost", "test", "TEST.:80"):
        assert status("/", host) == 200
    assert status("/metrics", "scraped.example:19787") == 200


def test_every_page_has_security_headers(endpoint_only: Endpoint) -> None:
    """Also errors and refusals; a page's own policy stays."""
    for path in ("/", "/metrics", "/-/healthy", "/nowhere", "/status"):
        _, headers, _ = endpoint_only.ask(f"GET {path}")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


@pytest.fixture(scope="module")
def endpoint_only() -> Iterator[Endpoint]:
    """One endpoint for tests that change nothing."""
    with serving() as endpoint:
        yield endpoint
