"""The state of the host for Nagios, Icinga and Checkmk: a state, one line of text, performance data. Pure.

Promise: the line is printable, has no character that either format reads as its own, and has no secret and no mail
address. The agent decides what is wrong, so the performance data have no thresholds.

Sources: the guidelines of the Monitoring Plugins project (states, performance data), the manual of Checkmk (local checks).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from postward.agent.incidents.render import EFFECT_TEXTS

OK, WARNING, CRITICAL, UNKNOWN = range(4)  # exit statuses
_NAMES: Final = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_STATES: Final[Mapping[str, int]] = {
    "lost": CRITICAL,
    "delayed": CRITICAL,
    "blind": UNKNOWN,
    "degraded": WARNING,
    "rejected": OK,
    "note": OK,
}
_WORST_LAST: Final = (OK, WARNING, UNKNOWN, CRITICAL)
_NOT_IN_LABEL: Final = re.compile(r"[^a-z0-9_-]")
_SERVICE: Final = "Postward"
_MAX_TEXT: Final = 600  # characters; NRPE 3 passes on 1024 bytes with the performance data
# `|` begins performance data, `\` an escape in Checkmk, `<` and `>` a tag in a web interface.
_OWN_CHARACTERS: Final = str.maketrans({"|": "/", "\\": "/", "<": "(", ">": ")"})


class Metric(NamedTuple):
    """A value of the performance data.

    Attributes:
        label: lowercase letters, digits, - and _.
        value: None if it is not known now.
        unit: s (seconds), B (bytes), or empty.
    """

    label: str
    value: float | None
    unit: str = ""


class Check(NamedTuple):
    """The result of a check."""

    state: int
    text: str
    metrics: tuple[Metric, ...] = ()


def check_of(status: Mapping[str, Any]) -> Check:
    """Return the result for the state of a host, in the form of `STATUS`: the worst of its instances."""
    others = status.get("instances", [])
    state = max((_STATES[each["effect"]] for each in (status, *others)), key=_WORST_LAST.index)
    text, values = status["summary"], [*_values(status)]
    if others:
        text = "; ".join(f"{each.get('instance')}: {each['summary']}" for each in (status, *others))
    for each in others:
        name = _NOT_IN_LABEL.sub("_", each["instance"].lower())
        values += [value._replace(label=f"{name}_{value.label}") for value in _values(each)]
    return Check(state, text, tuple(values))


def _values(status: Mapping[str, Any]) -> Iterator[Metric]:
    queue, now = status["queue"], status["now"]
    yield Metric("incidents", sum(row["closed"] is None for row in status["incidents"]))
    for name, number in queue["mails"].items():
        yield Metric(f"queue_{name}", number)
    yield Metric("oldest_mail", queue["oldest_seconds"], "s")
    yield Metric("log_unread", status["log"]["unread_bytes"], "B")
    for relay in status["relays"]:
        last, ends = relay["last_success"], relay["certificate_expires"]
        yield Metric(f"{relay['name']}_last_sent", None if last is None else max(0, now - last), "s")
        yield Metric(f"{relay['name']}_probe", relay["probe_accepted"])
        yield Metric(f"{relay['name']}_certificate", None if ends is None else max(0, ends - now), "s")


def unknown(reason: str) -> Check:
    """Return the result if the agent does not answer."""
    return Check(UNKNOWN, f"{EFFECT_TEXTS['blind'].verdict}: {reason}")


def as_plugin(check: Check) -> str:
    """Return the output of a plug-in of Nagios or Icinga, in one line."""
    known = [metric for metric in check.metrics if metric.value is not None]
    data = " ".join(f"'{label}'={_number(value)}{unit};;;0" for label, value, unit in known)
    line = f"{_SERVICE.upper()} {_NAMES[check.state]}: {_plain(check.text)}"
    return f"{line} | {data}" if data else line


def as_local_check(check: Check) -> str:
    """Return the line of a local check of Checkmk."""
    known = [metric for metric in check.metrics if metric.value is not None]
    data = "|".join(f"{label}={_number(value)}" for label, value, _ in known)
    return f'{check.state} "{_SERVICE}" {data or "-"} {_plain(check.text)}'


def _number(value: float | None) -> str:
    return f"{float(value or 0):.3f}".rstrip("0").rstrip(".")


def _plain(text: str) -> str:
    """Return a text in one line, without the characters of the formats."""
    return "".join(char if char.isprintable() else " " for char in text.translate(_OWN_CHARACTERS))[
        :_MAX_TEXT
    ]
