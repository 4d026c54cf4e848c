"""The state of the host as one value, for /api/status, the status page and `postward status`. Pure.

It contains no secret, and mail addresses are masked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from postward.agent.incidents.history import BUCKET, DELAYS, Bucket
from postward.agent.incidents.model import IncidentRow
from postward.agent.incidents.render import EFFECT_TEXTS, MAIL_STOPS, summary, worst_effect
from postward.agent.metrics.labels import STATUSES
from postward.agent.parts import Gauges
from postward.agent.stored import MAX_MOMENT, Form
from postward.agent.text import plural
from postward.config.relay import Relay
from postward.config.settings import Settings
from postward.parsers import OUTCOMES

Status = dict[str, Any]
_SENDERS_SHOWN = 3
_Moment = Annotated[float, Field(ge=0, le=MAX_MOMENT)]


class _RelayForm(TypedDict):
    name: str
    server: str
    state: Literal["failing", "unknown", "quiet", "going out"]
    since: _Moment | None
    last_success: _Moment | None
    probe_accepted: bool | None
    probe_last_success: _Moment | None
    probe_arrived: bool | None
    probe_in_spam: bool | None
    probe_failed_checks: list[str]
    token_expires: _Moment | None
    secret_expires: _Moment | None
    certificate_expires: _Moment | None


class _QueueForm(TypedDict):
    readable: bool | None
    mails: dict[str, int]
    causes: dict[str, int]
    oldest_seconds: float | None


class _ConfigForm(TypedDict):
    in_sync: bool | None
    drift: list[str]
    enforcer_works: bool | None
    checked: _Moment | None


class _LinesForm(TypedDict):
    event: int
    generic: int
    unrecognised: int
    foreign: int


class _LogForm(TypedDict):
    readable: bool | None
    test_line_arrives: bool | None
    last_line: _Moment | None
    unread_bytes: float
    lines: _LinesForm


class _IncidentForm(TypedDict):
    closed: _Moment | None


class _InstanceForm(TypedDict):
    """The part of an answer that commands use, for one instance of Postfix."""

    host: str
    now: _Moment
    not_ready: str | None
    effect: Literal["lost", "delayed", "blind", "degraded", "rejected", "note"]
    verdict: str
    summary: str
    postfix_up: bool | None
    relays: list[_RelayForm]
    queue: _QueueForm
    config: _ConfigForm
    log: _LogForm
    incidents: list[_IncidentForm]


class _OtherForm(_InstanceForm):
    instance: str


class _HostForm(TypedDict):
    """The part of an answer that commands use, for another host whose lines the log has."""

    host: str
    effect: Literal["lost", "delayed", "blind", "degraded", "rejected", "note"]
    summary: str
    last_line: _Moment | None


class _StatusForm(_InstanceForm):
    """The part of an answer that commands use."""

    instance: NotRequired[str]
    instances: NotRequired[list[_OtherForm]]
    hosts: NotRequired[list[_HostForm]]


STATUS: Form[_StatusForm] = Form(_StatusForm)


@dataclass(frozen=True, slots=True)
class Observed:
    """Observations of the agent.

    Attributes:
        gauges: values true at the moment.
        times: when things last happened.
        incidents: incidents with their diagnoses, open ones first.
        day: the buckets of the last 24 hours, oldest first.
        lines: number of log lines by outcome, see `parsers.OUTCOMES`.
        not_ready: why the agent has not caught up with the log; None once it has.
        senders: the top senders of the last hour and day (`senders/part.py`).
    """

    gauges: Gauges
    times: Gauges
    incidents: Sequence[IncidentRow]
    day: Sequence[Bucket]
    lines: Mapping[tuple[str, ...], float]
    not_ready: str | None
    senders: Mapping[str, Any] = field(default_factory=dict)


def status_of(settings: Settings, observed: Observed, now: float, version: str) -> Status:
    """Return the state of the host.

    Args:
        settings: its name and relays.
        observed: observations of the agent.
        now: seconds since 1970.
        version: version of Postward.
    """
    gauges, times, incidents = observed.gauges, observed.times, observed.incidents
    worst = worst_effect(incidents)
    if observed.not_ready and worst not in MAIL_STOPS:
        worst = "blind"
    return {
        "host": settings.host.myhostname,
        "version": version,
        "now": now,
        "not_ready": observed.not_ready,
        "effect": worst,
        "verdict": EFFECT_TEXTS[worst].verdict,
        "summary": summary(worst, incidents, observed.not_ready),
        "postfix_up": _flag(gauges, "postfix_up"),
        "relays": [_relay(relay, observed, worst) for relay in settings.relay],
        "queue": _queue(gauges),
        "config": config_of(gauges),
        "log": {
            "readable": _flag(gauges, "postward_log_readable"),
            "test_line_arrives": _flag(gauges, "postward_log_test_line_success"),
            "last_line": times.get("postward_log_last_line_timestamp_seconds", {}).get(()),
            "unread_bytes": gauges.get("postward_log_unread_bytes", {}).get((), 0.0),
            "lines": {outcome: int(observed.lines.get((outcome,), 0)) for outcome in OUTCOMES},
        },
        "incidents": list(incidents),
        "day": _day(observed.day, now),
        "senders": dict(observed.senders),
    }


def config_of(gauges: Gauges) -> dict[str, Any]:
    """Return what the enforcer's state says of Postfix's configuration."""
    return {
        "in_sync": _flag(gauges, "postward_config_in_sync"),
        "drift": [labels[0] for labels in gauges.get("postward_config_drift", {})],
        "enforcer_works": _flag(gauges, "postward_enforcer_up"),
        "checked": gauges.get("postward_config_check_timestamp_seconds", {}).get(()),
    }


def _flag(gauges: Gauges, name: str) -> bool | None:
    value = gauges.get(name, {}).get(())
    return None if value is None else bool(value)


def _relay(relay: Relay, observed: Observed, worst: str) -> dict[str, Any]:
    name, gauges, times = relay.name, observed.gauges, observed.times
    concerned = [row for row in observed.incidents if row["relay"] == name and row["effect"] in MAIL_STOPS]
    open_ = [row for row in concerned if row["closed"] is None]
    ended = [row["closed"] for row in concerned if row["closed"] is not None]
    success = times.get("postfix_delivery_last_success_timestamp_seconds", {}).get((name,))
    if open_:
        state, since = "failing", min(row["first"] for row in open_)
    elif worst == "blind":
        state, since = "unknown", None
    elif success is None or _has_stopped(observed.incidents, success):
        state, since = "quiet", None
    else:
        state, since = "going out", max(ended, default=None)
    return {
        "name": name,
        "server": relay.server,
        "state": state,
        "since": since,
        "last_success": success,
        "last_failure": times.get("postfix_delivery_last_failure_timestamp_seconds", {}).get((name,)),
        "probe_accepted": _relay_flag(gauges, "postward_probe_success", name),
        "probe_last_success": times.get("postward_probe_last_success_timestamp_seconds", {}).get((name,)),
        "probe_arrived": _relay_flag(gauges, "postward_probe_arrived", name),
        "probe_returned": _relay_flag(gauges, "postward_probe_returned", name),
        "probe_in_spam": _relay_flag(gauges, "postward_probe_in_spam", name),
        "probe_failed_checks": [
            method
            for (relay_name, method), passed in gauges.get("postward_probe_authenticated", {}).items()
            if relay_name == name and not passed
        ],
        "token_expires": gauges.get("postward_token_expiry_timestamp_seconds", {}).get((name,)),
        "secret_expires": gauges.get("postward_token_credential_expiry_timestamp_seconds", {}).get((name,)),
        "limits": [
            {
                "window": window,
                "ratio": ratio,
                "used_up_at": gauges.get("postward_relay_limit_used_up_timestamp_seconds", {}).get(
                    (name, window)
                ),
            }
            for (of, window), ratio in gauges.get("postward_relay_limit_ratio", {}).items()
            if of == name
        ],
        "certificate_expires": gauges.get("postward_relay_certificate_expiry_timestamp_seconds", {}).get(
            (name,)
        ),
    }


def probe_words(relay: Mapping[str, Any]) -> str:
    """Return the state of a relay's newest probe in a few words, without its time."""
    if relay.get("probe_returned"):  # an agent of an earlier release says nothing of it
        return "accepted, and returned"
    if relay["probe_arrived"] is False:
        return "accepted, and did not arrive as it should"
    if not relay["probe_accepted"]:
        return "none yet" if relay["probe_accepted"] is None else "not accepted"
    words = "arrived" if relay["probe_arrived"] else "accepted"
    place = " in spam" if relay["probe_in_spam"] else ""
    return words + place + "".join(f", {check.upper()} fails" for check in relay["probe_failed_checks"])


