"""The HTTP client against a server that answers, redirects, drips, is too long, or hangs."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from postward.agent.http_client import HttpError, request
from tests.support import CA

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def server(answer: Callable[[socket.socket], object], first: int = 65536) -> Iterator[str]:
    """Serve one connection with `answer`, after reading up to `first` bytes of the request. Yields the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                if first:
                    connection.recv(first)
                try:
                    answer(connection)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/secret"
        finally:
            thread.join(10)


def drip(connection: socket.socket) -> None:
    """Send a header that never ends, a byte at a time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def test_an_answer_is_returned_with_its_status() -> None:
    """A POST returns the body of a 2xx."""
    with server(lambda connection: connection.sendall(OK)) as url:
        answer = request(url, b"{}", {"Content-Type": "application/json"}, deadline=5)

    assert (answer.status, answer.body) == (200, b"ok")


@pytest.mark.parametrize(
    ("answer", "reason", "status"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404", 404),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            "answered 302",
            302,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789", "the answer has more than 4 bytes", None),
        (b"not HTTP\r\n\r\n", "not HTTP", None),
    ],
)
def test_an_unusable_answer_is_an_error_that_says_why(answer: bytes, reason: str, status: int | None) -> None:
    """Errors, redirects, long answers and other protocols; the text never holds the URL."""
    with server(lambda connection: connection.sendall(answer)) as url, pytest.raises(HttpError) as error:
        request(url, deadline=5, max_bytes=4)

    assert reason in str(error.value)
    assert "secret" not in str(error.value)
    assert error.value.status == status


@pytest.mark.parametrize("answer", [drip, lambda connection: connection.recv(1)], ids=["drips", "hangs"])
def test_the_deadline_holds_for_the_whole_exchange(answer: Callable[[socket.socket], object]) -> None:
    """A server that sends a byte now and then is given no more time than one that sends nothing."""
    with server(answer) as url, pytest.raises(HttpError, match=r"no answer within 0\.3 s"):
        request(url, deadline=0.3)


def test_the_deadline_holds_for_the_handshake() -> None:
    """A server that never answers a TLS handshake."""
    with (
        server(lambda connection: connection.recv(1)) as url,
        pytest.raises(HttpError, match=r"no answer within 0\.3 s"),
    ):
        request(url.replace("http:", "https:"), deadline=0.3)


def test_a_refused_connection_is_an_error() -> None:
    """Nothing listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(HttpError, match="Connection refused"):
        request(f"http://127.0.0.1:{port}/", deadline=5, proxies=False)


def test_an_untrusted_certificate_is_an_error() -> None:
    """TLS is verified, and the reason is OpenSSL's."""
    context = CA().server_context("127.0.0.1")

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(OK)

    with server(answer, first=0) as url, pytest.raises(HttpError, match="certificate verify failed"):
        request(url.replace("http:", "https:"), deadline=5)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 " + b"9" * 5000 + b" OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    ],
)
def test_broken_answers_fail_as_themselves(answer: bytes) -> None:
    """Each of them raises what callers expect, and nothing else."""

    def send(connection: socket.socket) -> None:
        connection.sendall(answer)

    with server(send) as url, pytest.raises(HttpError) as error:
        request(url, deadline=5)

    assert str(error.value)
