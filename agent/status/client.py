"""Incidents of the host at hand, as the running agent knows them, joined with the facts of the host.

From the agent's endpoint, or, where that wants a login or does not answer, from what the agent last saved.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from postward.agent.checkpoint import CheckpointError, read_checkpoint
from postward.agent.incidents.catalog.symptom import Offer
from postward.agent.incidents.diagnosis import Diagnosis, diagnose, proofs_of, to_dict
from postward.agent.incidents.model import Incident, IncidentRow
from postward.agent.incidents.tracker import IncidentTracker
from postward.agent.metrics.labels import RelayNames
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.config.fields import split_address
from postward.config.lint import Finding, HostFacts
from postward.config.settings import Settings

_TIMEOUT = 3.0  # seconds
_STALE = 30.0  # seconds; the agent saves every five


class LiveError(Exception):
    """Neither the agent nor what it saved can be read; the text says why and what would be right."""


@dataclass(frozen=True, slots=True)
class AgentClient:
    """What is known of this host.

    Attributes:
        open: incidents that go on, worst first.
        closed: those that are over.
        facts: of the host.
        findings: what lint finds in them.
        relays: what the agent remembers of each relay's offers, by name.
        behind: why this may be out of date; "" if it is of now.
    """

    open: list[Incident]
    closed: list[Incident]
    facts: HostFacts
    findings: list[Finding]
    relays: Mapping[str, Any]
    behind: str = ""

    def shown(self, wanted: Callable[[Incident], bool], *, addresses: bool) -> list[IncidentRow]:
        """The incidents with their diagnoses. What is over is not judged by what the host is now."""
        signs = {incident.symptom for incident in self.open}
        rows = [
            to_dict(incident, self._diagnosed(incident, signs), addresses=addresses)
            for incident in self.open
            if wanted(incident)
        ]
        return rows + [
            to_dict(incident, diagnose(incident), addresses=addresses)
            for incident in self.closed
            if wanted(incident)
        ]

    def _diagnosed(self, incident: Incident, signs: Collection[str]) -> Diagnosis:
        offer = Offer.of(self.relays.get(incident.relay))
        return diagnose(incident, self.facts, self.findings, signs, offer)


def read_live(settings: Settings, settings_file: Path, *, addresses: bool = False) -> AgentClient:
    """Ask the agent, and look at the host.

    Args:
        settings: the settings.
        settings_file: where they stand.
        addresses: the lines' mail addresses are wanted, which the endpoint does not show.

    Raises:
        LiveError: nothing can be read.
    """
    behind, data = "", None if addresses else ask(settings, "/api/incidents")
    if data is None:
        behind, data = _saved(settings)
    incidents = IncidentTracker(RelayNames.of_settings(settings), lambda: datetime.now().astimezone())
    incidents.restore(data)
    facts = read_host_facts(
        Postfix(Path(settings.postfix.config_directory)), settings, settings_file.resolve()
    )
    findings = proofs_of(settings, facts, str(settings_file.resolve()))
    relays = data.get("relays", {})
    return AgentClient(incidents.open, incidents.closed, facts, findings, relays, behind)


def ask(settings: Settings, path: str) -> Mapping[str, Any] | None:
    """What the agent's endpoint says; None if it does not answer, or not without a login."""
    host, port = split_address(settings.web.listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what is listened to everywhere is asked here
    url = f"http://[{host}]:{port}{path}" if ":" in host else f"http://{host}:{port}{path}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT) as answer:
            data: Mapping[str, Any] = json.load(answer)
            return data
    except (OSError, ValueError, urllib.error.URLError):
        return None


def _saved(settings: Settings) -> tuple[str, Mapping[str, Any]]:
    path = Path(settings.state.directory) / "checkpoint.json"
    try:
        age = time.time() - path.stat().st_mtime
        checkpoint = read_checkpoint(path) if age is not None else None
    except FileNotFoundError:
        raise LiveError(
            f"the agent does not answer at {settings.web.listen} and has saved nothing in {path}; start it with "
            "`systemctl start postward`, or name logs to look at (`journal` is systemd's)"
        ) from None
    except OSError as error:
        raise LiveError(
            f"{path}: {error.strerror}; call this with sudo, or as a member of the group postward"
        ) from None
    except CheckpointError as error:
        raise LiveError(str(error)) from None
    parts = checkpoint.parts if checkpoint else {}
    behind = f"the agent does not run: this is what it knew {age:.0f} seconds ago" if age > _STALE else ""
    return behind, {**parts.get("incidents", {}), "relays": parts.get("relays", {})}
