"""How the host is, as one value: what /api/status answers, what the status page and `postward status` show. Pure.

Nothing in it is secret, and mail addresses are masked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from postward.agent.incidents.history import BUCKET, DELAYS, STATUSES, Bucket
from postward.agent.incidents.render import EFFECT_TEXTS, Shown, worst_effect
from postward.agent.metrics.tally import Gauges
from postward.config.settings import Settings

Status = dict[str, Any]


def status_of(
    settings: Settings,
    gauges: Gauges,
    times: Gauges,
    incidents: Sequence[Shown],
    day: Sequence[Bucket],
    *,
    now: float,
    not_ready: str | None,
    version: str,
) -> Status:
    """The host.

    Args:
        settings: its relays and name.
        gauges: what is true at the moment.
        times: when things last happened.
        incidents: with their diagnoses, those that go on first.
        day: the last day's pieces, oldest first.
        now: seconds since the epoch.
        not_ready: why the agent has not caught up with the log yet.
        version: of Postward.
    """
    worst = worst_effect(incidents)
    return {
        "host": settings.host.myhostname,
        "version": version,
        "now": now,
        "not_ready": not_ready,
        "effect": worst,
        "verdict": EFFECT_TEXTS[worst].verdict,
        "postfix_up": _flag(gauges, "postfix_up"),
        "relays": [
            _relay(relay.name, relay.host, relay.port, gauges, times, incidents) for relay in settings.relay
        ],
        "queue": _queue(gauges),
        "config": {
            "in_sync": _flag(gauges, "postward_config_in_sync"),
            "drift": [labels[0] for labels in gauges.get("postward_config_drift", {})],
        },
        "log": {
            "readable": _flag(gauges, "postward_log_readable"),
            "last_line": times.get("postward_log_last_line_timestamp_seconds", {}).get(()),
            "unread_bytes": gauges.get("postward_log_unread_bytes", {}).get((), 0.0),
        },
        "incidents": list(incidents),
        "day": _day(day, now),
    }


def _flag(gauges: Gauges, name: str) -> bool | None:
    value = gauges.get(name, {}).get(())
    return None if value is None else bool(value)


def _relay(
    name: str, host: str, port: int, gauges: Gauges, times: Gauges, incidents: Sequence[Shown]
) -> dict[str, Any]:
    concerned = [row for row in incidents if row["relay"] == name and row["effect"] in {"lost", "delayed"}]
    going_on = [row for row in concerned if row["closed"] is None]
    ended = [row["closed"] for row in concerned if row["closed"] is not None]
    success = times.get("postfix_delivery_last_success_timestamp_seconds", {}).get((name,))
    if going_on:
        state, since = "failing", min(row["first"] for row in going_on)
    elif success is None:
        state, since = "quiet", None
    else:
        state, since = "going out", max(ended, default=None)
    return {
        "name": name,
        "host": host,
        "port": port,
        "state": state,
        "since": since,
        "last_success": success,
        "last_failure": times.get("postfix_delivery_last_failure_timestamp_seconds", {}).get((name,)),
        "probe_accepted": _of(gauges, "postward_probe_success", name),
        "probe_last_success": times.get("postward_probe_last_success_timestamp_seconds", {}).get((name,)),
        "certificate_expires": gauges.get("postward_relay_certificate_expiry_timestamp_seconds", {}).get(
            (name,)
        ),
    }


def _of(gauges: Gauges, metric: str, relay: str) -> bool | None:
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


def _day(pieces: Sequence[Bucket], now: float) -> dict[str, Any]:
    causes: dict[str, int] = {}
    for piece in pieces:
        for cause, number in piece.causes.items():
            causes[cause] = causes.get(cause, 0) + number
    delays = [sum(piece.delays[index] for piece in pieces) for index in range(len(DELAYS) + 1)]
    return {
        "piece_seconds": BUCKET,
        "until": (int(now) // BUCKET + 1) * BUCKET,
        **{name: [piece.status[name] for piece in pieces] for name in STATUSES},
        "delay_bounds_seconds": list(DELAYS),
        "delays": delays,
        "causes": dict(sorted(causes.items(), key=lambda item: -item[1])),
    }
