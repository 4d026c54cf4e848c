"""`postward init`: set up a relay host without an editor.

Promise: nothing is written before the answers form valid settings and the relay has accepted the login, apart from a
refresh token, which a provider may give only once. Then the file of the password or secret (readable by root only) and
the settings are written. After the user agrees to the plan, Postfix's configuration is changed and confirmed by a
probe, and the services are started.
"""

import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import click

from postward.agent.commands.adopt import leads_to_adoption
from postward.agent.commands.apply import agree, put_into_force
from postward.agent.commands.check import finding_text
from postward.agent.commands.common import (
    allow_option,
    echo_json,
    exit_on_error,
    fail,
    json_option,
    load,
    require_root,
    settings_option,
    write_settings,
)
from postward.agent.commands.exit_status import BAD_SETTINGS, FAILED
from postward.agent.commands.login import sign_in, store_grant
from postward.agent.console import diff_text, terminal
from postward.agent.doctor.system import relay_findings
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.state import ApplyError
from postward.agent.oauth2.keeper import renew
from postward.agent.oauth2.request import fetch
from postward.agent.oauth2.store import TokenStore
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.agent.postfix.process import is_master_running
from postward.agent.postfix.run import PostfixError
from postward.agent.probe.once import probe_local
from postward.agent.probe.result import ProbeResult
from postward.agent.setup.conversation import AnswerError, Conversation
from postward.agent.setup.proposals import full_name, has_ipv6, propose
from postward.agent.setup.questions import Terminal
from postward.config.consequences import Effect
from postward.config.initial import SECRET_SETTINGS, Answers, initial_settings, settings_of
from postward.config.lint import Finding, Severity, lint
from postward.config.oauth2 import STORED_GRANTS, Grant
from postward.config.plan import Plan, diff
from postward.config.providers import PROVIDERS
from postward.config.receiving import PARAMETERS, receiving
from postward.config.relay import Relay, TlsMode
from postward.config.routing.changes import RouteChange, route_lines
from postward.config.settings import Settings

_UNITS = (
    "postward-token.path",
    "postward-token.service",
    "postward-enforce.service",
    "postward.service",
    "postward-report.timer",
)


