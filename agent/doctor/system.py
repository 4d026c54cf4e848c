"""Facts for `postward doctor` (services, user, files, log, endpoint, clock, versions) and findings of relay checks.

Promise: nothing is changed, and every program has a timeout. No secret is read; for password files only stat(2) is
called. A fact that cannot be determined on this host is None, and the rules ignore it.
"""

import contextlib
import os
import platform
import pwd
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from postward.agent.fsutil import free_bytes
from postward.agent.logs.discover import NoLogError, find_log
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.host_files import gid
from postward.agent.postfix.process import is_master_running
from postward.agent.relay.advice import describe_cause
from postward.agent.relay.check import RelayCheck
from postward.config.errors import SettingsError
from postward.config.lint import HostFacts
from postward.config.lint.finding import Finding, Severity
from postward.config.sasl import MECHANISMS
from postward.config.settings import Settings, fragments_of, settings_files
from postward.parsers import Cause

AGENT, ENFORCER, TOKEN = "postward.service", "postward-enforce.service", "postward-token.service"
REPORT = "postward-report.timer"
USER = "postward"
# The groups in SupplementaryGroups= of the agent's unit. If one is missing, the unit cannot start.
GROUPS = ("adm", "systemd-journal", "postdrop")
_TIMEOUT = 10.0  # seconds
_PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "Result", "NRestarts", "StatusText")
# The first remedy for a cause. For other causes, `postward relay` shows the dialogue.
_RELAY_REMEDIES = {
    Cause.AUTH_REJECTED: "write the correct password into {file}; the enforcer applies it at once",
    Cause.AUTH_MECHANISM: "postward check",
    Cause.DNS: "cat /etc/resolv.conf && getent hosts {host}",
    Cause.REFUSED: "postward relay {relay} --all-ports",
    Cause.TIMEOUT: "postward relay {relay} --all-ports",
    Cause.UNREACHABLE: "ip route get $(getent ahostsv4 {host} | cut -d' ' -f1 | head -n1)",
}


@dataclass(frozen=True, slots=True)
class Unit:
    """The state of a unit, from `systemctl show`, and the last line that it wrote to the journal while it is down."""

    loaded: bool = False
    active: str = "inactive"
    enabled: bool = False
    result: str = "success"
    restarts: int = 0
    status: str = ""
    last_line: str = ""

    @property
    def is_down(self) -> bool:
        """Return whether it has failed, or systemd starts it again and again."""
        is_looping = self.active == "activating" and self.restarts > 0
        return self.active == "failed" or is_looping or self.result not in {"success", ""}


@dataclass(frozen=True, slots=True)
class Owned:
    """Mode and owner of a file or folder."""

    mode: int
    uid: int
    gid: int

    def allows(self, uid: int, gids: Iterable[int], bit: int) -> bool:
        """Return whether the mode allows a user to read (bit 4), write (2) or search (1); ACLs are ignored."""
        if uid == self.uid:
            return bool(self.mode >> 6 & bit)
        if self.gid in set(gids):
            return bool(self.mode >> 3 & bit)
        return bool(self.mode & bit)


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """The facts of a host.

    Attributes:
        distribution: "debian", "rhel", "suse", "alpine", or "".
        settings_file: the path of the settings file.
        sources: the paths of the settings file and its fragments, and likewise of further instances.
        units: name → state of the unit; None if systemd does not run on this host.
        uid: the agent's user; None if it does not exist.
        gids: all groups of the agent's user; empty if it does not exist.
        missing_groups: the members of GROUPS that do not exist.
        files: path → mode and owner of existing settings, passwords, folders and logs.
        main_cf: the path of Postfix's main.cf.
        state: the agent's state directory and the files in it.
        passwords: the relays' password files.
        logs: the log sources to read.
        full: folders of Postward's state without free space.
        log_problem: why no log can be read; None if one can be read.
        postfix_runs: whether master(8) is running; None if unknown.
        endpoint: why the agent's endpoint does not answer; "" if it answers, None if no request was sent.
        clock_synchronised: whether the clock is synchronised with a time server; None if unknown.
        versions: program → version.
    """

    distribution: str = ""
    settings_file: str = ""
    sources: tuple[str, ...] = ()
    units: Mapping[str, Unit] | None = None
    uid: int | None = None
    gids: frozenset[int] = frozenset()
    missing_groups: tuple[str, ...] = ()
    files: Mapping[str, Owned] = field(default_factory=dict)
    main_cf: str = ""
    state: tuple[str, ...] = ()
    passwords: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    log_problem: str | None = None
    postfix_runs: bool | None = None
    endpoint: str | None = None
    clock_synchronised: bool | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


