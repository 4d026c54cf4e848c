"""Reads main.cf and master.cf with Postfix's own tools, and replaces them by an edited copy that Postfix has checked.

Promise: an edit that another program makes in the meantime is not lost. postconf(1) edits under a lock on NAME.tmp
(util/edit_file.c). Postward holds the same lock from its last read of the file to the rename. If the file changed since
the copy was made, another copy is edited and checked. Only an editor that ignores the lock and saves between that read
and the rename can lose its change.

Postfix's two-second rule: every Postfix program that finds main.cf modified within the last two seconds sleeps until it
is older, because it may be half-written (util/dict.c). Postward does not wait. Programs that only read get a copy with
an older time (`_settled`), and files that are moved into place whole are given an older time (`backdate`).
"""

import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from postward.agent.fsutil import wait_for_writers, wait_until, write_atomically
from postward.agent.postfix.run import PostfixError, find_program, run, run_any_status, run_on_terminal
from postward.config.desired import PostfixFacts
from postward.config.logins import DELIMITER
from postward.parsers.postconf import Master, parse_master, parse_parameters

NAMES = ("main.cf", "master.cf")
_SETTLE_TIME = 3.0  # seconds: a little more than Postfix waits
_MAX_COPIES = 10  # of files that change all the time
_LOCK_TIMEOUT = 5.0  # seconds: postconf(1) holds the lock for milliseconds


class EditRefusedError(PostfixError):
    """Postfix refuses the edited configuration: it would do so again."""


