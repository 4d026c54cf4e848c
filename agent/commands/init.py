"""`postward init`: from nothing to a working relay host, without an editor.

Promise: nothing is written before the answers make good settings and the relay has taken the login; then the password's file
(root's alone), the settings, and, when the plan is agreed to, Postfix's configuration, confirmed by a probe, and the services.
"""

import logging
import os
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import click

from postward.agent.commands.apply import put_into_force
from postward.agent.commands.check import show_finding
from postward.agent.commands.common import (
    echo_json,
    exit_on_error,
    fail,
    json_option,
    require_root,
    settings_option,
)
from postward.agent.console import diff_text, terminal
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.preflight import preflight
from postward.agent.fsutil import write_atomically
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.config.initial import Answers, initial_settings
from postward.config.lint import Finding, Severity, lint
from postward.config.passwords import password_fault
from postward.config.plan import Plan, diff
from postward.config.providers import PROVIDERS
from postward.config.settings import Settings, parse_settings

_UNITS = ("postward-enforce.service", "postward.service")


@click.command("init")
@settings_option
@json_option
@click.option("--provider", help=f"A known provider: {', '.join(PROVIDERS)}.")
@click.option("--region", default="", help="The provider's region, for ses.")
@click.option("--host", help="Or: the relay's host name.")
@click.option("--port", type=click.IntRange(1, 65535), help="Its port, where it is not the usual one.")
@click.option("--tls", default="", help="starttls, implicit, opportunistic or none; as the port stands for.")
@click.option("--username", help='The login; "" for a relay that wants none.')
@click.option(
    "--password-file",
    type=click.File("r"),
    help="A file to take the password from; - is standard input. It is copied to /etc/postward/passwords/.",
)
@click.option("--myhostname", help="This host's full name.")
@click.option("--recipient", help='Where probe mails go; "" for none.')
@click.option("--sender", default="", help="Their sender, if the relay does not take postward@ this domain.")
@click.option("--yes", is_flag=True, help="Ask nothing: what is not given must have a default.")
@click.option("--force", is_flag=True, help="Replace settings that are there.")
@click.option("--start/--no-start", default=True, show_default=True, help="Enable and start the services.")
def command(settings_file: Path, as_json: bool, yes: bool, force: bool, start: bool, **given: Any) -> None:
    """Set this host up: ask what is not given as options, try it on the relay, write the settings, apply, start."""
    require_root()
    logging.getLogger("postward.enforce").setLevel(logging.ERROR)  # the plan has said it
    begun = time.monotonic()
    if settings_file.exists() and not force:
        fail(f"{settings_file}: is there already; edit it, or write it anew with --force")
    answers, password = _ask(given, silent=yes)
    text = initial_settings(answers)
    with exit_on_error():
        settings = parse_settings(tomllib.loads(text), str(settings_file))
        if password is not None and (fault := password_fault(password)):
            fail(f"the password {fault}")
        passwords = {} if password is None else {answers.relay_name: password}
        if fault_of_relay := preflight(settings, passwords):
            fail(f"nothing was written: {fault_of_relay.text}")
        _say("the relay takes us: connection, TLS and login went through")
        _write(answers, password, settings_file, text)
        findings = _findings(settings, settings_file)
        enforcer = Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))
        planned, _ = enforcer.look()
        _show(findings, planned)
        if not yes and not click.confirm("Bring this into force?", default=True, err=True):
            _say("nothing more was changed; whenever you want it: postward apply")
            return
        result = put_into_force(settings, enforcer, verify=True)
    seconds = time.monotonic() - begun
    if result is not None and result.accepted:
        _say(f"{seconds:.1f} s from the start of postward init to a probe that was delivered")
    started = _start_services() if start else False
    if as_json:
        probe = None if result is None else {"outcome": result.outcome, "seconds": round(seconds, 3)}
        echo_json(
            {
                "settings": str(settings_file),
                "findings": [finding.to_dict() for finding in findings],
                "changes": [drift.name for drift in planned.drifts],
                "probe": probe,
                "started": started,
            }
        )


