"""The manual page postward-agent(8), made from the units, the commands that they start, and the routes of the endpoint."""

import re
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.resources import files

import click
from prometheus_client import CollectorRegistry
from starlette.routing import Route

from postward.agent.cli import main
from postward.agent.commands.roff import heading, item, options, roff
from postward.agent.http.app import Hooks, application
from postward.agent.http.auth import WebAccess

# Unit → the command that it starts, in the order of the page.
SERVICES = {
    "postward.service": "run",
    "postward-enforce.service": "enforce",
    "postward-token.service": "token",
    "postward-report.service": "report",
}
# Directives of a unit → how the page names them.
_DIRECTIVES = {
    "User": "User",
    "SupplementaryGroups": "Further groups",
    "LoadCredential": "Credentials",
    "StateDirectory": "State, below /var/lib",
    "LogsDirectory": "Logs, below /var/log",
    "WatchdogSec": "Watchdog, in seconds",
}

_DESCRIPTION = """\
Four services run Postward. The agent reads the mail log, counts, sends probes and serves metrics, without privileges.
The enforcer alone changes Postfix's configuration, as root and without a listener. The token service fetches the tokens
of relays that take no password, and ends if there is none. The report service, which a timer starts, sends the reports
that [report] asks for.

They log to the journal (journalctl -u postward), and report to systemd: ready, alive, and what they do.
Status 78 means bad settings, which systemd does not try again.
"""

_END = r"""
.SH SIGNALS
.TP
.B SIGHUP
Read the settings again (systemctl reload), and open the file of events again. Bad settings leave the former ones in force.
.TP
.BR SIGTERM ", " SIGINT
End. The agent saves its counts and its position in the log first.
.SH FILES
.TP
/etc/postward/postward.toml
The settings.
.TP
/var/lib/postward/
The agent's counts and its position in the log.
.TP
/var/lib/postward\-enforce/
The enforcer's former configurations.
.TP
/var/log/postward/
The place for the file of events (events.target), which logrotate(8) rotates.
.SH SEE ALSO
postward(1), postward.toml(5), systemd.exec(5), journalctl(1)
"""


def agent_manual(day: str) -> str:
    """Return the manual page, with the day of its version."""
    parts = [
        heading("postward-agent", 8, day, "services of Postward"),
        f".SH DESCRIPTION\n{roff(_DESCRIPTION)}",
        ".SH SERVICES",
    ]
    for unit, command in SERVICES.items():
        parts += _service(unit, command)
    parts += [".SH ENDPOINT", roff("The agent answers on web.listen, and its commands on a Unix socket:")]
    parts += [item(rf"\fB{roff(path)}\fR", text) for path, text in endpoint_paths()]
    return "\n".join(parts) + _END


def _service(unit: str, name: str) -> Iterator[str]:
    parser = ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(files("postward").joinpath(f"files/systemd/{unit}").read_text(encoding="utf-8"))
    service = parser["Service"]
    yield f".SS {roff(unit)}"
    facts = [f"{title}: {service[key]}" for key, title in _DIRECTIVES.items() if key in service]
    if "User" not in service:
        facts.insert(0, "User: root")
    context = click.Context(main, info_name="postward")
    command = main.get_command(context, name)
    assert command is not None  # noqa: S101 -- the table has only existing commands
    yield roff(f"{command.help}\n\nStarts {service['ExecStart']}. {'. '.join(facts)}.")
    yield from options(command, click.Context(command, context, name))


def endpoint_paths() -> Iterator[tuple[str, str]]:
    """Return the paths of the endpoint, each with what it is."""
    app = application(CollectorRegistry(), Hooks(not_ready=lambda: None), WebAccess(None))
    for route in app.routes:
        assert isinstance(route, Route)  # noqa: S101 -- all of them are
        text = (route.endpoint.__doc__ or "").strip()
        path = re.sub(r"\{(\w+)[^}]*\}", lambda name: name[1].upper(), route.path)
        yield path, f"{text} POST only." if route.methods == {"POST"} else text