@dataclass(frozen=True, slots=True)
class PostfixConfig:
    """A configuration directory, for reading."""

    config_directory: Path

    @property
    def main_cf(self) -> Path:
        """The path of main.cf."""
        return self.config_directory / "main.cf"

    @property
    def master_cf(self) -> Path:
        """The path of master.cf."""
        return self.config_directory / "master.cf"

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command line of one of Postfix's programs for this directory. Raises PostfixError."""
        return [find_program(program), "-c", str(self.config_directory), *arguments]

    def facts(self) -> PostfixFacts:
        """Return which table types this Postfix supports, and its name in the log. Raises PostfixError."""
        parameters = self.parameters(["default_database_type", DELIMITER])
        default_type = parameters["default_database_type"]
        types = frozenset(self._read("postconf", "-m").split())
        log_name = self.meanings(["syslog_name"])["syslog_name"]
        return PostfixFacts(
            str(self.config_directory), default_type, types, DELIMITER in parameters, log_name
        )

    def parameters(self, names: Iterable[str]) -> dict[str, str]:
        """Return effective values, not expanded (`postconf NAME…`). Unknown names are left out. Raises PostfixError."""
        return parse_parameters(self._read("postconf", *names))

    def expanded(self, name: str) -> str:
        """Return one effective value with its `$name` references expanded (`postconf -x`). Raises PostfixError."""
        return parse_parameters(run(self.command("postconf", "-x", name))).get(name, "")

    def meanings(self, names: Iterable[str], values: Mapping[str, str] = {}) -> dict[str, str]:
        """Return effective values with `$name` expanded (`postconf -x`), as if main.cf had `values`. Raises PostfixError."""
        options = [part for name, value in values.items() for part in ("-o", f"{name}={value}")]
        return parse_parameters(self._read("postconf", "-x", *options, *names))

    def explicit(self) -> dict[str, str]:
        """Return the parameters that main.cf sets (`postconf -n`). Raises PostfixError."""
        return parse_parameters(self._read("postconf", "-n"))

    def services(self) -> dict[str, str]:
        """Return master.cf's services of type unix: name → line, with single blanks (`postconf -M`). Raises PostfixError."""
        return unix_services(self.master())

    def master(self) -> Master:
        """Return the services of master.cf and their parameters (`postconf -M`, `-P`). Raises PostfixError."""
        return parse_master(f"{self._read('postconf', '-M')}{self._read('postconf', '-P')}")

    def last_changed(self) -> float:
        """Return when main.cf or master.cf was last changed, in seconds since the epoch. Raises PostfixError.

        This is the inode's time (ctime), because `backdate` sets the other one.
        """
        return max(_status(self.main_cf).st_ctime, _status(self.master_cf).st_ctime)

    def inspect(self, options: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return standard output and standard error of `postconf OPTION` for each option, also where it fails.

        For lint, which examines configurations that postconf refuses. Raises PostfixError if Postfix is not installed.
        """
        with self._settled() as settled:
            printed = {option: run_any_status(settled.command("postconf", option)) for option in options}
        here, there = str(self.config_directory), str(settled.config_directory)
        return {
            option: (out.replace(there, here), err.replace(there, here))
            for option, (out, err) in printed.items()
        }

    def compiled_in(self) -> str:
        """Return the output of `postconf -d`, also if this configuration cannot be read. Raises PostfixError."""
        with tempfile.TemporaryDirectory(prefix="postward-") as folder:
            empty = PostfixConfig(Path(folder))
            for name in NAMES:
                (empty.config_directory / name).touch()
            backdate(empty.main_cf)
            return run(empty.command("postconf", "-d"))

    def build_index(self, table_type: str, path: Path) -> None:
        """Compile a lookup table's source (postmap(1)). The index inherits its mode. Raises PostfixError."""
        self._read("postmap", f"{table_type}:{path}")

    def look_up(self, table_type: str, path: Path | str, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of a compiled table for the keys that it holds, through pipes. Raises PostfixError."""
        # Exit status 1 means that a key was not found.
        output = self._read(
            "postmap",
            "-q",
            "-",
            f"{table_type}:{path}",
            stdin="".join(f"{key}\n" for key in keys),
            statuses=(0, 1),
        )
        return dict(line.split("\t", 1) for line in output.splitlines() if "\t" in line)

    def entries(self, table_type: str, path: Path) -> dict[str, str]:
        """Return the entries of a compiled table (`postmap -s`). Raises PostfixError."""
        output = self._read("postmap", "-s", f"{table_type}:{path}")
        return dict(line.split("\t", 1) for line in output.splitlines() if "\t" in line)

    def _read(self, program: str, *arguments: str, stdin: str = "", statuses: tuple[int, ...] = (0,)) -> str:
        """Run a program that reads the configuration and does not change it."""
        with self._settled() as settled:
            try:
                return run(settled.command(program, *arguments), stdin=stdin, statuses=statuses)
            except PostfixError as error:
                # The name of the temporary copy differs each time.
                here, there = str(self.config_directory), str(settled.config_directory)
                raise PostfixError(str(error).replace(there, here)) from None

    @contextmanager
    def _settled(self) -> Iterator["PostfixConfig"]:
        """Yield this configuration, or a copy with an older time if main.cf has just changed."""
        if time.time() - _status(self.main_cf).st_mtime > _SETTLE_TIME:
            yield self
            return
        with tempfile.TemporaryDirectory(prefix="postward-") as folder:
            for name in NAMES:
                shutil.copyfile(self.config_directory / name, Path(folder) / name)
            settled = PostfixConfig(Path(folder))
            backdate(settled.main_cf)
            yield settled


def unix_services(master: Master) -> dict[str, str]:
    """Return the services of type unix: name → line, with single blanks."""
    return {
        service.name: " ".join(" ".join(service).split())
        for service in master.services.values()
        if service.type == "unix"
    }


def backdate(path: Path) -> None:
    """Set the time of a whole file back, so that Postfix does not wait for its writer."""
    before = path.stat().st_mtime - _SETTLE_TIME
    os.utime(path, (before, before))


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise PostfixError(
            f"{path}: {error.strerror}; is postfix.config_directory right, and Postfix installed?"
        ) from error


class StagedConfig(PostfixConfig):
    """A copy of a configuration directory, for editing.

    postconf(1) resets the mode of a file that it edits and replaces a symbolic link, so it never edits the original.
    """

    __slots__ = ()

    def set_parameters(self, parameters: Mapping[str, str]) -> None:
        """Set parameters of main.cf. Raises PostfixError.

        One that is set several times is set once after that: every Postfix command warns of earlier entries.
        """
        text = self.main_cf.read_text(errors="replace")
        lines = Counter(re.findall(r"^(\w+)[ \t]*=", text, re.MULTILINE))
        if repeated := [name for name in parameters if lines[name] > 1]:
            self.remove_parameters(repeated)
        run(self.command("postconf", "-e", *(f"{name}={value}" for name, value in parameters.items())))
        backdate(self.main_cf)

    def remove_parameters(self, names: Iterable[str]) -> None:
        """Remove parameters from main.cf. Raises PostfixError."""
        run(self.command("postconf", "-X", *names))
        backdate(self.main_cf)

    def set_services(self, lines: Mapping[str, str]) -> None:
        """Set services of master.cf of type unix: name → line. Raises PostfixError."""
        run(self.command("postconf", "-M", "-e", *(f"{name}/unix={line}" for name, line in lines.items())))

    def remove_services(self, names: Iterable[str]) -> None:
        """Remove services of type unix from master.cf. Raises PostfixError."""
        run(self.command("postconf", "-MX", *(f"{name}/unix" for name in names)))

    def check(self) -> str:
        """Return the error of `postfix check`; "" if the configuration is good. Raises PostfixError if it cannot run."""
        backdate(self.main_cf)
        return run_on_terminal(self.command("postfix", "check"))


class Candidate:
    """An edited copy of the configuration that Postfix has checked.

    Args:
        config: the configuration that it will replace.
        folder: where the copy is made.
        edit: edits a copy. It is called again if another copy must be made.

    Raises:
        EditRefusedError: Postfix refuses the edited configuration.
        PostfixError, OSError: the copy cannot be made for another reason.
    """

    def __init__(self, config: PostfixConfig, folder: Path, edit: Callable[[StagedConfig], None]) -> None:
        self._config = config
        self._folder = folder
        self._edit = edit
        self._originals: dict[str, bytes] = {}
        self._make()

    def move(self, name: str) -> None:
        """Move a file into place, with the owner and mode of the one that it replaces.

        Raises:
            PostfixError, OSError: the file in place is the former one.
        """
        target = self._config.config_directory / name
        for _ in range(_MAX_COPIES):
            with _locked(target):
                if target.read_bytes() == self._originals[name]:
                    self._replace(target)
                    return
            try:
                self._make()
            except EditRefusedError as error:  # another program is half-way through a change of its own
                raise PostfixError(f"{target} was changed meanwhile, and now: {error}") from error
        raise PostfixError(f"{target} changes all the time; stop what edits it")

    def discard(self) -> None:
        """Remove the copy. Raises OSError."""
        shutil.rmtree(self._folder)

    def _make(self) -> None:
        copy = self._copy()
        self._edit(copy)
        if problem := self._check(copy):
            if earlier := self._check(self._copy()):
                raise PostfixError(
                    f"Postfix refuses its configuration as it is, before any change: {earlier}"
                )
            raise EditRefusedError(f"postfix check: {problem}")

    def _copy(self) -> StagedConfig:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True)
        for name in NAMES:
            path = self._config.config_directory / name
            wait_for_writers(path)
            content = path.read_bytes()
            self._originals[name] = content
            # postconf(1) would append to a last line without a line end, and lose its edit.
            (self._folder / name).write_bytes(content if content.endswith(b"\n") else content + b"\n")
        return StagedConfig(self._folder)

    def _check(self, copy: StagedConfig) -> str:
        return copy.check().replace(str(self._folder), str(self._config.config_directory))

    def _replace(self, target: Path) -> None:
        status = target.stat()
        owner = (status.st_uid, status.st_gid)
        write_atomically(
            target, (self._folder / target.name).read_bytes(), mode=stat.S_IMODE(status.st_mode), owner=owner
        )
        if target == self._config.main_cf:
            backdate(target)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock under which postconf(1) edits a file. Raises PostfixError, OSError."""
    lock_file = path.with_name(f"{path.name}.tmp")
    lock = wait_until(lambda: _lock(lock_file), _LOCK_TIMEOUT)
    if lock is None:
        raise PostfixError(f"{path} is being edited (postconf holds {lock_file.name}) for too long")
    with lock:
        try:
            yield
        finally:
            # Unlink before unlocking: waiters notice the missing inode and create the file again.
            lock_file.unlink(missing_ok=True)


def _lock(path: Path) -> BinaryIO | None:
    """Return an open, locked file; None if another process has the lock, or removed the file meanwhile."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "rb+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None
