"""`postward init`: set up a relay host without an editor.

Promise: nothing is written before the answers form valid settings and the relay has accepted the login, apart from a
refresh token, which a provider may give only once. Then the file of the password or secret (readable by root only) and
the settings are written. After the user agrees to the plan, Postfix's configuration is changed and confirmed by a
probe, and the services are started.
"""

import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click

from postward.agent.commands.apply import agree, put_into_force
from postward.agent.commands.check import finding_text
from postward.agent.commands.common import (
    allow_option,
    echo_json,
    exit_on_error,
    fail,
    json_option,
    require_root,
    settings_option,
)
from postward.agent.commands.exit_status import FAILED
from postward.agent.commands.login import sign_in, store_grant
from postward.agent.console import diff_text, terminal
from postward.agent.doctor.system import relay_findings
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.preflight import check_relays, fault_of
from postward.agent.fsutil import write_atomically
from postward.agent.oauth2.keeper import renew
from postward.agent.oauth2.request import TokenError, fetch
from postward.agent.oauth2.store import TokenStore
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.agent.postfix.process import is_master_running
from postward.agent.postfix.run import PostfixError
from postward.agent.probe.result import ProbeResult
from postward.config.consequences import Effect
from postward.config.initial import SECRET_SETTINGS, Answers, initial_settings
from postward.config.lint import Finding, Severity, lint
from postward.config.oauth2 import STORED_GRANTS, Grant, grants_of
from postward.config.passwords import password_fault
from postward.config.plan import Plan, diff
from postward.config.providers import PROVIDERS
from postward.config.receiving import PARAMETERS, receiving
from postward.config.relay import Relay, TlsMode
from postward.config.routing.changes import RouteChange, route_lines
from postward.config.settings import Settings, parse_settings
from postward.parsers import Cause

_POSTFIX_DIRECTORY = Path("/etc/postfix")
_BLOCKED = {Cause.REFUSED, Cause.TIMEOUT, Cause.UNREACHABLE}
_BY_PASSWORD = "password"  # noqa: S105 -- an answer
_SECRET_NAMES = {
    "client_credentials": "The client secret",
    "service_account": "The service account's key, in one line of JSON",
    "refresh_token": "The refresh token",
}
_UNITS = ("postward-token.path", "postward-token.service", "postward-enforce.service", "postward.service")


