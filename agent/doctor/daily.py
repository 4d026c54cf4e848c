"""A daily look at the senders' domains in DNS: what `postward doctor` would warn of, as a note among the incidents.

Promise: the agent does not wait for DNS. Without an answer, the result of the look before holds.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Final

from postward.agent.doctor.domains import Dns, DnsError, domain_findings
from postward.agent.parts import Part
from postward.config.lint.finding import Severity
from postward.config.settings import Settings

SYMPTOM: Final = "sender-records"
_FIRST: Final = (30.0, 300.0)  # seconds after the start, so that a fleet does not ask at once
_JITTER: Final = 0.1
_log = logging.getLogger("postward.domains")


class DomainLook(Part):
    """Looks up the senders' domains at an interval.

    Args:
        settings: the senders, and the interval.
        make_dns: returns the way to ask; raises DnsError.
        first_after: seconds until the first look.
    """

    def __init__(
        self, settings: Settings, make_dns: Callable[[], Dns] = Dns, first_after: float | None = None
    ) -> None:
        self._settings = settings
        self._make_dns = make_dns
        self._first_after = random.uniform(*_FIRST) if first_after is None else first_after  # noqa: S311 -- not a secret
        self._found: dict[str, str | None] = {}

    def conditions(self) -> Mapping[str, str | None]:
        """Return the warnings of the last look; nothing before the first one."""
        return self._found

    async def run(self) -> None:
        """Look until cancelled."""
        interval = self._settings.probe.domain_check_interval_seconds
        if not interval:
            return
        await asyncio.sleep(self._first_after)
        while True:
            try:
                self._found = {SYMPTOM: await asyncio.to_thread(self._look) or None}
            except DnsError as error:
                _log.debug("the senders' domains cannot be looked up: %s", error)
            await asyncio.sleep(interval * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 -- not a secret

    def _look(self) -> str:
        findings = domain_findings(self._settings, self._make_dns())
        return "; ".join(
            f"{finding.where} {finding.what}" for finding in findings if finding.severity is not Severity.NOTE
        )
