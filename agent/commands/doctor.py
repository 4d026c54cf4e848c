"""`postward doctor`: find the problems of this host and print a remedy for each."""

import asyncio
import sys
from pathlib import Path

import click

from postward.agent.commands.check import show_finding
from postward.agent.commands.common import (
    BAD_SETTINGS,
    DRIFT,
    echo_json,
    exit_on_error,
    json_option,
    settings_option,
)
from postward.agent.commands.relay import login_throttle
from postward.agent.doctor.rules import doctor_findings
from postward.agent.doctor.system import SystemFacts, read_system, relay_findings
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts, unread_of
from postward.agent.relay.check import RelayCheck
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.monitor import throttled_check
from postward.config.errors import SettingsError
from postward.config.lint import Finding, HostFacts, Severity, lint
from postward.config.settings import Settings, load_settings


@click.command("doctor")
@settings_option
@json_option
@click.option("--no-relay", is_flag=True, help="Do not connect to the relays.")
def command(settings_file: Path, as_json: bool, no_relay: bool) -> None:
    """Find the problems of this host: services, permissions, log, Postfix, relays, DNS, clock, versions.

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
            findings += lint(settings, host, str(settings_file))
            findings += (
                []
                if no_relay
                else list(relay_findings(asyncio.run(_talk(settings, login_throttle(settings)))))
            )
    if as_json:
        rows = [finding.to_dict() for finding in findings]
        echo_json(
            {
                "versions": dict(system.versions),
                "problems": problems,
                "findings": rows,
                "unread": list(unread_of(host)),
            }
        )
    else:
        _show(system, problems, findings)
        for words in unread_of(host):
            click.echo(f"not looked at: {words}", err=True)
    if problems:
        sys.exit(BAD_SETTINGS)
    if any(finding.severity is not Severity.NOTE for finding in findings):
        sys.exit(DRIFT)


def _read(settings: Settings | None, settings_file: Path) -> tuple[HostFacts, SystemFacts]:
    directory = Path(settings.postfix.config_directory if settings else "/etc/postfix")
    host = read_host_facts(Postfix(directory), settings, settings_file.resolve())
    return host, read_system(settings, settings_file.resolve(), host)


async def _talk(settings: Settings, throttle: LoginThrottle | None) -> list[RelayCheck]:
    return list(
        await asyncio.gather(*(throttled_check(relay, settings, throttle) for relay in settings.relay))
    )


def _show(system: SystemFacts, problems: tuple[str, ...], findings: list[Finding]) -> None:
    click.echo(", ".join(f"{name} {number}" for name, number in system.versions.items()))
    for problem in problems:
        click.echo(f"{click.style('error', fg='red', bold=True)}   settings\n  {problem}")
    for finding in findings:
        click.echo()
        for line in show_finding(finding):
            click.echo(line)
    if not findings and not problems:
        click.echo("no problem found")
