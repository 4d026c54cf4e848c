#!/usr/bin/python3 -I
"""PID 1 of the container: Postfix and the agent of Postward, which start and end together.

    entrypoint.py              start both
    entrypoint.py --healthy    exit with 0 if the agent is ready, for a health check
    entrypoint.py COMMAND …    run `postward COMMAND …` in their place; `run` is the agent alone

Postfix has the relays of the settings before it starts. Its log goes to the container's output and to the agent, or
to the file that `log.source` names. Orphans are reaped. SIGHUP reloads both. SIGTERM drains the queue, and then stops
Postfix and, once it has read the rest of the log, the agent. If one of them ends by itself, the other is stopped and
the container fails, so that its restart policy acts.

How it fails: with status 78 for bad settings, as `postward` does, else with 1. A reader of the log that has stopped
keeps neither Postfix nor the other reader waiting: lines beyond 16 MiB are dropped for it, and their number is logged.

Only the standard library is used: this process stays for as long as the container.
"""

import contextlib
import fcntl
import http.client
import json
import os
import queue
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

BASE = Path("/usr/lib/postward/postfix")  # the image's copy of /etc/postfix
CONFIG = Path("/etc/postfix")
QUEUE = Path("/var/spool/postfix")
AGENT_SOCKET = "agent.sock"  # in state.directory
STATE = "/var/lib/postward"
# Keys of [host] that are parameters of main.cf.
HOST_PARAMETERS = (
    *("myhostname", "mydomain", "myorigin", "inet_interfaces", "inet_protocols"),
    *("mydestination", "mynetworks", "relay_domains"),
)
BAD_SETTINGS = 78
# Effects that `postward apply` asks about. A container has no configuration before its settings, so these end no inbound
# mail and open no relay that existed.
AGREED = ("--allow", "end-inbound", "--allow", "open-relaying")
STOP_SECONDS = 6.0  # until a program that was asked to stop is killed
READ_SECONDS = 3.0  # for the agent to read the rest of the log
POLL_SECONDS = 0.5
HEALTH_SECONDS = 4.0  # for the agent to answer a health check
MAX_WAITING = 1 << 24  # bytes


def main(arguments: list[str]) -> int:
    """Run the container. Return its exit status."""
    if arguments == ["--healthy"]:
        return healthy(Path(os.environ.get("POSTWARD_STATE__DIRECTORY", STATE)) / AGENT_SOCKET)
    if arguments:
        os.execvp("postward", ["postward", *arguments])  # noqa: S606 - no shell is wanted
    if (drain := seconds_of(text := os.environ.get("POSTWARD_DRAIN_SECONDS", "20"))) is None:
        say(f'POSTWARD_DRAIN_SECONDS: must be a number of seconds from 0 to 600, as in "20", not "{text}"')
        return BAD_SETTINGS
    status, settings = read_settings()
    if status:
        return status
    if (log_file := log_file_of(settings["log"]["source"])) is None:
        say('log.source: must be "-" or the path of a file in a container with Postfix')
        return BAD_SETTINGS
    try:
        fill_configuration(settings["host"], log_file)
    except OSError as error:
        say(f"{error.filename}: {error.strerror}; where the root is read-only, mount a tmpfs at {CONFIG}")
        return 1
    if apply_settings() == BAD_SETTINGS:  # a password that cannot be read
        return BAD_SETTINGS
    return Supervisor(log_file, drain).run()


def seconds_of(text: str) -> float | None:
    """Return the time to drain the queue, in seconds; None for another text."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 600 else None


def say(text: str) -> None:
    """Write a line of the container's own to its log."""
    sys.stderr.write(f"container: {text}\n")
    sys.stderr.flush()


# --- before the start


def read_settings() -> tuple[int, dict[str, Any]]:
    """Return the settings as they are in effect, without secrets. If they are bad: their status, and nothing."""
    checked = subprocess.run(
        ["postward", "check", "--no-host", "--json"], stdout=subprocess.PIPE, check=False
    )
    try:
        settings: dict[str, Any] = json.loads(checked.stdout)["settings"]
    except ValueError:
        return checked.returncode or 1, {}  # its messages are on standard error
    return 0, settings


def log_file_of(source: object) -> str | None:
    """Return the file for Postfix's log; "/dev/stdout" for none, and None for a log that no container has."""
    if source in ("-", "auto"):
        return "/dev/stdout"
    return source if isinstance(source, str) and source.startswith("/") else None


