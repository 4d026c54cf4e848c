"""`postward apply`: change Postfix's configuration, and confirm it by a probe."""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from postward.agent.commands.common import (
    allow_option,
    exit_on_error,
    fail,
    load,
    require_root,
    settings_option,
)
from postward.agent.commands.log_output import log_to_stderr
from postward.agent.console import diff_text, probe_text, terminal
from postward.agent.enforce.confirm import decide
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.loop import confirm
from postward.agent.enforce.state import ApplyError
from postward.agent.postfix.commands import Postfix
from postward.agent.probe.once import probe_once
from postward.agent.probe.result import ProbeResult
from postward.config.consequences import Effect
from postward.config.plan import Plan, diff
from postward.config.routing.changes import route_lines
from postward.config.settings import Settings


@click.command("apply")
@settings_option
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Confirm new settings by a probe, or roll back.",
    show_default=True,
)
@allow_option
def command(settings_file: Path, verify: bool, allow: tuple[str, ...]) -> None:
    """Apply the settings: stage, check, commit, confirm by a probe, keep or roll back."""
    log_to_stderr()
    require_root()
    with exit_on_error():
        settings = load(settings_file)
        enforcer = Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))
        planned, _ = enforcer.look()
        changed = enforcer.route_changes() if planned else []
        terminal().print(diff_text([*diff(planned), *route_lines(changed)]), end="")
        agreed = agree(planned, allow, ask=sys.stdin.isatty())
        put_into_force(settings, enforcer, verify=verify, agreed=agreed)
    click.echo("in sync: Postfix's configuration matches the settings")


def agree(planned: Plan, allow: Iterable[str], *, ask: bool) -> frozenset[Effect]:
    """Return the effects that may happen: those of `--allow`, and those that the user agrees to, each asked for itself.

    A missing agreement ends the command.
    """
    allowed = frozenset(map(Effect, allow))
    for effect in planned.effects:
        if effect in allowed:
            continue
        if not ask:
            fail(f"nothing was changed: the changes {effect.description}; to agree: --allow {effect}")
        if not click.confirm(
            f"The changes {effect.description}, as shown. Make them?", default=False, err=True
        ):
            fail("nothing was changed")
    return allowed | set(planned.effects)


def put_into_force(
    settings: Settings, enforcer: Enforcer, *, verify: bool, agreed: frozenset[Effect] = frozenset()
) -> ProbeResult | None:
    """Apply, and confirm new settings by a probe.

    Args:
        settings: the settings.
        enforcer: their enforcer.
        verify: confirm them by a probe.
        agreed: the effects that may happen (`agree`).

    Returns:
        the probe's result; None if no probe was sent.

    Raises:
        ApplyError: Postfix's configuration does not match the settings, or the change is not confirmed.
    """
    enforcer.forget_failures()
    enforcer.allow(agreed)
    enforcer.converge(on_request=True)
    result = None
    if enforcer.pending_confirmation and verify and settings.sends_probes:
        result = asyncio.run(_confirm(settings, enforcer))
    if not enforcer.state.in_sync:
        problem = enforcer.state.problem or "the configuration differs from the settings"
        raise ApplyError(f"{problem}; `postward doctor` looks for the cause")
    if enforcer.pending_confirmation and result:
        raise ApplyError(
            f"the settings are applied, but not confirmed ({result.reason}); no earlier configuration is kept, so "
            "nothing was rolled back"
        )
    return result


async def _confirm(settings: Settings, enforcer: Enforcer) -> ProbeResult:
    result = await probe_once(settings)
    terminal().print(probe_text(result))
    await confirm(enforcer, result, lambda applied_at: decide(applied_at, [result]))
    return result
