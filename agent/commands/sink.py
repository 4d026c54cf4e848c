"""`postward sink`: a receiver for a fleet's probes."""

import asyncio
import logging
import signal
import socket
from pathlib import Path

import click

from postward.agent.commands.common import fail, log_to_stderr, told
from postward.agent.http.server import HttpServer
from postward.agent.metrics.tally import Tally
from postward.agent.probe.message import KeyFileError, read_key
from postward.agent.systemd import notify
from postward.config.fields import split_address

try:
    from postward.agent.sink.server import MAX_CONNECTIONS, Arrivals, application, listen
except ModuleNotFoundError as _missing:  # the extra is not installed
    if _missing.name != "aiosmtpd":
        raise
    MISSING: str | None = "this needs aiosmtpd; install it with: pip install 'postward[sink]'"
else:
    MISSING = None

_log = logging.getLogger("postward.sink")


@click.command("sink")
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File with the fleet's key, the same as probe.key_file of its hosts.",
)
@click.option(
    "--listen", "smtp", default="127.0.0.1:2526", show_default=True, help="Where probes come in by SMTP."
)
@click.option("--web", default="127.0.0.1:9788", show_default=True, help="Where agents ask, and /metrics is.")
@click.option("--domain", default="", help="Take probes for this domain only.")
def command(key_file: Path, smtp: str, web: str, domain: str) -> None:
    """Receive a fleet's probes: tell its agents what arrived, and refuse everything else. No mail is kept."""
    if MISSING:
        fail(MISSING)
    log_to_stderr()
    with told():
        try:
            addresses = split_address(smtp), split_address(web)
        except ValueError as error:
            raise click.UsageError(f"an address {error}") from error
        try:
            key = read_key(key_file)
        except KeyFileError as error:
            fail(str(error))
        asyncio.run(_serve(key, *addresses, domain))


async def _serve(key: bytes, smtp: tuple[str, int], web: tuple[str, int], domain: str) -> None:
    tally = Tally()
    arrivals = Arrivals(key, tally)
    listener = socket.create_server(web, family=socket.AF_INET6 if ":" in web[0] else socket.AF_INET)
    receiver = await listen(arrivals, *smtp, domain, socket.gethostname())
    listener.setblocking(False)
    server = HttpServer(application(arrivals, tally), [listener], max_connections=MAX_CONNECTIONS)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve())
        _log.info("probes by SMTP: %s:%d; metrics: http://%s:%d/metrics", *smtp, *web)
        notify("READY=1")
        await stop.wait()
        notify("STOPPING=1")
        receiver.close()
        task.cancel()
