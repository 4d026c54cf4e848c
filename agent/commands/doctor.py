"""`postward doctor`: find the problems of this host and print a remedy for each."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from postward.agent.commands.check import finding_text
from postward.agent.commands.common import echo_json, exit_on_error, json_option, settings_option
from postward.agent.commands.exit_status import BAD_SETTINGS, DRIFT
from postward.agent.commands.relay import login_throttle
from postward.agent.console import terminal
from postward.agent.doctor.domains import Dns, DnsError, domain_findings
from postward.agent.doctor.rules import doctor_findings
from postward.agent.doctor.system import SystemFacts, read_system, relay_findings
from postward.agent.enforce.state import EnforcementState
from postward.agent.incidents.diagnosis import condition_row
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts, unread_of
from postward.agent.relay.check import RelayCheck
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.monitor import throttled_check
from postward.agent.status.client import ask_status, read_drift
from postward.config.errors import SettingsError
from postward.config.lint import OF_RELAYS, Finding, HostFacts, Severity, lint
from postward.config.lint.remedies import APPLY
from postward.config.settings import Settings, load_settings


@click.command("doctor")
@settings_option
@json_option
@click.option("--no-relay", is_flag=True, help="Do not connect to the relays.")
@click.option("--no-dns", is_flag=True, help="Do not look up the senders' domains.")
def command(settings_file: Path, as_json: bool, no_relay: bool, no_dns: bool) -> None:
    """Find the problems of this host: services, permissions, log, Postfix, relays, senders' domains, clock, versions.

    Each problem is shown with its remedy. Exit status 3 for errors or warnings, 78 for errors in the settings.
    """
    problems: tuple[str, ...] = ()
    settings = None
    try:
        settings = load_settings(settings_file)
    except SettingsError as error:
        problems = error.problems
    with exit_on_error():
        host, system = _read(settings, settings_file)
        findings = doctor_findings(system)
        if settings is not None:
            findings += _about_postward(settings, settings_file)
            findings += lint_under_drift(settings, host, str(settings_file))
            if not no_relay:
                findings += _check_relays(settings)
    unread = list(unread_of(host))
    if settings is not None and not no_dns:
        try:
            findings += domain_findings(settings, Dns())
        except DnsError as error:
            unread.append(f"the senders' domains: {error}")
    report = _Report(system, problems, findings, unread)
    if as_json:
        echo_json(report.to_dict())
    else:
        _show(report)
    if problems:
        sys.exit(BAD_SETTINGS)
    if any(finding.severity is not Severity.NOTE for finding in findings):
        sys.exit(DRIFT)


@dataclass(frozen=True, slots=True)
class _Report:
    """The results: the facts, the errors in the settings, the findings, and what could not be read."""

    system: SystemFacts
    problems: tuple[str, ...]
    findings: list[Finding]
    unread: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "versions": dict(self.system.versions),
            "problems": self.problems,
            "findings": [finding.to_dict() for finding in self.findings],
            "unread": self.unread,
        }


def _read(settings: Settings | None, settings_file: Path) -> tuple[HostFacts, SystemFacts]:
    """Read the facts that lint needs, and those of the host beside them."""
    directory = Path(settings.postfix.config_directory if settings else "/etc/postfix")
    host = read_host_facts(Postfix(directory), settings, settings_file.resolve())
    return host, read_system(settings, settings_file.resolve(), host)


def _about_postward(settings: Settings, settings_file: Path) -> list[Finding]:
    """Return the agent's open incidents about Postward itself; without an agent, what the enforcer's state shows."""
    status, _ = ask_status(settings, settings_file)
    if status is None:
        conditions = EnforcementState(Path(settings.enforce.directory)).conditions()
        rows = [condition_row(symptom, problem) for symptom, problem in conditions.items() if problem]
    else:
        rows = [row for row in status["incidents"] if row["closed"] is None]
    return [
        Finding(
            row["symptom"],
            Severity.ERROR if row["effect"] == "blind" else Severity.WARNING,
            row["place"],
            row["title"],
            "; ".join(row["evidence"][:1]),
            row["causes"][0]["remedy"],
        )
        for row in rows
        if row["effect"] in {"blind", "degraded"}
    ]


def lint_under_drift(settings: Settings, host: HostFacts, source: str) -> list[Finding]:
    """Return the findings of lint. While the configuration differs from the settings, that comes first.

    The findings about what Postward derives from the settings then describe the drift, and their remedies would make
    it permanent: a login that belongs to the relay could be written for another host.
    """
    names = read_drift(settings, Postfix(Path(settings.postfix.config_directory)), host)
    findings = lint(settings, host, source)
    if not names:
        return findings
    drift = Finding(
        "config-drift",
        Severity.ERROR,
        settings.postfix.config_directory,
        f"differs from the settings: {', '.join(names)}",
        "Mail takes another way, login or TLS than the settings say, or will after a restart.",
        APPLY,
    )
    after = f"{APPLY}, then postward doctor again"
    return [drift, *(replace(found, remedy=after) if found.id in OF_RELAYS else found for found in findings)]


def _check_relays(settings: Settings) -> list[Finding]:
    """Check all relays at once and return the findings."""
    files = {relay.name: relay.password_file for relay in settings.relay}
    return list(relay_findings(asyncio.run(_checks(settings, login_throttle(settings))), files))


async def _checks(settings: Settings, throttle: LoginThrottle | None) -> list[RelayCheck]:
    return list(
        await asyncio.gather(
            *(throttled_check(relay, settings, throttle) for relay in settings.relays_with_server)
        )
    )


def _as_findings(report: _Report) -> Iterator[Finding]:
    """Yield the errors in the settings as findings, for the eye; in JSON they are apart."""
    system = report.system
    is_set_up = bool(system.files.keys() & set(system.sources))
    why = "Services with former settings keep them, and others do not start."
    for problem in report.problems:
        where, _, what = problem.partition(": ")
        file = where if where in system.sources else system.settings_file
        remedy = f"edit {file}, then postward check" if is_set_up else "postward init"
        yield Finding("settings", Severity.ERROR, f"{where}:", what, why, remedy)


def _show(report: _Report) -> None:
    click.echo(", ".join(f"{name} {number}" for name, number in report.system.versions.items()))
    for finding in (*_as_findings(report), *report.findings):
        click.echo()
        terminal().print(finding_text(finding))
    if not report.findings and not report.problems:
        click.echo("no problem found")
    for text in report.unread:
        click.echo(f"not checked: {text}", err=True)
