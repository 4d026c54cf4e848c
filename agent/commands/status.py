"""`postward status`: whether mail goes out, by which relay and since when; queue, configuration, log, incidents.

The source is the running agent. If its endpoint requires a login or does not answer, incidents are read from its checkpoint.
As a plug-in of a monitoring system, it asks the agent alone, and ends within ten seconds.
"""

import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from postward.agent.commands.common import echo_json, exit_on_error, fail, json_option, settings_option
from postward.agent.commands.exit_status import BAD_SETTINGS, DRIFT, UNREAD
from postward.agent.doctor.system import agent_remedy
from postward.agent.enforce.state import EnforcementState
from postward.agent.incidents.diagnosis import for_settings_file
from postward.agent.incidents.model import IncidentRow
from postward.agent.incidents.render import (
    EFFECT_TEXTS,
    MAIL_STOPS,
    Parts,
    lines_of_incident,
    moment,
    worst_effect,
)
from postward.agent.status.check import Check, as_local_check, as_plugin, check_of, unknown
from postward.agent.status.client import LiveError, ask_for_check, ask_former, ask_status, read_live
from postward.agent.status.model import config_of, limits_text, probe_words, queue_text, senders_text
from postward.agent.text import counted, plural
from postward.config.errors import SettingsError
from postward.config.settings import Settings, load_settings

_INTERVAL = 2.0  # seconds
_PLUGIN_DEADLINE = 9.0  # seconds; longer than the agent is asked, shorter than NRPE's 10
_MANY = 0.05  # as in the alert PostwardLogNotUnderstood
_STATES = {"going out": "green", "failing": "bold red", "unknown": "bold red", "quiet": "dim"}
_STATUSES = {"lost": DRIFT, "delayed": DRIFT, "degraded": DRIFT, "blind": UNREAD}  # effect → exit status


@click.command("status")
@settings_option
@json_option
@click.option("--watch", is_flag=True, help="Refresh every two seconds until interrupted.")
@click.option(
    "--format",
    "plugin",
    type=click.Choice(["check", "checkmk"]),
    help="One line with performance data. check: plug-in of Nagios and Icinga, exit status 0 (ok), 1 (warning), "
    "2 (critical) or 3 (unknown). checkmk: local check of Checkmk, exit status 0.",
)
def command(settings_file: Path, as_json: bool, watch: bool, plugin: str | None) -> None:
    """Show whether mail goes out, by which relay and since when, and what is wrong.

    Exit status 3 if an open incident keeps mail back or Postward does not do all of its work, 4 if the state is not known.
    """
    if plugin:
        if as_json or watch:
            raise click.UsageError("--format prints one line: leave out --json and --watch.")
        _run_as_plugin(plugin, settings_file)
    bad = False
    with exit_on_error():
        try:
            settings = load_settings(settings_file)
        except SettingsError as error:
            statuses, bad = [ask_despite(error, settings_file)], True
        else:
            if watch:
                _watch(settings, settings_file)
                return
            statuses = _read_all(settings, settings_file)
    if as_json:
        main, *others = statuses
        echo_json({**main, "instances": others} if others else main)
    else:
        _show(statuses)
    effects = {status["effect"] for status in statuses}
    codes = [code for effect, code in _STATUSES.items() if effect in effects]  # the worst first
    if codes or bad:
        sys.exit(codes[0] if codes else BAD_SETTINGS)


def _run_as_plugin(plugin: str, settings_file: Path) -> NoReturn:
    """Print the line of a check, and exit with its status."""
    answers: list[Check] = []

    def ask() -> None:
        try:
            status, silence = ask_for_check(settings_file)
            answers.append(unknown(silence) if status is None else check_of(status))
        except Exception as error:
            answers.append(unknown(f"{type(error).__name__}: {error}"))

    # A file on a server that is away can hold a process up without limit, so a thread reads it.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PLUGIN_DEADLINE)
    check = answers[0] if answers else unknown(f"no answer within {_PLUGIN_DEADLINE:g} s")
    if plugin == "check":
        click.echo(as_plugin(check))
        sys.exit(check.state)
    # The agent of Checkmk discards the output of a cached local check that exits with another status.
    click.echo(as_local_check(check))
    sys.exit(0)


