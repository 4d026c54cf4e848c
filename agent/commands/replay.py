"""`postward replay`: logs through the agent's own pipeline, then the metrics."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click
from prometheus_client import CollectorRegistry, generate_latest

from agent.clock import local_now
from agent.collector import PostwardCollector
from agent.commands.common import fail, load, told
from agent.console import DeliveryRows, terminal
from agent.counting import Counting
from agent.pipeline import Observer, Pipeline
from agent.relay_names import RelayNames
from agent.source.segment import Segment
from agent.tally import Tally

_BATCH = 1 << 20


@click.command("replay")
@click.argument(
    "files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True
)
@click.option(
    "--config",
    "settings_file",
    type=click.Path(path_type=Path),
    help="Settings, for the names of the relays.",
)
@click.option("--deliveries", is_flag=True, help="Print each delivery as a row on standard error.")
def command(files: tuple[Path, ...], settings_file: Path | None, deliveries: bool) -> None:
    """Count FILES (also .gz, .xz, .bz2) as the agent would, and print the metrics as Prometheus text."""
    with told():
        names = RelayNames.of_settings(load(settings_file)) if settings_file else RelayNames()
    observers = [DeliveryRows(terminal(error=True), names).observe] if deliveries else []
    tally = replay(files, names, observers)
    registry = CollectorRegistry()
    registry.register(PostwardCollector(tally, dict))
    click.echo(generate_latest(registry).decode(), nl=False)


def replay(files: tuple[Path, ...], names: RelayNames, observers: Sequence[Observer]) -> Tally:
    """Count files in the order given."""
    tally = Tally()
    feed: Callable[[bytes], None] = Pipeline(Counting(tally, names, local_now), observers).feed
    for path in files:
        try:
            segment = Segment(path)
            while lines := segment.read_lines(_BATCH, finished=True):
                feed(lines)
            segment.close()
        except (OSError, EOFError) as error:
            fail(f"{path}: {error}; only whole log files, plain or compressed, can be counted")
    return tally
