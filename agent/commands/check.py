"""`postward check`: the settings as they are in effect, and what is wrong with them and with this host."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from postward.agent.commands.common import echo_json, exit_on_error, json_option, load, settings_option
from postward.agent.commands.exit_status import DRIFT
from postward.agent.console import terminal
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts, unread_of
from postward.config.example import example
from postward.config.instances import load_instances
from postward.config.lint import Finding, HostFacts, Severity, lint
from postward.config.settings import Settings, settings_files

_STYLE = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


@click.command("check")
@settings_option
@json_option
@click.option("--no-host", is_flag=True, help="Look at the settings alone, not at this host.")
@click.option("--example", "show_example", is_flag=True, help="Print a commented settings file instead.")
def command(settings_file: Path, as_json: bool, no_host: bool, show_example: bool) -> None:
    """Check the settings and this host; print the settings as they are in effect, without secrets.

    Status 3 if there are errors or warnings.
    """
    if show_example:
        click.echo(example(), nl=False)
        return
    with exit_on_error():
        settings = load(settings_file)
        load_instances(settings_file, settings)
        facts = HostFacts() if no_host else _read(settings, settings_file)
    findings = lint(settings, facts, str(settings_file.resolve()))
    unread = list(unread_of(facts))
    if as_json:
        effective = settings.model_dump(mode="json")
        echo_json(
            {
                "files": [str(file) for file in settings_files(settings_file)],
                "settings": effective,
                "findings": [finding.to_dict() for finding in findings],
                "unread": unread,
            }
        )
    else:
        _show(settings_file, settings, findings, unread)
    if any(finding.severity is not Severity.NOTE for finding in findings):
        sys.exit(DRIFT)


def _read(settings: Settings, settings_file: Path) -> HostFacts:
    return read_host_facts(
        Postfix(Path(settings.postfix.config_directory)), settings, settings_file.resolve()
    )


def _show(settings_file: Path, settings: Settings, findings: list[Finding], unread: list[str]) -> None:
    for line in _effective(settings.model_dump(mode="json")):
        click.echo(line)
    for finding in findings:
        click.echo()
        terminal().print(finding_text(finding))
    for text in unread:
        click.echo(f"not checked: {text}", err=True)
    files = ", ".join(map(str, settings_files(settings_file)))
    click.echo(f"{files}: {_summary(findings)}", err=True)


def _effective(settings: dict[str, Any]) -> Iterator[str]:
    for section, values in settings.items():
        for number, table in enumerate(values if isinstance(values, list) else [values]):
            name = f"{section}.{table['name']}" if section == "relay" else section
            yield from _assignments(name, table)
            if isinstance(values, list) and number < len(values) - 1:
                yield ""


def finding_text(finding: Finding) -> Text:
    """Return a finding as lines for a terminal."""
    return Text.assemble(
        (f"{finding.severity:7}", f"bold {_STYLE[finding.severity]}"),
        f" {finding.id}\n  {finding.where} {finding.what}\n  why:  {finding.why}\n  remedy: ",
        (finding.remedy, "bold"),
    )


def _assignments(name: str, table: dict[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _assignments(f"{name}.{key}", value)
        else:
            yield f"{name}.{key} = {value}"


def _summary(findings: list[Finding]) -> str:
    counts = Counter(finding.severity for finding in findings)
    found = [
        f"{counts[severity]} {severity}{'s' if counts[severity] > 1 else ''}"
        for severity in Severity
        if counts[severity]
    ]
    return ", ".join(found) or "no problem found"
