"""HTTP/1.1 on one connection: framing, pipelining, and faults of client and application."""

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from postward.agent.http.server import HttpServer, listen
from tests.support.postfix import free_port


def exchange(*pieces: bytes) -> bytes:
    """Send bytes to an application that echoes bodies, and return everything that comes back."""

    async def echo(request: Request) -> Response:
        return PlainTextResponse(await request.body() or request.url.path)

    async def ignore(_request: Request) -> Response:
        return PlainTextResponse("ignored")

    async def fail(_request: Request) -> Response:
        raise ValueError("no answer")

    async def scenario() -> bytes:
        port = free_port()
        routes: list[Any] = [
            Route("/fail", fail),
            Route("/ignore", ignore, methods=["POST"]),
            Route("/{path:path}", echo, methods=["GET", "POST"]),
        ]
        server = asyncio.create_task(
            HttpServer(Starlette(routes=routes), [listen(f"127.0.0.1:{port}")]).serve()
        )
        await asyncio.sleep(0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)
        return answer

    return asyncio.run(scenario())


def bodies(answer: bytes) -> list[bytes]:
    """The bodies of small answers, each with a Content-Length."""
    found = []
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        found.append(rest[:length])
        answer = rest[length:]
    return found


def test_pipelined_requests_are_answered_in_order() -> None:
    """Three requests in one piece."""
    assert bodies(
        exchange(b"".join(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % number for number in range(3)))
    ) == [
        b"/0",
        b"/1",
        b"/2",
    ]


def test_a_body_may_come_in_pieces() -> None:
    """By Content-Length and in chunks, after 100 Continue if the client waits for it."""
    answer = exchange(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nabc", b"def")
    chunked = exchange(
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"0\r\n\r\n"
    )
    waiting = exchange(b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")

    assert bodies(answer) == [b"abcdef"]
    assert bodies(chunked) == [b"ab"]
    assert waiting.startswith(b"HTTP/1.1 100 ")


def test_an_unread_body_does_not_become_a_request() -> None:
    """The next request is the one after the body."""
    request = b"POST /ignore HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nGET GET /next HTTP/1.1\r\nHost: t\r\n\r\n"

    assert bodies(exchange(request)) == [b"ignored", b"/next"]


def test_head_has_no_body() -> None:
    """The headers are those of GET."""
    answer = exchange(b"HEAD /abc HTTP/1.1\r\nHost: t\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 4" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 100_000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab", b"400"),
    ],
)
def test_faulty_requests_are_refused(request_: bytes, status: bytes) -> None:
    """By the status that h11 names; the connection is closed."""
    answer = exchange(request_)

    assert answer.split(b" ")[1] == status
    assert b"connection: close" in answer.lower()


def test_an_exception_of_the_application_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The client gets 500, and the next request is answered."""
    answer = exchange(b"GET /fail HTTP/1.1\r\nHost: t\r\n\r\nGET /next HTTP/1.1\r\nHost: t\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 500 ")
    assert bodies(answer)[1:] == [b"/next"]
    assert "web: no answer to /fail" in caplog.text
