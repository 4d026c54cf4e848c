"""Locates the step at which a probe stopped, by a check of the relay, if the log does not show it.

Postfix logs a rejected greeting and a rejected EHLO alike ("refused to talk to me"), and logs a delivery that hangs
only at its own time-outs, minutes later. The check attempts no login.

Promise: nothing that a relay does raises an exception; a check takes a few seconds. If it shows nothing better, the
result stays as it was.
"""

from dataclasses import replace

from postward.agent.probe.result import ProbeResult
from postward.agent.relay.check import check_relay
from postward.agent.relay.endpoint import endpoint_of
from postward.config.settings import Settings

_TIMEOUT = 3.0  # seconds a step
# Outcome and step that the log leaves open → steps of the check that are more exact.
_MORE_EXACT = {
    ("failed", "greeting"): frozenset({"ehlo"}),
    ("late", "delivery"): frozenset({"dns", "connect", "greeting", "ehlo", "tls"}),
    ("lost", "delivery"): frozenset({"dns", "connect", "greeting", "ehlo", "tls"}),
}


def is_ambiguous(result: ProbeResult) -> bool:
    """Return True if a check of the relay can locate the step more exactly."""
    return not result.hop and (result.outcome, result.step) in _MORE_EXACT


async def locate_step(result: ProbeResult, settings: Settings) -> ProbeResult:
    """Fill in step and cause from a check of the relay if the log did not show them."""
    relay = next((relay for relay in settings.relay if relay.name == result.relay), None)
    if relay is None or not is_ambiguous(result):  # the settings may have lost the relay since
        return result
    check = await check_relay(replace(endpoint_of(relay, settings.host), timeout=_TIMEOUT))
    if check.step not in _MORE_EXACT[result.outcome, result.step]:
        return result
    return replace(result, step=check.step, cause=check.cause, detail=check.detail)
