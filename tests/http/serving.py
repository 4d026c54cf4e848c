"""The endpoint in a loop of its own, in a thread, for tests that talk to it with ordinary blocking clients."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from postward.agent.http.app import Hooks, application
from postward.agent.http.auth import WebAccess
from postward.agent.http.server import HttpServer, listen
from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.text import local_now
from tests.support.postfix import free_port


@dataclass
class Endpoint:
    """A running endpoint. `reason` is why the agent is not ready, `problem` the answer to a reload."""

    port: int
    server: HttpServer
    access: WebAccess
    tally: Tally
    ticks: list[float]
    reason: str | None = None
    problem: str | None = None
    reloads: list[None] = field(default_factory=list)

    def ask(self, request: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one plain request such as "GET /metrics"."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as client:
            return exchange(client, request, **headers)


def exchange(client: socket.socket, request: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Send one request on a connection, which the server closes afterwards."""
    lines = [f"{request} HTTP/1.1", "Host: test", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    pairs = dict(line.split(": ", 1) for line in rest)
    return int(first.split(" ")[1]), {name.lower(): value for name, value in pairs.items()}, body


@contextlib.contextmanager
def serving(
    web_config: Path | None = None, *, reload: bool = False, timeout: float = 10.0, drain_timeout: float = 1.0
) -> Iterator[Endpoint]:
    """An endpoint over an empty log, with a tick every 5 ms that shows whether its loop was blocked."""
    tally = Tally()
    Counting(tally, RelayNames([("smtp.relay.test", 587, "demo")]), local_now)
    registry = CollectorRegistry()
    registry.register(PostwardCollector(tally, dict))
    access = WebAccess(web_config)
    port, ready, ticks = free_port(), threading.Event(), [0.0]
    endpoint: list[Endpoint] = []

    async def on_reload() -> str | None:
        access.poll(now=True)
        endpoint[0].reloads.append(None)
        return endpoint[0].problem

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.005
            await asyncio.sleep(0.005)
            ticks[0] = max(ticks[0], loop.time() - due)

    async def run(stop: asyncio.Event) -> None:
        hooks = Hooks(not_ready=lambda: endpoint[0].reason, reload=on_reload)
        addresses = [f"127.0.0.1:{port}", f"127.0.0.2:{port}"]
        server = HttpServer(
            application(registry, hooks, access, version="1.2.3", may_reload=reload, hosts={"test"}),
            [listen(address) for address in addresses],
            access.context,
            timeout=timeout,
            drain_timeout=drain_timeout,
        )
        endpoint.append(Endpoint(port, server, access, tally, ticks))
        tasks = [asyncio.create_task(server.serve()), asyncio.create_task(tick())]
        ready.set()
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run(stop)))
    thread.start()
    assert ready.wait(10)
    try:
        yield endpoint[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
