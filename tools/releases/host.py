"""A mail host inside a release's tree: main.cf, master.cf, tables, start, stop and logs.

It uses the tree's /etc/postfix and /var/spool/postfix, so the log holds no path of this machine. Postfix logs to /dev/log
before it has read main.cf and without maillog_file; a small syslog service there writes lines in rsyslog's format.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import PostfixError, free_port, wait_for
from tools.releases.names import ADDRESS
from tools.releases.tree import Tree

CONFIG = "/etc/postfix"
LOG = "/var/log/postward.log"
NAME = "host.example.test"

_HOT = 3.0  # seconds
_GUARDIAN = 'cat >/dev/null; chroot "$1" postfix stop; chroot "$1" postfix -c /etc/postfix-out stop'

_MASTER_CF = (Path(__file__).parent / "master.cf").read_text()

_PORTS = ("smtpd", "submission", "smtps", "strict", "postscreen", "qmqpd")
_STATUS = re.compile(r"status=([\w-]+)")


class Syslog:
    """The syslog service on the tree's /dev/log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="syslog", daemon=True)

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._socket.bind(str(self.path))
        self.path.chmod(0o666)
        self._socket.settimeout(0.2)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                text = self._socket.recv(65536).decode(errors="replace").rstrip("\0\n")
                stamp, tag = re.sub(r"^<\d+>", "", text)[:15], re.sub(r"^<\d+>", "", text)[16:]
                self.lines.append(f"{stamp} {NAME.partition('.')[0]} {tag}")


class Host:
    """One release's Postfix, which runs during the with block."""

    def __init__(self, tree: Tree, main_cf: Mapping[str, str]) -> None:
        self.tree = tree
        self.ports = dict.fromkeys(_PORTS, 0)
        while len(set(self.ports.values())) < len(_PORTS):
            self.ports = {name: free_port() for name in _PORTS}
        # Debian 3.11 has no Berkeley DB any more.
        built = tree.run("postconf", "-d", "-h", "mail_version", "default_database_type").split()
        self.version, self.table_type = built
        self.release = tuple(int(part) for part in self.version.split(".")[:2])
        self.syslog = Syslog(tree.path("/dev/log"))
        self._base = dict(main_cf)
        self._guardian: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._end_all()
        self._clean()
        self.syslog.start()
        try:
            self._watch_over()
            self.configure()
            self.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        with contextlib.suppress(PostfixError, subprocess.TimeoutExpired):
            self.run("postfix", "stop")
        self._end_all()
        self.syslog.stop()
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.communicate()

    def _watch_over(self) -> None:
        # Its input ends when this process ends for any reason.
        self._guardian = subprocess.Popen(
            ["/bin/sh", "-c", _GUARDIAN, "guardian", str(self.tree.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def _end_all(self) -> None:
        for pid in self.tree.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.tree.pids(), what="the tree's processes to end")

    def _clean(self) -> None:
        for queue in (
            "active",
            "bounce",
            "corrupt",
            "defer",
            "deferred",
            "flush",
            "hold",
            "incoming",
            "trace",
        ):
            shutil.rmtree(self.tree.path(f"/var/spool/postfix/{queue}"), ignore_errors=True)
        for folder in ("maildrop", "private", "public", "saved"):
            for left in self.tree.path(f"/var/spool/postfix/{folder}").glob("*"):
                left.unlink()
        self.tree.path(LOG).unlink(missing_ok=True)
        for left in self.tree.path("/var/lib/postfix").glob("*"):
            left.unlink()
        # The package's own pages are not needed, and its dynamic maps file stays.
        self.write("/etc/resolv.conf", f"nameserver {ADDRESS}\noptions timeout:1 attempts:1\n")
        self.write("/etc/hosts", f"127.0.0.1 localhost {NAME}\n")

    # Configuration

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        path = self.tree.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def configure(self, **changes: str) -> None:
        """Write main.cf: the base with changes. Backdate it, because Postfix waits after a recent change."""
        parameters = {**self._base, **changes}
        self.write(f"{CONFIG}/main.cf", "".join(f"{name} = {value}\n" for name, value in parameters.items()))
        self.write(f"{CONFIG}/master.cf", _MASTER_CF.format(**self.ports))
        for file in ("main.cf", "master.cf"):
            path = self.tree.path(f"{CONFIG}/{file}")
            os.utime(path, (path.stat().st_mtime - _HOT, path.stat().st_mtime - _HOT))

    @contextlib.contextmanager
    def configured(self, **changes: str) -> Iterator[None]:
        """Run with changed settings for the length of a with block, by two reloads."""
        self.configure(**changes)
        self.reload()
        try:
            yield
        finally:
            self.configure()
            self.reload()

    def table(self, name: str, text: str, tool: str = "postmap") -> str:
        """Write and build a table; return its name for main.cf."""
        self.write(f"{CONFIG}/{name}", text)
        self.run(tool, f"{self.table_type}:{CONFIG}/{name}")
        return f"{self.table_type}:{CONFIG}/{name}"

    # Running

    def run(self, *arguments: str, stdin: bytes = b"", check: bool = True) -> str:
        return self.tree.run(*arguments, stdin=stdin, check=check)

    def start(self) -> None:
        self.run("postfix", "start")
        wait_for(
            lambda: self.run("postfix", "status", check=False) == "" or self.running(), what="the master"
        )

    def running(self) -> bool:
        pid = self.tree.path("/var/spool/postfix/pid/master.pid")
        with contextlib.suppress(OSError, ValueError):
            return int(pid.read_text()) in self.tree.pids()
        return False

    def stop(self) -> None:
        self.run("postfix", "stop", check=False)
        wait_for(lambda: not self.running(), what="the master to end")

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self) -> None:
        """Reload, and wait for master's log line: mail sent earlier would use the former settings."""
        before = self._reloads()
        self.run("postfix", "reload")
        wait_for(lambda: self._reloads() > before, what="the reload")

    def _reloads(self) -> int:
        return sum("reload -- version" in line for line in [*self.log(), *self.syslog.lines])

    def empty_queue(self) -> None:
        """Delete queued mail until the queue is empty."""
        end = time.monotonic() + 10
        while self.queued() and time.monotonic() < end:
            self.run("postsuper", "-d", "ALL")
            time.sleep(0.1)

    def queued(self) -> list[str]:
        """Return the queue IDs of queued mail."""
        text = self.run("postqueue", "-j", check=False)
        return re.findall(r'"queue_id": "(\w+)"', text)

    # Log

    def log(self) -> list[str]:
        path = self.tree.path(LOG)
        text = path.read_bytes().decode(errors="replace") if path.exists() else ""
        return [line for line in text.split("\n") if line]

    def lines(self, containing: str) -> list[str]:
        return [line for line in self.log() if containing in line]

    def status(self, recipient: str) -> str | None:
        """Return the last delivery status of a recipient."""
        found = [line for line in self.lines(f"to=<{recipient}>") if "status=" in line]
        match = _STATUS.search(found[-1]) if found else None
        return match[1] if match else None
