"""The only module that runs Postfix's programs.

Promise: every child has a deadline and a closed standard input or one that is handed in; no secret is ever an
argument or in a child's environment; a failure is a `PostfixError` that says which command, and what it printed.

Every Postfix program that meets a main.cf changed within the last two seconds waits until it is older, lest it be
half-written (util/dict.c). Here that would be the time until a departure is put right, so programs that only
read get a copy that looks older (`_at_rest`), and whole files are moved into place looking older (`backdate`).

`postfix` prints nothing when standard error is no terminal (up to 3.7), so its commands run under a
pseudo-terminal. A setting that breaks every command (`inet_interfaces`, a number) shows up here as well.
"""

import asyncio
import contextlib
import os
import pty
import select
import shutil
import stat
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from postward.agent.fsutil import wait_until
from postward.agent.postfix.process import queue_manager_start
from postward.config.desired import PostfixFacts
from postward.parsers.postconf import parse_master, parse_parameters

_CHUNK = 65536  # bytes of a stream that are taken at a time
_LAST_LINES = 20  # of what a command prints on a terminal; what it dies of comes last
_REPEATED = b": unused parameter: "  # a warning that says nothing of why a command fails
_DEADLINE = 30.0  # seconds: `postqueue` and `sendmail` can hang for ever on a full disk
# Debian and RHEL keep Postfix's commands where a service's or an ordinary user's PATH may not look.
_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])
_HOT = 3.0  # seconds, a little more than Postfix waits
_RELOAD_TAKES = 5.0  # seconds at the most, until master has started the queue manager anew
_POLL_INTERVAL = 0.01  # seconds
_SAME_START = 0.05  # seconds between what two looks say of the start of one process, at the most