def _has_stopped(incidents: Sequence[IncidentRow], success: float) -> bool:
    """Return whether mail waits on this host or for another next hop, and none left through the relay since."""
    return any(
        row["closed"] is None
        and row["relay"] in {"none", "other"}
        and row["effect"] in MAIL_STOPS
        and row["last"] > success
        for row in incidents
    )


def _relay_flag(gauges: Gauges, metric: str, relay: str) -> bool | None:
    value = gauges.get(metric, {}).get((relay,))
    return None if value is None else bool(value)


def _queue(gauges: Gauges) -> dict[str, Any]:
    mails: dict[str, int] = {}
    causes: dict[str, int] = {}
    for (queue, cause), number in gauges.get("postfix_queue_messages", {}).items():
        mails[queue] = mails.get(queue, 0) + int(number)
        if number and queue == "deferred":
            causes[cause] = causes.get(cause, 0) + int(number)
    ages: Mapping[tuple[str, ...], float] = gauges.get("postfix_queue_oldest_age_seconds", {})
    return {
        "readable": _flag(gauges, "postward_queue_readable"),
        "mails": mails,
        "causes": causes,
        "oldest_seconds": max(ages.values(), default=None),
    }


def limits_text(relay: Mapping[str, Any], show: Callable[[float], str]) -> str:
    """Return the used part of a relay's limits, as text; "" if none is known.

    Args:
        relay: a relay of the status. An agent of an earlier release says nothing of limits.
        show: returns a moment as text.
    """
    parts = []
    for row in relay.get("limits", ()):
        end = f", used up {show(row['used_up_at'])} at this rate" if row["used_up_at"] else ""
        parts.append(f"{row['ratio']:.0%} of the limit of the {row['window']}{end}")
    return "; ".join(parts)


