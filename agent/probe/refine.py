"""Where the log cannot tell two steps apart, a conversation with the relay does.

Postfix words a refused greeting and a refused EHLO alike ("refused to talk to me"), and of a delivery that hangs it
says nothing until its own time-outs, minutes later. The conversation tries no login.

Promise: never raises for what a relay does, and takes seconds at most; what it cannot tell better stays as it was.
"""

from dataclasses import replace

from postward.agent.probe.result import ProbeResult
from postward.agent.relay.check import check_relay
from postward.agent.relay.target import target_of
from postward.config.settings import Settings

_DEADLINE = 3.0  # seconds a step
# Outcome and step that the log leaves open → steps of the conversation that say it better.
_BETTER = {
    ("failed", "greeting"): frozenset({"ehlo"}),
    ("late", "delivery"): frozenset({"dns", "connect", "greeting", "ehlo", "tls"}),
    ("lost", "delivery"): frozenset({"dns", "connect", "greeting", "ehlo", "tls"}),
}


def is_unclear(result: ProbeResult) -> bool:
    """True if a conversation may say more."""
    return (result.outcome, result.step) in _BETTER


async def refined(result: ProbeResult, settings: Settings) -> ProbeResult:
    """The result, with the step and cause that a conversation shows where the log shows none."""
    relay = next((relay for relay in settings.relay if relay.name == result.relay), None)
    if relay is None or not is_unclear(
        result
    ):  # the settings may have lost the relay since the probe was sent
        return result
    target = target_of(relay, settings.host.myhostname, settings.host.inet_protocols, None)
    check = await check_relay(replace(target, deadline=_DEADLINE))
    if check.step not in _BETTER[result.outcome, result.step]:
        return result
    return replace(result, step=check.step, cause=check.cause, words=check.words)
