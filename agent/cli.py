"""The command line: a table of commands, each in a module of its own that is imported when the command is called.

Promise: `postward --help` imports no command, so that it answers at once.

Exit status: 0 done or in sync, 1 failed, 2 usage, 3 drift or findings, 4 nothing to read, 78 bad settings (EX_CONFIG of
sysexits.h).
"""

import importlib
import sys
from typing import Any

import click

from postward.agent.fsutil import reason_of
from postward.agent.output import guard_standard_output

# Command, also the name of its module → summary, in the order of --help.
COMMANDS = {
    "init": "Set up this host: settings, relay, first probe, services.",
    "adopt": "Write the settings of a host that sends through a relay already.",
    "run": "Run the agent: read the mail log, count, probe, serve metrics.",
    "enforce": "Run the enforcer (root): keep Postfix's configuration as the settings say.",
    "token": "Run the token service: fetch and renew the tokens that take a password's place.",
    "login": "Sign in for a relay that takes tokens.",
    "check": "Check the settings and this host; print the settings in effect.",
    "plan": "Show what apply would change, as a diff.",
    "apply": "Apply the settings to Postfix; confirm by a probe, or roll back.",
    "rollback": "Restore the previous configuration.",
    "generations": "List the former configurations that can be restored.",
    "probe": "Send a probe now and print its timeline.",
    "relay": "Check the relays without sending mail.",
    "sink": "Receive a fleet's probes and report their arrivals.",
    "why": "Explain why mail does not go out: cause, setting to blame, remedy.",
    "status": "Show on one screen whether mail goes out, and what is wrong.",
    "queue": "Show the mails that wait by cause, relay and age; deliver, hold, release or delete them.",
    "doctor": "Find faults of this host, each with its remedy.",
    "parse": "Print each line of a log as a row or JSON.",
    "replay": "Count logs as the agent would, and print the metrics.",
    "report": "Report on logs: totals, incidents, relays, causes, delays, domains; list lost mail.",
    "trace": "Show one mail's life across queue IDs, as a timeline.",
    "export": "Write the events of logs as Parquet.",
    "files": "Write out alert rules, dashboards, Zabbix's template, runbooks, units and manual pages.",
}


class Commands(click.Group):
    """Imports a command's module when the command is called, and ends each command alike."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command. A file, or standard output, that cannot be read or written ends it with status 1."""
        guard_standard_output()
        try:
            try:
                return super().main(*args, **extra)
            finally:
                sys.stdout.flush()
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"postward: {where}{reason_of(error)}", err=True)
            sys.exit(1)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Return the command, or None if there is none of this name."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"postward.agent.commands.{name}").command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the table, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="postward", message="%(package)s %(version)s")
def main(**_: Any) -> None:
    """Keep the outbound mail of a Postfix host alive."""
