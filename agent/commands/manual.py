"""`python -m postward.agent.commands.manual DIRECTORY`: write the manual pages as roff (man(7)).

postward(1) has each command and option of `--help`, with the same text. `manual_settings` makes postward.toml(5) from
the models of the settings, `manual_agent` postward-agent(8) from the units and commands of the services.
"""

import sys
from pathlib import Path

import click

from postward.agent.cli import COMMANDS, main
from postward.agent.commands.manual_agent import agent_manual
from postward.agent.commands.manual_settings import settings_manual
from postward.agent.commands.roff import heading, options, roff, today

_DESCRIPTION = """\
Hosts that send through a relay fail silently: a password changes at the provider, TLS starts in the wrong mode, someone
forgets postmap. Postward keeps Postfix's relay configuration equal to one settings file, and rolls a change back if no
probe comes through. It reads the mail log, gives each failed delivery one cause, sends probes, explains outages, and
exports metrics to Prometheus.

Two services run it. postward.service reads, counts, probes and serves without privileges. postward-enforce.service is
root, and alone changes Postfix's configuration. Each command below works beside them or without them.
"""

_END = r"""
.SH EXAMPLES
.TP
Set this host up, and look for problems:
.B postward init && postward doctor
.TP
Why does no mail go out?
.B postward why
.TP
What happened in the last week?
.B postward report /var/log/mail.log*
.TP
Where is this mail?
.B postward trace bob@example.com
.TP
What would a change of the settings do? Do it, or take it back:
.B postward plan; postward apply; postward rollback
.TP
Follow the log as events:
.B tail \-f /var/log/mail.log | postward parse
.SH ENVIRONMENT
.TP
.B POSTWARD_CONFIG
The settings file, in place of \fB\-\-config\fR.
.TP
.B POSTWARD_\fISECTION\fB__\fIKEY\fR, \fBPOSTWARD_RELAY__\fINAME\fB__\fIKEY
A setting that overrides the settings file, such as POSTWARD_WEB__LISTEN=127.0.0.1:9999.
.TP
.B NO_COLOR\fR, \fBTERM\fR=dumb
Print without colours, as into a file or a pipe.
.TP
.B CREDENTIALS_DIRECTORY
Set by systemd: copies of the relays' passwords for the unprivileged agent.
.SH SIGNALS
.TP
.B SIGHUP
\fBrun\fR and \fBenforce\fR read the settings again; bad settings leave the former ones in force.
.TP
.BR SIGTERM ", " SIGINT
Ends \fBrun\fR, \fBenforce\fR and \fBsink\fR; the agent saves its counts and its position in the log first.
.SH FILES
.TP
/etc/postward/postward.toml
The settings. \fBpostward check \-\-example\fR prints them all, with descriptions.
.TP
/etc/postward/passwords/
A file with the password of each relay, readable by root only.
.TP
/etc/postward/oauth2/
The secrets of applications that get tokens, readable by root only.
.TP
/var/lib/postward/, /var/lib/postward\-enforce/
The agent's counts and log position; the enforcer's former configurations.
.SH EXIT STATUS
0 done or in sync, 1 failed, 2 usage, 3 drift, findings or mail that waits, 4 nothing to read, 78 bad settings.
.PP
Nothing to read is a log without a line of Postfix, or an agent that does not answer.
\fBprobe \-\-format check\fR exits as a monitoring plug\-in does.
.SH SEE ALSO
postward.toml(5), postward-agent(8), postconf(5), postfix(1), systemctl(1)
"""


def manual(day: str) -> str:
    """Return postward(1), with the day of its version."""
    context = click.Context(main, info_name="postward")
    parts = [
        heading("postward", 1, day, "keeps the outbound mail of a Postfix relay host alive"),
        r".SH SYNOPSIS" + "\n" + r"\fBpostward\fR \fICOMMAND\fR [\fIOPTION\fR...]",
        f".SH DESCRIPTION\n{roff(_DESCRIPTION)}",
        ".SH COMMANDS",
    ]
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None  # noqa: S101 -- the table has only existing commands
        parts.append(_command(command, click.Context(command, context, name)))
    return "\n".join(parts) + _END


def _command(command: click.Command, context: click.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    title = rf".SS \fBpostward {roff(context.info_name or '')}\fR {roff(usage)}"
    return "\n".join([title, roff(command.help or ""), *options(command, context)])


def pages(day: str) -> dict[str, str]:
    """Return the manual pages: file name → roff."""
    return {
        "postward.1": manual(day),
        "postward.toml.5": settings_manual(day),
        "postward-agent.8": agent_manual(day),
    }


def write_pages(directory: Path) -> None:
    """Write the manual pages into a directory, which is created."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, page in pages(today()).items():
        (directory / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
