"""The report as one HTML file: charts inside, no script, nothing is fetched when it is opened.

Whatever comes out of a log is escaped.
"""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any, Final

from postward.agent.report.charts import COLOURS, bar, legend, stacked_bars
from postward.agent.text import counted, seconds, size

_STYLE: Final = """
:root{color-scheme:light dark}body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .5rem;text-align:right;border-bottom:1px solid #8884}th:first-child,td:first-child{text-align:left}
svg{width:100%;height:auto}.ends{display:flex;justify-content:space-between;gap:.5rem;margin:0;font-size:.85rem}.axis{stroke:currentColor;stroke-width:.5}.bar{width:7rem;height:.5rem}
.key{margin-right:1rem}.key i{display:inline-block;width:.7rem;height:.7rem;margin-right:.3rem}.wide{overflow-x:auto}
.incident ul{margin:.4rem 0;padding-left:1.2rem;overflow-wrap:anywhere}
.incident{border-left:.3rem solid #f9a825;padding:.1rem .8rem;margin:.8rem 0}.lost{border-color:#c62828}.rejected,.note{border-color:#8888}
code{font-size:.85em;overflow-wrap:anywhere}.dim{opacity:.75}
"""
_TOTALS: Final = (
    "received", "delivered", "deferred_mails", "deferrals", "bounced", "expired", "forwarded", "notifications",
    "rejected", "held", "discarded",
)  # fmt: skip
_PERCENTS: Final = ("p50", "p90", "p99", "max")
_MAX_ROWS: Final = 100
_STACK: Final = ("sent", "deferred", "bounced")


def as_page(report: dict[str, Any]) -> str:
    """The whole file."""
    span = report["span"]
    title = f"Mail from {span['first'] or '?'} to {span['last'] or '?'}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><header><h1>{escape(title)}</h1></header><main>\n"
        + "\n".join(part for part in _parts(report) if part)
        + "\n</main><footer><p>postward report</p></footer></body></html>\n"
    )


def _parts(report: dict[str, Any]) -> Iterator[str]:
    accuracy = report["accuracy"]
    if not accuracy["mails_exact"]:
        yield f"<p>Numbers of mails, bytes and senders are estimates, ± {accuracy['mails_relative_error']:.1%}.</p>"
    yield _chart("Mail over time", [(row["start"], row) for row in report["steps"]])
    yield _table(["total", "number"], _totals(report["totals"]))
    yield "<h2>Incidents in hindsight, worst first</h2>" if report["incidents"] else ""
    yield from map(_incident, report["incidents"][:_MAX_ROWS])
    yield "<h2>Relays</h2>"
    yield _table(["relay", *_STACK, *_PERCENTS], _relays(report["relays"]))
    yield "<h2>Failures by relay and cause</h2>"
    yield _table(
        ["relay", "cause", "status", "attempts", "", "mails", "first", "last"], _failures(report["failures"])
    )
    if report["hours_of_day"]:
        yield _chart("By hour of the day", [(f"{row['hour']:02}:00", row) for row in report["hours_of_day"]])
    yield "<h2>Recipients’ domains</h2>"
    yield _table(["domain", *_STACK, "mean delay", "longest"], _recipients(report["recipient_domains"]))
    yield "<h2>Senders’ domains</h2>"
    yield _table(["domain", "mails", "bytes", "deferred", "bounced"], _senders(report["sender_domains"]))
    yield "<h2>Warnings and worse</h2>" if report["problems"] else ""
    yield _table(["daemon", "severity", "kind", "lines", "first", "last"], _problems(report["problems"]))


def _chart(title: str, rows: list[tuple[str, dict[str, Any]]]) -> str:
    if not rows:
        return ""
    labels = [label for label, _ in rows]
    chart = stacked_bars(title, labels, [(name, [row[name] for _, row in rows]) for name in _STACK])
    return f"<h2>{escape(title)}</h2>{legend(_STACK)}{chart}" if chart else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    if not body:
        return ""
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    return f'<div class="wide" tabindex="0"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def _totals(totals: dict[str, Any]) -> Iterator[Sequence[str]]:
    for name in _TOTALS:
        yield name.replace("_", " "), counted(totals[name])
    for name in ("bytes_received", "bytes_delivered"):
        yield name.replace("_", " "), size(totals[name])


def _incident(row: dict[str, Any]) -> str:
    causes = "".join(
        f"<li>{escape(cause['what'])} <span class=dim>(setting: {escape(cause['setting'])})</span>: {escape(cause['remedy'])}</li>"
        for cause in row["causes"]
    )
    where = f"{escape(row['relay'])}: " if row["relay"] else ""
    example = f"<code>{escape(row['example'])}</code>" if row["example"] else ""
    return (
        f'<article class="incident {escape(row["effect"])}"><strong>{escape(row["effect"])}</strong> {where}{escape(row["title"])}'
        f"<br>{escape(row['first'] or '?')} – {escape(row['last'] or '?')}, {counted(row['attempts'])} times,"
        f" {counted(row['bounced'])} bounced; {escape(row['certainty'])}<ul>{causes}</ul>{example}</article>"
    )


def _relays(relays: list[dict[str, Any]]) -> Iterator[Sequence[str]]:
    for row in relays[:_MAX_ROWS]:
        for stage, delays in row["delays"].items():
            values = [seconds(delays[name]) for name in _PERCENTS] if delays else ["–"] * len(_PERCENTS)
            if stage == "whole":
                yield escape(row["relay"]), *(counted(row[status]) for status in _STACK), *values
            elif delays:
                yield f"<span class=dim>&nbsp; {escape(stage.replace('_', ' '))}</span>", "", "", "", *values


def _failures(failures: list[dict[str, Any]]) -> Iterator[Sequence[str]]:
    highest = max((row["attempts"] for row in failures), default=0)
    for row in failures[:_MAX_ROWS]:
        words = [escape(row[name] or "?") for name in ("relay", "cause", "status", "first", "last")]
        shown = bar(row["attempts"], highest, COLOURS.get(row["status"], COLOURS["deferred"]))
        yield *words[:3], counted(row["attempts"]), shown, counted(row["mails"]), *words[3:]


def _recipients(rows: list[dict[str, Any]] | None) -> Iterator[Sequence[str]]:
    for row in rows or ():
        counts = [counted(row[status]) for status in _STACK]
        yield escape(row["domain"]), *counts, seconds(row["mean_delay"]), seconds(row["max_delay"])


def _senders(rows: list[dict[str, Any]]) -> Iterator[Sequence[str]]:
    for row in rows:
        numbers = [
            counted(row["mails"]),
            size(row["bytes"]),
            counted(row["deferred"]),
            counted(row["bounced"]),
        ]
        yield escape(row["domain"]), *numbers


def _problems(rows: list[dict[str, Any]]) -> Iterator[Sequence[str]]:
    for row in rows[:_MAX_ROWS]:
        words = [escape(row[name] or "?") for name in ("daemon", "severity", "kind", "first", "last")]
        yield *words[:3], counted(row["lines"]), *words[3:]
