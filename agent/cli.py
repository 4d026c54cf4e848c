"""The command line: a table of contents. Each command lives in a module of its own, loaded when it is called,
so that `postward --help` answers at once.

Exit status: 0 done or in sync, 1 failed, 2 usage, 3 drift or findings, 78 bad settings (EX_CONFIG of sysexits.h).
"""

import importlib
from typing import Any

import click

# name → (module, what it does), in the order in which --help lists them.
COMMANDS = {
    "init": ("init", "Set this host up: settings, relay, first probe, services."),
    "run": ("run", "The agent: read the log, count, probe, serve metrics."),
    "enforce": ("enforce", "The enforcer (root): keep Postfix's configuration what the settings say."),
    "check": ("check", "Check the settings and this host; print the settings as they are in effect."),
    "plan": ("plan", "Show what apply would change, as a diff."),
    "apply": ("apply", "Change it: stage, check, commit, confirm by a probe, keep or roll back."),
    "rollback": ("rollback", "Bring the previous configuration back."),
    "generations": ("generations", "List the former configurations that can come back."),
    "probe": ("probe", "Send one probe now and show its timeline."),
    "relay": ("relay", "Talk to the relays without sending mail."),
    "sink": ("sink", "Receive a fleet's probes, and tell what arrived."),
    "why": ("why", "Tell why mail does not go out, which setting is to blame, and what mends it."),
    "status": ("status", "Show on one screen whether mail goes out, and what is wrong."),
    "doctor": ("doctor", "Find what is wrong with this host, and the command that mends it."),
    "parse": ("parse", "Show what each line of a log says, as rows or JSON."),
    "replay": ("replay", "Count logs as the agent would, and print the metrics."),
    "report": ("report", "Report on logs: totals, incidents, relays, causes, delays, domains."),
    "trace": ("trace", "Show one mail's life across queue IDs, as a timeline."),
    "export": ("export", "Write the events of logs as Parquet."),
    "files": ("files", "Write out alert rules, dashboards, runbooks, units and the manual page."),
}


class Commands(click.Group):
    """Loads a command's module when the command is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The command, or None if there is none of this name."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(
            f"postward.agent.commands.{COMMANDS[name][0]}"
        ).command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, without loading anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="postward", message="%(package)s %(version)s")
def main(**_: Any) -> None:
    """Keep the outbound mail of a Postfix host alive."""
