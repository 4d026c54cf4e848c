"""`postward parse`: what each line of a log says, as rows for the eye or as JSON, one object a line.

Lines are shown as they come, so that `tail -f LOG | postward parse` follows. Secrets that Postfix's debugging logs are
scrubbed, and control characters are spelled out: both come from strangers. A file that cannot be read, or not to its
end, is named, the others are shown all the same, and the status is 1.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from postward.agent.commands.completion import completing
from postward.agent.commands.reading import LOG_FILE, progress_bar
from postward.agent.export.rows import Row, outcome_of, rows
from postward.agent.logs.archive import STANDARD_INPUT, LogFileError, blocks
from postward.agent.metrics.labels import STATUSES
from postward.agent.output import has_reader
from postward.agent.text import STATUS_STYLE, readable
from postward.parsers import OUTCOMES, Cause
from postward.parsers.scrub import printable

_MAX_KINDS: Final = 15  # rows of the summary: it fits on a screen


@click.command("parse")
@click.argument("files", type=LOG_FILE, nargs=-1, metavar="[FILE|-]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--only", type=click.Choice(OUTCOMES), multiple=True, help="Only lines of this outcome.")
@click.option(
    "--cause",
    "causes",
    type=click.Choice([cause.value for cause in Cause]),
    multiple=True,
    metavar="CAUSE",
    help="Only failures of this cause, such as auth_rejected.",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    shell_complete=completing(lambda _: STATUSES),
    help="Only deliveries of this status, such as deferred.",
)
@click.option("--daemon", "daemons", multiple=True, help="Only lines of this daemon, such as smtp.")
@click.option("--queue-id", "queue_ids", multiple=True, help="Only lines of this mail.")
@click.option("--quiet", "-q", is_flag=True, help="No summary at the end.")
def command(
    files: tuple[Path, ...],
    as_json: bool,
    only: tuple[str, ...],
    causes: tuple[str, ...],
    statuses: tuple[str, ...],
    daemons: tuple[str, ...],
    queue_ids: tuple[str, ...],
    quiet: bool,
) -> None:
    """Show what each line of logs (also .gz, .xz, .bz2, .zst; default: standard input) says.

    Filters are combined; one that is given several times takes any of its values.
    """
    wanted = _filter(
        {"outcome": only, "cause": causes, "status": statuses, "daemon": daemons, "queue_id": queue_ids}
    )
    paths = files or (STANDARD_INPUT,)
    summary = Summary()
    failed = False
    show = _writer(as_json=as_json)
    # Rows on the same terminal would run through the bar.
    with progress_bar(paths, wanted=not sys.stdout.isatty()) as progress:
        for path in paths:
            try:
                for block in blocks(path, progress(path)):
                    show(summary.seen(rows(block), wanted))
                    if not has_reader():
                        sys.exit(0)
            except LogFileError as error:
                click.echo(f"postward: {error}", err=True)
                failed = True
            except KeyboardInterrupt:  # the way to end `tail -f`
                break
    if not quiet and (summary.outcomes or not failed):
        click.echo(summary.text(), err=True)
    sys.exit(1 if failed else 0)


def _filter(options: dict[str, tuple[str, ...]]) -> Callable[[Row], bool] | None:
    """True for a row that has one of the values of each option that was given; None if every row is wanted."""
    given = {key: frozenset(values) for key, values in options.items() if values}
    if not given:
        return None

    def wanted(row: Row) -> bool:
        return all(
            (outcome_of(row) if key == "outcome" else str(row.get(key))) in values
            for key, values in given.items()
        )

    return wanted


@dataclass
class Summary:
    """How many lines of which kind were seen, and how many of them were shown."""

    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    shown: int = 0
    filtered: bool = False

    def seen(self, rows: Iterable[Row], wanted: Callable[[Row], bool] | None) -> Iterator[Row]:
        """Count rows, and hand on those that are wanted."""
        self.filtered = wanted is not None
        for row in rows:
            self.kinds[row.get("daemon", ""), row["event"] or row["outcome"]] += 1
            self.outcomes[outcome_of(row)] += 1
            if wanted is None or wanted(row):
                self.shown += 1
                yield row

    def text(self) -> str:
        """The outcomes, and the most frequent kinds."""
        total = self.outcomes.total()
        head = f"{total} line{'' if total == 1 else 's'}: " + ", ".join(
            f"{self.outcomes[outcome]} {outcome}" for outcome in OUTCOMES
        )
        if self.filtered:
            head += f"; {self.shown} shown"
        most = self.kinds.most_common(_MAX_KINDS)
        lines = [f"{number:>10}  {daemon:<16} {kind}" for (daemon, kind), number in most]
        if more := len(self.kinds) - len(most):
            lines.append(f"{'':>10}  and {more} more kinds")
        return "\n".join([head, *lines])


# --- output

Parts = list[tuple[str, str]]  # text, style

_HEADER: Final = frozenset({"stamp", "host", "instance", "daemon", "pid", "severity", "event", "outcome"})
# A relay's parts are in the relay, the whole of the text is the reason.
_LONG_FORM: Final = frozenset(
    f"{peer}_{part}" for peer in ("relay", "peer", "client") for part in ("host", "addr", "port")
)
_SEVERITY_STYLE: Final = {"warning": "yellow", "error": "red", "fatal": "bold red", "panic": "bold red"}

# C0, DEL and C1 controls and the marks that reorder text: a terminal would obey them.
_CONTROLS: Final = {
    code: f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def row_parts(row: Row) -> Parts:
    """A row for the eye: time, daemon, kind, and the fields that are there, each with its style."""
    if "stamp" not in row:
        return [("foreign ", "dim"), (row["text"], "dim")]
    severity = row["severity"]
    parts: Parts = [(f"{readable(row['stamp'])} ", "dim"), (f"{row['daemon']} ", "cyan")]
    if severity != "info":
        parts.append((f"{severity} ", _SEVERITY_STYLE.get(severity, "")))
    if row["event"] is None:
        return [*parts, ("unrecognised ", "magenta"), (row["text"], "")]
    parts.append((row["event"], "bold"))
    for key, value in row.items():
        if key not in _HEADER and key not in _LONG_FORM and value not in (None, ""):
            shown = "/".join(map(str, value)) if isinstance(value, list) else str(value)
            parts += [(f" {key}=", "dim"), (shown, _style(key, shown))]
    return parts


def _style(key: str, value: str) -> str:
    if key == "status":
        return STATUS_STYLE.get(value, "")
    return "bold red" if key == "cause" else ""


def plain(row: Row) -> str:
    """A row without colours."""
    return printable("".join(text for text, _ in row_parts(row)))


def as_json_line(row: Row) -> str:
    """A row as JSON, also fit for a terminal."""
    text = _encode(row)
    return text if text.isprintable() else text.translate(_CONTROLS)


_encode: Final = json.JSONEncoder(ensure_ascii=False).encode


def _writer(*, as_json: bool) -> Callable[[Iterable[Row]], None]:
    """What shows rows: a block of them at once, and at once."""
    if not as_json and sys.stdout.isatty():
        from rich.text import Text  # loaded for a terminal only

        from postward.agent.console import terminal

        console = terminal()

        def show(rows: Iterable[Row]) -> None:
            for row in rows:
                console.print(Text.assemble(*((printable(text), style) for text, style in row_parts(row))))

        return show
    line = as_json_line if as_json else plain

    def write(rows: Iterable[Row]) -> None:
        sys.stdout.write("".join([f"{line(row)}\n" for row in rows]))
        sys.stdout.flush()

    return write
