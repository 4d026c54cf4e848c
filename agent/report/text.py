"""The report for a terminal."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from postward.agent.metrics.labels import STATUSES
from postward.agent.report.summary import PER_TIME
from postward.agent.text import counted, seconds, size

_TOTALS: Final = (
    ("received", "received"),
    ("delivered", "delivered"),
    ("forwarded", "forwarded"),
    ("deferred_mails", "mails deferred"),
    ("deferrals", "deferrals"),
    ("bounced", "bounced"),
    ("expired", "expired"),
    ("rejected", "rejected on arrival"),
    ("reject_warnings", "reject warnings"),
    ("held", "held"),
    ("discarded", "discarded"),
)
_MAX_ROWS: Final = 20
_MAX_CAUSES: Final = 2
_BAR: Final = 30  # characters
_PERCENTS: Final = ("p50", "p90", "p99", "max")


def as_text(report: dict[str, Any]) -> str:
    """Return the report as text, most urgent first."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: dict[str, Any]) -> Iterator[str]:
    span, lines = report["span"], report["lines"]
    yield (
        f"Mail from {span['first']} to {span['last']}, by the log's own clock"
        if span["first"]
        else "No mail with a time"
    )
    yield ", ".join(f"{counted(number)} lines {outcome}" for outcome, number in lines.items())
    yield from _accuracy(report["accuracy"])
    sign = "" if report["accuracy"]["mails_exact"] else "~"
    yield from _totals(report["totals"], sign)
    yield from _incidents(report["incidents"])
    yield from _relays(report["relays"])
    yield from _failures(report["failures"], sign)
    yield from _steps(report)
    yield from _domains(report)
    yield from _others(report)


def _accuracy(accuracy: dict[str, Any]) -> Iterator[str]:
    if not accuracy["mails_exact"]:
        error = accuracy["mails_relative_error"]
        yield f"Numbers marked ~ are estimates from a sample of mails, with a standard error of about {error:.1%}."
    if accuracy["relays"] != "hosts":
        yield f"There are too many relays to name each; shown: {accuracy['relays']}. Relays in the settings keep their names."


def _totals(totals: dict[str, Any], sign: str) -> Iterator[str]:
    yield from ("", "Totals")
    for key, words in _TOTALS:
        number = counted(totals[key])
        yield f"{sign + number if key == 'deferred_mails' else number:>12}  {words}"
    yield f"{sign + size(totals['bytes_received']):>12}  received"
    yield f"{sign + size(totals['bytes_delivered']):>12}  delivered"
    yield f"{counted(totals['sender_domains']):>12}  sender domains"
    yield f"{counted(totals['recipient_domains']) or 'too many':>12}  recipient domains"


def _incidents(incidents: list[dict[str, Any]]) -> Iterator[str]:
    if incidents:
        yield from ("", "Incidents, worst first (`postward why FILE` reads every line)")
    for row in incidents[:_MAX_ROWS]:
        where = f"relay {row['relay']}: " if row["relay"] else ""
        yield f"  {row['effect'].upper():8} {where}{row['title']}"
        bounced = f", {counted(row['bounced'])} bounced" if row["bounced"] else ""
        yield f"           {row['first']} – {row['last']}, {counted(row['attempts'])} times{bounced}" + (
            f", cause {row['cause']}" if row["cause"] else ""
        )
        for cause in row["causes"][:_MAX_CAUSES]:
            yield f"           {row['certainty']}: {cause['what']} (setting: {cause['setting']}) → {cause['remedy']}"
        if len(row["causes"]) > _MAX_CAUSES:
            yield f"           or one of {len(row['causes']) - _MAX_CAUSES} more: --json"
        if row["example"]:
            yield f"           {row['example']}"
    if len(incidents) > _MAX_ROWS:
        yield f"  and {len(incidents) - _MAX_ROWS} more: --json"


