"""Reads how Postward stands on this host: its services, user, files, log, endpoint, the clock, versions.

Promise: nothing is changed, every program has a deadline, and no secret is read: of passwords only what stat(2) says.
What cannot be told here is None, and rules are silent about it.
"""

import os
import platform
import pwd
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from postward.agent.logs.discover import NoLogError, find_log
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.host_files import gid
from postward.agent.postfix.process import is_master_running
from postward.config.lint import HostFacts
from postward.config.settings import Settings

AGENT, ENFORCER = "postward.service", "postward-enforce.service"
USER = "postward"
# What the agent's unit names in SupplementaryGroups=; a group that is missing keeps it from starting.
GROUPS = ("adm", "systemd-journal", "postdrop")
_DEADLINE = 10.0  # seconds
_PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "Result", "NRestarts", "StatusText")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as `systemctl show` has it."""

    loaded: bool = False
    active: str = "inactive"
    enabled: bool = False
    result: str = "success"
    restarts: int = 0
    status: str = ""


@dataclass(frozen=True, slots=True)
class Owned:
    """A file or folder: who owns it, and who may do what."""

    mode: int
    uid: int
    gid: int

    def allows(self, uid: int, gids: Iterable[int], bit: int) -> bool:
        """Whether that user may read (4), write (2) or search (1) it, as far as its mode goes."""
        if uid == self.uid:
            return bool(self.mode >> 6 & bit)
        if self.gid in set(gids):
            return bool(self.mode >> 3 & bit)
        return bool(self.mode & bit)


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """How Postward stands on a host.

    Attributes:
        distribution: "debian", "rhel", "suse", "alpine", or "".
        settings_file: where the settings are.
        units: name → unit; None if systemd does not run here.
        uid, gids: the agent's user and all its groups; None if there is no such user.
        missing_groups: those of GROUPS that do not exist.
        files: path → owner and mode, of settings, passwords, folders and logs; absent if it is not there.
        passwords: the relays' password files.
        logs: what is read; log_problem: why nothing is.
        postfix_runs: its master lives; None if nobody could tell.
        endpoint: why the endpoint does not answer; "" if it does, None if nobody asked.
        clock_right: the clock is kept by a time server; None if nobody could tell.
        versions: program → version.
    """

    distribution: str = ""
    settings_file: str = ""
    units: Mapping[str, Unit] | None = None
    uid: int | None = None
    gids: frozenset[int] = frozenset()
    missing_groups: tuple[str, ...] = ()
    files: Mapping[str, Owned] = field(default_factory=dict)
    passwords: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    log_problem: str | None = None
    postfix_runs: bool | None = None
    endpoint: str | None = None
    clock_right: bool | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


def read_system(settings: Settings | None, settings_file: Path, host: HostFacts) -> SystemFacts:
    """How Postward stands on this host; `settings` is None where they are bad."""
    units = _read_units()
    uid, gids = _user()
    logs, log_problem = _logs(settings)
    relays = settings.relay if settings else []
    passwords = tuple(relay.password_file for relay in relays if relay.password_file)
    folders = [settings.state.directory, settings.enforce.directory] if settings else []
    paths = [settings_file, *map(Path, passwords), *map(Path, folders), *map(Path, logs)]
    queue = host.expanded.get("queue_directory")
    asked = settings is not None and units is not None and units[AGENT].active == "active"
    return SystemFacts(
        distribution=host.distribution,
        settings_file=str(settings_file),
        units=units,
        uid=uid,
        gids=gids,
        missing_groups=tuple(name for name in GROUPS if gid(name) is None),
        files={str(path): owned for path in paths if (owned := _owned(path)) is not None},
        passwords=passwords,
        logs=logs,
        log_problem=log_problem,
        postfix_runs=is_master_running(queue) if queue else None,
        endpoint=_ask(settings) if settings and asked else None,
        clock_right=_clock(),
        versions=_versions(host),
    )


# Services


def _read_units() -> dict[str, Unit] | None:
    if not Path("/run/systemd/system").is_dir():
        return None
    options = [f"--property={name}" for name in _PROPERTIES]
    return {unit: parse_unit(_run("systemctl", "show", unit, *options)) for unit in (AGENT, ENFORCER)}


def parse_unit(text: str) -> Unit:
    """What `systemctl show` printed, one property a line."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    restarts = values.get("NRestarts", "")
    return Unit(
        loaded=values.get("LoadState") == "loaded",
        active=values.get("ActiveState", "inactive"),
        enabled=values.get("UnitFileState") in {"enabled", "enabled-runtime"},
        result=values.get("Result", "success"),
        restarts=int(restarts) if restarts.isdecimal() else 0,
        status=values.get("StatusText", ""),
    )


def _run(*command: str) -> str:
    """Standard output of a program; "" if it cannot be had."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_DEADLINE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


# Users and files


def _user() -> tuple[int | None, frozenset[int]]:
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        return None, frozenset()
    extra = {number for name in GROUPS if (number := gid(name)) is not None}
    return entry.pw_uid, frozenset({entry.pw_gid, *os.getgrouplist(USER, entry.pw_gid), *extra})


def _owned(path: Path) -> Owned | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return Owned(status.st_mode & 0o7777, status.st_uid, status.st_gid)


# The log, the endpoint, the clock, versions


def _logs(settings: Settings | None) -> tuple[tuple[str, ...], str | None]:
    if settings is None:
        return (), None
    try:
        names, _ = find_log(settings.log.source, Postfix(Path(settings.postfix.config_directory)))
    except NoLogError as error:
        return (), str(error)
    return tuple(str(name) for name in names), None


def _ask(settings: Settings) -> str:
    """Why the endpoint does not answer. Whatever answers is an answer: it may want a login or be catching up."""
    try:
        urllib.request.urlopen(f"http://{settings.web.listen}/metrics", timeout=_DEADLINE).close()
    except urllib.error.HTTPError:
        return ""
    except urllib.error.URLError as error:
        return str(error.reason)
    except OSError as error:
        return "" if settings.web.config_file else str(error)  # TLS is spoken there
    return ""


def _clock() -> bool | None:
    return {"yes": True, "no": False}.get(
        _run("timedatectl", "show", "--property=NTPSynchronized", "--value").strip()
    )


def _versions(host: HostFacts) -> dict[str, str]:
    systemd = re.match(r"systemd (\S+)", _run("systemctl", "--version"))
    found = {
        "postward": version("postward"),
        "postfix": host.defaults.get("mail_version", ""),
        "python": platform.python_version(),
        "systemd": systemd[1] if systemd else "",
    }
    return {name: value for name, value in found.items() if value}
