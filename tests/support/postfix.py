"""A private Postfix: its own configuration, queue, data, log and ports, beside the machine's Postfix.

It does not read the machine's main.cf and master.cf, which may be absent. Root may name any configuration directory with
-c and -C; only the compiled-in meta directory (postfix-files, for the start-up check) is shared.

How it fails: PostfixError with the end of the log. No process is left after `stop`. If this process is killed, a guardian
that reads from a pipe notices, and stops the instance.
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

DEADLINE = 30.0  # seconds: Postfix's tools can hang, for example if the queue directories are missing
_SETTLE_TIME = 3.0  # seconds: more than the two that Postfix waits
_SOCKET_PATH_LIMIT = 107  # bytes, without the closing NUL
_SOCKET = "/public/postlog"  # the only socket that is opened by its absolute path

_MASTER_CF = Path(__file__).with_name("master.cf").read_text()

# $1: the configuration directory; $2: the directory to remove afterwards, or empty.
_GUARDIAN = 'cat >/dev/null; postfix -c "$1" stop; if [ -n "$2" ]; then rm -rf -- "$2"; fi'


class PostfixError(AssertionError):
    """A Postfix tool failed or did not exit. The text has its output and the end of the log."""


def free_port() -> int:
    """Return a free port outside the range of ephemeral ports."""
    for port in random.SystemRandom().sample(range(20000, 32000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return port
    raise RuntimeError("none of 100 ports is free")


class PostfixInstance:
    """A private Postfix. Use it as a context manager, or call `start` and `stop`.

    Args:
        folder: its directory; another one is used if Postfix cannot work there.
        main_cf: parameters.
        smtpd_port: the port of smtpd(8); None: a free one.
        syslog_name: the name in the log.
        chroot: run daemons chrooted, as Debian does.
    """

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
            self._write_files(main_cf or {}, syslog_name, chroot)
        except BaseException:
            self._remove_own_folder()
            raise

    def _short_folder(self) -> Path:
        # Postfix's user cannot enter pytest's directories, which have mode 0700.
        self._own_folder = Path(tempfile.mkdtemp(prefix="postfix-"))
        atexit.register(self._remove_unused)
        self._own_folder.chmod(0o755)
        if not _usable(self._own_folder):
            raise ValueError(
                f"{self._own_folder}: too long for Postfix's sockets, or not accessible to all users: set TMPDIR"
            )
        return self._own_folder

    def _remove_unused(self) -> None:
        if self._guardian is None:  # never started; a guardian would still need the directory
            self._remove_own_folder()

    def _remove_own_folder(self) -> None:
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    def _write_files(self, main_cf: Mapping[str, str], syslog_name: str, chroot: bool) -> None:
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
            "smtp_host_lookup": "native",  # names from the hosts file; tests have no DNS
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
        """Start, and wait until master(8) runs. After a failure, stop everything that was started."""
        self._start_guardian()
        try:
            self._run("postfix", "-c", str(self.config_directory), "start")
            wait_for(self.is_running, what="the Postfix master")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop, with SIGKILL after a time-out, and wait until no process of this instance is left."""
        try:
            master = self.master_pid()
            if master is not None:
                # As `postfix stop` does, without its pause of one second.
                _signal(master, signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                wait_for(lambda: not self.pids(), timeout=5, what="Postfix's processes to end")
            for pid in self.pids():
                _signal(pid, signal.SIGKILL)
            wait_for(lambda: not self.pids(), what="Postfix's processes to end when killed")
        finally:
            self._stop_guardian()

    def _start_guardian(self) -> None:
        if self._guardian is not None:
            return
        # Its standard input ends when this process ends for any reason. In a session of its own it gets no Ctrl-C.
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

    def _stop_guardian(self) -> None:
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.communicate()
            self._guardian = None

    def restart(self) -> None:
        """Stop it, then start it again."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Run `postfix reload`."""
        self._run("postfix", "-c", str(self.config_directory), "reload")

    def is_running(self) -> bool:
        """Return True if master(8) runs."""
        return self.master_pid() is not None

    def master_pid(self) -> int | None:
        """Return the process ID of master(8); None if it does not run. A stale file is ignored."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.queue_directory / "pid" / "master.pid").read_text())
            if pid in self.pids():
                return pid
        return None

    def pids(self) -> list[int]:
        """Return the processes whose working directory is in this instance's directory, except this one."""
        pids = []
        root = f"{self.folder.resolve()}/"
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if f"{(entry / 'cwd').readlink()}/".startswith(root):
                        pids.append(int(entry.name))
        return pids

    # Configuration

    def postconf(self, *names: str) -> dict[str, str]:
        """Return parameters as postconf prints them; all of them without names."""
        return _parse_parameters(self._run("postconf", "-c", str(self.config_directory), *names))

    def set(self, **parameters: str) -> None:
        """Set parameters by `postconf -e`, without a reload, and `settle`."""
        edits = [f"{name}={value}" for name, value in parameters.items()]
        self._run("postconf", "-c", str(self.config_directory), "-e", *edits)
        self.settle()

    def set_service(self, name: str, value: str) -> None:
        """Set a parameter of a service of master.cf by `postconf -P`, without a reload."""
        self._run("postconf", "-c", str(self.config_directory), "-P", f"{name}={value}")

    def settle(self) -> None:
        """Backdate main.cf, so that no Postfix program waits until it is two seconds old (util/dict.c)."""
        main_cf = self.config_directory / "main.cf"
        before = main_cf.stat().st_mtime - _SETTLE_TIME
        os.utime(main_cf, (before, before))

    # Mail

    def sendmail(
        self,
        recipient: str,
        sender: str = "sender@client.example.test",
        body: str = "A test.\n",
        message_id: str | None = None,
        subject: str = "Test",
        user: str = "",
    ) -> str:
        """Submit a mail as cron does (sendmail), as this user if one is named. Return its Message-ID."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, recipient, subject
        message["Date"] = formatdate()
        message["Message-ID"] = message_id or make_msgid(domain="client.example.test")
        message.set_content(body)
        options = ("-i", "-f", sender, "--", recipient)
        if user:
            # A user's sendmail takes another configuration directory than the machine's from the environment.
            command = ("env", f"MAIL_CONFIG={self.config_directory}", "sendmail", *options)
        else:
            command = ("sendmail", "-C", str(self.config_directory), *options)
        self._run(*command, stdin=message.as_bytes(), user=user)
        return str(message["Message-ID"])

    def inject(self, recipients: Iterable[str], sender: str = "sender@client.example.test") -> list[str]:
        """Submit one mail for each recipient in one SMTP session. Return their Message-IDs."""
        message_ids = []
        with smtplib.SMTP("127.0.0.1", self.smtpd_port, timeout=DEADLINE) as client:
            for recipient in recipients:
                message_ids.append(make_msgid(domain="client.example.test"))
                head = f"From: {sender}\r\nTo: {recipient}\r\nMessage-ID: {message_ids[-1]}\r\n"
                client.sendmail(sender, [recipient], f"{head}Subject: Test\r\n\r\nA test.\r\n")
        return message_ids

    def flush(self) -> None:
        """Attempt delivery of all queued mail now."""
        self._run("postqueue", "-c", str(self.config_directory), "-f")

    def queue(self) -> list[dict[str, Any]]:
        """Return the queue as `postqueue -j` prints it, one dictionary a message."""
        text = self._run("postqueue", "-c", str(self.config_directory), "-j")
        return [json.loads(line) for line in text.split("\n") if line]

    def delete_all(self) -> None:
        """Delete all queued mail."""
        self._run("postsuper", "-c", str(self.config_directory), "-d", "ALL")

    # Log

    def log(self) -> str:
        """Return the whole mail log; "" if nothing has been logged."""
        try:
            return self.maillog.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def log_lines(self, containing: str = "") -> list[str]:
        """Return the lines of the mail log that contain a text."""
        return [line for line in self.log().split("\n") if line and containing in line]

    def build_table(self, path: Path) -> None:
        """Build the index of a lookup table of type hash."""
        self._run("postmap", "-c", str(self.config_directory), f"hash:{path}")

    def _run(self, program: str, *arguments: str, stdin: bytes = b"", user: str = "") -> str:
        try:
            return _run(program, *arguments, stdin=stdin, user=user)
        except PostfixError as error:
            tail = "\n".join(self.log_lines()[-15:])
            raise PostfixError(f"{error}\nthe end of the log:\n{tail}") from None


def _usable(folder: Path) -> bool:
    """Return True if Postfix's user can enter a directory, and paths of sockets in it are short enough."""
    folder = folder.resolve()
    if len(os.fsencode(folder / "queue")) + len(_SOCKET) > _SOCKET_PATH_LIMIT:
        return False
    return all(not part.exists() or part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "MAIL_CONFIG"}
    return {**kept, "PATH": ADMIN_PATH}


def _run(program: str, *arguments: str, stdin: bytes = b"", user: str = "") -> str:
    # Files instead of pipes, because daemons that it starts keep standard error open.
    path = shutil.which(program, path=ADMIN_PATH)
    if path is None:
        raise PostfixError(f"{program}: not found; install the package postfix")
    with (
        tempfile.TemporaryFile() as stdin_file,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        stdin_file.write(stdin)
        stdin_file.seek(0)
        # postdrop(1) trusts the environment of a user only if its set-group-ID bit changes nothing (util/unsafe.c).
        group = _compiled_in()["setgid_group"] if user else None
        process = subprocess.Popen(
            [path, *arguments],
            stdin=stdin_file,
            stdout=out,
            stderr=err,
            env=_environment(),
            cwd="/",
            start_new_session=True,
            user=user or None,
            group=group,
            extra_groups=[] if user else None,
        )
        try:
            code = process.wait(DEADLINE)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise PostfixError(
                    f"{program} {' '.join(arguments)}: did not end within {DEADLINE:g} s"
                ) from None
            raise
        out.seek(0)
        err.seek(0)
        if code != 0:
            printed = err.read().decode(errors="replace").strip()
            raise PostfixError(f"{program} {' '.join(arguments)}: exit status {code}: {printed}")
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