def ask_despite(error: SettingsError, settings_file: Path) -> dict[str, Any]:
    """Print the errors of bad settings, and return the status of the agent, which has former ones.

    Without its answer, the errors end the command.
    """
    status = ask_former(settings_file)
    if status is None:
        raise error
    for problem in error.problems:
        click.echo(problem, err=True)
    click.echo("postward: this is the state of the agent, which runs with its former settings", err=True)
    return status


def _read_all(settings: Settings, settings_file: Path) -> list[dict[str, Any]]:
    """Return the status of the instance of these settings, then those of the further instances that they name."""
    found = [_read(settings, settings_file)]
    for path in map(Path, settings.postfix.instances):
        try:
            status = _read(load_settings(path), path)
            rows = [for_settings_file(row, path) for row in status["incidents"]]
            found.append({**status, "incidents": rows})
        except SettingsError as error:
            # While its file was good, the agent watched it; if it never was, the main instance has the incident.
            if (former := ask_former(path)) is not None:
                found.append(former)
            for problem in error.problems:
                click.echo(problem, err=True)
    return found


def _read(settings: Settings, settings_file: Path) -> dict[str, Any]:
    status, silence = ask_status(settings, settings_file)
    if status is not None:
        return status
    try:
        live = read_live(settings, settings_file, silence=silence)
    except LiveError as error:
        fail(str(error))
    rows = live.shown(lambda _: True, addresses=False)
    effect = worst_effect(rows)
    if live.unknown and effect not in MAIL_STOPS:
        effect = "blind"
    return {
        "host": settings.host.myhostname,
        "now": time.time(),
        "effect": effect,
        "verdict": EFFECT_TEXTS[effect].verdict,
        "unknown": live.unknown,
        "remedy": agent_remedy() if live.unknown else "",
        "config": config_of(EnforcementState(Path(settings.enforce.directory)).gauges()),
        "incidents": rows,
    }


def _watch(settings: Settings, settings_file: Path) -> None:
    from rich.live import Live as Screen
    from rich.text import Text

    def made() -> Text:
        lines = screens(_read_all(settings, settings_file))
        return Text("\n").join(Text.assemble(*parts) for parts in lines)

    try:
        with Screen(made(), auto_refresh=False, screen=sys.stdout.isatty()) as shown:
            while True:
                time.sleep(_INTERVAL)
                shown.update(made(), refresh=True)
    except KeyboardInterrupt:
        return