def _ask(given: dict[str, Any], *, silent: bool) -> tuple[Answers, str | None]:
    """The answers: options first, then questions on the terminal."""
    silent = silent or not sys.stdin.isatty()
    asked = _Questions(silent)
    provider = given["provider"]
    if provider is None and given["host"] is None:
        provider = asked.text('The provider, or "other"', "--provider or --host")
    provider = "" if provider in {None, "other"} else provider
    host = given["host"] or ""
    if not provider and not host:
        host = asked.text("The relay's host name", "--host")
    usual = PROVIDERS[provider].username if provider in PROVIDERS else ""
    username = given["username"]
    if username is None:
        username = usual or asked.text("The login at the relay (empty: none)", "--username", "")
    password = None
    if username or usual:
        file = given["password_file"]
        password = file.read().rstrip("\r\n") if file else asked.secret("Its password", "--password-file")
    myhostname = given["myhostname"] or asked.text("This host's full name", "--myhostname", _full_name())
    recipient = given["recipient"]
    if recipient is None:
        recipient = asked.text("Where probe mails go (empty: none are sent)", "--recipient", "")
    answers = Answers(
        myhostname=myhostname,
        provider=provider,
        region=given["region"],
        host=host,
        port=given["port"],
        tls=given["tls"],
        username=username,
        login=password is not None,
        recipient=recipient,
        sender=given["sender"],
        ipv4_only=not _has_ipv6(),
    )
    return answers, password


class _Questions:
    """Asks on the terminal, or takes the default where nobody may be asked."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent

    def text(self, question: str, option: str, default: str | None = None) -> str:
        """A line of text."""
        if not self._silent:
            return str(click.prompt(question, default=default, show_default=bool(default), err=True)).strip()
        if default is None:
            fail(f"{option} is missing, and there is nobody to ask")
        return default

    def secret(self, question: str, option: str) -> str:
        """A text that is not shown."""
        if self._silent:
            fail(f"{option} is missing, and there is nobody to ask")
        return str(click.prompt(question, hide_input=True, err=True))


def _full_name() -> str | None:
    """The name of the machine, if it is a full one."""
    name = socket.getfqdn()
    return name if "." in name and not name.startswith("localhost") else None


def _has_ipv6() -> bool:
    """Whether there is a route to IPv6 at all. Nothing is sent: a UDP socket is only told its peer (RFC 3849's prefix)."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:db8::1", 9))
    except OSError:
        return False
    return True


def _write(answers: Answers, password: str | None, settings_file: Path, text: str) -> None:
    """The password first, so that no settings name a file that is not there."""
    if password is not None and answers.password_file is not None:
        folder = answers.password_file.parent
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        write_atomically(answers.password_file, f"{password}\n".encode(), mode=0o600, owner=(0, 0))
        _say(f"written: {answers.password_file} (readable by root alone)")
    settings_file.parent.mkdir(parents=True, exist_ok=True)
    # No secret stands in it, and the unprivileged agent reads it.
    write_atomically(settings_file, text.encode(), mode=0o644, owner=(0, 0))
    _say(f"written: {settings_file}")


def _findings(settings: Settings, settings_file: Path) -> list[Finding]:
    """What lint finds besides what is about to be applied."""
    facts = read_host_facts(Postfix(Path(settings.postfix.config_directory)), settings, settings_file)
    return [
        finding
        for finding in lint(settings, facts, str(settings_file))
        if not finding.by_apply and finding.severity is not Severity.NOTE
    ]


def _show(findings: list[Finding], planned: Plan) -> None:
    for finding in findings:
        for line in show_finding(finding):
            _say(line)
    terminal(error=True).print(diff_text(diff(planned)), end="")


def _start_services() -> bool:
    """Enable and start both services; False where they are not installed, or systemd does not run."""
    if not Path("/run/systemd/system").is_dir():
        _say("systemd does not run here; start by yourself: postward run --enforce")
        return False
    done = subprocess.run(
        ["systemctl", "enable", "--now", *_UNITS],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"SYSTEMD_COLORS": "0"},
    )
    if done.returncode:
        fail(f"the services were not started: {done.stderr.strip()}; see: journalctl -u postward -n 50")
    _say("started: postward-enforce.service, postward.service")
    return True


def _say(words: str) -> None:
    click.echo(words, err=True)
