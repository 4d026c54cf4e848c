"""The status as a page: made here, in one piece, readable on a phone and by a screen reader.

Nothing is fetched from elsewhere, and whatever comes from a log is escaped. A few lines of script fetch the page anew every
few seconds; without script it is a page that can be reloaded.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import Any

from postward.agent.incidents.model import CauseRow
from postward.agent.incidents.render import EFFECT_TEXTS, Shown, times_and_mails
from postward.agent.status.model import Status

_COLOURS = {"sent": "#1a7f37", "deferred": "#b35900", "bounced": "#c62828"}
_STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}
body{margin:0;font:16px/1.5 system-ui,sans-serif;color:#1b1f24;background:#f4f5f7}
header,main,footer{max-width:60rem;margin:auto;padding:.75rem 1rem}
h1{font-size:1.3rem;margin:0}h2{font-size:1.1rem;margin:1.2rem 0 .5rem}h3{font-size:1rem;margin:0}
.verdict{font-size:1.25rem;font-weight:700;padding:.75rem 1rem;border-radius:.5rem;color:#fff;margin:.5rem 0}
.lost,.bad{background:#b3261e}.delayed{background:#8a4b00}.rejected{background:#5c5400}.note,.good{background:#1a6b32}
.card{background:#fff;border:1px solid #d0d5db;border-radius:.5rem;padding:.75rem 1rem;margin:.5rem 0;overflow-wrap:anywhere}
.tag{display:inline-block;color:#fff;border-radius:.25rem;padding:0 .4rem;font-size:.85rem;font-weight:700}
.over{background:#4a5560}dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .75rem;margin:.4rem 0}
dt{color:#4a5560}dd{margin:0}code,pre{font:.85rem/1.4 ui-monospace,monospace}
pre{background:#f4f5f7;padding:.5rem;border-radius:.25rem;white-space:pre-wrap;margin:.4rem 0}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #d0d5db}
th,td{overflow-wrap:normal;vertical-align:top}th small{display:block;font-weight:400;font-size:.8rem;overflow-wrap:anywhere}
dl+dl{border-top:1px solid #d0d5db;padding-top:.4rem}
.ends{display:flex;justify-content:space-between;gap:.5rem;margin:0;color:#4a5560;overflow-wrap:normal}
.scroll{overflow-x:auto}svg{width:100%;height:auto;display:block}a{color:#0b57d0}
@media(max-width:30rem){dl{grid-template-columns:1fr}dt{font-weight:700}th,td{font-size:.85rem;padding-right:.4rem}}
"""
_SCRIPT = (
    "setInterval(async()=>{try{const r=await fetch(location.href,{cache:'no-store'});if(!r.ok)return;"
    "const d=new DOMParser().parseFromString(await r.text(),'text/html');"
    "const n=d.querySelector('main'),o=document.querySelector('main');"
    "if(n&&n.innerHTML!==o.innerHTML&&!o.querySelector('details[open]'))o.replaceWith(n)}catch(e){}},3000)"
)
_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
# Nothing but this page's own style and script, and nothing but this host.
POLICY = (
    f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_HASH}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(status: Status) -> str:
    """The page, whole."""
    host = escape(status["host"])
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{host}: {escape(status["verdict"])}</title><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body>"
        f"<header><h1>Outgoing mail of {host}</h1></header>"
        f"<main>{_main(status)}</main>"
        f'<footer><p>Postward {escape(status["version"])} · <a href="/metrics">metrics</a> · '
        '<a href="/api/status">this as JSON</a></p></footer>'
        f"<script>{_SCRIPT}</script></body></html>"
    )


