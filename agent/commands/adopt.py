"""`postward adopt`: write the settings of a host that sends through a relay already.

Promise: nothing but the settings file and the password files is written, and neither before yes. A password is never
shown; its file is readable by root only. No file is replaced.

Exit status: 0 the settings are written, or shown by --dry-run, and their plan is empty; 3 as 0, but applying them
would change what is shown; 1 nothing can be adopted, or not written; 2 usage.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from postward.agent.commands.common import (
    echo_json,
    exit_on_error,
    fail,
    json_option,
    require_root,
    settings_option,
    write_settings,
)
from postward.agent.commands.exit_status import DRIFT
from postward.agent.console import diff_text, terminal
from postward.agent.enforce.adoption import (
    Adoption,
    found_programs,
    narrowed,
    planned,
    read_adopted,
    read_other,
)
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.run import PostfixError
from postward.config.adopt import Adopted, NothingToAdoptError
from postward.config.adopt.others import SOURCES
from postward.config.plan import diff
from postward.parsers.scrub import printable


@click.command("adopt")
@settings_option
@json_option
@click.option(
    "--from",
    "source",
    type=click.Choice(["postfix", *SOURCES]),
    help="The program whose configuration is read. The default is Postfix, or what is found if that has no relay.",
)
@click.option(
    "--postfix",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/etc/postfix"),
    show_default=True,
    help="The directory of main.cf.",
)
@click.option("--myhostname", help="This host's full name, if its configuration does not say it.")
@click.option("--recipient", help="The recipient of probes.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--yes", is_flag=True, help="Write without a question.")
def command(
    settings_file: Path,
    as_json: bool,
    source: str | None,
    directory: Path,
    myhostname: str | None,
    recipient: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Write settings for what this host does already: its relays, logins and routes by sender.

    Applying them changes nothing. The rest of the configuration stays as it is, and is listed. Status 3 if applying them
    would change something after all, which is shown then.
    """
    require_root()
    if not (yes or dry_run or sys.stdin.isatty()):
        fail("standard input is not a terminal, so adopt cannot ask; add --yes or --dry-run")
    if settings_file.exists() and not dry_run:
        fail(f"{settings_file}: exists already, and is not replaced; move it away, or see postward plan")
    postfix = Postfix(directory)
    with exit_on_error():
        try:
            adoption = _read(source, postfix, myhostname, recipient)
        except NothingToAdoptError as error:
            fail(f"nothing to adopt: {error}")
    files = {
        settings_file.parent / "passwords" / name: text for name, text in adoption.adopted.passwords().items()
    }
    text = adoption.adopted.text(settings_file.parent / "passwords")
    if not as_json:
        _show(settings_file, text, files, adoption)
    written = not dry_run and (yes or click.confirm("Write these files?", default=True, err=True))
    if written:
        _require_new(files)
        write_settings(settings_file, text, files)
    if as_json:
        echo_json(_as_json(settings_file, text, files, adoption, written=written))
    elif written:
        _say("next: postward check; postward apply; systemctl enable --now postward-enforce postward")
    if adoption.planned:
        sys.exit(DRIFT)


def leads_to_adoption(postfix: Postfix, settings_file: Path, *, as_json: bool) -> bool:
    """Offer to adopt a Postfix that sends through a relay, and do so. Return False if there is none, or on a no."""
    try:
        first = read_adopted(postfix).relays[0]
    except (NothingToAdoptError, PostfixError):
        return False
    if not first.host:
        return False
    _say(f"Postfix sends through {first.host} already")
    if not click.confirm("Write settings for what it does (postward adopt)?", default=True, err=True):
        return False
    directory = postfix.config_directory
    click.get_current_context().invoke(
        command, settings_file=settings_file, as_json=as_json, directory=directory
    )
    return True


def _read(source: str | None, postfix: Postfix, myhostname: str | None, recipient: str | None) -> Adoption:
    """Return the settings with their plan. Raises NothingToAdoptError, PostfixError, OSError."""
    if source in (None, "postfix"):
        try:
            return narrowed(_with(read_adopted(postfix), myhostname, recipient), postfix)
        except (NothingToAdoptError, PostfixError):
            if source:
                raise
            if not (found := found_programs()):
                raise
            source = found[0]
    other = read_other(str(source), myhostname=myhostname or "")
    return planned(_with(other, myhostname, recipient), postfix)


def _with(adopted: Adopted, myhostname: str | None, recipient: str | None) -> Adopted:
    """Return the settings with the answers that a configuration does not give."""
    host = {**adopted.host, "myhostname": myhostname} if myhostname else adopted.host
    tables = {**adopted.tables, "probe": {"recipient": recipient}} if recipient else adopted.tables
    return replace(adopted, host=host, tables=tables)


def _show(settings_file: Path, text: str, files: Mapping[Path, str], adoption: Adoption) -> None:
    """Print the settings on standard output, and all else beside them."""
    click.echo(text, nl=False)
    for path in files:
        _say(f"password file: {path} (readable by root only)")
    for one in adoption.adopted.unmanaged:
        _say(f"unmanaged: {printable(one.what)}: {printable(one.why)}")
    for table in adoption.exposed:
        _say(f"every user can read the logins in {table}: chmod 0600 {table}")
    if adoption.planned is None:
        _say("plan: unknown, because Postfix has no configuration yet")
    elif adoption.planned:
        _say(f"plan: applying {settings_file} would change this:")
        terminal(error=True).print(diff_text(diff(adoption.planned)), end="")
    else:
        _say("plan: empty; Postfix does already as these settings say")


def _as_json(
    settings_file: Path, text: str, files: Mapping[Path, str], adoption: Adoption, *, written: bool
) -> dict[str, Any]:
    changes = None if adoption.planned is None else [drift.name for drift in adoption.planned.drifts]
    return {
        "settings_file": str(settings_file),
        "settings": text,
        "password_files": [str(path) for path in files],
        "unmanaged": [{"what": one.what, "why": one.why} for one in adoption.adopted.unmanaged],
        "exposed": list(adoption.exposed),
        "changes": changes,
        "written": written,
    }


def _require_new(files: Mapping[Path, str]) -> None:
    """End the command if a password file exists with another password."""
    for path, password in files.items():
        if path.exists() and path.read_bytes() != f"{password}\n".encode():
            fail(f"nothing was written: {path} exists already, with another password; move it away")


def _say(text: str) -> None:
    click.echo(text, err=True)