@click.command("init")
@settings_option
@json_option
@click.option("--provider", type=click.Choice([*PROVIDERS]), help="A known provider.")
@click.option("--region", default="", help="The provider's region, for ses.")
@click.option("--host", help="The relay's host name, instead of a provider.")
@click.option("--port", type=click.IntRange(1, 65535), help="The relay's port, if it is not the default.")
@click.option(
    "--tls",
    type=click.Choice(get_args(TlsMode)),
    help="How TLS begins at the relay; the default depends on the port.",
)
@click.option("--username", help='The login; "" for a relay that requires none.')
@click.option(
    "--password-file",
    type=click.File("r"),
    help="A file with the password, or with what --grant needs: client secret, service account key or refresh token; "
    "- is standard input. It is copied.",
)
@click.option(
    "--grant",
    type=click.Choice(get_args(Grant)),
    help="Log in with tokens in place of a password, got by this grant: see docs/oauth2.md.",
)
@click.option("--tenant", default="", help="The directory's ID or domain, for office365 with --grant.")
@click.option("--client-id", default="", help="The ID of the registered application, with --grant.")
@click.option(
    "--secret-expires", default="", help="The day on which the client secret ends, as in 2027-05-01."
)
@click.option("--myhostname", help="This host's full name.")
@click.option("--recipient", help='The recipient of probes; "" sends no probes.')
@click.option(
    "--sender", default="", help="The sender of probes, if the relay rejects postward@ this domain."
)
@click.option(
    "--rewrite-sender",
    help='The sender of all mail, for a provider that accepts one only; "" changes no sender.',
)
@click.option(
    "--send-only/--keep-receiving",
    "send_only",
    default=None,
    help="Whether this host receives no mail from others. The default is what Postfix's configuration shows.",
)
@allow_option
@click.option("--yes", is_flag=True, help="Ask nothing; options without a default must be given.")
@click.option("--force", is_flag=True, help="Replace an existing settings file.")
@click.option("--start/--no-start", default=True, show_default=True, help="Enable and start the services.")
def command(
    settings_file: Path,
    as_json: bool,
    yes: bool,
    force: bool,
    start: bool,
    allow: tuple[str, ...],
    **given: Any,
) -> None:
    """Set up this host: ask for missing options, check the relay, write the settings, apply them, start the services."""
    require_root()
    if not yes and not sys.stdin.isatty():
        fail("standard input is not a terminal, so init cannot ask questions; add --yes")
    logging.getLogger("postward.enforce").setLevel(logging.ERROR)  # the plan shows the changes already
    begun = time.monotonic()
    if settings_file.exists() and not force:
        fail(f"{settings_file}: exists already; edit it, or replace it with --force")
    if yes and (missing := _missing(given)):
        raise click.UsageError(f"with --yes, these options are required: {', '.join(missing)}")
    answers, secret = _ask(given, silent=yes)
    text = initial_settings(answers)
    with exit_on_error():
        settings = parse_settings(tomllib.loads(text), "postward init")
        _require_main_cf(settings)
        password = _token(settings.relay[0], secret) if answers.grant else secret
        certificates = _check_relay(settings, answers, password)
        _write(answers, secret, settings_file, text)
        if answers.grant:
            _require_token(settings.relay[0])
        findings = [*certificates, *_findings(settings, settings_file)]
        postfix = Postfix(Path(settings.postfix.config_directory))
        enforcer = Enforcer(settings, postfix)
        planned, _ = enforcer.look()
        _show(findings, planned, enforcer.route_changes())
        if not yes and not click.confirm("Apply these changes?", default=True, err=True):
            _say("Postfix's configuration was not changed; to apply the settings later: postward apply")
            return
        # A host sends only because it receives nothing, or because the user said so.
        allow += (Effect.END_INBOUND.value,) if answers.send_only else ()
        agreed = agree(planned, allow, ask=not yes)
        result = put_into_force(settings, enforcer, verify=True, agreed=agreed)
    seconds = time.monotonic() - begun
    if result is not None and result.accepted:
        _say(f"{seconds:.1f} s from the start of postward init to the first delivered probe")
    started = _start_services() if start else False
    if stopped := not is_master_running(postfix.expanded("queue_directory")):
        _say("Postfix does not run, and no probe was sent; next: systemctl start postfix && postward probe")
    if as_json:
        echo_json(
            {
                "settings": str(settings_file),
                "findings": [finding.to_dict() for finding in findings],
                "changes": [drift.name for drift in planned.drifts],
                "probe": _probe_as_json(result, seconds),
                "started": started,
            }
        )
    if stopped and start:
        sys.exit(FAILED)


def _probe_as_json(result: ProbeResult | None, seconds: float) -> dict[str, Any] | None:
    return None if result is None else {"outcome": result.outcome, "seconds": round(seconds, 3)}


def _missing(given: dict[str, Any]) -> list[str]:
    """Return the options that were not given, and have no default."""
    username = given["username"]
    if username is None and given["provider"]:
        username = PROVIDERS[given["provider"]].username
    grant = given["grant"]
    has_secret = username and grant != "device_code"
    missing = {
        "--provider or --host": not (given["provider"] or given["host"]),
        "--username": grant and not username,
        "--tenant": grant and given["provider"] == "office365" and not given["tenant"],
        "--client-id": grant not in {None, "service_account"} and not given["client_id"],
        "--password-file": has_secret and not given["password_file"],
        "--myhostname": not (given["myhostname"] or _full_name()),
    }
    return [option for option, is_missing in missing.items() if is_missing]


def _require_main_cf(settings: Settings) -> None:
    """End the command if Postfix was installed without a configuration."""
    file = Path(settings.postfix.config_directory, "main.cf")
    if not file.exists():
        fail(
            f"nothing was written: {file} does not exist; configure Postfix first "
            f"(Debian: cp /usr/share/postfix/main.cf.debian {file})"
        )


def _check_relay(settings: Settings, answers: Answers, password: str | None) -> list[Finding]:
    """Check the password's form, then connection, TLS and login; end the command if one of them fails.

    Returns:
        a warning if the certificate is not valid.
    """
    if password is not None and (fault := password_fault(password)):
        fail(f"the password {fault}")
    passwords = {} if password is None else {answers.relay_name: password}
    checks = check_relays(settings, passwords)
    if refused := fault_of(checks):
        blocked = any(check.cause in _BLOCKED for check in checks)
        hint = "; where this port is blocked, --port 2525 or --port 465 may work" if blocked else ""
        fail(f"nothing was written: {refused.text}{hint}")
    _say("the check of the relay succeeded: connection, TLS, login")
    return list(relay_findings(checks))