class PostfixError(Exception):
    """A Postfix program is missing, failed, or did not end in time."""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A Postfix instance, known by its configuration directory."""

    config_directory: Path

    @property
    def main_cf(self) -> Path:
        """The configuration file."""
        return self.config_directory / "main.cf"

    def facts(self) -> PostfixFacts:
        """What this Postfix can do. Raises PostfixError."""
        kind = self.parameters(["default_database_type"])["default_database_type"]
        types = self._read("postconf", "-m").split()
        return PostfixFacts(str(self.config_directory), kind, frozenset(types))

    def parameters(self, names: Iterable[str]) -> dict[str, str]:
        """Effective values as main.cf has them, not expanded (`postconf NAME…`). Unknown names are left out."""
        return parse_parameters(self._read("postconf", *names))

    def expanded(self, name: str) -> str:
        """One effective value with its `$name` references expanded."""
        return parse_parameters(_run(self.command("postconf", "-x", name))).get(name, "")

    def set_parameters(self, parameters: Mapping[str, str]) -> None:
        """Edit main.cf, all parameters in one rewrite. Only fit for a copy: it resets the mode and replaces a link."""
        _run(self.command("postconf", "-e", *(f"{name}={value}" for name, value in parameters.items())))
        backdate(self.main_cf)

    def explicit(self) -> dict[str, str]:
        """The parameters that main.cf sets, with its values (`postconf -n`)."""
        return parse_parameters(self._read("postconf", "-n"))

    def remove_parameters(self, names: Iterable[str]) -> None:
        """Take parameters out of main.cf. Only fit for a copy, as `set_parameters`."""
        _run(self.command("postconf", "-X", *names))
        backdate(self.main_cf)

    def services(self) -> dict[str, str]:
        """The services of master.cf of type unix: name → line, its words separated by one blank (`postconf -M`)."""
        services = parse_master(self._read("postconf", "-M")).services.values()
        return {
            service.name: " ".join(" ".join(service).split())
            for service in services
            if service.type == "unix"
        }

    def set_services(self, lines: Mapping[str, str]) -> None:
        """Edit master.cf: name → line of a service of type unix. Only fit for a copy, as `set_parameters`."""
        _run(self.command("postconf", "-M", "-e", *(f"{name}/unix={line}" for name, line in lines.items())))

    def remove_services(self, names: Iterable[str]) -> None:
        """Take services of type unix out of master.cf. Only fit for a copy."""
        _run(self.command("postconf", "-MX", *(f"{name}/unix" for name in names)))

    def last_changed(self) -> float:
        """When main.cf or master.cf was changed last (seconds since the epoch). Raises PostfixError.

        The inode's time: the other one is set back where Postfix must not wait (`backdate`).
        """
        return max(
            _status(self.main_cf).st_ctime,
            _status(self.config_directory / "master.cf").st_ctime,
        )

    def last_read(self) -> float | None:
        """When the running Postfix read its configuration (seconds since the epoch); None if it does not run.

        A reload and a start make a new queue manager.
        """
        return queue_manager_start(self._queue_directory())

    def _queue_directory(self) -> str:
        return self.parameters(["queue_directory"])["queue_directory"]

    def check(self) -> str:
        """What Postfix has against its configuration, in its words; empty if it is good.

        Raises PostfixError if it cannot be asked.
        """
        status, words = _run_in_terminal(self.command("postfix", "check"))
        return (words or f"exit status {status}") if status else ""

    def reload(self) -> None:
        """Bring main.cf into force: done when a new queue manager runs, lest a look in between sees the old one.

        Raises PostfixError.
        """
        queue_directory = self._queue_directory()
        before = queue_manager_start(queue_directory)
        self._run_in_terminal("reload")
        if before is not None:
            newest = before + _SAME_START
            wait_until(lambda: (queue_manager_start(queue_directory) or 0.0) > newest, _RELOAD_TAKES)

    def restart(self) -> None:
        """Stop and start, for what a reload does not bring into force. Raises PostfixError.

        The distribution's own instance belongs to systemd, which must not lose sight of it.
        """
        if str(self.config_directory) == "/etc/postfix" and Path("/run/systemd/system").is_dir():
            _run(["systemctl", "restart", "postfix.service"], timeout=120)
            return
        self._run_in_terminal("stop")
        self._run_in_terminal("start")

    def is_running(self) -> bool:
        """True if the master process lives (`postfix status`)."""
        try:
            self._run_in_terminal("status")
        except PostfixError:
            return False
        return True

    def build_index(self, table_type: str, path: Path) -> None:
        """Compile a lookup table's source file (postmap(1)); the index inherits its mode."""
        self._read("postmap", f"{table_type}:{path}")

    def look_up(self, table_type: str, path: Path, keys: Iterable[str]) -> dict[str, str]:
        """Key → value of a compiled table, for the keys that it holds. Keys go in and values come out by pipes."""
        # Status 1 says that a key was not found.
        output = self._read(
            "postmap",
            "-q",
            "-",
            f"{table_type}:{path}",
            stdin="".join(f"{key}\n" for key in keys),
            statuses=(0, 1),
        )
        return dict(line.split("\t", 1) for line in output.splitlines() if "\t" in line)

    def submit(self, message: bytes, sender: str, recipient: str) -> None:
        """Hand a mail to Postfix the way cron does (sendmail(1)). Raises PostfixError."""
        _run(
            [_find("sendmail"), "-C", str(self.config_directory), "-i", "-f", sender, "--", recipient],
            stdin=message,
        )

    def flush(self) -> None:
        """Try all waiting mail now (postqueue(1)). Raises PostfixError."""
        _run(self.command("postqueue", "-f"))

    def log(self, text: str) -> None:
        """Write a line into Postfix's log (postlog(1)). Raises PostfixError, also where that would go nowhere.

        With maillog_file lines go to postlogd's socket, and what cannot be put there vanishes without a word.
        """
        command = self.command("postlog", "-p", "info", text)
        if self.expanded("maillog_file"):
            socket = Path(self.expanded("queue_directory")) / "public" / "postlog"
            is_set_gid = Path(command[0]).stat().st_mode & stat.S_ISGID
            if not is_set_gid and not os.access(socket, os.W_OK):
                raise PostfixError(
                    f"{socket}: postlogd cannot be reached; Postfix does not run, or this user is not in the group of its "
                    "public folder (setgid_group, usually postdrop)"
                )
        _run(command)

    async def list_queue(self) -> AsyncIterator[bytes]:
        """The queue as `postqueue -j` prints it, in pieces as they come. Raises PostfixError."""
        with self._at_rest() as still:
            async for piece in _stream(still.command("postqueue", "-j")):
                yield piece

    def delete(self, queue_id: str) -> None:
        """Take a mail out of the queue (postsuper(1), root only). Raises PostfixError."""
        _run(self.command("postsuper", "-d", queue_id))

    def inspect(self, options: Iterable[str]) -> dict[str, tuple[str, str]]:
        """What `postconf OPTION` prints on standard output and standard error, faults included, for each option.

        For lint: a configuration that postconf refuses is what it is about. Raises PostfixError without a Postfix.
        """
        with self._at_rest() as still:
            printed = {option: _both_outputs(still.command("postconf", option)) for option in options}
        here, there = str(self.config_directory), str(still.config_directory)
        return {
            option: (out.replace(there, here), err.replace(there, here))
            for option, (out, err) in printed.items()
        }

    def compiled_in(self) -> str:
        """What `postconf -d` prints, whatever state this configuration is in."""
        with tempfile.TemporaryDirectory(prefix="postward-") as folder:
            empty = Postfix(Path(folder))
            for name in ("main.cf", "master.cf"):
                (empty.config_directory / name).touch()
            backdate(empty.main_cf)
            return _run(empty.command("postconf", "-d"))

    def command(self, program: str, *arguments: str) -> list[str]:
        """How one of Postfix's programs is called for this instance."""
        return [_find(program), "-c", str(self.config_directory), *arguments]

    def _read(self, program: str, *arguments: str, stdin: str = "", statuses: tuple[int, ...] = (0,)) -> str:
        """Run a program that reads the configuration and leaves it alone."""
        with self._at_rest() as still:
            try:
                return _run(still.command(program, *arguments), stdin=stdin, statuses=statuses)
            except PostfixError as error:
                # The copy's name says nothing to anybody, and is another one at the next look.
                here, there = str(self.config_directory), str(still.config_directory)
                raise PostfixError(str(error).replace(there, here)) from None

    @contextmanager
    def _at_rest(self) -> Iterator["Postfix"]:
        """The same configuration, in a copy that looks older if it has just changed."""
        if time.time() - _status(self.main_cf).st_mtime > _HOT:
            yield self
            return
        with tempfile.TemporaryDirectory(prefix="postward-") as folder:
            for name in ("main.cf", "master.cf"):
                shutil.copyfile(self.config_directory / name, Path(folder) / name)
            still = Postfix(Path(folder))
            backdate(still.main_cf)
            yield still

    def _run_in_terminal(self, name: str) -> None:
        command = self.command("postfix", name)
        status, words = _run_in_terminal(command)
        if status:
            raise PostfixError(f"{_words(command)}: {words or f'exit status {status}'}")


