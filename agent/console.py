"""Terminal output: deliveries as rows, probes as timelines, plans as coloured diffs.

Importing this module does not load rich: the agent, which imports it too, writes to no terminal.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from postward.agent.metrics.labels import RelayNames
from postward.agent.parts import Part
from postward.agent.probe.result import ProbeResult
from postward.agent.relay.advice import describe_cause
from postward.agent.text import STATUS_STYLE
from postward.parsers import Event, Record, cause_of
from postward.parsers.events import Delivery

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_OUTCOME_STYLE = {
    "accepted": "bold green",
    "arrived": "bold green",
    "failed": "bold red",
    "returned": "bold red",
    "lost": "bold red",
    "late": "bold yellow",
    "duplicate": "bold yellow",
    "altered": "bold yellow",
}
# Upper and lower module of a QR code, 1 if dark → the character.
_HALF_BLOCKS = {
    (0, 0): " ",
    (1, 0): "\N{UPPER HALF BLOCK}",
    (0, 1): "\N{LOWER HALF BLOCK}",
    (1, 1): "\N{FULL BLOCK}",
}


def terminal(*, error: bool = False) -> "Console":
    """Return a console that does not wrap lines, and colours them only on a terminal."""
    from rich.console import Console

    return Console(stderr=error, soft_wrap=True, highlight=False, markup=False, emoji=False)


def qr_code(content: str, console: "Console") -> "Text | None":
    """Return a QR code of half blocks; None on a terminal without colours or room for it, and elsewhere."""
    can_show = console.is_terminal and console.color_system and not console.no_color
    if not can_show or console.options.ascii_only:
        return None
    import segno
    from rich.text import Text

    rows = [bytes(row) for row in segno.make_qr(content, error="l").matrix_iter(border=4)]
    width = len(rows[0])
    if width > console.width:
        return None
    pairs = zip(rows[::2], [*rows[1::2], bytes(width)], strict=True)  # the number of rows is odd
    lines = ("".join(_HALF_BLOCKS[cells] for cells in zip(*pair, strict=True)) for pair in pairs)
    return Text("\n".join(lines), style="#000000 on #ffffff")  # whatever the colours of the terminal are


class DeliveryRows(Part):
    """Prints each delivery as a row. An observer of the pipeline."""

    def __init__(self, console: "Console", names: RelayNames) -> None:
        self._console = console
        self._names = names

    def observe(self, record: Record, event: Event) -> None:
        """Take one line of the log."""
        if isinstance(event, Delivery):
            self._console.print(delivery_row(record, event, self._names.of_delivery(event, record.instance)))


def delivery_row(record: Record, event: Delivery, relay: str) -> "Text":
    """Return `time  status  relay  cause  delay  recipient  reason`."""
    from rich.text import Text

    cause = cause_of(event)
    return Text.assemble(
        (_time_of_day(record.stamp), "dim"),
        "  ",
        (f"{event.status:9}", STATUS_STYLE.get(event.status, "")),
        f" {relay:12} {cause or '':16} {event.delay:>6} s  {event.to}  ",
        (event.reason or "", "dim"),
    )


def _time_of_day(stamp: str) -> str:
    """Return hours, minutes and seconds of a stamp in any dialect."""
    separator = "T" if "T" in stamp else " "
    return stamp.rpartition(separator)[2][:8]


def probe_text(result: ProbeResult) -> "Text":
    """Return a probe's result and its timeline."""
    from rich.text import Text

    text = Text.assemble(("probe ", "bold"), (result.outcome, _OUTCOME_STYLE[result.outcome]))
    if result.accepted:
        text.append(f" {'by' if result.outcome == 'accepted' else 'through'} relay {result.relay}")
        if result.folder == "spam":
            text.append(", in a folder for spam", "bold yellow")
    else:
        text.append(f" on its way to relay {result.relay}, at step ")
        text.append(result.step, "bold")
        text.append(result.blame)
        text.append(f": {describe_cause(result.cause)}" if result.cause else "")
    for milestone in result.timeline:
        text.append(f"\n  {milestone.seconds:8.3f} s  {milestone.step:10}  ")
        text.append(milestone.note, "dim")
    noted = result.timeline and result.timeline[-1].note and result.timeline[-1].step != "passed on"
    if result.detail and not noted and not result.accepted:
        text.append(f"\n  {result.detail}", "dim")
    if result.unseen:
        text.append(f"\n  whether it arrived is not known: {result.unseen}", "yellow")
    return text


def diff_text(lines: Iterable[str]) -> "Text":
    """Return a plan's diff in colours."""
    from rich.text import Text

    text = Text()
    for line in lines:
        text.append(f"{line}\n", {"-": "red", "+": "green", "!": "bold yellow"}.get(line[:1], ""))
    return text
