"""docs/commands.md: every command with its options, from the texts of `--help`."""

import re
from collections.abc import Iterator

import click

from postward.agent.cli import COMMANDS, main
from tools.reference.markdown import cell, plain, wrapped

_INTRODUCTION = """\
# Commands

`--help` and `postward(1)` have the text of this page, which `make docs` makes from the commands. All commands exit
alike:

| exit status | meaning |
|---|---|
| 0 | done, in sync, or without findings |
| 1 | failed |
| 2 | wrong options |
| 3 | drift, findings, or mail that waits |
| 4 | nothing to base the answer on, such as a log without a line of Postfix, or an agent that does not answer |
| 78 | bad settings |
"""


def commands() -> str:
    """Return the page."""
    return _INTRODUCTION + "\n".join(_sections()) + "\n"


def _sections() -> Iterator[str]:
    context = click.Context(main, info_name="postward")
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        inside = click.Context(command, context, name)
        usage = " ".join(["postward", name, *command.collect_usage_pieces(inside)])
        yield f"\n## postward {name}\n\n`{usage}`\n"
        for paragraph in re.split(r"\n\s*\n", (command.help or "").replace("\b\n", "").strip()):
            yield wrapped(plain(paragraph)) + "\n"
        yield "| option | meaning |\n|---|---|"
        for parameter in command.get_params(inside):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(inside)):
                option, _, choices = record[0].partition(" [")
                named = f" One of: {', '.join(choices.rstrip(']').split('|'))}." if choices else ""
                yield f"| `{option}` | {cell(plain(record[1] + named))} |"
