"""The last main.cf and master.cf that Postfix could read, for the day when somebody saves a broken one.

A line without `=`, or a bad number, stops every command of Postfix, postconf among them: such a file cannot be
mended by editing it. It is put aside, and the last good one comes back.
"""

from pathlib import Path

from postward.agent.fsutil import write_atomically
from postward.agent.postfix.commands import Postfix, PostfixError, backdate

_FILES = ("main.cf", "master.cf")


def keep_last_good(postfix: Postfix, directory: Path) -> None:
    """Remember files that Postfix has just read. Raises OSError."""
    folder = directory / "last-good"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in _FILES:
        content = (postfix.config_directory / name).read_bytes()
        kept = folder / name
        if not kept.exists() or kept.read_bytes() != content:
            write_atomically(kept, content, mode=0o600)


def _is_good(folder: Path) -> bool:
    """True if Postfix can read these: else the fault is not with the files in use."""
    try:
        return bool(Postfix(folder).parameters(["mail_version"]))
    except PostfixError:
        return False


def restore_readable(postfix: Postfix, directory: Path) -> Path | None:
    """Put back the last good ones of files that Postfix cannot read.

    Returns:
        where the first broken one was put aside; None if nothing was done, because there is no good one or it is
        not the files' fault.

    Raises:
        OSError: it could not be put back.
    """
    aside = None
    if not _is_good(directory / "last-good"):
        return None
    for name in _FILES:
        current, good = postfix.config_directory / name, directory / "last-good" / name
        if not good.exists() or (current.exists() and current.read_bytes() == good.read_bytes()):
            continue
        if current.exists():
            kept = directory / f"{name}.unreadable"
            write_atomically(kept, current.read_bytes(), mode=0o600)
            aside = aside or kept
        status = current.stat() if current.exists() else None
        mode = status.st_mode & 0o7777 if status else 0o644
        write_atomically(current, good.read_bytes(), mode=mode, owner=(0, 0))
        aside = aside or current
    if aside is not None:
        backdate(postfix.main_cf)
    return aside
