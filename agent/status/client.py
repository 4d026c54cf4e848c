"""Incidents of this host from the running agent, joined with facts about the host.

The source is the agent's Unix socket in its state directory, which its user alone can make. A user who may not connect
asks its endpoint, on whose port any user could listen while the agent is stopped; root does not. Without an answer,
the agent's checkpoint is read.

Promise: an answer is bounded and printable, and has the form that is expected. Remedies come from this program alone.
"""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from postward.agent.checkpoint import CheckpointError, read_checkpoint
from postward.agent.enforce.enforcer import LOOK_ERRORS, Enforcer
from postward.agent.enforce.state import enforcement_as_shown, is_in_sync, known_drift
from postward.agent.http_client import HttpError, Local, request
from postward.agent.incidents.catalog.symptom import Offer
from postward.agent.incidents.diagnosis import (
    Diagnosis,
    condition_row,
    diagnose,
    drift_first,
    proofs_of,
    to_dict,
    visible_drift,
)
from postward.agent.incidents.model import Incident, IncidentRow
from postward.agent.incidents.tracker import IncidentTracker
from postward.agent.metrics.labels import RelayNames
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.agent.senders.part import user_of
from postward.agent.status.model import STATUS
from postward.agent.stored import parse_json, printable_values
from postward.agent.text import clock_time
from postward.config.errors import SettingsError
from postward.config.fields import split_address
from postward.config.lint import Finding, HostFacts
from postward.config.sections import State, Web, with_own_directories
from postward.config.settings import Settings, load_settings, read_valid

_NOT_FOUND = 404
_TIMEOUT = 10.0  # seconds; the agent tests a silent log before it answers
_CHECK_TIMEOUT = 8.0  # seconds; Nagios and NRPE end a plug-in after 10
_REFUSED = os.strerror(errno.ECONNREFUSED)
_MAX_ANSWER = 1 << 24  # bytes; incidents are bounded in number, and each in its lines
_MAX_AGE = 30.0  # seconds; the agent saves every five


class LiveError(Exception):
    """Neither the endpoint nor the checkpoint can be read; the text says why and how to fix it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an agent answers.

    Attributes:
        socket: the path of its Unix socket.
        listen: host and port of its endpoint, as `web.listen`.
        instance: the directory of main.cf of the instance that it is asked for; "" for that of its main settings file.
    """

    socket: Path
    listen: str
    instance: str = ""

    @classmethod
    def of_settings(cls, settings: Settings) -> Self:
        """Return the address of the agent with these settings."""
        return cls(local_socket(settings), settings.web.listen, settings.postfix.config_directory)

    @classmethod
    def of_bad_file(cls, settings_file: Path) -> Self:
        """Return where an agent may answer whose settings are bad now: valid tables of the file, else the defaults."""
        state, web = State(), Web()
        raw = with_own_directories(read_valid(settings_file))
        with contextlib.suppress(ValueError):
            state = State.model_validate(raw.get("state", {}))
        with contextlib.suppress(ValueError):
            web = Web.model_validate(raw.get("web", {}))
        return cls(_socket_in(state), web.listen)


@dataclass(frozen=True, slots=True)
class HostIncidents:
    """Incidents and facts of an instance of Postfix on this host.

    Attributes:
        open: open incidents, worst first.
        closed: resolved incidents.
        facts: facts about the host.
        findings: findings of lint about these facts.
        drift: names in which Postfix's configuration differs from the settings.
        relays: what each relay offered in its last session, by the relay's name.
        hosts: the incidents of other hosts whose lines the log has, by host.
        unknown: why this may be out of date; "" if it is current.
    """

    open: list[Incident]
    closed: list[Incident]
    facts: HostFacts
    findings: list[Finding]
    drift: tuple[str, ...]
    relays: Mapping[str, Any]
    hosts: Mapping[str, IncidentTracker]
    unknown: str = ""

    def shown(self, wanted: Callable[[Incident], bool], *, addresses: bool) -> list[IncidentRow]:
        """Return the incidents with their diagnoses, those of other hosts too.

        Facts of this host do not weigh on resolved incidents, nor on those of other hosts.
        """
        symptoms = {incident.symptom for incident in self.open}

        def row(incident: Incident, diagnosis: Diagnosis, host: str = "") -> IncidentRow:
            users = _no_user if host else user_of
            return to_dict(incident, diagnosis, addresses=addresses, host=host, users=users)

        rows = [
            row(incident, self._diagnose(incident, symptoms)) for incident in self.open if wanted(incident)
        ]
        if self.drift and symptoms.isdisjoint({"config-drift", "config-conflict"}):
            rows.append(condition_row("config-drift", f"drift in {', '.join(self.drift)}", time.time()))
        rows = drift_first(rows)
        for host, others in self.hosts.items():
            known = {incident.symptom for incident in others.open}
            rows += [
                row(incident, diagnose(incident, open_symptoms=known), host)
                for incident in others.open
                if wanted(incident)
            ]
        closed = [("", self.closed), *((host, others.closed) for host, others in self.hosts.items())]
        for host, incidents in closed:
            rows += [row(incident, diagnose(incident), host) for incident in incidents if wanted(incident)]
        return rows

    def _diagnose(self, incident: Incident, symptoms: Collection[str]) -> Diagnosis:
        offer = Offer.of(self.relays.get(incident.relay))
        return diagnose(incident, self.facts, self.findings, symptoms, offer, self.drift)


