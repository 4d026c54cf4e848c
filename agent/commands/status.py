"""`postward status`: whether mail goes out, by which relay and since when; queue, configuration, log, incidents.

The source is the running agent. If its endpoint requires a login or does not answer, incidents are read from its checkpoint.
"""

import sys
import time
from pathlib import Path
from typing import Any

import click

from postward.agent.commands.common import echo_json, exit_on_error, fail, json_option, settings_option
from postward.agent.commands.exit_status import BAD_SETTINGS, DRIFT, UNREAD
from postward.agent.incidents.model import IncidentRow
from postward.agent.incidents.render import (
    EFFECT_TEXTS,
    Parts,
    lines_of_incident,
    moment,
    worst_effect,
)
from postward.agent.status.client import LiveError, ask_former, ask_status, read_live
from postward.agent.text import counted
from postward.config.errors import SettingsError
from postward.config.settings import Settings, load_settings

_INTERVAL = 2.0  # seconds
_MANY = 0.05  # as in the alert PostwardLogNotUnderstood
_STATES = {"going out": "green", "failing": "bold red", "quiet": "dim"}


@click.command("status")
@settings_option
@json_option
@click.option("--watch", is_flag=True, help="Refresh every two seconds until interrupted.")
def command(settings_file: Path, as_json: bool, watch: bool) -> None:
    """Show whether mail goes out, by which relay and since when, and what is wrong.

    Exit status 3 if an open incident keeps mail back, 4 if the agent does not answer.
    """
    bad = False
    with exit_on_error():
        try:
            settings = load_settings(settings_file)
        except SettingsError as error:
            status, bad = ask_despite(error, settings_file), True
        else:
            if watch:
                _watch(settings, settings_file)
                return
            status = _read(settings, settings_file)
    if as_json:
        echo_json(status)
    else:
        _show(status)
    if status["effect"] in {"lost", "delayed"}:
        sys.exit(DRIFT)
    if status.get("behind"):
        sys.exit(UNREAD)
    if bad:
        sys.exit(BAD_SETTINGS)


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


def _read(settings: Settings, settings_file: Path) -> dict[str, Any]:
    status = ask_status(settings, settings_file)
    if status is not None:
        return status
    try:
        live = read_live(settings, settings_file)
    except LiveError as error:
        fail(str(error))
    rows = live.shown(lambda _: True, addresses=False)
    return {
        "host": settings.host.myhostname,
        "now": time.time(),
        "effect": worst_effect(rows),
        "verdict": live.behind
        or "the endpoint does not answer without login; these are the incidents of the checkpoint",
        "incidents": rows,
        "behind": live.behind,
    }


def _watch(settings: Settings, settings_file: Path) -> None:
    from rich.live import Live as Screen
    from rich.text import Text

    def made() -> Text:
        return Text("\n").join(Text.assemble(*parts) for parts in screen(_read(settings, settings_file)))

    try:
        with Screen(made(), auto_refresh=False, screen=sys.stdout.isatty()) as shown:
            while True:
                time.sleep(_INTERVAL)
                shown.update(made(), refresh=True)
    except KeyboardInterrupt:
        return


def _show(status: dict[str, Any]) -> None:
    from rich.text import Text

    from postward.agent.console import terminal

    console = terminal()
    for parts in screen(status):
        console.print(Text.assemble(*parts))


def screen(status: dict[str, Any]) -> list[Parts]:
    """Return the status line by line."""
    now = status["now"]
    lines: list[Parts] = [
        [
            (f"{status['host']}  ", "bold"),
            (
                f" {status['verdict']} ",
                "bold red" if status.get("behind") else EFFECT_TEXTS[status["effect"]].verdict_style,
            ),
        ],
    ]
    if "relays" in status:
        lines += [[], *(_relay(relay, now) for relay in status["relays"]), *_host(status)]
    open_: list[IncidentRow] = [row for row in status["incidents"] if row["closed"] is None]
    for row in open_:
        lines += [[], *lines_of_incident({**row, "evidence": row["evidence"][-1:]}, now)]
    return lines


def _relay(relay: dict[str, Any], now: float) -> Parts:
    since = f" since {moment(relay['since'], now)}" if relay["since"] else ""
    last = moment(relay["last_success"], now) if relay["last_success"] else "never"
    probe = {None: "no probe yet", True: "probe accepted", False: "probe not accepted"}[
        relay["probe_accepted"]
    ]
    return [
        (f"relay {relay['name']:14}", "bold"),
        (f"{relay['state']}{since}", _STATES[relay["state"]]),
        (f"; last sent {last}; {probe}; {relay['host']}:{relay['port']}", "dim"),
    ]


def _host(status: dict[str, Any]) -> list[Parts]:
    queue, config, log = status["queue"], status["config"], status["log"]
    mails = ", ".join(f"{number} {name}" for name, number in queue["mails"].items() if number) or (
        "empty" if queue["mails"] else "not listed yet"
    )
    causes = ", ".join(f"{number} {cause}" for cause, number in queue["causes"].items())
    sync = {
        None: "not managed here",
        True: "as the settings say",
        False: "differs: " + ", ".join(config["drift"]),
    }
    last = moment(log["last_line"], status["now"]) if log["last_line"] else "none yet"
    behind = f", {status['not_ready']}" if status["not_ready"] else ""
    up = {None: "unknown", True: "runs", False: "does not run"}[status["postfix_up"]]
    rows = (
        ("Postfix", up, status["postfix_up"] is not False),
        ("queue", mails + (f" ({causes})" if causes else ""), not causes),
        ("config", sync[config["in_sync"]], config["in_sync"] is not False),
        (
            "log",
            ("is read" if log["readable"] else "cannot be read") + f", last line {last}{behind}",
            bool(log["readable"]),
        ),
        *((("lines", problem, False),) if (problem := unknown_lines(log["lines"])) else ()),
    )
    return [[(f"{name:20}", "bold"), (text, "" if good else "bold red")] for name, text, good in rows]


def unknown_lines(lines: dict[str, int]) -> str:
    """Return what is not understood of the log, as text; "" if it is too little to matter."""
    of_postfix = sum(lines.values()) - lines["foreign"]
    if not of_postfix:
        return f"none of {counted(lines['foreign'])} is Postfix's" if lines["foreign"] else ""
    unknown = lines["unrecognised"] / of_postfix
    return f"{unknown:.0%} of Postfix's lines are not understood" if unknown > _MANY else ""
