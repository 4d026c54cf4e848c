"""Servers and clients that violate the protocol, and a mail filter."""

import contextlib
import re
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator

# One step of a client: bytes to send, a pause in seconds, or None to wait for a reply.
Line = bytes | float | None

_FINAL = re.compile(rb"^\d{3}(?: .*)?\n\Z", re.MULTILINE)

Script = dict[bytes, bytes]


def talk(port: int, *lines: Line, source: str = "127.0.0.1", tls: bool = False) -> bytes:
    """Send lines to a server and disconnect; return its replies."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=15, source_address=(source, 0)) as raw:
        link: socket.socket = raw
        if tls:
            link = _unverified().wrap_socket(raw, server_hostname="host.example.test")
        with contextlib.suppress(OSError):
            for line in lines:
                if isinstance(line, bytes):
                    link.sendall(line)
                elif line is None:
                    heard += _reply(link)
                elif line is not None:
                    time.sleep(line)
        if tls:
            link.close()
    return heard


def session(port: int, *commands: bytes, source: str = "127.0.0.1", tls: bool = False) -> bytes:
    """Talk as a well-behaved client: wait for the greeting and for the reply to each command."""
    lines: list[Line] = [None]
    for command in commands:
        lines += [command + b"\r\n", None]
    return talk(port, *lines, source=source, tls=tls)


def crowd(port: int, number: int, source: str = "127.0.0.1") -> None:
    """Connect `number` clients at once; each waits for the greeting and stays 1.5 s."""
    clients = [
        threading.Thread(target=talk, args=(port, None, 1.5), kwargs={"source": source})
        for _ in range(number)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()


def _reply(link: socket.socket) -> bytes:
    """Read one reply to its last line: postscreen delays the last line of its greeting."""
    data = b""
    while not _FINAL.search(data):
        more = link.recv(65536)
        if not more:
            break
        data += more
    return data


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.contextmanager
def serving(handle: Callable[[socket.socket], None], host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Run a server on loopback during the with block, on a free port unless one is given."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                handle(self.request)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def scripted(greeting: bytes, replies: Script) -> Callable[[socket.socket], None]:
    """Return a server with this greeting and a reply for each verb; other verbs get the reply to b""."""

    def handle(link: socket.socket) -> None:
        link.settimeout(15)
        link.sendall(greeting)
        reader = link.makefile("rb")
        for line in reader:
            verb = line.split()[0].upper() if line.split() else b""
            usual = b"354 Go on\r\n" if verb == b"DATA" else b"250 2.0.0 Ok\r\n"
            link.sendall(replies.get(verb, replies.get(b"", usual)))
            if verb == b"QUIT":
                return
            if verb == b"DATA" and verb not in replies:
                while reader.readline() not in (b".\r\n", b""):
                    pass
                link.sendall(replies.get(b".", b"250 2.0.0 Ok: queued\r\n"))

    return handle


def milter(stage: bytes, verdict: bytes, extra: bytes = b"") -> Callable[[socket.socket], None]:
    """Return a mail filter with this verdict at this stage (letters of the protocol) that accepts everything else."""

    def handle(link: socket.socket) -> None:
        link.settimeout(15)
        while True:
            head = _exactly(link, 5)
            if len(head) < 5:
                return
            length, command = struct.unpack(">Ic", head)
            body = _exactly(link, length - 1)
            if command == b"O":  # the server's version and actions, and every step
                _packet(link, b"O", body[:8] + bytes(4))
            elif command == b"Q":
                return
            elif command not in b"AD":  # "abort" and macro definitions have no reply
                if command == stage and extra:
                    _packet(link, extra[:1], extra[1:])
                _packet(link, *((verdict[:1], verdict[1:]) if command == stage else (b"c", b"")))

    return handle


def _exactly(link: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = link.recv(length - len(data))
        if not more:
            break
        data += more
    return data


def _packet(link: socket.socket, code: bytes, data: bytes) -> None:
    link.sendall(struct.pack(">I", len(data) + 1) + code + data)
