"""`postward sink`: receive a fleet's probes."""

import asyncio
import logging
import signal
import socket
from pathlib import Path

import click

from postward.agent.commands.common import exit_on_error, fail, fail_without
from postward.agent.commands.log_output import log_options
from postward.agent.http.server import HttpServer
from postward.agent.metrics.tally import Tally
from postward.agent.probe.message import KeyFileError, read_key
from postward.agent.systemd import notify
from postward.config.fields import split_address

try:
    from postward.agent.sink.server import MAX_CONNECTIONS, Arrivals, create_app, create_smtp_server
except ModuleNotFoundError as error:  # the extra is not installed
    if error.name != "aiosmtpd":
        raise
    _missing: ModuleNotFoundError | None = error
else:
    _missing = None

_log = logging.getLogger("postward.sink")


@click.command("sink")
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, readable=False, path_type=Path),
    required=True,
    help="File with the fleet's key, the same as probe.key_file on its hosts.",
)
@click.option(
    "--listen",
    "smtp",
    default="127.0.0.1:2526",
    show_default=True,
    help="Address that receives probes by SMTP.",
)
@click.option(
    "--web",
    default="127.0.0.1:9788",
    show_default=True,
    help="Address of the HTTP endpoint: agents ask it for arrivals, Prometheus for /metrics.",
)
@click.option("--domain", default="", help="Accept recipients of this domain only. Default: any domain.")
@log_options
def command(key_file: Path, smtp: str, web: str, domain: str) -> None:
    """Receive a fleet's probes and report their arrivals to its agents. All other mail is refused; no mail is kept."""
    if _missing:
        fail_without("aiosmtpd", _missing)
    logging.getLogger("mail.log").setLevel(
        logging.WARNING
    )  # aiosmtpd's: five lines for each connection of strangers
    with exit_on_error():
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
    receiver = await create_smtp_server(arrivals, *smtp, domain=domain, hostname=socket.gethostname())
    listener.setblocking(False)
    server = HttpServer(create_app(arrivals, tally), [listener], max_connections=MAX_CONNECTIONS)
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
