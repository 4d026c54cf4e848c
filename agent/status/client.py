"""Incidents of this host from the running agent, joined with facts about the host.

The source is the agent's endpoint or, if that requires a login or does not answer, the agent's checkpoint.
"""

import json
import time
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from postward.agent.checkpoint import CheckpointError, read_checkpoint
from postward.agent.http_client import request
from postward.agent.incidents.catalog.symptom import Offer
from postward.agent.incidents.diagnosis import Diagnosis, diagnose, proofs_of, to_dict
from postward.agent.incidents.model import Incident, IncidentRow
from postward.agent.incidents.tracker import IncidentTracker
from postward.agent.metrics.labels import RelayNames
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.config.fields import split_address
from postward.config.lint import Finding, HostFacts
from postward.config.sections import Web
from postward.config.settings import Settings

_TIMEOUT = 3.0  # seconds
_MAX_ANSWER = 1 << 24  # bytes; incidents are bounded in number, and each in its lines
_MAX_AGE = 30.0  # seconds; the agent saves every five


class LiveError(Exception):
    """Neither the endpoint nor the checkpoint can be read; the text says why and how to fix it."""


@dataclass(frozen=True, slots=True)
class HostIncidents:
    """Incidents and facts of this host.

    Attributes:
        open: open incidents, worst first.
        closed: resolved incidents.
        facts: facts about the host.
        findings: findings of lint about these facts.
        relays: what each relay offered in its last session, by the relay's name.
        behind: why this may be out of date; "" if it is current.
    """

    open: list[Incident]
    closed: list[Incident]
    facts: HostFacts
    findings: list[Finding]
    relays: Mapping[str, Any]
    behind: str = ""

    def shown(self, wanted: Callable[[Incident], bool], *, addresses: bool) -> list[IncidentRow]:
        """Return the incidents with their diagnoses. Present facts do not weigh on resolved incidents."""
        symptoms = {incident.symptom for incident in self.open}
        rows = [
            to_dict(incident, self._diagnose(incident, symptoms), addresses=addresses)
            for incident in self.open
            if wanted(incident)
        ]
        return rows + [
            to_dict(incident, diagnose(incident), addresses=addresses)
            for incident in self.closed
            if wanted(incident)
        ]

    def _diagnose(self, incident: Incident, symptoms: Collection[str]) -> Diagnosis:
        offer = Offer.of(self.relays.get(incident.relay))
        return diagnose(incident, self.facts, self.findings, symptoms, offer)


def read_live(settings: Settings, settings_file: Path, *, addresses: bool = False) -> HostIncidents:
    """Ask the agent for its incidents, and read facts about the host.

    Args:
        settings: the settings.
        settings_file: their file.
        addresses: read the checkpoint, because the endpoint masks mail addresses.

    Raises:
        LiveError: neither endpoint nor checkpoint can be read.
    """
    behind, data = "", None if addresses else ask(settings.web.listen, "/api/incidents")
    if data is None:
        age, data = _read_checkpoint(settings)
        if age > _MAX_AGE or not (addresses or settings.web.config_file):
            behind = (
                f"the agent does not answer at {settings.web.listen}: this is its state of {age:.0f} seconds ago; "
                "`postward doctor` finds the cause"
            )
    incidents = IncidentTracker(RelayNames.of_settings(settings), lambda: datetime.now().astimezone())
    incidents.restore(data)
    facts = read_host_facts(
        Postfix(Path(settings.postfix.config_directory)), settings, settings_file.resolve()
    )
    findings = proofs_of(settings, facts, str(settings_file.resolve()))
    relays = data.get("relays", {})
    return HostIncidents(incidents.open, incidents.closed, facts, findings, relays, behind)


def listen_of(settings_file: Path) -> str:
    """Return where an agent may listen whose settings are bad now: web.listen if that is valid, else the default."""
    try:
        return Web.model_validate(tomllib.loads(settings_file.read_text(encoding="utf-8-sig"))["web"]).listen
    except (OSError, ValueError, KeyError):
        return Web().listen


def ask(listen: str, path: str) -> Mapping[str, Any] | None:
    """Return the JSON that the endpoint at `listen` answers; None without an answer, or if a login is required."""
    host, port = split_address(listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - an address to listen on, replaced by the local one
    url = f"http://[{host}]:{port}{path}" if ":" in host else f"http://{host}:{port}{path}"
    try:
        data: Mapping[str, Any] = json.loads(
            request(url, deadline=_TIMEOUT, max_bytes=_MAX_ANSWER, proxies=False).body
        )
    except (OSError, ValueError):
        return None
    return data


def _read_checkpoint(settings: Settings) -> tuple[float, Mapping[str, Any]]:
    """Return the age of the checkpoint in seconds, and the states of incidents and relays in it."""
    path = Path(settings.state.directory) / "checkpoint.json"
    try:
        age = time.time() - path.stat().st_mtime
        checkpoint = read_checkpoint(path)
    except FileNotFoundError:
        raise LiveError(
            f"the agent does not answer at {settings.web.listen} and has saved nothing in {path}; start it with "
            "`systemctl start postward`, or name log files (`journal` is the systemd journal)"
        ) from None
    except OSError as error:
        raise LiveError(
            f"{path}: {error.strerror}; run this with sudo, or as a member of the group postward"
        ) from None
    except CheckpointError as error:
        raise LiveError(str(error)) from None
    parts = checkpoint.parts if checkpoint else {}
    return age, {**parts.get("incidents", {}), "relays": parts.get("relays", {})}
