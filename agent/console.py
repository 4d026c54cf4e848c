"""What an admin reads on a terminal: deliveries as rows, probes as timelines, plans as coloured diffs."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from postward.agent.metrics.labels import RelayNames
from postward.agent.probe.result import ProbeResult
from postward.parsers import Cause, Event, Record, cause_of
from postward.parsers.events import Delivery

_STATUS_STYLE = {"sent": "green", "deferred": "yellow", "SOFTBOUNCE": "yellow", "bounced": "red"}
_OUTCOME_STYLE = {
    "accepted": "bold green",
    "failed": "bold red",
    "lost": "bold red",
    "late": "bold yellow",
    "duplicate": "bold yellow",
    "altered": "bold yellow",
}


def terminal(*, error: bool = False) -> Console:
    """A console that wraps nothing and colours only on a terminal."""
    return Console(stderr=error, soft_wrap=True, highlight=False, markup=False, emoji=False)


class DeliveryRows:
    """Prints each delivery as a row. An observer of the pipeline."""

    def __init__(self, console: Console, names: RelayNames) -> None:
        self._console = console
        self._names = names

    def observe(self, record: Record, event: Event) -> None:
        """Take one line of the log."""
        if isinstance(event, Delivery):
            self._console.print(delivery_row(record, event, self._names.of_delivery(event)))


def delivery_row(record: Record, event: Delivery, relay: str) -> Text:
    """`time  status  relay  cause  delay  recipient  reason`."""
    cause = cause_of(event)
    return Text.assemble(
        (_time_of_day(record.stamp), "dim"),
        "  ",
        (f"{event.status:9}", _STATUS_STYLE.get(event.status, "")),
        f" {relay:12} {cause or '':16} {event.delay:>6} s  {event.to}  ",
        (event.reason or "", "dim"),
    )


def _time_of_day(stamp: str) -> str:
    """The hours, minutes and seconds of a stamp in any dialect."""
    separator = "T" if "T" in stamp else " "
    return stamp.rpartition(separator)[2][:8]


def probe_text(result: ProbeResult) -> Text:
    """A probe's result and its timeline."""
    text = Text.assemble(
        ("probe ", "bold"), (result.outcome, _OUTCOME_STYLE[result.outcome]), f" by relay {result.relay}"
    )
    if not result.accepted:
        text = Text.assemble(("probe ", "bold"), (result.outcome, _OUTCOME_STYLE[result.outcome]))
        text.append(f" on its way to relay {result.relay}, at step ")
        text.append(result.step, "bold")
        text.append(f": {cause_words(result.cause)}" if result.cause else "")
    for mark in result.timeline:
        text.append(f"\n  {mark.seconds:8.3f} s  {mark.step:10}  ")
        text.append(mark.note, "dim")
    if result.words and not (result.timeline and result.timeline[-1].note) and not result.accepted:
        text.append(f"\n  {result.words}", "dim")
    return text


# A cause in plain words, with what to look at.
_BECAUSE = {
    Cause.AUTH_REJECTED: "the relay refuses these credentials; look at relay.username and its password",
    Cause.AUTH_REQUIRED: "the relay wants a login and was given none; mail is being lost. Look at relay.username",
    Cause.AUTH_MECHANISM: "no common way to log in; is the SASL plug-in installed (libsasl2-modules, cyrus-sasl-plain)?",
    Cause.TLS_VERIFY: "the relay's certificate is not valid for its name; look at relay.host and relay.ca_file",
    Cause.TLS_HANDSHAKE: "TLS could not be started; does relay.tls fit relay.port?",
    Cause.TLS_NOT_OFFERED: "the relay offers no STARTTLS; does relay.tls fit relay.port?",
    Cause.DNS: "the relay's name cannot be resolved; look at relay.host and the resolver",
    Cause.REFUSED: "nothing listens there; look at relay.host and relay.port",
    Cause.TIMEOUT: "no answer; is relay.port blocked on the way?",
}


def cause_words(cause: Cause) -> str:
    """A cause in plain words."""
    words = _BECAUSE.get(cause)
    return f"{cause} ({words})" if words else str(cause)


def diff_text(lines: Iterable[str]) -> Text:
    """A plan's diff, coloured."""
    text = Text()
    for line in lines:
        text.append(f"{line}\n", {"-": "red", "+": "green"}.get(line[:1], ""))
    return text