def _main(status: Status) -> str:
    going_on = [row for row in status["incidents"] if row["closed"] is None]
    over = [row for row in status["incidents"] if row["closed"] is not None][:5]
    return "".join(
        [
            f'<p class="verdict {status["effect"]}" role="status">{escape(_capital(status["verdict"]))}</p>',
            f"<p>Still catching up with the log: {escape(status['not_ready'])}</p>"
            if status["not_ready"]
            else "",
            _section(
                "incidents",
                "What is wrong",
                _incidents(going_on) or '<p class="card">Nothing that is known.</p>',
            ),
            _section("relays", "Relays", _relays(status)),
            _section("day", "The last 24 hours", _charts(status["day"])),
            _section("host", "This host", _host(status)),
            _section("over", "What is over", _incidents(over)) if over else "",
        ]
    )


def _section(name: str, title: str, content: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{content}</section>'


# Incidents


def _incidents(rows: Iterable[Shown]) -> str:
    return "".join(_incident(row) for row in rows)


def _incident(row: Shown) -> str:
    over = row["closed"] is not None
    heading = "Over" if over else _capital(EFFECT_TEXTS[row["effect"]].heading)
    tag = f'<span class="tag {"over" if over else row["effect"]}">{heading}</span>'
    counts = times_and_mails(row)
    facts = [
        ("Where", escape(row["place"])),
        ("Since", _time(row["first"])),
        ("Seen", f"{counts}, last {_time(row['last'])}"),
    ]
    if over:
        facts.append(("Over", f"{_time(row['closed'])}: {escape(row['closed_by'])}"))
    several = len(row["causes"]) > 1
    causes = "".join(
        _cause(cause, row["certainty"], number if several else 0)
        for number, cause in enumerate(row["causes"], 1)
    )
    head = "<p>This can have several causes, and nothing here tells which:</p>" if several else ""
    lines = "\n".join(escape(line) for line in row["evidence"])
    proof = (
        f"<details><summary>The lines that prove it</summary><pre>{lines}</pre></details>" if lines else ""
    )
    return f'<article class="card">{tag}<h3>{escape(_capital(row["title"]))}</h3>{_list(facts)}{head}{causes}{proof}</article>'


def _cause(cause: CauseRow, certainty: str, number: int) -> str:
    facts = [
        (
            "Cause" if not number else f"Cause {number}",
            escape(cause["what"]) + ("" if number else f" ({certainty})"),
        )
    ]
    facts.append(
        (
            "Setting",
            f"<code>{escape(cause['setting'])}</code> (Postfix: <code>{escape(cause['parameter'])}</code>)",
        )
    )
    if cause["where"]:
        facts.append(("Found", escape(cause["where"])))
    facts.append(("Mend", f"<code>{escape(cause['remedy'])}</code>"))
    if cause["check"]:
        facts.append(("Look at", escape(cause["check"])))
    return _list(facts)


def _list(facts: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts) + "</dl>"


# Relays and host


def _relays(status: Status) -> str:
    rows = "".join(_relay(relay) for relay in status["relays"])
    return (
        '<div class="scroll card" tabindex="0" role="region" aria-label="Table of relays"><table><thead><tr>'
        '<th scope="col">Relay</th><th scope="col">Mail</th><th scope="col">Since</th>'
        '<th scope="col">Last sent</th><th scope="col">Probe</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _relay(relay: dict[str, Any]) -> str:
    probe = {None: "none yet", True: "accepted", False: "not accepted"}[relay["probe_accepted"]]
    cells = (
        relay["state"], _time(relay["since"]), _time(relay["last_success"]), probe,
    )  # fmt: skip
    name = f"{escape(relay['name'])} <small>{escape(relay['host'])}:{relay['port']}</small>"
    return f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _host(status: Status) -> str:
    queue, config, log = status["queue"], status["config"], status["log"]
    mails = ", ".join(f"{name} {number}" for name, number in queue["mails"].items() if number) or (
        "empty" if queue["mails"] else "not listed yet"
    )
    oldest = queue["oldest_seconds"]
    drift = ", ".join(config["drift"])
    words = {None: "not kept here", True: "as the settings say", False: f"differs: {drift}"}
    facts = [
        ("Postfix", {None: "unknown", True: "runs", False: "does not run"}[status["postfix_up"]]),
        ("Queue", escape(mails) + (f", oldest {oldest:.0f} s" if oldest else "")),
        (
            "Waiting for",
            escape(", ".join(f"{cause} {number}" for cause, number in queue["causes"].items())) or "nothing",
        ),
        ("Configuration", escape(words[config["in_sync"]])),
        (
            "Mail log",
            ("is read" if log["readable"] else "cannot be read") + f", last line {_time(log['last_line'])}",
        ),
    ]
    return f'<div class="card">{_list(facts)}</div>'


# Charts


def _charts(day: dict[str, Any]) -> str:
    totals = {name: sum(day[name]) for name in _COLOURS}
    words = ", ".join(f"{number} {name}" for name, number in totals.items())
    bounds = [f"up to {_span(bound)}" for bound in day["delay_bounds_seconds"]]
    delays = list(
        zip([*bounds, f"over {_span(day['delay_bounds_seconds'][-1])}"], day["delays"], strict=True)
    )
    causes = list(day["causes"].items())[:6]
    return (
        f'<figure class="card"><figcaption>Attempts: {words}</figcaption>{_columns(day, words)}{_legend()}</figure>'
        f'<figure class="card"><figcaption>Delay of what was sent</figcaption>{_bars(delays, "#0b57d0")}</figure>'
        + (
            f'<figure class="card"><figcaption>Causes of failed attempts</figcaption>{_bars(causes, "#b35900")}</figure>'
            if causes
            else ""
        )
    )


def _columns(day: dict[str, Any], words: str) -> str:
    """Attempts over the day, stacked, ten minutes a column."""
    columns = list(zip(*(day[name] for name in _COLOURS), strict=True))
    top = max((sum(column) for column in columns), default=0) or 1
    shapes = []
    for x, column in enumerate(columns):
        y = 60.0
        for colour, number in zip(_COLOURS.values(), column, strict=True):
            if number:
                height = max(60.0 * number / top, 1.0)
                y = max(y - height, 0.0)
                shapes.append(
                    f'<rect x="{x * 2}" y="{y:.1f}" width="1.8" height="{height:.1f}" fill="{colour}"/>'
                )
    return (
        f'<svg viewBox="0 0 288 62" role="img" aria-label="Attempts in pieces of ten minutes over the last 24 hours: {words}; '
        f'at most {top} in one piece"><path d="M0 61h288" stroke="#4a5560"/>{"".join(shapes)}</svg>'
        f'<p class="ends"><span>24 h ago</span><span>highest: {top} in 10 min</span><span>now</span></p>'
    )


def _legend() -> str:
    return "<p>" + " ".join(
        f'<span aria-hidden="true" style="color:{colour}">■</span> {name}' for name, colour in _COLOURS.items()
    ) + "</p>"  # fmt: skip


def _bars(rows: Sequence[tuple[str, int]], colour: str) -> str:
    """Lying bars, each with its name and number: the text is the chart's own alternative."""
    top = max((number for _, number in rows), default=0) or 1
    cells = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{number}</td><td style="width:50%"><svg viewBox="0 0 100 8" '
        f'preserveAspectRatio="none" style="height:.6rem" aria-hidden="true"><rect width="{100 * number / top:.1f}" height="8" '
        f'fill="{colour}"/></svg></td></tr>'
        for name, number in rows
    )
    return f"<table><tbody>{cells}</tbody></table>"


# Words


def _time(seconds: float | None) -> str:
    if not seconds:
        return "–"
    moment = datetime.fromtimestamp(seconds).astimezone()
    words = (
        f"{moment:%H:%M:%S}"
        if moment.date() == datetime.now().astimezone().date()
        else f"{moment:%d %b %H:%M}"
    )
    return f'<time datetime="{moment.isoformat(timespec="seconds")}">{words}</time>'


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 60
        else f"{seconds / 60:.0f} min"
        if seconds < 3600
        else f"{seconds / 3600:.0f} h"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
