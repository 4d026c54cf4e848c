"""`postward queue`: the mails that wait, by cause, relay and age; deliver, hold, release or delete some of them.

Promise: nothing happens to a mail without an answer to a question or `--yes`. Right before it acts, the queue is listed
again: a mail that has left it, and another one with its queue ID, is not touched. Every program of Postfix has a deadline.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import click

from postward.agent.commands.common import (
    echo_json,
    exit_on_error,
    fail,
    json_option,
    load,
    require_root,
    settings_option,
)
from postward.agent.metrics.labels import NO_RELAYS, RelayNames
from postward.agent.metrics.queue import NO_CAUSE
from postward.agent.postfix.commands import Postfix
from postward.agent.status.queue import Choice, Groups, Waiting, waiting_mails
from postward.agent.text import parse_duration, plural
from postward.config.settings import Settings
from postward.parsers import Cause
from postward.parsers.queue import QUEUES


class _Action(NamedTuple):
    """An action on mails.

    Attributes:
        question: is asked before; {} is the number of mails.
        done: the report; {} is the number of mails.
        queues: where mails can be for it.
        target: the queue in which they are then; "" if they may be anywhere else, or nowhere.
        option: of postsuper(1); "" for postqueue(1), which every user may call.
    """

    question: str
    done: str
    queues: tuple[str, ...]
    option: str = ""
    target: str = ""


_ACTIONS: Final = {
    "flush": _Action(
        question="Try to deliver {} now?",
        done="Postfix tries to deliver {} now",
        queues=("deferred",),
    ),
    "hold": _Action(
        question="Put {} on hold? Postfix does not deliver held mail, and does not return it.",
        done="{} on hold",
        queues=("incoming", "active", "deferred"),
        option="-h",
        target="hold",
    ),
    "release": _Action(
        question="Release {} from hold?",
        done="{} released",
        queues=("hold",),
        option="-H",
    ),
    "delete": _Action(
        question="Delete {}? They are lost, and their senders are not notified.",
        done="{} deleted",
        queues=("incoming", "active", "deferred", "hold"),
        option="-d",
    ),
}


def _duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int:
    seconds = parse_duration(value) if value else 0
    if seconds is None:
        raise click.BadParameter("must be a number with s, m, h or d, as in 30m.")
    return seconds


@click.command("queue")
@settings_option
@json_option
@click.option(
    "--cause",
    "causes",
    multiple=True,
    type=click.Choice([*(cause.value for cause in Cause), NO_CAUSE]),
    help="Only mails whose last failure had this cause.",
)
@click.option(
    "--relay", "relays", multiple=True, help="Only mails that wait for this relay; other, none: for no relay."
)
@click.option(
    "--sender",
    "senders",
    multiple=True,
    help="Only mails of this envelope sender; @example.com is any at a domain, <> the empty one.",
)
@click.option("--in", "queues", multiple=True, type=click.Choice(QUEUES), help="Only mails in this queue.")
@click.option(
    "--older", default=None, callback=_duration, help="Only mails older than this, as in 30m, 12h, 3d."
)
@click.option("--all", "everything", is_flag=True, help="All mails; required by an action without a choice.")
@click.option("--flush", "action", flag_value="flush", help="Try to deliver deferred mails now.")
@click.option("--hold", "action", flag_value="hold", help="Put mails on hold. Needs root.")
@click.option("--release", "action", flag_value="release", help="Release mails from hold. Needs root.")
@click.option("--delete", "action", flag_value="delete", help="Delete mails. Needs root.")
@click.option("--yes", is_flag=True, help="Do not ask. Required without a terminal.")
def command(
    settings_file: Path,
    as_json: bool,
    causes: tuple[str, ...],
    relays: tuple[str, ...],
    senders: tuple[str, ...],
    queues: tuple[str, ...],
    older: int,
    everything: bool,
    action: str | None,
    yes: bool,
) -> None:
    """Show the mails that wait by queue, cause, relay and age; act on some of them.

    Several --cause, --relay, --sender or --in choose mails with any of them. An action takes the mails that all other options choose.
    """
    choice = Choice(frozenset(causes), frozenset(relays), frozenset(queues), older, frozenset(senders))
    if action and choice == Choice() and not everything:
        raise click.UsageError(f"--{action} needs --cause, --relay, --sender, --in, --older, or --all.")
    with exit_on_error():
        settings = load(settings_file)
        unknown = choice.relays - {relay.name for relay in settings.relay} - set(NO_RELAYS)
        if unknown:
            raise click.UsageError(f"no relay of the settings is called {', '.join(sorted(unknown))}.")
        if action:
            _act(settings, action, choice, yes=yes)
            return
        groups, _ = _list(settings, choice.__contains__)
    if as_json:
        echo_json(
            {"mails": groups.mails, "bytes": groups.size, "oldest_seconds": groups.oldest, "by": groups.by}
        )
    else:
        _print(groups)


def _list(
    settings: Settings, wanted: Callable[[Waiting], bool], *, keep: bool = False
) -> tuple[Groups, list[Waiting]]:
    """List the queue. Return the numbers of wanted mails and, if they are to be kept, the mails."""

    async def read() -> tuple[Groups, list[Waiting]]:
        groups, mails = Groups(), []
        postfix = Postfix(Path(settings.postfix.config_directory))
        names = RelayNames.of_settings(settings)
        async for mail in waiting_mails(postfix.list_queue(), names, time.time()):
            if wanted(mail):
                groups.add(mail)
                if keep:
                    mails.append(mail)
        return groups, mails

    return asyncio.run(read())


def _act(settings: Settings, name: str, choice: Choice, *, yes: bool) -> None:
    """Show what is chosen, ask, and act on the chosen mails that are still there."""
    action = _ACTIONS[name]
    if action.option:
        require_root()

    def is_wanted(mail: Waiting) -> bool:
        return mail in choice and mail.queue in action.queues

    groups, chosen = _list(settings, is_wanted, keep=True)
    _print(groups)
    if not chosen:
        return
    if not yes:
        if not sys.stdin.isatty():
            fail(f"nothing was changed: without a terminal, --{name} needs --yes")
        if not click.confirm(action.question.format(plural(groups.mails, "mail")), default=False, err=True):
            fail("nothing was changed")
    known = {(mail.queue_id, mail.arrival) for mail in chosen}

    def is_still_there(mail: Waiting) -> bool:
        return (mail.queue_id, mail.arrival) in known and mail.queue in action.queues

    _, mails = _list(settings, is_still_there, keep=True)
    _do(Postfix(Path(settings.postfix.config_directory)), action, choice, mails)
    if not action.option:
        click.echo(action.done.format(plural(len(mails), "mail")))
        return
    known = {(mail.queue_id, mail.arrival) for mail in mails}
    after, _ = _list(settings, lambda mail: (mail.queue_id, mail.arrival) in known)
    missed = sum(after.by["queue"][queue] for queue in action.queues)
    done = after.by["queue"][action.target] if action.target else len(mails) - missed
    click.echo(action.done.format(plural(done, "mail")))
    if missed:
        fail(f"{plural(missed, 'mail')} could not be reached; Postfix's log says why")


def _do(postfix: Postfix, action: _Action, choice: Choice, mails: Iterable[Waiting]) -> None:
    # A queue ID is a word; "ALL" would be every mail.
    queue_ids = [mail.queue_id for mail in mails if mail.queue_id != "ALL"]
    if action.option:
        postfix.supervise(action.option, queue_ids)
    elif choice == Choice():
        postfix.flush()
    else:
        for queue_id in queue_ids:
            postfix.flush_mail(queue_id)


def _print(groups: Groups) -> None:
    from rich.text import Text

    from postward.agent.console import terminal
    from postward.agent.text import seconds, size

    console = terminal()
    if not groups.mails:
        console.print("no mail waits")
        return
    head = (
        f"{plural(groups.mails, 'mail')}, {size(groups.size)}, the oldest waits for {seconds(groups.oldest)}"
    )
    console.print(Text(head, "bold"))
    for name, counts in groups.by.items():
        rows = ", ".join(f"{number:,} {value}" for value, number in counts.most_common())
        console.print(Text.assemble((f"  by {name:6} ", "dim"), rows))