def fill_configuration(host: dict[str, str | None], log_file: str) -> None:
    """Copy the files of the image that /etc/postfix lacks, and adapt main.cf and master.cf to this container.

    The host's own parameters do not wait for the relays: mail is taken while a relay refuses its settings, and listeners
    cannot change later. No service is chrooted: the container is the chroot.
    """
    for source in sorted(BASE.rglob("*")):
        target = CONFIG / source.relative_to(BASE)
        if source.is_dir():
            target.mkdir(exist_ok=True)
        elif not target.exists():
            shutil.copy2(source, target)
    subprocess.run(["postconf", "-F", "*/*/chroot=n"], check=True)
    own = [f"{name}={host[name]}" for name in HOST_PARAMETERS if host.get(name) is not None]
    subprocess.run(["postconf", "-e", f"maillog_file={log_file}", *own], check=True)
    for volume in (CONFIG, QUEUE):
        volume.chmod(0o755)  # a new one can be writable by others, which Postfix reports


def apply_settings() -> int:
    """Bring the settings into force before Postfix starts. Return the exit status.

    If a relay refuses them or does not answer, Postfix starts with the image's main.cf, which lets no mail leave, and
    the agent tries again.
    """
    command = ["postward", "apply", "--no-verify", *AGREED]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    ).returncode


# --- while both run


class Supervisor:
    """Starts Postfix and the agent, and ends with them.

    Args:
        log_file: the file for Postfix's log; "/dev/stdout" for the container's output and the agent.
        drain: time to drain the queue, in seconds. Kubernetes kills 30 seconds after SIGTERM.
    """

    def __init__(self, log_file: str, drain: float) -> None:
        self._drain_seconds = drain
        self._to_output = log_file == "/dev/stdout"
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._processes: dict[str, int] = {}  # name → process ID, of those that run
        self._ended: dict[str, int] = {}  # name → exit status
        self._log: Tee | None = None
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: self._signals.put(number))

    def run(self) -> int:
        """Run until a signal or the end of one of the two. Return the exit status."""
        self._start()
        while True:
            number = self._next_signal()
            if number == signal.SIGHUP:
                self._reload()
            elif number in {signal.SIGTERM, signal.SIGINT}:
                self._drain(self._drain_seconds)
                self._stop()
                return 0
            elif self._ended:
                (name, status), *_ = self._ended.items()
                say(f"{name} has ended with status {status}; stopping the container")
                self._stop()
                return status if status > 0 else 1

    def _start(self) -> None:
        lines = subprocess.DEVNULL
        if self._to_output:
            os.environ["POSTWARD_LOG__SOURCE"] = "-"
            (of_postfix, to_tee), (lines, to_agent) = os.pipe(), os.pipe()
            self._log = Tee(of_postfix, Sink("the container's output", 1), Sink("the agent", to_agent))
            self._spawn("postfix", ["postfix", "start-fg"], subprocess.DEVNULL, to_tee)
            os.close(to_tee)
        else:
            self._spawn("postfix", ["postfix", "start-fg"], subprocess.DEVNULL, None)
        self._spawn("postward", ["postward", "run", "--enforce", *AGREED], lines, None)
        if self._to_output:
            os.close(lines)

    def _spawn(self, name: str, command: list[str], stdin: int, stdout: int | None) -> None:
        # Ctrl-C on a terminal reaches this process alone, so that the queue is drained first.
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, start_new_session=True)
        process.returncode = 0  # `_reap` waits for it
        self._processes[name] = process.pid

    def _next_signal(self, timeout: float | None = None) -> int | None:
        """Return the next signal, with ended processes noted; None after `timeout` seconds."""
        try:
            number = self._signals.get(timeout=timeout)
        except queue.Empty:
            return None
        if number == signal.SIGCHLD:
            self._reap()
        return number

    def _reap(self) -> None:
        """Take all ended processes, orphans too."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                for name, number in list(self._processes.items()):
                    if number == ended[0]:
                        del self._processes[name]
                        self._ended[name] = os.waitstatus_to_exitcode(ended[1])

    def _signal(self, name: str, number: int) -> None:
        if name in self._processes:
            os.kill(self._processes[name], number)

    def _reload(self) -> None:
        say("reloading Postfix and Postward")
        run("postfix", "reload")
        self._signal("postward", signal.SIGHUP)

    # --- the end

    def _drain(self, seconds: float) -> None:
        """Deliver what can be delivered now. A second signal, or the end of one of the two, ends that."""
        say(f"draining the queue for at most {seconds:g} s")
        run("postqueue", "-f")
        until = time.monotonic() + seconds
        empty = 0  # looks in succession: the queue manager takes up the flush a moment later
        while not self._ended and time.monotonic() < until and empty < 2:
            empty = 0 if has_mail_under_way() else empty + 1
            if self._next_signal(POLL_SECONDS) in {signal.SIGTERM, signal.SIGINT}:
                break
        if not self._ended and empty < 2:
            say("mail is still under way; it stays in the queue")

    def _stop(self) -> None:
        """Stop Postfix, then the agent, which reads the rest of the log and saves its state."""
        if "postfix" in self._processes:
            run("postfix", "stop")
            self._await_end("postfix")
        if self._log is not None and "postward" in self._processes:
            self._log.flush(READ_SECONDS)
        self._signal("postward", signal.SIGTERM)
        self._await_end("postward")

    def _await_end(self, name: str) -> None:
        until = time.monotonic() + STOP_SECONDS
        while name in self._processes:
            self._next_signal(POLL_SECONDS)
            self._reap()
            if time.monotonic() > until:
                say(f"{name} does not stop; killing it")
                self._signal(name, signal.SIGKILL)
                until += STOP_SECONDS


def run(*command: str) -> None:
    """Run a command of Postfix. Its failure is logged by itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, stdin=subprocess.DEVNULL, timeout=2 * STOP_SECONDS, check=False)