@click.command("init")
@settings_option
@json_option
@click.option("--provider", type=click.Choice([*PROVIDERS]), help="A known provider.")
@click.option("--region", help="The provider's region, for ses.")
@click.option("--host", help="The relay's host name, instead of a provider.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The relay's port. The default is one that answers."
)
@click.option(
    "--tls",
    type=click.Choice(get_args(TlsMode)),
    help="How TLS begins at the relay. The default is the port's usual one, or else found by trying.",
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
@click.option("--tenant", help="The directory's ID or domain, for office365 with --grant.")
@click.option("--client-id", help="The ID of the registered application, with --grant.")
@click.option("--secret-expires", help="The day on which the client secret ends, as in 2027-05-01.")
@click.option("--myhostname", help="This host's full name.")
@click.option("--admin", help='The address for mail to root of this host; "" leaves it as it is.')
@click.option("--recipient", help='The recipient of probes; "" sends no probes.')
@click.option("--sender", help="The sender of probes, if the relay rejects postward@ this domain.")
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
    _require_sense(settings_file, given, yes=yes, force=force)
    logging.getLogger("postward.enforce").setLevel(logging.ERROR)  # the plan shows the changes already
    begun = time.monotonic()
    with exit_on_error():
        postfix = Postfix(Path(settings_of(Answers()).postfix.config_directory))
        _require_main_cf(postfix)
        is_new = not (yes or force or given["provider"] or given["host"])
        if is_new and leads_to_adoption(postfix, settings_file, as_json=as_json):
            return
        answers, secret, certificates = _converse(given, postfix, ask=not yes)
        _say("the check of the relay succeeded: connection, TLS, login")
        secrets = {answers.secret_file: secret} if answers.secret_file and secret is not None else {}
        write_settings(settings_file, initial_settings(answers), secrets)
        settings = load(settings_file)  # with its fragments
        if answers.grant:
            _require_token(next(relay for relay in settings.relay if relay.name == answers.relay_name))
        findings = [*certificates, *_findings(settings, settings_file)]
        enforcer = Enforcer(settings, postfix)
        planned, _ = enforcer.look()
        _show(findings, planned, enforcer.route_changes())
        if not yes and not click.confirm("Apply these changes?", default=True, err=True):
            _say("Postfix's configuration was not changed; to apply the settings later: postward apply")
            return
        # A host sends only because it receives nothing, or because the user said so.
        allow += (Effect.END_INBOUND.value,) if answers.send_only else ()
        agreed = agree(planned, allow, ask=not yes)
        result = _apply(settings, enforcer, agreed, settings_file)
        _probe_root(settings, postfix)
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


def _require_sense(settings_file: Path, given: dict[str, Any], *, yes: bool, force: bool) -> None:
    """End the command if it could not ask, would replace settings unasked, or lacks options."""
    if not yes and not sys.stdin.isatty():
        fail("standard input is not a terminal, so init cannot ask questions; add --yes")
    if settings_file.exists() and not force:
        fail(f"{settings_file}: exists already; edit it, or replace it with --force")
    if yes and (missing := _missing(given)):
        raise click.UsageError(f"with --yes, these options are required: {', '.join(missing)}")
    _require_identity(given)


def _require_identity(given: dict[str, Any]) -> None:
    """End the command if the endpoints for --grant are not known."""
    known = [name for name, preset in PROVIDERS.items() if preset.identity]
    if given["grant"] and given["host"] and given["provider"] not in known:
        raise click.UsageError(
            f"--grant needs --provider, one of {', '.join(known)}; for others see docs/oauth2.md"
        )


def _missing(given: dict[str, Any]) -> list[str]:
    """Return the options that were not given, and have no default."""
    username = given["username"]
    if username is None and given["provider"]:
        username = PROVIDERS[given["provider"]].username
    grant = given["grant"]
    has_secret = username and grant != "device_code"
    missing = {
        "--provider or --host": not (given["provider"] or given["host"]),
        "--region": given["provider"] == "ses" and not (given["region"] or given["host"]),
        "--username": grant and not username,
        "--tenant": grant and given["provider"] == "office365" and not given["tenant"],
        "--client-id": grant not in {None, "service_account"} and not given["client_id"],
        "--password-file": has_secret and not given["password_file"],
        "--myhostname": not (given["myhostname"] or full_name()),
    }
    return [option for option, is_missing in missing.items() if is_missing]


def _require_main_cf(postfix: Postfix) -> None:
    """End the command if Postfix was installed without a configuration."""
    file = postfix.config_directory / "main.cf"
    if not file.exists():
        fail(
            f"nothing was written: {file} does not exist; configure Postfix first "
            f"(Debian: cp /usr/share/postfix/main.cf.debian {file})"
        )


def _converse(
    given: dict[str, Any], postfix: Postfix, *, ask: bool
) -> tuple[Answers, str | None, list[Finding]]:
    """Return the answers, the password or secret, and what is wrong with the relay's certificate.

    A wrong answer that cannot be asked again ends the command, and so does Ctrl-C.
    """
    conversation = Conversation(
        given,
        Terminal() if ask else None,
        proposed=propose(postfix),
        token_of=_token,
        only_sends=lambda: _sends_only(postfix, given["send_only"], ask=ask),
        ipv4_only=not has_ipv6(),
    )
    try:
        secret = conversation.run()
    except AnswerError as error:
        click.echo(f"postward: {error}", err=True)
        sys.exit(FAILED if str(error).startswith("nothing") else BAD_SETTINGS)
    except (click.Abort, KeyboardInterrupt):
        _say("")
        fail("nothing was written")
    checks = [conversation.check] if conversation.check else []
    return conversation.answers, secret, list(relay_findings(checks))


def _token(relay: Relay, secret: str) -> str:
    """Return an access token, by the secret of the relay's grant or a sign-in. Raises TokenError."""
    assert relay.oauth2 is not None  # noqa: S101 -- called with a grant only
    if relay.oauth2.grant in STORED_GRANTS:
        store_grant(relay, secret or sign_in(relay))
        return relay.read_password()
    with tempfile.NamedTemporaryFile("w", prefix="postward-") as file:  # mode 0600
        file.write(secret)
        file.flush()
        setting = SECRET_SETTINGS[relay.oauth2.grant]
        trial = relay.oauth2.model_copy(update={setting: file.name})
        return fetch(relay.model_copy(update={"oauth2": trial})).access_token


def _require_token(relay: Relay) -> None:
    """Store an access token, which Postfix needs before the service runs; end the command if that fails."""
    state = renew(relay, TokenStore(relay), time.time(), 1.0)
    if state.problem:
        fail(f"no token was stored: {state.problem}")


def _sends_only(postfix: Postfix, given: bool | None, *, ask: bool) -> bool:
    """Return True for a host that receives nothing. If it does, only an answer ends that."""
    if given is not None:
        return given
    try:
        received = receiving(postfix.meanings(PARAMETERS))
    except PostfixError:
        return True  # Postfix has no configuration yet
    if not received:
        return True
    _say(f"this host receives mail: {'; '.join(received)}")
    if ask and Terminal().agree("End that, because this host is to send only?"):
        return True
    _say("this stays as it is (--send-only ends it)")
    return False


def _apply(
    settings: Settings, enforcer: Enforcer, agreed: frozenset[Effect], settings_file: Path
) -> ProbeResult | None:
    """Apply the settings. After a failure, name the next step. Raises ApplyError."""
    try:
        return put_into_force(settings, enforcer, verify=True, agreed=agreed)
    except ApplyError as error:
        raise ApplyError(
            f"{error}\nThe settings are in {settings_file}. Correct them there, then: postward apply. Or answer again: "
            "postward init --force"
        ) from None


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


def _probe_root(settings: Settings, postfix: Postfix) -> None:
    """Send a mail to root, and show whether the relay took it for the admin."""
    if not settings.host.admin or not is_master_running(postfix.expanded("queue_directory")):
        return
    result = asyncio.run(probe_local(settings, "root"))
    _say(
        f"mail to root goes to {settings.host.admin}: the relay has accepted one"
        if result.accepted
        else f"mail to root does not reach {settings.host.admin}: {result.reason}; see: postward probe --admin"
    )


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