def read_system(settings: Settings | None, settings_file: Path, host: HostFacts) -> SystemFacts:
    """Read the facts of this host; `settings` is None if they have errors."""
    units = _read_units(
        *(AGENT, ENFORCER),
        *([TOKEN] if settings and any(relay.oauth2 for relay in settings.relay) else []),
        *([REPORT] if settings and settings.report.send != "never" else []),
    )
    uid, gids = _user()
    logs, log_problem = _logs(settings)
    relays = settings.relay if settings else []
    passwords = tuple(relay.password_file for relay in relays if relay.password_file)
    folders = [settings.state.directory, settings.enforce.directory] if settings else []
    state = _tree(settings.state.directory) if settings else []
    main_cf = Path(settings.postfix.config_directory if settings else "/etc/postfix", "main.cf")
    instances = map(Path, settings.postfix.instances) if settings else ()
    sources = [path for file in (settings_file, *instances) for path in _sources(file)]
    paths = [*sources, main_cf, *map(Path, passwords), *state, *map(Path, logs)]
    queue = host.expanded.get("queue_directory")
    agent_runs = units is None or units[AGENT].active == "active"
    return SystemFacts(
        distribution=host.distribution,
        settings_file=str(settings_file),
        sources=tuple(map(str, sources)),
        units=units,
        uid=uid,
        gids=gids,
        missing_groups=tuple(name for name in GROUPS if gid(name) is None),
        files={str(path): owned for path in paths if (owned := _owned(path)) is not None},
        main_cf=str(main_cf),
        state=tuple(map(str, state)),
        passwords=passwords,
        logs=logs,
        full=tuple(folder for folder in folders if free_bytes(Path(folder)) == 0),
        log_problem=log_problem,
        postfix_runs=is_master_running(queue) if queue else None,
        endpoint=_endpoint_problem(settings) if settings and agent_runs else None,
        clock_synchronised=_clock_synchronised(),
        versions=_versions(host),
    )


# Services


def _read_units(*names: str) -> dict[str, Unit] | None:
    if not Path("/run/systemd/system").is_dir():
        return None
    options = [f"--property={name}" for name in _PROPERTIES]
    units = {unit: parse_unit(_run("systemctl", "show", unit, *options)) for unit in names}
    return {
        name: replace(unit, last_line=_last_line(name)) if unit.is_down else unit
        for name, unit in units.items()
    }


def _last_line(unit: str) -> str:
    return _run("journalctl", "--quiet", "--lines=1", "--output=cat", f"_SYSTEMD_UNIT={unit}").strip()


def agent_remedy() -> str:
    """Return the command that brings a silent agent back, with the state of its service."""
    units = _read_units(AGENT)
    if units is None:
        return "start it: postward run"
    unit = units[AGENT]
    if unit.active == "active":
        return f"systemctl restart {AGENT} (it runs, and does not answer)"
    state = f"{AGENT} is {unit.active}" + ("" if unit.enabled else " and not enabled")
    if unit.active == "inactive":
        return f"systemctl enable --now {AGENT} ({state})"
    return f"journalctl -u {AGENT} -n 20 says why ({state}, {unit.restarts} restarts)"


def parse_unit(text: str) -> Unit:
    """Parse the output of `systemctl show`, one property a line."""
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
    """Return the standard output of a program; "" if it cannot be run or exceeds the timeout."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False
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


def _tree(folder: str) -> list[Path]:
    try:
        return [Path(folder), *Path(folder).iterdir()]
    except OSError:
        return []


def _sources(settings_file: Path) -> list[Path]:
    """Return the settings file, its fragments, and their directory."""
    directory = fragments_of(settings_file)
    with contextlib.suppress(SettingsError):
        return [*settings_files(settings_file), directory]
    return [settings_file, directory]


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


def _endpoint_problem(settings: Settings) -> str:
    """Return why the endpoint does not answer; "" if it answers, also with an error such as 401 or 503."""
    try:
        urllib.request.urlopen(f"http://{settings.web.listen}/metrics", timeout=_TIMEOUT).close()
    except urllib.error.HTTPError:
        return ""
    except urllib.error.URLError as error:
        return str(error.reason)
    except OSError as error:
        return (
            "" if settings.web.config_file else str(error)
        )  # with config_file, the endpoint may require TLS
    return ""


def _clock_synchronised() -> bool | None:
    return {"yes": True, "no": False}.get(
        _run("timedatectl", "show", "--property=NTPSynchronized", "--value").strip()
    )


def _versions(host: HostFacts) -> dict[str, str]:
    plugins = host.sasl_plugins or frozenset()
    systemd = re.match(r"systemd (\S+)", _run("systemctl", "--version"))
    found = {
        "postward": version("postward"),
        "postfix": host.defaults.get("mail_version", ""),
        "python": platform.python_version(),
        "systemd": systemd[1] if systemd else "",
        "SASL plug-in for tokens": ", ".join(sorted(set(MECHANISMS["xoauth2"].plugins) & plugins)),
    }
    return {name: value for name, value in found.items() if value}


# Relays


def relay_findings(checks: Iterable[RelayCheck], files: Mapping[str, str] = {}) -> Iterator[Finding]:
    """Yield an error for each failed check, and a warning for each certificate that is not valid.

    Args:
        checks: the checks.
        files: name of a relay → its password file.
    """
    for check in checks:
        remedy = _RELAY_REMEDIES.get(check.cause or Cause.OTHER, "postward relay {relay}")
        file = files.get(check.relay) or "the relay's password_file"
        remedy = remedy.format(host=check.host, relay=check.relay, file=file)
        where = f"relay {check.relay} ({check.host}:{check.port})"
        if not check.ok:
            what = f"fails at step {check.step}: {check.detail}"
            why = describe_cause(check.cause) if check.cause else "Mail cannot leave through this relay."
            yield Finding("relay", Severity.ERROR, where, what, why, remedy)
        elif check.problem:
            why = "An attacker between this host and the relay can read the password."
            yield Finding(
                "relay-certificate",
                Severity.WARNING,
                where,
                f"has a certificate that this host does not accept: {check.problem}",
                why,
                "postward relay " + check.relay,
            )