def _show(statuses: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from postward.agent.console import terminal

    console = terminal()
    for parts in screens(statuses):
        console.print(Text.assemble(*parts))


def screens(statuses: list[dict[str, Any]]) -> list[Parts]:
    """Return the statuses of instances line by line."""
    first, *others = map(screen, statuses)
    return [*first, *(parts for lines in others for parts in ([], *lines))]


def screen(status: dict[str, Any]) -> list[Parts]:
    """Return the status line by line."""
    now = status["now"]
    lines: list[Parts] = [
        [
            (f"{status['host']}  ", "bold"),
            (f"{name}  " if (name := status.get("instance")) else "", "bold"),
            (f" {status['verdict']} ", EFFECT_TEXTS[status["effect"]].verdict_style),
        ],
    ]
    if status.get("unknown"):
        lines += [[(status["unknown"], "bold red")], [("remedy: ", "dim"), (status["remedy"], "bold")]]
    if "relays" in status:
        lines += [[], *(_relay(relay, now) for relay in status["relays"]), *_host(status)]
    else:
        lines += [[], _row("config", *_config(status["config"], now))]
    lines += _other_hosts(status.get("hosts", []))
    open_: list[IncidentRow] = [row for row in status["incidents"] if row["closed"] is None]
    for row in open_:
        lines += [[], *lines_of_incident({**row, "evidence": row["evidence"][-1:]}, now)]
    return lines


def _other_hosts(hosts: list[dict[str, Any]]) -> list[Parts]:
    """Return the other hosts in the log: each one with an incident, and the number of the others."""
    wrong = [host for host in hosts if host["effect"] != "note"]
    lines = [_row(host["host"], host["summary"], good=host["effect"] == "rejected") for host in wrong]
    if others := len(hosts) - len(wrong):
        lines.append(_row(plural(others, "other host"), EFFECT_TEXTS["note"].verdict, good=True))
    return lines


def _relay(relay: dict[str, Any], now: float) -> Parts:
    since = f" since {moment(relay['since'], now)}" if relay["since"] else ""
    last = moment(relay["last_success"], now) if relay["last_success"] else "never"
    accepted = relay["probe_last_success"]
    at = f" {moment(accepted, now)}" if accepted and relay["probe_accepted"] else ""
    probe = "no probe yet" if relay["probe_accepted"] is None else f"probe {probe_words(relay)}{at}"
    token = f"; token until {moment(relay['token_expires'], now)}" if relay["token_expires"] else ""
    limits = limits_text(relay, lambda at: moment(at, now))
    limits = f"; {limits}" if limits else ""
    return [
        (f"relay {relay['name']:14}", "bold"),
        (f"{relay['state']}{since}", _STATES[relay["state"]]),
        (f"; last sent {last}; {probe}{token}{limits}; {relay['server']}", "dim"),
    ]


def _host(status: dict[str, Any]) -> list[Parts]:
    queue, log = status["queue"], status["log"]
    causes = ", ".join(f"{number} {cause}" for cause, number in queue["causes"].items())
    up = {None: "unknown", True: "runs", False: "does not run"}[status["postfix_up"]]
    rows = (
        ("Postfix", up, status["postfix_up"] is not False),
        ("queue", queue_text(queue) + (f" ({causes})" if causes else ""), not causes),
        ("config", *_config(status["config"], status["now"])),
        ("log", *_log(log, status)),
        *(
            (name, text, True)
            for window, name in (("hour", "senders, hour"), ("day", "senders, day"))
            if (text := senders_text(status.get("senders", {}), window))
        ),
        *((("lines", problem, False),) if (problem := unknown_lines(log["lines"])) else ()),
    )
    return [_row(*row) for row in rows]


def _row(name: str, text: str, good: bool) -> Parts:
    return [(f"{name:20}", "bold"), (text, "" if good else "bold red")]


def _config(config: dict[str, Any], now: float) -> tuple[str, bool]:
    """Return the state of Postfix's configuration, and whether it is good."""
    checked = f" since {moment(config['checked'], now)}" if config["checked"] else ""
    if config["enforcer_works"] is False:
        return f"unknown{checked}: the enforcer does not work", False
    if config["in_sync"] is None:
        return (
            f"not compared with the settings{checked}: no enforcer runs" if checked else "not managed here"
        ), True
    differs = "differs: " + (", ".join(config["drift"]) or "it could not be applied")
    return ("as the settings say" if config["in_sync"] else differs), config["in_sync"]


def _log(log: dict[str, Any], status: dict[str, Any]) -> tuple[str, bool]:
    """Return the state of the mail log, and whether it is good."""
    is_silent = log["test_line_arrives"] is False
    state = "has stopped" if is_silent else "is read" if log["readable"] else "cannot be read"
    last = moment(log["last_line"], status["now"]) if log["last_line"] else "none yet"
    behind = f", {status['not_ready']}" if status["not_ready"] else ""
    return f"{state}, last line {last}{behind}", bool(log["readable"]) and not is_silent


def unknown_lines(lines: dict[str, int]) -> str:
    """Return what is not understood of the log, as text; "" if it is too little to matter."""
    of_postfix = lines["event"] + lines["generic"] + lines["unrecognised"]
    if not of_postfix:
        return f"none of {counted(lines['foreign'])} is Postfix's" if lines["foreign"] else ""
    unknown = lines["unrecognised"] / of_postfix
    return f"{unknown:.0%} of Postfix's lines are not understood" if unknown > _MANY else ""
