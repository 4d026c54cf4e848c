"""A status with every part of the page: open, ambiguous and resolved incidents, drift, and a day of mail."""

from typing import Any

from postward.agent.senders.share import Share, share_row

NOW = 1_795_000_000.0
SHARE = Share("hour", NOW, "uid:33", "…@mx1.example.com", 4120, 4120, 4300, 4300)


def cause(number: int) -> dict[str, str]:
    """A possible cause."""
    return {
        "id": f"cause-{number}",
        "what": f"the password is wrong, or was changed at the provider ({number})",
        "setting": "relay.username, relay.password_file",
        "parameter": "smtp_sasl_password_maps",
        "remedy": "postward apply --config /etc/postward/postward.toml",
        "check": "log in to the provider's console" if number else "",
        "where": "main.cf:12" if number == 1 else "",
    }


def incident(effect: str, causes: int, *, closed: float | None = None) -> dict[str, Any]:
    """An incident with its diagnosis."""
    return {
        "symptom": "login-refused",
        "title": "the relay refuses this login",
        "effect": effect,
        "relay": "main",
        "place": "main",
        "host": "",
        "postfix_instance": "postfix",
        "daemon": "smtp",
        "cause": "auth_rejected",
        "first": NOW - 5000,
        "last": NOW - 60,
        "closed": closed,
        "closed_by": "mail was sent" if closed else "",
        "attempts": 17,
        "mails": 9,
        "lost": 0,
        "certainty": "likely" if causes == 1 else "ambiguous",
        "causes": [cause(n) for n in range(causes)],
        "sender": None if closed else share_row(SHARE, {"33": "www-data"}.get),
        "evidence": [
            "Nov 24 06:05:01 mx1 postfix/smtp[1]: 4A: to=<…@dest.test>, status=deferred (<script>x</script>)"
        ],
    }


def relay(name: str, state: str, **facts: Any) -> dict[str, Any]:
    """A relay in this state."""
    return {
        "server": "smtp.relay.test:587",
        "name": name,
        "state": state,
        "since": None,
        "last_success": None,
        "last_failure": None,
        "probe_accepted": None,
        "probe_arrived": None,
        "probe_in_spam": None,
        "probe_failed_checks": [],
        "probe_last_success": None,
        "token_expires": None,
        "secret_expires": None,
        "certificate_expires": None,
    } | facts


def senders(messages: int) -> dict[str, Any]:
    """The top senders of a window."""
    numbers = {"messages": messages, "recipients": 2 * messages, "deferred": 3, "bounced": 0}
    source = {"key": "uid:33", "partner": "…@mx1.example.com", "at_most": False}
    sender = {"key": "…@mx1.example.com", "partner": "uid:33", "at_most": True}
    return {
        **numbers,
        "sources": [numbers | source | {"text": "uid 33 (www-data)", "from": "…@mx1.example.com"}],
        "senders": [numbers | sender | {"text": "…@mx1.example.com", "from": "uid 33 (www-data)"}],
    }


def sample() -> dict[str, Any]:
    """A value such as `status_of` returns."""
    return {
        "host": "mx1.example.com",
        "version": "1.2.3",
        "now": NOW,
        "not_ready": "",
        "effect": "delayed",
        "verdict": "mail waits",
        "summary": "mail waits: the relay refuses this login (main)",
        "postfix_up": True,
        "relays": [
            relay("main", "failing", since=NOW - 5000, last_success=NOW - 6000, probe_accepted=False),
            relay("second", "quiet"),
        ],
        "queue": {
            "readable": True,
            "mails": {"active": 1, "deferred": 20},
            "causes": {"auth_rejected": 20},
            "oldest_seconds": 5000.0,
        },
        "config": {
            "in_sync": False,
            "drift": ["main.cf:relayhost", "sasl_passwd"],
            "enforcer_works": True,
            "checked": NOW - 20,
        },
        "log": {
            "readable": True,
            "test_line_arrives": True,
            "last_line": NOW - 2,
            "unread_bytes": 0.0,
            "lines": {"event": 900, "generic": 1, "unrecognised": 99, "foreign": 7},
        },
        "senders": {"hour": senders(40), "day": senders(900)},
        "incidents": [incident("delayed", 1), incident("lost", 3), incident("rejected", 1, closed=NOW - 900)],
        "day": {
            "step_seconds": 600,
            "until": NOW + 300,
            "sent": [number * 7 % 40 for number in range(144)],
            "deferred": [0] * 130 + [9] * 14,
            "bounced": [0] * 140 + [1, 2, 1, 0],
            "delay_bounds_seconds": [1, 10, 60, 600, 3600],
            "delays": [900, 1800, 33, 8, 4, 1],
            "causes": {"auth_rejected": 126, "timeout": 4},
        },
    }