def _relays(relays: list[dict[str, Any]]) -> Iterator[str]:
    yield from ("", "Relays; delays of sent and bounced mail")
    yield _row(["relay", *STATUSES, *_PERCENTS], 36)
    for row in relays[:_MAX_ROWS]:
        whole = row["delays"]["whole"] or {}
        counts = [counted(row[status]) for status in STATUSES]
        yield _row([row["relay"], *counts, *(seconds(whole.get(name)) for name in _PERCENTS)], 36)
        for stage, delays in row["delays"].items():
            if delays and stage != "whole":
                parts = [seconds(delays[name]) for name in _PERCENTS]
                yield _row([f"  {stage.replace('_', ' ')}", "", "", "", *parts], 36)


def _failures(failures: list[dict[str, Any]], sign: str) -> Iterator[str]:
    if failures:
        yield from ("", "Failures by relay and cause")
        yield _row(
            ["relay and cause", "status", "attempts", "mails", "first", "last"], 48, (9, 10, 10, 20, 20)
        )
    for row in failures[:_MAX_ROWS]:
        values = [
            row["status"],
            counted(row["attempts"]),
            sign + counted(row["mails"]),
            row["first"],
            row["last"],
        ]
        yield _row(
            [f"{row['relay']} {row['cause']}", *(value or "?" for value in values)], 48, (9, 10, 10, 20, 20)
        )


def _steps(report: dict[str, Any]) -> Iterator[str]:
    steps = report["steps"]
    rows = (
        [(f"{row['hour']:02}:00", row) for row in report["hours_of_day"]]
        if len(steps) > 48 and report["hours_of_day"]
        else [(row["start"], row) for row in steps[-96:]]
    )
    yield from ("", "By hour of the day" if rows and len(rows[0][0]) == 5 else "By time")
    yield _row(["", *PER_TIME], 20)
    highest = max((row["sent"] for _, row in rows), default=0)
    for title, row in rows:
        bar = "▇" * (row["sent"] * _BAR // highest if highest else 0)
        yield f"{_row([title, *(counted(row[name]) for name in PER_TIME)], 20)}  {bar}".rstrip()


def _domains(report: dict[str, Any]) -> Iterator[str]:
    yield from ("", "Recipients' domains")
    if report["recipient_domains"] is None:
        yield "  too many to count each"
    else:
        yield _row(["domain", *STATUSES, "mean", "longest"], 36)
    for row in report["recipient_domains"] or ():
        counts = [counted(row[name]) for name in STATUSES]
        yield _row([row["domain"], *counts, seconds(row["mean_delay"]), seconds(row["max_delay"])], 36)
    yield from ("", "Senders' domains")
    yield _row(["domain", "mails", "bytes", "deferred", "bounced"], 36)
    sign = "" if report["accuracy"]["mails_exact"] else "~"
    for row in report["sender_domains"]:
        numbers = [
            counted(row["mails"]),
            size(row["bytes"]),
            counted(row["deferred"]),
            counted(row["bounced"]),
        ]
        yield _row([row["domain"], *(sign + number for number in numbers)], 36)


def _others(report: dict[str, Any]) -> Iterator[str]:
    if report["tls"]:
        yield from ("", "TLS sessions")
    for row in report["tls"][:_MAX_ROWS]:
        yield f"{counted(row['sessions']):>12}  {row['relay']} {row['protocol']} {row['trust']}"
    if report["problems"]:
        yield from ("", "Warnings and worse")
    for row in report["problems"][:_MAX_ROWS]:
        text = f": {row['example']}" if row["example"] else ""
        yield f"{counted(row['lines']):>12}  {row['daemon']} {row['severity']} {row['kind']}{text}"


def _row(values: Iterable[str], first: int, widths: tuple[int, ...] = ()) -> str:
    title, *others = values
    cut = title if len(title) <= first else f"{title[: first - 1]}…"
    columns = widths or (11,) * len(others)
    return (
        f"{cut:{first}}" + "".join(f"{value:>{width}}" for value, width in zip(others, columns, strict=True))
    ).rstrip()
