"""Locates the step at which a probe stopped if the log does not show it: by a check of the relay, or by the queue.

Postfix logs a rejected greeting and a rejected EHLO alike ("refused to talk to me"), and logs a delivery that hangs
only at its own time-outs, minutes later. The check attempts no login. A log that has stopped shows nothing of a probe
at all. Then the queue shows whether it waits for Postfix, waits for the relay, or has left.

Promise: nothing that a relay does raises an exception; a check takes a few seconds. If it shows nothing better, the
result stays as it was.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.probe.result import ProbeResult
from postward.agent.relay.check import check_relay
from postward.agent.relay.endpoint import endpoint_of
from postward.config.settings import Settings
from postward.parsers import classify
from postward.parsers.queue import QueueLines

_TIMEOUT = 3.0  # seconds a step
_MAX_AGE = 10  # seconds between submission and arrival, which is a whole second
_LOST = "it has left the queue, and the log does not show how: the log has stopped, or Postfix logs elsewhere"
# Outcome and step that the log leaves open → steps of the check that are more exact.
_MORE_EXACT = {
    ("failed", "greeting"): frozenset({"ehlo"}),
    ("late", "delivery"): frozenset({"dns", "connect", "greeting", "ehlo", "tls"}),
    ("lost", "delivery"): frozenset({"dns", "connect", "greeting", "ehlo", "tls"}),
}


def is_ambiguous(result: ProbeResult) -> bool:
    """Return True if a check of the relay or the queue can locate the step more exactly."""
    return not result.hop and ((result.outcome, result.step) in _MORE_EXACT or result.step == "pickup")


async def locate_step(result: ProbeResult, settings: Settings) -> ProbeResult:
    """Fill in step and cause from a check of the relay or the queue if the log did not show them."""
    if result.step == "pickup":
        postfix = Postfix(Path(settings.postfix.config_directory))
        with contextlib.suppress(PostfixError):
            return judged_by_queue(result, [mail async for mail in _mails_like(result, settings, postfix)])
        return result
    relay = next((relay for relay in settings.relays_with_server if relay.name == result.relay), None)
    if relay is None or not is_ambiguous(result):  # the settings may have lost the relay since
        return result
    check = await check_relay(replace(endpoint_of(relay, settings.host), timeout=_TIMEOUT))
    if check.step not in _MORE_EXACT[result.outcome, result.step]:
        return result
    return replace(result, step=check.step, cause=check.cause, detail=check.detail)


async def _mails_like(
    result: ProbeResult, settings: Settings, postfix: Postfix
) -> AsyncIterator[Mapping[str, Any]]:
    """Yield the mails of the queue with the probe's sender, recipient and time. Raises PostfixError."""
    lines = QueueLines()
    wanted = json.dumps(result.recipient).encode()
    async for chunk in postfix.list_queue():
        for line in lines.feed(chunk):
            with contextlib.suppress(ValueError):
                mail = json.loads(line) if wanted in line else {}
                age = mail.get("arrival_time", 0) - result.submitted
                if mail.get("sender") == result.sender and -_MAX_AGE < age < _MAX_AGE:
                    yield mail


def judged_by_queue(result: ProbeResult, mails: Sequence[Mapping[str, Any]]) -> ProbeResult:
    """Return the result of a probe that the log does not show, by the mails like it in the queue.

    Without one, it has left: Postfix sent it or returned it, which only the log would show.
    """
    if not mails:
        return replace(result, step="log", cause=None, detail=_LOST)
    mail = mails[0]
    if len(mails) > 1 or mail["queue_name"] == "maildrop":
        return result
    reason = next((str(row["delay_reason"]) for row in mail["recipients"] if "delay_reason" in row), "")
    waits = f"it waits in the {mail['queue_name']} queue; the log does not show it"
    return replace(
        result,
        step="delivery",
        cause=classify(reason) if reason else None,
        detail=f"{reason}; {waits}" if reason else waits,
    )