def _token(relay: Relay, secret: str | None) -> str:
    """Return an access token, by the secret or a sign-in; end the command without one."""
    assert relay.oauth2 is not None  # noqa: S101 -- called with a grant only
    try:
        if relay.oauth2.grant in STORED_GRANTS:
            store_grant(relay, secret or sign_in(relay))
            return relay.read_password()
        with tempfile.NamedTemporaryFile("w", prefix="postward-") as file:  # mode 0600
            file.write(secret or "")
            file.flush()
            setting = SECRET_SETTINGS[relay.oauth2.grant]
            trial = relay.oauth2.model_copy(update={setting: file.name})
            return fetch(relay.model_copy(update={"oauth2": trial})).access_token
    except TokenError as error:
        fail(f"nothing was written: {error}")


def _require_token(relay: Relay) -> None:
    """Store an access token, which Postfix needs before the service runs; end the command if that fails."""
    state = renew(relay, TokenStore(relay), time.time(), 1.0)
    if state.problem:
        fail(f"no token was stored: {state.problem}")


def _ask(given: dict[str, Any], *, silent: bool) -> tuple[Answers, str | None]:
    """Return the answers and the password, from the options or else from questions on the terminal."""
    asked = _Questions(silent)
    provider, host = _ask_relay(given, asked)
    grant = _ask_grant(given, asked, provider)
    username, password = _ask_login(given, asked, provider, grant)
    tenant, client_id = given["tenant"], given["client_id"]
    if grant and provider == "office365":
        tenant = tenant or asked.text("The directory's ID or domain (tenant)")
    if grant and grant != "service_account":
        client_id = client_id or asked.text("The ID of the application (client)")
    rewrite_sender = given["rewrite_sender"]
    if rewrite_sender is None:
        rewrite_sender = _ask_sender(asked, provider, username)
    myhostname = given["myhostname"] or asked.text("This host's full name", _full_name())
    recipient = given["recipient"]
    if recipient is None:
        recipient = asked.text("The recipient of probes (empty: send none)", "")
    send_only = given["send_only"]
    if send_only is None:
        send_only = _only_sends(asked)
    answers = Answers(
        myhostname=myhostname,
        send_only=send_only,
        provider=provider,
        region=given["region"],
        host=host,
        port=given["port"],
        tls=given["tls"] or "",
        username=username,
        login=password is not None,
        grant=grant,
        tenant=tenant,
        client_id=client_id,
        secret_expires=given["secret_expires"],
        recipient=recipient,
        sender=given["sender"],
        rewrite_sender=rewrite_sender,
        ipv4_only=not _has_ipv6(),
    )
    return answers, password


def _only_sends(asked: "_Questions") -> bool:
    """Return True for a host that receives nothing. If it does, only an answer ends that."""
    try:
        received = receiving(Postfix(_POSTFIX_DIRECTORY).meanings(PARAMETERS))
    except PostfixError:
        return True  # Postfix has no configuration yet
    if not received:
        return True
    _say(f"this host receives mail: {'; '.join(received)}")
    if asked.agree("End that, because this host is to send only?"):
        return True
    _say("this stays as it is (--send-only ends it)")
    return False


def _ask_relay(given: dict[str, Any], asked: "_Questions") -> tuple[str, str]:
    """Return provider and host name of the relay; the provider is "" if it is none of the presets."""
    provider = given["provider"]
    if provider is None and given["host"] is None:
        provider = asked.text("The provider", choices=(*PROVIDERS, "other"))
    provider = "" if provider in {None, "other"} else provider
    host = given["host"] or ""
    if not provider and not host:
        host = asked.text("The relay's host name")
    return provider, host


def _ask_grant(given: dict[str, Any], asked: "_Questions", provider: str) -> str:
    """Return the grant by which the provider gives tokens; "" for a login by password, or none."""
    identity = PROVIDERS[provider].identity if provider in PROVIDERS else None
    if given["grant"] and identity is None:
        known = ", ".join(name for name, preset in PROVIDERS.items() if preset.identity)
        raise click.UsageError(f"--grant needs --provider, one of {known}; for others see docs/oauth2.md")
    if given["grant"] or identity is None or given["password_file"] or given["username"] == "":
        return given["grant"] or ""
    grants = grants_of(identity)
    default = grants[0] if identity.device_endpoint else _BY_PASSWORD
    answer = asked.text("The login: a grant of OAuth2 (docs/oauth2.md)", default, (*grants, _BY_PASSWORD))
    return "" if answer == _BY_PASSWORD else answer


