"""Incidents as text: worst first, each with cause, setting, remedy and the lines that prove it. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from postward.agent.incidents.model import CauseRow, IncidentRow
from postward.agent.text import plural

Parts = list[tuple[str, str]]  # text, style


class EffectText(NamedTuple):
    """The texts of an effect.

    Attributes:
        heading: of one incident.
        verdict: of a host where this effect is the worst.
        style: rich style of the heading.
        verdict_style: rich style of the verdict.
    """

    heading: str
    verdict: str
    style: str
    verdict_style: str


# Effect → texts, worst first.
EFFECT_TEXTS: Final[Mapping[str, EffectText]] = {
    "lost": EffectText(
        heading="mail is lost",
        verdict="mail is being lost",
        style="bold red",
        verdict_style="bold white on red",
    ),
    "delayed": EffectText(
        heading="mail waits",
        verdict="mail waits",
        style="bold yellow",
        verdict_style="bold black on yellow",
    ),
    "blind": EffectText(
        heading="not observed",
        verdict="not known whether mail goes out",
        style="bold red",
        verdict_style="bold white on red",
    ),
    "degraded": EffectText(
        heading="degraded",
        verdict="mail goes out; Postward does not do all of its work",
        style="bold yellow",
        verdict_style="bold black on yellow",
    ),
    "rejected": EffectText(
        heading="mail returned",
        verdict="mail goes out; some of it was returned",
        style="yellow",
        verdict_style="bold yellow",
    ),
    "note": EffectText(
        heading="note",
        verdict="mail goes out",
        style="cyan",
        verdict_style="bold green",
    ),
}
HEADINGS: Final = {effect: text.heading.capitalize() for effect, text in EFFECT_TEXTS.items()}

_MAX_NAMED: Final = 3  # incidents in a summary
MAIL_STOPS: Final = ("lost", "delayed")  # effects that keep mail back


def worst_effect(rows: Iterable[IncidentRow]) -> str:
    """Return the worst effect of the open incidents; "note" if none is open."""
    effects = {row["effect"] for row in rows if row["closed"] is None}
    return next((effect for effect in EFFECT_TEXTS if effect in effects), "note")


def summary(effect: str, rows: Iterable[IncidentRow], not_ready: str | None) -> str:
    """Return the state of a host in one line: its verdict, and what is open, worst first."""
    wrong = [row for row in rows if row["closed"] is None and row["effect"] != "note"]
    wrong.sort(key=lambda row: list(EFFECT_TEXTS).index(row["effect"]))
    reasons = [f"{row['title']} ({row['place']})" for row in wrong[:_MAX_NAMED]]
    if len(wrong) > len(reasons):
        reasons.append(f"{len(wrong) - len(reasons)} more")
    if not_ready:
        reasons.append(not_ready)
    return EFFECT_TEXTS[effect].verdict + (f": {'; '.join(reasons)}" if reasons else "")


def lines_of_incident(row: IncidentRow, now: float, *, with_place: bool = True) -> Iterator[Parts]:
    """Return an incident, line by line; `with_place` adds its place, time and numbers."""
    text = EFFECT_TEXTS[row["effect"]]
    heading, style = ("OVER", "green") if row["closed"] is not None else (text.heading.upper(), text.style)
    yield [(f"{heading:13} ", style), (row["title"], "bold")]
    if with_place:
        yield [(f"  {where(row)}; {_when(row, now)}; {times_and_mails(row)}", "")]
    if len(row["causes"]) == 1:
        yield from _lines_of_cause(row["causes"][0], "cause:   ", "  ", f" ({row['certainty']})")
    else:
        yield [("  several causes are possible, and no known fact separates them:", "magenta")]
        for number, cause in enumerate(row["causes"], 1):
            yield from _lines_of_cause(cause, f"{number}. ", "     ", "")
    if sender := row["sender"]:
        yield [("  sender:  ", "dim"), (sender["what"], "bold")]
        yield [("     find: ", "dim"), (sender["find"], "")]
        if sender["hold"]:
            yield [("     hold: ", "dim"), (sender["hold"], "")]
    for line in row["evidence"]:
        yield [("  | ", "dim"), (line, "dim")]


def closed_line(row: IncidentRow, now: float) -> Parts:
    """Return a closed incident in one line."""
    return [("OVER          ", "green"), (row["title"], "bold"), (f" ({where(row)}); {_when(row, now)}", "")]


def _lines_of_cause(cause: CauseRow, label: str, indent: str, certainty: str) -> Iterator[Parts]:
    yield [(f"  {label}", "dim"), (cause["what"], ""), (certainty, "magenta")]
    yield [
        (f"{indent}setting: ", "dim"),
        (cause["setting"], ""),
        (f"   Postfix: {cause['parameter']}", "dim"),
    ]
    if cause["where"]:
        yield [(f"{indent}found:   ", "dim"), (cause["where"], "")]
    yield [(f"{indent}remedy:  ", "dim"), (cause["remedy"], "bold")]
    if cause["check"]:
        yield [(f"{indent}check:   ", "dim"), (cause["check"], "")]


def one_line(row: IncidentRow) -> str:
    """Return an incident in one line, for the journal and for pagers."""
    cause = row["causes"][0]
    setting = f"; setting: {cause['setting']}; remedy: {cause['remedy']}" if len(row["causes"]) == 1 else ""
    sender = f"; {row['sender']['what']}" if row["sender"] else ""
    return f"{row['title']} ({where(row)}){sender}{setting}"


def heading(rows: Iterable[IncidentRow]) -> str:
    """Return the number of open incidents, notes and closed incidents, as text."""
    closed = notes = incidents = 0
    for row in rows:
        closed += row["closed"] is not None
        notes += row["closed"] is None and row["effect"] == "note"
        incidents += row["closed"] is None and row["effect"] != "note"
    counts = [plural(incidents, "incident") if incidents else "nothing keeps mail back"]
    counts += [f"{closed} over"] if closed else []
    counts += [plural(notes, "note")] if notes else []
    return ", ".join(counts)


def times_and_mails(row: IncidentRow) -> str:
    """Return how often an incident was observed and how many mails it concerns, as text."""
    counts = [plural(row["attempts"], "time")]
    counts += [plural(row["mails"], "mail")] if row["mails"] else []
    counts += [f"{row['lost']} lost"] if row["lost"] else []
    return ", ".join(counts)


def moment(seconds: float, now: float) -> str:
    """Return a time of day, with its date unless it is today's."""
    then, today = _local(seconds), _local(now)
    return then.strftime("%H:%M:%S") if then.date() == today.date() else then.strftime("%d %b %H:%M")


def where(row: IncidentRow) -> str:
    """Return the place of an incident as text, and its host unless that is this one."""
    host = f" on {row['host']}" if row["host"] else ""
    instance = "" if row["postfix_instance"] == "postfix" else f" of {row['postfix_instance']}"
    is_relay = row["relay"] not in {"none", "local"} and row["cause"]
    kind = "server " if row["relay"] == "other" and row["place"].endswith(":25") else "relay "
    return f"{kind if is_relay else ''}{row['place']}{instance}{host}"


def _when(row: IncidentRow, now: float) -> str:
    since = f"since {moment(row['first'], now)}"
    if row["closed"] is not None:
        return f"{since} until {moment(row['closed'], now)} ({row['closed_by']})"
    return since if row["last"] - row["first"] < 1 else f"{since}, last {moment(row['last'], now)}"


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone()
