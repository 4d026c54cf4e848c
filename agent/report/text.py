"""The report for a terminal, in 100 columns: text is wrapped, and a long name has a line of its own.

Lines of the log, and remedies, which can be commands, are shown whole.
"""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from postward.agent.metrics.labels import STATUSES
from postward.agent.report.summary import PER_HOST, PER_RECIPIENT, PER_SENDER, PER_TIME
from postward.agent.senders.share import source_text
from postward.agent.text import counted, plural, seconds, size, span

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
_WIDTH: Final = 100  # characters
_BAR: Final = 30  # characters
_INDENT: Final = " " * 11
_PERCENTS: Final = ("p50", "p90", "p99", "max")
_FAILURES: Final = (9, 11, 11, 21, 21)  # widths of columns


def as_text(report: dict[str, Any]) -> str:
    """Return the report as text, most urgent first."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: dict[str, Any]) -> Iterator[str]:
    whole, lines = report["span"], report["lines"]
    if whole["first"]:
        yield f"Mail from {whole['first']} to {whole['last']}, by the log's own clock"
    else:
        yield "No mail with a time"
    yield ", ".join(f"{counted(number)} lines {outcome}" for outcome, number in lines.items())
    yield from _accuracy(report["accuracy"])
    yield from period_notes(report)
    sign = "" if report["accuracy"]["mails_exact"] else "~"
    yield from _totals(report["totals"], (report["before"] or {}).get("totals") or {}, sign)
    yield from _incidents(report["incidents"])
    yield from _senders(report)
    yield from _hosts(report["hosts"])
    yield from _relays(report["relays"])
    yield from _failures(report["failures"], sign)
    yield from _steps(report)
    yield from _domains(report)
    yield from _others(report)


def _accuracy(accuracy: dict[str, Any]) -> Iterator[str]:
    if not accuracy["mails_exact"] or accuracy["recipient_addresses_exact"] is False:
        error = accuracy["mails_relative_error"]
        yield f"Numbers marked ~ are estimates from a sample of mails, with a standard error of about {error:.1%}."
    if accuracy["relays"] != "hosts":
        yield f"There are too many relays to name each; shown: {accuracy['relays']}. Relays in the settings keep their names."


def period_notes(report: dict[str, Any]) -> Iterator[str]:
    """Yield what was asked for, and where the log does not reach back."""
    period, before = report["period"], report["before"]
    if period is not None:
        yield f"Asked for: {' '.join(_ends(period))}"
        if not period["reaches_back"]:
            yield "The log may begin later: no earlier line was found in it."
    if before is not None:
        text = f"Before: {' '.join(_ends(before))}"
        yield text if before["totals"] else f"{text}; not compared, as the log has no earlier line"


def _ends(period: dict[str, Any]) -> Iterator[str]:
    for name in ("since", "until"):
        if period[name]:
            yield f"{name} {period[name]}"


def change(number: int, before: int) -> str:
    """Return the change of a number in per cent; "" without a former number."""
    return f"{(number - before) / before:+.0%}" if before else ""


def _totals(totals: dict[str, Any], before: dict[str, Any], sign: str) -> Iterator[str]:
    yield from ("", "Totals")
    for key, words in _TOTALS:
        number = counted(totals[key])
        was = f"before: {counted(before[key])}  {change(totals[key], before[key])}" if before else ""
        yield f"{sign + number if key == 'deferred_mails' else number:>12}  {words:22}{was}".rstrip()
    yield f"{sign + size(totals['bytes_received']):>12}  received"
    yield f"{sign + size(totals['bytes_delivered']):>12}  delivered"
    yield f"{counted(totals['sender_domains']):>12}  sender domains"
    yield f"{counted(totals['recipient_domains']) or 'too many':>12}  recipient domains"


def _incidents(incidents: list[dict[str, Any]]) -> Iterator[str]:
    if incidents:
        yield from ("", "Incidents, worst first (`postward why FILE` reads every line)")
    for row in incidents[:_MAX_ROWS]:
        where = f"relay {row['relay']}: " if row["relay"] else ""
        yield from _wrapped(f"{where}{row['title']}", f"  {row['effect'].upper():8} ")
        bounced = f", {counted(row['bounced'])} bounced" if row["bounced"] else ""
        cause_name = f", cause {row['cause']}" if row["cause"] else ""
        yield from _wrapped(
            f"{span(row['first'], row['last'])}, {plural(row['attempts'], 'time')}{bounced}{cause_name}"
        )
        for cause in row["causes"][:_MAX_CAUSES]:
            yield from _wrapped(f"{row['certainty']}: {cause['what']} (setting: {cause['setting']})")
            yield f"{_INDENT}→ {cause['remedy']}"
        if len(row["causes"]) > _MAX_CAUSES:
            yield f"{_INDENT}or one of {len(row['causes']) - _MAX_CAUSES} more: --json"
        if row["example"]:
            yield f"{_INDENT}{row['example']}"
    if len(incidents) > _MAX_ROWS:
        yield f"  and {len(incidents) - _MAX_ROWS} more: --json"


def _hosts(hosts: list[dict[str, Any]] | None) -> Iterator[str]:
    """Yield the hosts, if there are several."""
    if hosts is None:
        yield from ("", "Hosts", "  too many to count each")
    elif len(hosts) > 1:
        yield from ("", "Hosts")
        yield from _row(["host", *PER_HOST], 36, 11)
        for row in hosts:
            yield from _row([row["host"], *(counted(row[name]) for name in PER_HOST)], 36, 11)


def _relays(relays: list[dict[str, Any]]) -> Iterator[str]:
    yield from ("", "Relays; delays of sent and bounced mail")
    yield from _row(["relay", *STATUSES, *_PERCENTS], 32, 9)
    for row in relays[:_MAX_ROWS]:
        whole = row["delays"]["whole"] or {}
        numbers = [counted(row[status]) for status in STATUSES]
        yield from _row([row["relay"], *numbers, *(seconds(whole.get(name)) for name in _PERCENTS)], 32, 9)
        for stage, delays in row["delays"].items():
            if delays and stage != "whole":
                parts = [seconds(delays[name]) for name in _PERCENTS]
                yield from _row([f"  {stage.replace('_', ' ')}", "", "", "", *parts], 32, 9)


def _failures(failures: list[dict[str, Any]], sign: str) -> Iterator[str]:
    if failures:
        yield from ("", "Failures by relay and cause")
        yield from _row(["relay and cause", "status", "attempts", "mails", "first", "last"], 27, *_FAILURES)
    for row in failures[:_MAX_ROWS]:
        values = [
            row["status"],
            counted(row["attempts"]),
            sign + counted(row["mails"]),
            row["first"],
            row["last"],
        ]
        yield from _row(
            [f"{row['relay']} {row['cause']}", *(value or "?" for value in values)], 27, *_FAILURES
        )


def _steps(report: dict[str, Any]) -> Iterator[str]:
    steps = report["steps"]
    rows = (
        [(f"{row['hour']:02}:00", row) for row in report["hours_of_day"]]
        if len(steps) > 48 and report["hours_of_day"]
        else [(row["start"], row) for row in steps[-96:]]
    )
    yield from ("", "By hour of the day" if rows and len(rows[0][0]) == 5 else "By time")
    yield from _row(["", *PER_TIME], 20, 9)
    highest = max((row["sent"] for _, row in rows), default=0)
    for title, row in rows:
        bar = "▇" * (row["sent"] * _BAR // highest if highest else 0)
        (line,) = _row([title, *(counted(row[name]) for name in PER_TIME)], 20, 9)
        yield f"{line}  {bar}".rstrip()


def sender_title(row: dict[str, Any]) -> str:
    """Return who a row of senders is about, as in "uid 33 (www-data)"."""
    title = source_text(row["source"], lambda _: row["user"])
    return f"{title} on {row['host']}" if row["host"] else title


def _senders(report: dict[str, Any]) -> Iterator[str]:
    sign = "" if report["accuracy"]["mails_exact"] else "~"
    if report["senders"]:
        totals = report["totals"]
        network = totals["received_smtp"] - totals["received_login"]
        yield from ("", "Who sends: programs by the uid of their user, logins, and other clients")
        yield (
            f"{counted(totals['received_sendmail']):>12}  by sendmail(1), {counted(totals['received_login'])} by a login, "
            f"{counted(network)} by other clients"
        )
        yield from _row(["sender", *PER_SENDER], 36, 12)
        for row in report["senders"]:
            yield from _row([sender_title(row), *(sign + counted(row[name]) for name in PER_SENDER)], 36, 12)
    if report["sender_addresses"]:
        yield from ("", "Senders' addresses")
        yield from _row(["address", *PER_SENDER], 36, 12)
        for row in report["sender_addresses"]:
            yield from _row(
                [row["address"] or "<>", *(sign + counted(row[name]) for name in PER_SENDER)], 36, 12
            )
    if report["recipient_addresses"]:
        sign = "" if report["accuracy"]["recipient_addresses_exact"] else "~"
        yield from ("", "Recipients' addresses")
        yield from _row(["address", *PER_RECIPIENT], 36, 12)
        for row in report["recipient_addresses"]:
            yield from _row([row["address"], *(sign + counted(row[name]) for name in PER_RECIPIENT)], 36, 12)


def _domains(report: dict[str, Any]) -> Iterator[str]:
    yield from ("", "Recipients' domains")
    if report["recipient_domains"] is None:
        yield "  too many to count each"
    else:
        yield from _row(["domain", *STATUSES, "mean", "longest"], 36, 11)
    for row in report["recipient_domains"] or ():
        counts = [counted(row[name]) for name in STATUSES]
        delays = [seconds(row["mean_delay"]), seconds(row["max_delay"])]
        yield from _row([row["domain"], *counts, *delays], 36, 11)
    yield from ("", "Senders' domains")
    yield from _row(["domain", "mails", "bytes", "deferred", "bounced"], 36, 11)
    sign = "" if report["accuracy"]["mails_exact"] else "~"
    for row in report["sender_domains"]:
        numbers = [
            counted(row["mails"]),
            size(row["bytes"]),
            counted(row["deferred"]),
            counted(row["bounced"]),
        ]
        yield from _row([row["domain"], *(sign + number for number in numbers)], 36, 11)


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


def _row(values: Sequence[str], first: int, *widths: int) -> Iterator[str]:
    """Yield a row of a table: a title, and values on the right of their columns, whose last width repeats."""
    title, *others = values
    columns = [*widths, *[widths[-1]] * (len(others) - len(widths))]
    if len(title) > first:
        yield title
        title = ""
    row = "".join(f"{value:>{width}}" for value, width in zip(others, columns, strict=True))
    yield f"{title:{first}}{row}".rstrip()


def _wrapped(text: str, start: str = _INDENT) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
