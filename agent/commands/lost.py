"""`postward report --lost`: the mails that were lost, as text, CSV or JSON."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import click

from postward.agent.commands.exit_status import FAILED, UNREAD
from postward.agent.commands.reading import in_order, progress_bar
from postward.agent.logs.archive import STANDARD_INPUT, LogFileError, blocks, last_written
from postward.agent.report import lost
from postward.agent.report.counter import HostNames
from postward.agent.report.lost import LostMails
from postward.agent.report.period import Period
from postward.agent.report.workers import Relay
from postward.parsers.scan import Scanner


def print_lost(
    files: Sequence[Path],
    relays: Sequence[Relay],
    period: Period,
    form: str,
    addresses: bool,
    mask: bool,
) -> int:
    """Read the logs in order, print the lost mails and return the exit status.

    Args:
        files: the logs.
        relays: the relays of the settings.
        period: the time that is asked for.
        form: text, csv or json.
        addresses: show addresses in full.
        mask: show neither domains nor replies.
    """
    show = lost.nothing if mask else lost.in_full if addresses else lost.by_domain
    show_text = lost.nothing if mask else lost.full_text if addresses else lost.masked_text
    mails = LostMails(HostNames(relays), period, show, show_text)
    scanner, errors, lines = Scanner(mails.wanted, excerpts=True), 0, 0
    try:
        ordered = in_order(files) if STANDARD_INPUT not in files else [*files]
    except LogFileError as error:
        click.echo(f"postward: {error}", err=True)
        return FAILED
    with progress_bar(ordered) as progress:
        for path in ordered:
            mails.read_from(last_written(path))
            try:
                for data in blocks(path, progress(path)):
                    block = scanner.scan(data.decode("utf-8", "replace"))
                    mails.observe_block(block)
                    lines += block.text.count("\n") - sum(line.record is None for line in block.others)
            except LogFileError as error:
                click.echo(f"postward: {error}", err=True)
                errors += 1
    click.echo(_text(mails, form), nl=False)
    if errors:
        return FAILED
    if not lines:
        click.echo("postward: 0 lines of Postfix were read", err=True)
        return UNREAD
    return 0


def _text(mails: LostMails, form: str) -> str:
    if form == "csv":
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(lost.as_csv_rows(mails.rows))
        return file.getvalue()
    if form == "json":
        counts = {fate: mails.counts[fate] for fate in lost.FATES}
        return json.dumps({"lost": mails.rows, "number": counts}, ensure_ascii=False) + "\n"
    return "".join(f"{line}\n" for line in lost.as_lines(mails.rows, mails.counts))