def _no_user(_uid: str) -> None:
    return None


def read_drift(settings: Settings, postfix: Postfix, facts: HostFacts) -> tuple[str, ...]:
    """Return the names in which Postfix's configuration differs.

    They are compared now as root, else as the enforcer saw them or as everybody can see them. Empty on a host that
    Postward never changed.
    """
    directory = Path(settings.enforce.directory)
    if not enforcement_as_shown(directory):
        return ()
    if os.geteuid() == 0:
        with contextlib.suppress(*LOOK_ERRORS):
            planned, _ = Enforcer(settings, postfix).look()
            return tuple(drift.name for drift in planned.drifts)
    return known_drift(directory, time.monotonic()) or visible_drift(settings, facts)


def read_live(
    settings: Settings, settings_file: Path, *, addresses: bool = False, silence: str = ""
) -> HostIncidents:
    """Ask the agent for its incidents, and read facts about the host.

    Args:
        settings: the settings.
        settings_file: their file.
        addresses: read the checkpoint, because the endpoint masks mail addresses.
        silence: why the agent did not answer a moment ago; it is not asked again.

    Raises:
        LiveError: neither endpoint nor checkpoint can be read.
    """
    unknown, data = "", None
    if not silence:
        data, silence = ask(
            Address.of_settings(settings), "/api/incidents", has_login=bool(settings.web.config_file)
        )
    if data is None or addresses:
        unknown, data = _read_checkpoint(settings, silence)
    names = RelayNames.of_settings(settings)
    incidents = _incidents(names, data)
    others = data.get("hosts")
    hosts = {
        host: _incidents(names, state)
        for host, state in (others if isinstance(others, dict) else {}).items()
        if isinstance(state, dict)
    }
    postfix = Postfix(Path(settings.postfix.config_directory))
    facts = read_host_facts(postfix, settings, settings_file.resolve())
    drift = read_drift(settings, postfix, facts)
    facts = replace(facts, vouched=is_in_sync(Path(settings.enforce.directory), time.monotonic()))
    findings = proofs_of(settings, facts, str(settings_file.resolve()))
    relays = data.get("relays")
    offers = relays if isinstance(relays, dict) else {}
    return HostIncidents(incidents.open, incidents.closed, facts, findings, drift, offers, hosts, unknown)