def _ask_login(
    given: dict[str, Any], asked: "_Questions", provider: str, grant: str
) -> tuple[str, str | None]:
    """Return username and password; the password is None if the relay requires no login.

    Some providers have the same username for all customers; it is not asked for then. With a grant, the password is
    its secret, and "" for a sign-in by device code.
    """
    usual = PROVIDERS[provider].username if provider in PROVIDERS else ""
    username = given["username"]
    if username is None:
        username = usual or asked.text("The login at the relay (empty: none)", "")
    if not username:
        return "", None
    file = given["password_file"]
    if file or grant == "device_code":
        return username, file.read().rstrip("\r\n") if file else ""
    return username, asked.secret(_SECRET_NAMES.get(grant, "Its password"))


def _ask_sender(asked: "_Questions", provider: str, username: str) -> str:
    """Return the sender of all mail for a provider that accepts no other than its login; "" for other providers."""
    if provider not in PROVIDERS or not PROVIDERS[provider].one_sender or "@" not in username:
        return ""
    question = f"{provider} bounces mail from any sender but its login. The sender of all mail"
    return asked.text(question, username)


class _Questions:
    """Questions on the terminal. If `silent`, the answers are the defaults; `_missing` found that they suffice."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent

    def text(self, question: str, default: str | None = None, choices: Sequence[str] = ()) -> str:
        """Ask for a line of text, which is one of the `choices` if there are any."""
        if self._silent:
            return default or ""
        kind = click.Choice(choices) if choices else None
        return str(
            click.prompt(question, default=default, type=kind, show_default=bool(default), err=True)
        ).strip()

    def agree(self, question: str) -> bool:
        """Ask for an explicit yes; False if questions are not possible."""
        return not self._silent and click.confirm(question, default=False, err=True)

    def secret(self, question: str) -> str:
        """Ask for a text that is not displayed."""
        return str(click.prompt(question, hide_input=True, err=True))


def _full_name() -> str | None:
    """Return the fully qualified name of this host; None if it is unknown."""
    name = socket.getfqdn()
    return name if "." in name and not name.startswith("localhost") else None


def _has_ipv6() -> bool:
    """Return whether this host has an IPv6 route.

    connect(2) on a UDP socket looks up the route and sends nothing. The address is from the documentation prefix
    (RFC 3849).
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:db8::1", 9))
    except OSError:
        return False
    return True


def _write(answers: Answers, secret: str | None, settings_file: Path, text: str) -> None:
    """Write the file of the password or secret, then the settings, so that they never name a missing file."""
    if secret is not None and answers.secret_file is not None:
        folder = answers.secret_file.parent
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        write_atomically(answers.secret_file, f"{secret}\n".encode(), mode=0o600, owner=(0, 0))
        _say(f"written: {answers.secret_file} (readable by root only)")
    settings_file.parent.mkdir(parents=True, exist_ok=True)
    # The settings contain no secret, and the unprivileged agent reads them.
    write_atomically(settings_file, text.encode(), mode=0o644, owner=(0, 0))
    _say(f"written: {settings_file}")


def _findings(settings: Settings, settings_file: Path) -> list[Finding]:
    """Return the errors and warnings of lint that `postward apply` will not fix."""
    facts = read_host_facts(Postfix(Path(settings.postfix.config_directory)), settings, settings_file)
    return [
        finding
        for finding in lint(settings, facts, str(settings_file))
        if not finding.by_apply and finding.severity is not Severity.NOTE
    ]


def _show(findings: list[Finding], planned: Plan, changed: list[RouteChange]) -> None:
    for finding in findings:
        terminal(error=True).print(finding_text(finding))
    terminal(error=True).print(diff_text([*diff(planned), *route_lines(changed)]), end="")


def _start_services() -> bool:
    """Enable and start the services; a failure ends the command. Return False if systemd does not run."""
    if not Path("/run/systemd/system").is_dir():
        _say("systemd does not run on this host; start the agent with: postward run --enforce")
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


def _say(text: str) -> None:
    click.echo(text, err=True)
