"""Incidents as an admin reads them: worst first, each with cause, setting, remedy and the lines that prove it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

Shown = dict[str, Any]  # what `diagnosis.to_dict` gives
Parts = list[tuple[str, str]]  # text, style

_STYLE = {"lost": "bold red", "delayed": "bold yellow", "rejected": "yellow", "note": "cyan"}
_HEAD = {"lost": "MAIL IS LOST", "delayed": "MAIL WAITS", "rejected": "MAIL RETURNED", "note": "NOTE"}


def lines_of_incident(shown: Shown, now: float) -> Iterator[Parts]:
    """An incident, line by line."""
    effect = shown["effect"]
    over = shown["closed"] is not None
    head = "OVER" if over else _HEAD[effect]
    yield [(f"{head:13} ", "green" if over else _STYLE[effect]), (shown["title"], "bold")]
    yield [(f"  {_where(shown)}; {_when(shown, now)}; {times_and_mails(shown)}", "")]
    several = len(shown["causes"]) > 1
    if several:
        yield [("  this can have several causes, and nothing here tells which:", "magenta")]
    for number, cause in enumerate(shown["causes"], 1):
        mark = f"  {number}. " if several else "  cause:   "
        yield [(mark, "dim"), (cause["what"], ""), ("" if several else f" ({shown['certainty']})", "magenta")]
        pad = "     " if several else "  "
        yield [
            (f"{pad}setting: ", "dim"),
            (cause["setting"], ""),
            (f"   Postfix: {cause['parameter']}", "dim"),
        ]
        if cause["where"]:
            yield [(f"{pad}found:   ", "dim"), (cause["where"], "")]
        yield [(f"{pad}remedy:    ", "dim"), (cause["remedy"], "bold")]
        if cause["check"]:
            yield [(f"{pad}look at: ", "dim"), (cause["check"], "")]
    for line in shown["evidence"]:
        yield [("  | ", "dim"), (line, "dim")]


def one_line(shown: Shown) -> str:
    """An incident in one line, for the journal and for pagers."""
    cause = shown["causes"][0]
    setting = f"; setting: {cause['setting']}; remedy: {cause['remedy']}" if len(shown["causes"]) == 1 else ""
    return f"{shown['title']} ({_where(shown)}){setting}"


def heading(shown: Iterable[Shown]) -> str:
    """How many go on."""
    rows = list(shown)
    worst = [row for row in rows if row["closed"] is None and row["effect"] != "note"]
    over = sum(row["closed"] is not None for row in rows)
    notes = len(rows) - len(worst) - over
    tail = [f"{over} over" if over else "", f"{notes} to note" if notes else ""]
    told = "".join(f", {words}" for words in tail if words)
    if not worst:
        return f"nothing keeps mail back{told}"
    return f"{len(worst)} incident{'s' if len(worst) > 1 else ''}{told}"


def _where(shown: Shown) -> str:
    instance = "" if shown["postfix_instance"] == "postfix" else f" of {shown['postfix_instance']}"
    place = shown["place"]
    return (
        f"relay {place}{instance}"
        if shown["relay"] not in {"none", "local"} and shown["cause"]
        else f"{place}{instance}"
    )


def _when(shown: Shown, now: float) -> str:
    words = f"since {moment(shown['first'], now)}"
    if shown["closed"] is not None:
        return f"{words} until {moment(shown['closed'], now)} ({shown['closed_by']})"
    return words if shown["last"] - shown["first"] < 1 else f"{words}, last {moment(shown['last'], now)}"


def times_and_mails(shown: Shown) -> str:
    """How often it was seen, and how many mails it concerns."""
    told = f"{shown['attempts']} time{'' if shown['attempts'] == 1 else 's'}"
    if shown["mails"]:
        told += f", {shown['mails']} mail{'' if shown['mails'] == 1 else 's'}"
    return told + (f", {shown['lost']} lost" if shown["lost"] else "")


def moment(seconds: float, now: float) -> str:
    """A time of day, with its date if that is not today's."""
    then, today = _local(seconds), _local(now)
    return then.strftime("%H:%M:%S") if then.date() == today.date() else then.strftime("%d %b %H:%M")


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone()