def ask(
    address: Address, path: str, *, has_login: bool = False, deadline: float = _TIMEOUT
) -> tuple[Mapping[str, Any] | None, str]:
    """Return the JSON object that the agent answers, and why it is silent.

    Both are empty if it answers another user than root, but requires a login or TLS, as it can if it `has_login`.
    The socket and the endpoint together get `deadline` seconds.
    """
    end = time.monotonic() + deadline
    try:
        owners = frozenset({0, address.socket.parent.stat().st_uid})
        local = Local(address.socket, owners)
        return _answer(
            request(f"http://localhost{path}", deadline=deadline, max_bytes=_MAX_ANSWER, local=local).body
        ), ""
    except (OSError, ValueError) as error:
        left = end - time.monotonic()
        if os.geteuid() == 0 or left <= 0:
            return None, f"{address.socket}: {getattr(error, 'strerror', None) or error}"
    host, port = split_address(address.listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - an address to listen on, replaced by the local one
    query = f"?instance={quote(address.instance)}" if address.instance else ""
    url = f"http://[{host}]:{port}{path}{query}" if ":" in host else f"http://{host}:{port}{path}{query}"
    try:
        return _answer(request(url, deadline=left, max_bytes=_MAX_ANSWER, proxies=False).body), ""
    except HttpError as error:
        if error.status == _NOT_FOUND:
            return None, f"{address.listen}: its agent does not watch the Postfix of {address.instance}"
        # An endpoint that speaks TLS ends a connection without.
        is_tls = has_login and str(error) != _REFUSED and time.monotonic() < end
        return None, "" if error.status or is_tls else f"{address.listen}: {error}"
    except ValueError:
        return None, f"{address.listen}: the answer is not JSON; does another program listen there?"


def ask_status(settings: Settings, settings_file: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the state of the host from the agent, with incidents diagnosed here, and why it is silent as in `ask`."""
    address = Address.of_settings(settings)
    answer, silence = ask(address, "/api/status", has_login=bool(settings.web.config_file))
    if answer is None:
        return None, silence
    try:
        STATUS.check(answer)
        rows = read_live(settings, settings_file).shown(lambda _: True, addresses=False)
    except (ValueError, LiveError) as error:
        return None, f"its answer cannot be used: {error}"
    return {**answer, "incidents": rows}, ""


def ask_for_check(settings_file: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the state of the host from the agent as it is, and why there is none.

    It takes at most `_CHECK_TIMEOUT` seconds, and needs no settings file that this user can read: without one, the agent
    is asked where it is by default. Nothing but the agent's answer is read.
    """
    try:
        settings = load_settings(settings_file)
        address, has_login = Address.of_settings(settings), bool(settings.web.config_file)
    except SettingsError:
        address, has_login = Address.of_bad_file(settings_file), True
    answer, silence = ask(address, "/api/status", has_login=has_login, deadline=_CHECK_TIMEOUT)
    if answer is None:
        return None, silence or (
            f"{address.listen}: the agent requires a login; make this user a member of the group postward"
        )
    try:
        STATUS.check(answer)
    except ValueError as error:
        return None, f"the agent's answer cannot be used: {error}"
    return dict(answer), ""


def ask_former(settings_file: Path) -> dict[str, Any] | None:
    """Return the state of the host from an agent whose settings file is bad by now; None without a usable answer.

    Without settings, no facts about the host are read, so they weigh on no diagnosis.
    """
    address = Address.of_bad_file(settings_file)
    (answer, _), (data, _) = ask(address, "/api/status"), ask(address, "/api/incidents")
    if answer is None or data is None:
        return None
    try:
        STATUS.check(answer)
        incidents = _incidents(RelayNames(), data)
    except ValueError:
        return None
    rows = [to_dict(incident, diagnose(incident)) for incident in (*incidents.open, *incidents.closed)]
    return {**answer, "incidents": rows}


def _incidents(names: RelayNames, data: Mapping[str, Any]) -> IncidentTracker:
    tracker = IncidentTracker(names, lambda: datetime.now().astimezone())
    tracker.restore(data)
    return tracker


def local_socket(settings: Settings) -> Path:
    """Return the path of the agent's Unix socket."""
    return _socket_in(settings.state)


def _socket_in(state: State) -> Path:
    return Path(state.directory) / "agent.sock"


def _answer(body: bytes) -> Mapping[str, Any]:
    data = printable_values(parse_json(body))
    if not isinstance(data, dict):
        raise ValueError("the answer is not an object")  # noqa: TRY004 -- one error for all bad answers
    return data


def _read_checkpoint(settings: Settings, silence: str) -> tuple[str, Mapping[str, Any]]:
    """Return why the checkpoint may be out of date, and its incidents."""
    path = Path(settings.state.directory) / "checkpoint.json"
    try:
        age = time.time() - path.stat().st_mtime
        checkpoint = read_checkpoint(path)
    except FileNotFoundError:
        raise LiveError(
            f"the agent does not answer ({silence or 'login required'}) and has saved nothing in {path}; start it with "
            "`systemctl start postward`, or name log files (`journal` is the systemd journal)"
        ) from None
    except OSError as error:
        raise LiveError(
            f"{path}: {error.strerror}; run this with sudo, or as a member of the group postward"
        ) from None
    except CheckpointError as error:
        raise LiveError(str(error)) from None
    parts = checkpoint.parts if checkpoint else {}
    unknown = ""
    if silence:
        unknown = (
            f"the agent does not answer ({silence}); its last state is of {clock_time(time.time() - age)}"
        )
    elif age > _MAX_AGE:
        unknown = f"the agent has not saved its state since {clock_time(time.time() - age)}"
    hosts = {host: state["incidents"] for host, state in parts.get("hosts", {}).items()}
    return unknown, {**parts.get("incidents", {}), "relays": parts.get("relays", {}), "hosts": hosts}