def senders_text(senders: Mapping[str, Any], window: str) -> str:
    """Return the top sources of a window as text; "" without mail. An agent of an earlier release says nothing of them."""
    known = senders.get(window)
    if not known or not known["messages"]:
        return ""
    rows = [
        f"{row['text']} {'at most ' if row['at_most'] else ''}{row['messages']:,}"
        for row in known["sources"][:_SENDERS_SHOWN]
    ]
    return f"{plural(known['messages'], 'message')} to {plural(known['recipients'], 'recipient')}: {', '.join(rows)}"


def queue_text(queue: Mapping[str, Any]) -> str:
    """Return the number of mails in each queue, as text."""
    if queue["readable"] is False:
        return "cannot be listed"
    numbers = [f"{number} {name}" for name, number in queue["mails"].items() if number]
    return ", ".join(numbers) or ("empty" if queue["mails"] else "not listed yet")


def _day(buckets: Sequence[Bucket], now: float) -> dict[str, Any]:
    causes: dict[str, int] = {}
    for bucket in buckets:
        for cause, number in bucket.causes.items():
            causes[cause] = causes.get(cause, 0) + number
    delays = [sum(bucket.delays[index] for bucket in buckets) for index in range(len(DELAYS) + 1)]
    return {
        "step_seconds": BUCKET,
        "until": (int(now) // BUCKET + 1) * BUCKET,
        **{name: [bucket.status[name] for bucket in buckets] for name in STATUSES},
        "delay_bounds_seconds": list(DELAYS),
        "delays": delays,
        "causes": dict(sorted(causes.items(), key=lambda item: -item[1])),
    }