def _find(program: str) -> str:
    path = shutil.which(program, path=_SEARCH_PATH)
    if path is None:
        raise PostfixError(f"{program} is not installed; install the package postfix")
    return path


def _status(path: Path) -> os.stat_result:
    """A configuration file's state. Raises PostfixError."""
    try:
        return path.stat()
    except OSError as error:
        raise PostfixError(
            f"{path}: {error.strerror}; is postfix.config_directory right, and Postfix installed?"
        ) from error


def backdate(path: Path) -> None:
    """Make a file that is whole look old enough for Postfix to believe it."""
    before = path.stat().st_mtime - _HOT
    os.utime(path, (before, before))


def _run(
    command: list[str],
    *,
    stdin: str | bytes | None = None,
    statuses: tuple[int, ...] = (0,),
    timeout: float = _DEADLINE,
) -> str:
    """Standard output of a command."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(command, input=data or b"", capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise PostfixError(
            f"{_words(command)} did not end within {timeout:.0f} s; is the disk full, or Postfix hanging?"
        ) from None
    except OSError as error:
        raise PostfixError(f"{_words(command)}: {error.strerror}") from None
    if done.returncode not in statuses:
        printed = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise PostfixError(f"{_words(command)}: {printed}")
    return done.stdout.decode(errors="replace")


async def _stream(command: list[str]) -> AsyncIterator[bytes]:
    """Standard output of a command, which is held up while nobody takes it."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        raise PostfixError(f"{_words(command)}: {error.strerror}") from None
    assert process.stdout is not None  # noqa: S101 - asked for above
    assert process.stderr is not None  # noqa: S101
    try:
        while piece := await asyncio.wait_for(process.stdout.read(_CHUNK), _DEADLINE):
            yield piece
        printed = await asyncio.wait_for(process.stderr.read(_CHUNK), _DEADLINE)
        status = await asyncio.wait_for(process.wait(), _DEADLINE)
    except TimeoutError:
        raise PostfixError(f"{_words(command)} printed nothing for {_DEADLINE:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            if process.returncode is None:
                process.kill()
        await process.wait()
    if status:
        words = printed.decode(errors="replace").strip() or f"exit status {status}"
        raise PostfixError(f"{_words(command)}: {words}")


def _both_outputs(command: list[str]) -> tuple[str, str]:
    """Standard output and standard error of a command, whatever its status."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_DEADLINE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PostfixError(f"{_words(command)}: {error}") from None
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def _run_in_terminal(command: list[str]) -> tuple[int, str]:
    """Exit status and last words of a command whose words can only be had on a terminal. Raises PostfixError."""
    terminal, child = pty.openpty()
    os.set_blocking(terminal, False)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=child, stderr=child, start_new_session=True
        )
        printed = _take_words(process, terminal)
    except OSError as error:
        raise PostfixError(f"{_words(command)}: {error.strerror}") from None
    else:
        if process.poll() is None:
            process.kill()
            process.wait()
            raise PostfixError(f"{_words(command)} did not end within {_DEADLINE:.0f} s")
        return process.returncode, printed
    finally:
        os.close(child)
        os.close(terminal)


def _take_words(process: subprocess.Popen[bytes], terminal: int) -> str:
    """The last of what a command prints, until it ends or its time does.

    The end of the output cannot be waited for: daemons that the command starts keep their terminal open. What is
    printed must be taken: `postfix check` tells each unused parameter again and again, and a full terminal stops it.
    """
    end = time.monotonic() + _DEADLINE
    poll = select.poll()
    poll.register(terminal, select.POLLIN)
    lines: deque[bytes] = deque([b""], maxlen=_LAST_LINES)
    running = True
    while running and time.monotonic() < end:
        poll.poll(1000 * _POLL_INTERVAL)
        running = process.poll() is None  # asked before the last words are taken
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(terminal, _CHUNK):
                lines.extend((lines.pop() + piece).split(b"\n"))
    told = [line.decode(errors="replace") for line in lines if _REPEATED not in line]
    return " ".join(" ".join(told).split())


def _words(command: list[str]) -> str:
    """A command as messages show it: without the folder of the program, cut where a long edit would fill the screen."""
    text = " ".join([Path(command[0]).name, *command[1:]])
    return text if len(text) < 200 else f"{text[:200]}…"