def has_mail_under_way() -> bool:
    """Return True if mail waits to be picked up, or to be delivered for the first time."""
    return any(
        path.is_file() for name in ("maildrop", "incoming", "active") for path in (QUEUE / name).rglob("*")
    )


# --- the log


class Sink(threading.Thread):
    """Writes lines to a reader, in a thread of its own.

    Args:
        reader: the reader, for messages.
        descriptor: where to write.
    """

    def __init__(self, reader: str, descriptor: int) -> None:
        super().__init__(name=reader, daemon=True)
        self._descriptor = descriptor
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._bytes = 0
        self._dropped = 0
        self._is_gone = False

    def put(self, lines: bytes) -> None:
        """Queue whole lines."""
        with self._changed:
            if self._bytes + len(lines) > MAX_WAITING:
                self._dropped += lines.count(b"\n")
                return
            self._bytes += len(lines)
            self._waiting.append(lines)
            self._changed.notify_all()

    def run(self) -> None:
        """Write until the reader is gone."""
        while not self._is_gone:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                lines, dropped, self._dropped = self._waiting[0], self._dropped, 0
            if dropped:
                say(f"{self.name} was too slow: {dropped} lines of Postfix's log are missing there")
            try:
                while lines:
                    lines = lines[os.write(self._descriptor, lines) :]
            except OSError:
                self._is_gone = True
            with self._changed:
                self._bytes -= len(self._waiting.popleft())
                self._changed.notify_all()

    def is_read(self) -> bool:
        """Return True if the reader has read all lines."""
        try:
            unread = fcntl.ioctl(self._descriptor, termios.FIONREAD, b"\0" * 4)
        except OSError:
            unread = b"\0" * 4
        return self._is_gone or (not self._waiting and struct.unpack("i", unread) == (0,))


class Tee:
    """Copies whole lines of Postfix's log to readers.

    Args:
        source: the reading end of Postfix's pipe.
        sinks: the readers.
    """

    def __init__(self, source: int, *sinks: Sink) -> None:
        self._source = source
        self._sinks = sinks
        self._thread = threading.Thread(target=self._copy, name="log", daemon=True)
        for thread in (*sinks, self._thread):
            thread.start()

    def _copy(self) -> None:
        rest = b""
        while data := os.read(self._source, 1 << 16):
            lines, newline, rest = (rest + data).rpartition(b"\n")
            if newline:
                for sink in self._sinks:
                    sink.put(lines + newline)

    def flush(self, seconds: float) -> None:
        """Wait until the end of Postfix's log is read, for at most `seconds`."""
        until = time.monotonic() + seconds
        self._thread.join(seconds)
        while time.monotonic() < until and not all(sink.is_read() for sink in self._sinks):
            time.sleep(0.05)  # nothing wakes a writer when its pipe has been read


# --- the health check


def healthy(agent: Path) -> int:
    """Return 0 if the agent is ready: it has read the log so far, and its counts are saved.

    That mail goes out is not asked: a new container repairs no relay. Postfix needs no question, since the container
    ends with it.
    """
    connection = http.client.HTTPConnection("localhost")
    try:
        with socket.socket(socket.AF_UNIX) as connection.sock:
            connection.sock.settimeout(HEALTH_SECONDS)
            connection.sock.connect(str(agent))
            connection.request("GET", "/-/ready")
            answer = connection.getresponse()
            text = answer.read(1000).decode(errors="replace")
    except OSError as error:
        sys.stdout.write(f"{agent}: {error.strerror or error}\n")
        return 1
    sys.stdout.write(text)
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
