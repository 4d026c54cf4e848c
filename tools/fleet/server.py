"""Serves the pages of many hosts on one port of loopback, each under a path of its own: /3/metrics is host 3."""

import asyncio
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.fleet.pages import Page, compressed

_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Pages:
    """The server, in a thread. Use it as a context manager.

    Attributes:
        port: its port.
        scrapes: the number of answers.
        sent: bytes of their bodies.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._begun = time.monotonic()
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = self.scrapes = self.sent = 0

    def targets(self, hosts: int) -> list[tuple[str, str]]:
        """Return name and address of each host, as `tools.drill.monitoring.Prometheus` takes them."""
        return [
            (f"host{number}.example.com", f"127.0.0.1:{self.port}/{number}/metrics")
            for number in range(hosts)
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # ends the tasks of open connections
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                number = int(Path(head.split()[1].decode()).parts[1])
                body = compressed(self._page.of_host(number, time.monotonic() - self._begun))
                lines = f"HTTP/1.1 200 OK\r\nContent-Type: {_TYPE}\r\nContent-Encoding: gzip\r\n"
                writer.write(f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
                self.scrapes += 1
                self.sent += len(body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
