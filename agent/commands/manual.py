"""`python -m postward.agent.commands.manual`: print the manual page postward(1) as roff (man(7)).

Promise: it has each command and option of `--help`, with the same text.
"""

import re
from importlib.metadata import version

import click

from postward.agent.cli import COMMANDS, main

_END = r"""
.SH FILES
.TP
/etc/postward/postward.toml
The settings. \fBpostward check \-\-example\fR prints them all, with descriptions.
.TP
/etc/postward/passwords/
A file with the password of each relay, readable by root only.
.TP
/var/lib/postward/, /var/lib/postward\-enforce/
The agent's counts and log position; the enforcer's former configurations.
.SH EXIT STATUS
0 done or in sync, 1 failed, 2 usage, 3 drift or findings, 78 bad settings.
.SH SEE ALSO
postconf(5), postfix(1), systemctl(1)
"""


def manual() -> str:
    """Return the manual page."""
    context = click.Context(main, info_name="postward")
    parts = [
        f'.TH POSTWARD 1 "" "Postward {version("postward")}"',
        f".SH NAME\npostward \\- {_roff('keeps the outbound mail of a Postfix relay host alive')}",
        r".SH SYNOPSIS" + "\n" + r"\fBpostward\fR \fICOMMAND\fR [\fIOPTION\fR...]",
        f".SH DESCRIPTION\n{_roff(main.help or '')}",
        ".SH COMMANDS",
    ]
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None  # noqa: S101 -- the table has only existing commands
        parts.append(_command(command, click.Context(command, context, name)))
    return "\n".join(parts) + _END


def _command(command: click.Command, context: click.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [
        rf".SS \fBpostward {_roff(context.info_name or '')}\fR {_roff(usage)}",
        _roff(command.help or ""),
    ]
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)):
            parts += [".TP", rf"\fB{_roff(record[0])}\fR", _roff(record[1])]
    return "\n".join(parts)


def _roff(text: str) -> str:
    """Return plain text for man(7): paragraphs are kept, and characters special to roff are escaped."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("\b\n", "")
    paragraphs = re.split(r"\n\s*\n", escaped.strip())
    lines = (re.sub(r"^(['.])", r"\\&\1", " ".join(paragraph.split())) for paragraph in paragraphs)
    return "\n.PP\n".join(lines)


if __name__ == "__main__":
    print(manual(), end="")  # noqa: T201 -- its output
