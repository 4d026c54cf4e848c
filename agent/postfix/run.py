"""Runs Postfix's programs as child processes.

Promise: every child has a deadline and a standard input that is empty or passed in; no secret is ever an argument or in
a child's environment. A failure is a `PostfixError` that names the command and quotes its output.
"""

import asyncio
import contextlib
import os
import pty
import select
import shutil
import subprocess
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

from postward.parsers.scrub import scrub

_DEADLINE = 30.0  # seconds: `postqueue` and `sendmail` can hang without limit on a full disk
_CHUNK = 65536  # bytes read from a stream at a time
_POLL_INTERVAL = 0.01  # seconds
_MAX_LINES = 20  # of the output on a terminal; the reason for a failure comes last
_MAX_COMMAND = 200  # characters of a command in a message
_REPEATED = b": unused parameter: "  # a warning that never explains a failure
# Debian and RHEL install Postfix's commands where the PATH of a service or an ordinary user may not look.
_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])


class PostfixError(Exception):
    """A Postfix program is missing, failed, or did not end in time."""


def find_program(program: str) -> str:
    """Return the path of one of Postfix's programs. Raises PostfixError."""
    path = shutil.which(program, path=_SEARCH_PATH)
    if path is None:
        raise PostfixError(f"{program} is not installed; install the package postfix")
    return path


def run(
    command: list[str],
    *,
    stdin: str | bytes = b"",
    statuses: tuple[int, ...] = (0,),
    timeout: float = _DEADLINE,
) -> str:
    """Return the standard output of a command. Raises PostfixError, also for other exit statuses than `statuses`."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = _run(command, data, timeout)
    if done.returncode not in statuses:
        raise PostfixError(f"{_shown(command)}: {_reason(done.stderr, done.returncode)}")
    return done.stdout.decode(errors="replace")


def run_any_status(command: list[str]) -> tuple[str, str]:
    """Return standard output and standard error of a command, whatever its exit status. Raises PostfixError."""
    done = _run(command, b"", _DEADLINE)
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def _run(command: list[str], stdin: bytes, timeout: float) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise PostfixError(
            f"{_shown(command)} did not end within {timeout:.0f} s; is the disk full, or Postfix hanging?"
        ) from None
    except OSError as error:
        raise PostfixError(f"{_shown(command)}: {error.strerror}") from None


async def stream(command: list[str]) -> AsyncIterator[bytes]:
    """Yield the standard output of a command in chunks. A slow consumer holds the command up. Raises PostfixError."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        raise PostfixError(f"{_shown(command)}: {error.strerror}") from None
    assert process.stdout is not None  # noqa: S101 - asked for above
    assert process.stderr is not None  # noqa: S101
    try:
        while chunk := await asyncio.wait_for(process.stdout.read(_CHUNK), _DEADLINE):
            yield chunk
        printed = await asyncio.wait_for(process.stderr.read(_CHUNK), _DEADLINE)
        status = await asyncio.wait_for(process.wait(), _DEADLINE)
    except TimeoutError:
        raise PostfixError(f"{_shown(command)} printed nothing for {_DEADLINE:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            if process.returncode is None:
                process.kill()
        await process.wait()
    if status:
        raise PostfixError(f"{_shown(command)}: {_reason(printed, status)}")


def run_on_terminal(command: list[str]) -> str:
    """Run a command under a pseudo-terminal.

    Up to 3.7, `postfix` prints nothing unless standard error is a terminal.

    Returns:
        the end of its output if it failed, else "".

    Raises:
        PostfixError: it cannot be run, or did not end in time.
    """
    terminal, child = pty.openpty()
    os.set_blocking(terminal, False)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=child, stderr=child, start_new_session=True
        )
        printed = _read_until_exit(process, terminal)
    except OSError as error:
        raise PostfixError(f"{_shown(command)}: {error.strerror}") from None
    finally:
        os.close(child)
        os.close(terminal)
    if process.poll() is None:
        process.kill()
        process.wait()
        raise PostfixError(f"{_shown(command)} did not end within {_DEADLINE:.0f} s")
    return _reason(printed, process.returncode) if process.returncode else ""


def check_on_terminal(command: list[str]) -> None:
    """Run a command under a pseudo-terminal. Raises PostfixError if it fails."""
    if reason := run_on_terminal(command):
        raise PostfixError(f"{_shown(command)}: {reason}")


def _read_until_exit(process: subprocess.Popen[bytes], terminal: int) -> bytes:
    """Return the last lines that a command prints before it ends or its deadline passes.

    The terminal never reports an end of file, because daemons that the command starts keep it open. So the process is
    polled. Its output must be read meanwhile: `postfix check` repeats its warning of each unused parameter, and a full
    terminal would stop it.
    """
    end = time.monotonic() + _DEADLINE
    poll = select.poll()
    poll.register(terminal, select.POLLIN)
    lines: deque[bytes] = deque([b""], maxlen=_MAX_LINES)
    running = True
    while running and time.monotonic() < end:
        poll.poll(1000 * _POLL_INTERVAL)
        running = process.poll() is None  # asked before the last lines are read
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(terminal, _CHUNK):
                lines.extend((lines.pop() + chunk).split(b"\n"))
    return b" ".join(b" ".join(line for line in lines if _REPEATED not in line).split())


def _reason(printed: bytes, status: int) -> str:
    """Return why a command failed: its own message without secrets, or its exit status."""
    return scrub(printed.decode(errors="replace").strip(), "error") or f"exit status {status}"


def _shown(command: list[str]) -> str:
    """Return a command for messages: without the program's directory, and cut if it is long."""
    text = " ".join([Path(command[0]).name, *command[1:]])
    return text if len(text) < _MAX_COMMAND else f"{text[:_MAX_COMMAND]}…"
