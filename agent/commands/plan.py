"""`postward plan`: the changes that apply would make."""

import sys
from pathlib import Path

import click

from postward.agent.commands.common import echo_json, exit_on_error, json_option, load, settings_option
from postward.agent.commands.exit_status import DRIFT
from postward.agent.console import diff_text, terminal
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.postfix.commands import Postfix
from postward.config.plan import diff
from postward.config.routing.changes import route_lines


@click.command("plan")
@settings_option
@json_option
def command(settings_file: Path, as_json: bool) -> None:
    """Show the changes that apply would make, as a diff without secrets. Exit status 3 if there are any."""
    with exit_on_error():
        settings = load(settings_file)
        enforcer = Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))
        planned, unknown = enforcer.look()
        changed = enforcer.route_changes() if planned else []
    if as_json:
        changes = [
            {"name": drift.name, "actual": drift.actual, "desired": drift.shown} for drift in planned.drifts
        ]
        echo_json(
            {
                "in_sync": not planned,
                "changes": changes,
                "routes": [
                    {"mails": change.mails, "before": change.before, "after": change.after}
                    for change in changed
                ],
                "consequences": [{"text": one.text, "allow": one.effect} for one in planned.consequences],
                "then": planned.activation.value if planned else None,
                "unknown": unknown,
            }
        )
    elif planned:
        terminal().print(diff_text([*diff(planned), *route_lines(changed)]), end="")
    else:
        click.echo("in sync: Postfix's configuration matches the settings")
    for name in unknown if not as_json else ():
        click.echo(f"not written: {name}, which this release of Postfix does not know", err=True)
    sys.exit(DRIFT if planned else 0)
