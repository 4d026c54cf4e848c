"""The answers of the endpoint and their formats; slow and hostile clients do not block it."""

import asyncio
import contextlib
import gzip
import socket

import pytest
from prometheus_client import CollectorRegistry

from postward.agent.http.app import Hooks, application
from postward.agent.http.auth import WebAccess
from postward.agent.http.server import HttpServer, listen
from tests.http.serving import exchange, serving
from tests.support.postfix import free_port
from tests.support.waiting import wait_for

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def test_every_path_has_its_status() -> None:
    """A landing page, metrics, health and readiness; 404 elsewhere, 405 for other methods, reload off."""
    statuses = {
        "GET /": 200,
        "GET /metrics": 200,
        "GET /-/healthy": 200,
        "GET /-/ready": 200,
        "GET /healthz": 404,
        "GET /metrics/": 404,
        "GET //": 404,
        "POST /metrics": 405,
        "GET /-/reload": 405,
        "POST /-/reload": 403,
    }

    with serving() as endpoint:
        assert {request: endpoint.ask(request)[0] for request in statuses} == statuses


def test_metrics_wait_until_the_log_is_caught_up() -> None:
    """503 with the reason on /metrics and /-/ready, while /-/healthy says that the process lives."""
    with serving() as endpoint:
        endpoint.reason = "catching up"
        answers = [endpoint.ask(f"GET {path}")[0::2] for path in ("/metrics", "/-/ready", "/-/healthy")]

    assert answers == [
        (503, b"not ready: catching up\n"),
        (503, b"not ready: catching up\n"),
        (200, b"Postward is healthy.\n"),
    ]


def test_reload_reports_its_problem() -> None:
    """200 or 500 with the problem, once the settings allow it."""
    with serving(reload=True) as endpoint:
        first = endpoint.ask("POST /-/reload")[0::2]
        endpoint.problem = "bad settings"
        second = endpoint.ask("POST /-/reload")[0::2]
        assert len(endpoint.reloads) == 2

    assert (first, second) == ((200, b"reloaded\n"), (500, b"bad settings\n"))


def test_formats_are_negotiated() -> None:
    """Text or OpenMetrics, plain or gzip, as the scraper asks; and on both addresses."""
    with serving() as endpoint:
        _, plain_headers, plain = endpoint.ask("GET /metrics")
        _, open_headers, openmetrics = endpoint.ask("GET /metrics", Accept=OPENMETRICS)
        _, packed_headers, packed = endpoint.ask("GET /metrics", Accept_Encoding="gzip")
        _, _, unpacked = endpoint.ask("GET /metrics", Accept_Encoding="gzip;q=0, identity")
        with socket.create_connection(("127.0.0.2", endpoint.port), 10) as client:
            second = exchange(client, "GET /-/healthy")[0]

    assert plain_headers["content-type"].startswith("text/plain; version=")
    assert open_headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.endswith(b"# EOF\n")
    assert packed_headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == plain == unpacked
    assert second == 200


@pytest.mark.parametrize(
    "noise", [b"", b"GET /met", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nX: " + b"a" * 5000]
)
def test_slow_clients_are_cut_off(noise: bytes) -> None:
    """A connection without a whole request in time is closed, and counted unless it sent no HTTP."""
    with (
        serving(timeout=0.2) as endpoint,
        socket.create_connection(("127.0.0.1", endpoint.port), 10) as client,
    ):
        client.sendall(noise)
        wait_for(lambda: endpoint.server.open == 0, timeout=5, what="the connection to be cut")
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = client.recv(1000)

        assert answer.startswith((b"", b"HTTP/1.1 400"))
        assert endpoint.ask("GET /-/healthy")[0] == 200


def test_a_client_that_reads_no_answer_is_cut_off() -> None:
    """Answers that a client does not read do not pile up."""
    with serving(timeout=0.3) as endpoint:
        for number in range(3000):
            endpoint.tally.add("postfix_connection_failures_total", (f"relay{number}", "dns"))
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.settimeout(10)
            client.connect(("127.0.0.1", endpoint.port))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n" * 40)
            wait_for(lambda: endpoint.server.refused, timeout=10, what="the connection to be cut")

        assert endpoint.ask("GET /-/healthy")[0] == 200


def test_accepted_connections_are_answered_before_the_end() -> None:
    """A request under way and the first one of an accepted connection are answered; an idle connection is closed."""

    async def scenario() -> tuple[bytes, bytes, bytes]:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def refresh() -> None:
            asked.set()
            await go_on.wait()

        port = free_port()
        access = WebAccess(None)
        app = application(CollectorRegistry(), Hooks(not_ready=lambda: None, refresh=refresh), access)
        server = HttpServer(app, [listen(f"127.0.0.1:{port}")], drain_timeout=30)
        serving = asyncio.create_task(server.serve())
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        (resting, ask_resting), (waiting, ask_waiting), (late, ask_late) = clients
        ask_resting.write(b"GET /-/healthy HTTP/1.1\r\nHost: test\r\n\r\n")
        await resting.readuntil(b"healthy.\n")
        ask_waiting.write(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
        await asked.wait()

        serving.cancel()
        left = await resting.read()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        ask_late.write(b"GET /-/healthy HTTP/1.1\r\nHost: test\r\n\r\n")
        second = await late.read()
        go_on.set()
        first = await waiting.read()
        with pytest.raises(asyncio.CancelledError):
            await serving
        for _, writer in clients:
            writer.close()
        return left, first, second

    left, first, second = asyncio.run(scenario())
    assert left == b""
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert second.endswith(b"Postward is healthy.\n")


def test_a_silent_connection_does_not_delay_the_end() -> None:
    """It is aborted after the drain timeout."""
    with serving(drain_timeout=0.1) as endpoint:
        client = socket.create_connection(("127.0.0.1", endpoint.port), 10)
        assert endpoint.ask("GET /-/healthy")[0] == 200  # accepted after the other one
    with client, contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""


def test_a_crowd_leaves_the_loop_free() -> None:
    """Of two hundred silent connections all but 64 are closed at once, and the endpoint still answers."""
    with serving() as endpoint:
        with contextlib.ExitStack() as stack:
            for _ in range(200):
                stack.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), 10))
            wait_for(lambda: endpoint.server.refused >= 136, what="the connections to be refused")
            wait_for(lambda: endpoint.server.open <= 64, what="the connections that gave way to end")
        wait_for(lambda: endpoint.server.open == 0, what="the connections to end")

        assert endpoint.ask("GET /-/healthy")[0] == 200
