"""`postward apply`: change Postfix's configuration, and prove that it works."""

import asyncio
from pathlib import Path

import click

from postward.agent.commands.common import (
    exit_on_error,
    fail,
    load,
    log_to_stderr,
    require_root,
    settings_option,
)
from postward.agent.console import diff_text, probe_text, terminal
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.postfix.commands import Postfix
from postward.agent.probe.once import probe_once
from postward.agent.probe.result import ProbeResult
from postward.config.plan import diff
from postward.config.settings import Settings


@click.command("apply")
@settings_option
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Confirm new settings by a probe, or go back.",
    show_default=True,
)
def command(settings_file: Path, verify: bool) -> None:
    """Change it: stage, check, commit, confirm by a probe, keep or roll back."""
    log_to_stderr()
    require_root()
    with exit_on_error():
        settings = load(settings_file)
        enforcer = Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))
        planned, _ = enforcer.look()
        terminal().print(diff_text(diff(planned)), end="")
        put_into_force(settings, enforcer, verify=verify)
    click.echo("in sync: Postfix has what the settings say")


def put_into_force(settings: Settings, enforcer: Enforcer, *, verify: bool) -> ProbeResult | None:
    """Apply, and confirm new settings by a probe, whose result is handed back. What does not work ends the command."""
    enforcer.try_again()
    enforcer.converge()
    result = None
    if enforcer.pending_confirmation and verify and settings.probe.recipient:
        result = _verify(settings, enforcer)
    if not enforcer.state.in_sync:
        fail(enforcer.state.problem or "the configuration is not what the settings say")
    return result


def _verify(settings: Settings, enforcer: Enforcer) -> ProbeResult:
    applied_at = enforcer.applied_at
    result = asyncio.run(probe_once(settings))
    terminal().print(probe_text(result))
    enforcer.confirm(accepted=result.accepted, reason=result.reason, applied_at=applied_at)
    if not result.accepted and enforcer.state.in_sync:
        fail(
            "the settings are in force, but no mail goes out with them, and there is no former configuration that did better"
        )
    return result
