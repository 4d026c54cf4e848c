"""A Debian host with the package, its relay and its users' mail, and a receiver of notifications.

The host has the settings of `postward init`, with the defaults of all intervals. Its queue is a small file system. A
user of the host sends a mail every five seconds.
"""

import contextlib
import json
import subprocess
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from postward.agent.incidents.diagnosis import DRIFT
from tests.support.ca import CA
from tests.support.postfix import free_port
from tests.support.relay import Relay
from tests.support.waiting import wait_for
from tools.hosts.host import Host, HostError
from tools.hosts.product import PASSWORD, USER, Installed

_PAUSE: Final = 5.0  # seconds between two mails of users
_HEARTBEAT: Final = 10  # seconds between two heartbeats
_QUEUE_SIZE: Final = "48m"  # of the queue's file system; Postfix wants 15 MB free


class Notice(NamedTuple):
    """A notification.

    Attributes:
        at: monotonic seconds.
        host: the host that it is about.
        name: an alert, or a symptom if `is_own`: "config-drift" for mail that fails because of drift.
        is_own: sent by Postward itself, not by Alertmanager.
    """

    at: float
    host: str
    name: str
    is_own: bool


class Receiver:
    """An HTTP server that Alertmanager and the agents notify. Use it as a context manager.

    Attributes:
        notices: the notifications so far, without those about ends.
        heartbeats: host → when its last heartbeat came, in monotonic seconds.
    """

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.heartbeats: dict[str, float] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            """Keeps what is posted."""

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.note(self.path.strip("/"), body)
                self._answer()

            def do_GET(self) -> None:
                receiver.heartbeats[self.path.strip("/")] = time.monotonic()
                self._answer()

            def _answer(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def note(self, path: str, body: dict[str, Any]) -> None:
        """Keep a notification of Alertmanager, which posts to /alerts, or of the host in the path."""
        now = time.monotonic()
        if path == "alerts":
            self.notices += [
                Notice(now, alert["labels"]["instance"], alert["labels"]["alertname"], is_own=False)
                for alert in body["alerts"]
                if alert["status"] == "firing"
            ]
        elif body["event"] == "incident_opened":
            row = body["incident"]
            by_drift = any(cause["id"] == DRIFT for cause in row["causes"][:1])
            self.notices.append(
                Notice(now, path, "config-drift" if by_drift else row["symptom"], is_own=True)
            )

    def names(self, host: str, since: float, *, own: bool) -> dict[str, float]:
        """Return the names in the notifications about a host, with the time of the first, in monotonic seconds."""
        found: dict[str, float] = {}
        for notice in list(self.notices):
            if notice.host == host and notice.at >= since and notice.is_own == own:
                found.setdefault(notice.name, notice.at)
        return found

    def is_overdue(self, host: str) -> bool:
        """Return whether the host's heartbeats have stopped: a monitoring service would raise its alarm."""
        return time.monotonic() - self.heartbeats.get(host, 0.0) > 3 * _HEARTBEAT

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class FreshHost:
    """A host of a release, set up by `postward init`. Use it as a context manager; mail flows from the start.

    Args:
        release: the code name, which is also the name of the host.
        deb: the package.
        receiver: gets its notifications and heartbeats.
    """

    def __init__(self, release: str, deb: Path, receiver: Receiver) -> None:
        self.name = release
        self.host = Host(release)
        self.relay = Relay(CA(), users={USER: PASSWORD})
        self.installed = Installed(self.host, self.relay, free_port())
        self.receiver = receiver
        self._deb = deb
        self._over = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.relay)
            stack.enter_context(self.host)
            self._put_queue_on_small_disk()
            self.installed.install(self._deb)
            self.installed.set_up()
            text = (
                f'[notify]\nwebhook_url = "{self.receiver.url}/{self.name}"\n'
                f'heartbeat_url = "{self.receiver.url}/{self.name}"\n'
                f"heartbeat_interval_seconds = {_HEARTBEAT}\n\n[probe]"
            )
            self.installed.edit("[probe]\ninterval_seconds = 5", text)
            self.run("systemctl restart postward")
            sender = threading.Thread(target=self._send, daemon=True)
            sender.start()
            stack.callback(sender.join, 60)
            stack.callback(self._over.set)
            self.installed.await_metric(2, "postfix_deliveries_total", "status=sent")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _put_queue_on_small_disk(self) -> None:
        self.run(
            "systemctl stop postfix; cp -a /var/spool/postfix /root/spool\n"
            f"mount -t tmpfs -o size={_QUEUE_SIZE},mode=755 tmpfs /var/spool/postfix\n"
            "cp -a /root/spool/. /var/spool/postfix/; systemctl start postfix"
        )

    def _send(self) -> None:
        while not self._over.wait(_PAUSE):
            with contextlib.suppress(HostError, subprocess.TimeoutExpired):  # Postfix is one of the faults
                self.installed.send(1)

    @property
    def target(self) -> tuple[str, str]:
        """Name and address, as Prometheus scrapes it."""
        return self.name, f"127.0.0.1:{self.installed.port}"

    def run(self, script: str) -> None:
        """Run a shell script on the host. Raises HostError."""
        self.host.shell(script)

    def ask(self, *arguments: str) -> tuple[int, str]:
        """Run a command of Postward as root. Return its exit status, and its output in one line."""
        done = self.host.call("env", "COLUMNS=1000", "postward", *arguments)
        return done.returncode, " ".join(f"{done.stdout}{done.stderr}".split())

    def open_symptoms(self) -> list[tuple[str, str]]:
        """Return symptom and effect of the open incidents, in the order of `postward why`."""
        printed = self.host.call("postward", "why", "--json").stdout
        rows = json.loads(printed)["incidents"] if printed else []
        return [(row["symptom"], row["effect"]) for row in rows if row["closed"] is None]

    def mail_flows(self) -> bool:
        """Return whether a mail that is sent now reaches the relay within ten seconds."""
        before = self.installed.received()
        try:
            self.installed.send(1)
            wait_for(lambda: self.installed.received() > before, 10, "a mail at the relay")
        except (AssertionError, HostError):
            return False
        return True
