"""A private Postfix: its own configuration, queue, data, log and ports, beside whatever the machine runs.

It reads nothing of the machine's own main.cf and master.cf, which may be absent: root may name any configuration
directory with -c and -C; only the compiled-in meta directory (postfix-files, for the start-up check) is used.
Starting fails with PostfixError and the log. Nothing is left after stop(); should this process be killed, a
guardian that waits on a pipe from it stops the instance.
"""

import atexit
import contextlib
import errno
import json
import os
import random
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.require import ADMIN_PATH
from tests.support.waiting import wait_for

DEADLINE = 30.0  # seconds: Postfix's tools can hang, for one when the queue directories are missing
_HOT = 3.0  # seconds
_SOCKET_PATH_LIMIT = 107  # bytes, without the closing NUL
_LONGEST_SOCKET = "/public/postlog"  # the only socket that is opened by its absolute path

_MASTER_CF = """\
127.0.0.1:{port} inet n - {c} - - smtpd
pickup unix n - {c} 60 1 pickup
cleanup unix n - {c} - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - {c} 1000? 1 tlsmgr
rewrite unix - - {c} - - trivial-rewrite
bounce unix - - {c} - 0 bounce
defer unix - - {c} - 0 bounce
trace unix - - {c} - 0 bounce
verify unix - - {c} - 1 verify
flush unix n - {c} 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - {c} - - smtp
relay unix - - {c} - - smtp
  -o syslog_name={name}/$service_name
showq unix n - {c} - - showq
error unix - - {c} - - error
retry unix - - {c} - - error
discard unix - - {c} - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - {c} - - lmtp
anvil unix - - {c} - 1 anvil
scache unix - - {c} - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

# $1: the configuration directory; $2: the folder to remove afterwards, if it is ours.
_GUARDIAN = 'cat >/dev/null; postfix -c "$1" stop; if [ -n "$2" ]; then rm -rf -- "$2"; fi'


class PostfixError(AssertionError):
    """A Postfix tool failed or did not come back; the text holds what it said and the end of the log."""


def free_port() -> int:
    """Find a port that is free now, outside the range that outgoing connections take theirs from."""
    for port in random.SystemRandom().sample(range(20000, 32000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return port
    raise RuntimeError("no free port among a hundred tried")


class PostfixInstance:
    """One private Postfix. Use it as a context manager, or call start() and stop()."""

    def __init__(
        self,
        folder: Path,
        main_cf: Mapping[str, str] | None = None,
        smtpd_port: int | None = None,
        *,
        syslog_name: str = "postfix",
        chroot: bool = False,
    ) -> None:
        self._own_folder: Path | None = None
        self.folder = folder if _usable(folder) else self._short_folder()
        self.config_directory = self.folder / "etc"
        self.queue_directory = self.folder / "queue"
        self.data_directory = self.folder / "data"
        self.maillog = self.folder / "mail.log"
        self.smtpd_port = smtpd_port or free_port()
        self._guardian: subprocess.Popen[bytes] | None = None
        try:
            self._lay_out(main_cf or {}, syslog_name, chroot)
        except BaseException:
            self._remove_own_folder()
            raise

    def _short_folder(self) -> Path:
        # Postfix's own user must reach the data directory, which pytest's folders (mode 0700) forbid.
        self._own_folder = Path(tempfile.mkdtemp(prefix="postfix-"))
        atexit.register(self._remove_unused)
        self._own_folder.chmod(0o755)
        if not _usable(self._own_folder):
            raise ValueError(
                f"{self._own_folder}: too long for Postfix's sockets or not open to all: set TMPDIR"
            )
        return self._own_folder

    def _remove_unused(self) -> None:
        if (
            self._guardian is None
        ):  # only laid out: nobody else will do it; who guards a running one needs its folder
            self._remove_own_folder()

    def _remove_own_folder(self) -> None:
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    def _lay_out(self, main_cf: Mapping[str, str], syslog_name: str, chroot: bool) -> None:
        built = _compiled_in()
        for folder in (self.config_directory, self.queue_directory, self.data_directory):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        shutil.chown(self.data_directory, built["mail_owner"])
        modern = tuple(int(part) for part in built["mail_version"].split(".")[:2]) >= (3, 6)
        parameters = {
            "compatibility_level": "3.6" if modern else "2",
            "queue_directory": str(self.queue_directory),
            "data_directory": str(self.data_directory),
            "command_directory": built["command_directory"],
            "daemon_directory": built["daemon_directory"],
            "mail_owner": built["mail_owner"],
            "setgid_group": built["setgid_group"],
            "maillog_file": str(self.maillog),
            "maillog_file_prefixes": str(self.folder),
            "syslog_name": syslog_name,
            "myhostname": "client.example.test",
            "mydestination": "$myhostname, localhost",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "alias_database": "",
            "smtp_host_lookup": "native",  # loopback names come from the hosts file; there is no DNS in a test
            "in_flow_delay": "0",
            "queue_run_delay": "2s",
            "minimal_backoff_time": "2s",
            "maximal_backoff_time": "4s",
            **main_cf,
        }
        text = "".join(f"{name} = {value}\n" for name, value in parameters.items())
        (self.config_directory / "main.cf").write_text(text)
        self.settle()
        service_table = _MASTER_CF.format(port=self.smtpd_port, c="y" if chroot else "n", name=syslog_name)
        (self.config_directory / "master.cf").write_text(service_table)

    # Starting and stopping

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._remove_own_folder()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._remove_own_folder()

    def start(self) -> None:
        """Start and wait until the master runs; on any failure stop what did start."""
        self._watch_over()
        try:
            self._run("postfix", "-c", str(self.config_directory), "start")
            wait_for(self.is_running, what="the Postfix master")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop, by force if it will not go, and wait until no process of this instance is left."""
        try:
            master = self.master_pid()
            if master is not None:
                # What `postfix stop` does, without its pause of a full second.
                _signal(master, signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                wait_for(lambda: not self.pids(), timeout=5, what="Postfix's processes to end")
            for pid in self.pids():
                _signal(pid, signal.SIGKILL)
            wait_for(lambda: not self.pids(), what="Postfix's processes to end when killed")
        finally:
            self._dismiss_guardian()

    def _watch_over(self) -> None:
        if self._guardian is not None:
            return
        # Its input ends when this process does, however that comes about. Its own session keeps a Ctrl-C away.
        self._guardian = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                _GUARDIAN,
                "guardian",
                str(self.config_directory),
                str(self._own_folder or ""),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )

    def _dismiss_guardian(self) -> None:
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.communicate()
            self._guardian = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self) -> None:
        self._run("postfix", "-c", str(self.config_directory), "reload")

    def is_running(self) -> bool:
        return self.master_pid() is not None

    def master_pid(self) -> int | None:
        """Read the master's process id, or None when it does not run (a stale file is not believed)."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.queue_directory / "pid" / "master.pid").read_text())
            if pid in self.pids():
                return pid
        return None

    def pids(self) -> list[int]:
        """List the processes whose working directory lies in this instance's folder, but for this one."""
        found = []
        root = f"{self.folder.resolve()}/"
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if f"{(entry / 'cwd').readlink()}/".startswith(root):
                        found.append(int(entry.name))
        return found

    # Configuration

    def postconf(self, *names: str) -> dict[str, str]:
        """Read parameters, all of them when none is named, as postconf prints them."""
        return _parse_parameters(self._run("postconf", "-c", str(self.config_directory), *names))

    def set(self, **parameters: str) -> None:
        """Edit main.cf by postconf -e, as an admin would; no reload. Then settle()."""
        edits = [f"{name}={value}" for name, value in parameters.items()]
        self._run("postconf", "-c", str(self.config_directory), "-e", *edits)
        self.settle()

    def set_service(self, name: str, value: str) -> None:
        """Give a service of master.cf a parameter of its own by postconf -P, as an admin would; no reload."""
        self._run("postconf", "-c", str(self.config_directory), "-P", f"{name}={value}")

    def settle(self) -> None:
        """Make main.cf look some seconds old.

        Every Postfix program that meets a main.cf changed within the last two seconds waits and reads it again,
        until it is older: two seconds for a start, a reload, even a postconf. Tests do not wait for that.
        """
        main_cf = self.config_directory / "main.cf"
        before = main_cf.stat().st_mtime - _HOT
        os.utime(main_cf, (before, before))

    # Mail

    def sendmail(
        self,
        recipient: str,
        sender: str = "sender@client.example.test",
        body: str = "A test.\n",
        message_id: str | None = None,
        subject: str = "Test",
    ) -> str:
        """Submit one mail by Postfix's sendmail, as cron does, and return its Message-ID."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, recipient, subject
        message["Date"] = formatdate()
        message["Message-ID"] = message_id or make_msgid(domain="client.example.test")
        message.set_content(body)
        command = ["sendmail", "-C", str(self.config_directory), "-i", "-f", sender, "--", recipient]
        self._run(*command, stdin=message.as_bytes())
        return str(message["Message-ID"])

    def inject(self, recipients: Iterable[str], sender: str = "sender@client.example.test") -> list[str]:
        """Submit many mails quickly, one a recipient, over one SMTP session, and return their Message-IDs."""
        message_ids = []
        with smtplib.SMTP("127.0.0.1", self.smtpd_port, timeout=DEADLINE) as client:
            for recipient in recipients:
                message_ids.append(make_msgid(domain="client.example.test"))
                head = f"From: {sender}\r\nTo: {recipient}\r\nMessage-ID: {message_ids[-1]}\r\n"
                client.sendmail(sender, [recipient], f"{head}Subject: Test\r\n\r\nA test.\r\n")
        return message_ids

    def flush(self) -> None:
        self._run("postqueue", "-c", str(self.config_directory), "-f")

    def queue(self) -> list[dict[str, Any]]:
        """List the queue as postqueue -j prints it, one dictionary a message."""
        text = self._run("postqueue", "-c", str(self.config_directory), "-j")
        return [json.loads(line) for line in text.split("\n") if line]

    def delete_all(self) -> None:
        self._run("postsuper", "-c", str(self.config_directory), "-d", "ALL")

    # Log

    def log(self) -> str:
        """Read the whole mail log; empty when nothing was logged yet."""
        try:
            return self.maillog.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def log_lines(self, containing: str = "") -> list[str]:
        return [line for line in self.log().split("\n") if line and containing in line]

    def _run(self, program: str, *arguments: str, stdin: bytes = b"") -> str:
        try:
            return _run(program, *arguments, stdin=stdin)
        except PostfixError as error:
            tail = "\n".join(self.log_lines()[-15:])
            raise PostfixError(f"{error}\nthe end of its log:\n{tail}") from None


def _usable(folder: Path) -> bool:
    """Tell whether Postfix's user can reach the folder and its sockets' paths stay short enough."""
    folder = folder.resolve()
    if len(os.fsencode(folder / "queue")) + len(_LONGEST_SOCKET) > _SOCKET_PATH_LIMIT:
        return False
    return all(not part.exists() or part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "MAIL_CONFIG"}
    return {**kept, "PATH": ADMIN_PATH}


def _run(program: str, *arguments: str, stdin: bytes = b"") -> str:
    # Files, not pipes: a daemon that keeps standard error open must not keep us waiting.
    path = shutil.which(program, path=ADMIN_PATH)
    if path is None:
        raise PostfixError(f"{program}: not found; install the package postfix")
    with tempfile.TemporaryFile() as fed, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        fed.write(stdin)
        fed.seek(0)
        process = subprocess.Popen(
            [path, *arguments],
            stdin=fed,
            stdout=out,
            stderr=err,
            env=_environment(),
            cwd="/",
            start_new_session=True,
        )
        try:
            code = process.wait(DEADLINE)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise PostfixError(f"{program} {' '.join(arguments)}: no end after {DEADLINE:g} s") from None
            raise
        out.seek(0)
        err.seek(0)
        if code != 0:
            said = err.read().decode(errors="replace").strip()
            raise PostfixError(f"{program} {' '.join(arguments)}: exit status {code}: {said}")
        return out.read().decode(errors="replace")


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _parse_parameters(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.split("\n") if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _compiled_in() -> dict[str, str]:
    names = ("mail_version", "mail_owner", "setgid_group", "command_directory", "daemon_directory")
    return _parse_parameters(_run("postconf", "-d", *names))
