"""A Postfix that discards its mails at once, and an agent that counts them from its log.

How it fails: an AssertionError that names the awaited value.
"""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.postfix import PostfixInstance
from tests.support.product import AgentProcess, write_reading_settings
from tests.support.waiting import wait_for

TIMEOUT = 15.0  # seconds; several times the duration on an idle machine


class Mail:
    """A Postfix that discards its mails at once, and an agent that reads its log.

    Args:
        folder: the directory for both; the agent's state is in `state`.
        log: the log file.
        syslog: Postfix logs to syslog, which writes the log file.
        test_interval: log.test_interval_seconds.
    """

    def __init__(
        self, folder: Path, log: Path | None = None, *, syslog: bool = False, test_interval: int = 0
    ) -> None:
        folder.chmod(0o755)
        parameters = {"default_transport": "discard"}
        if log:
            parameters |= {
                "maillog_file": "" if syslog else str(log),
                "maillog_file_prefixes": str(log.parent),
            }
        self.sent = 0
        self.postfix = PostfixInstance(folder, parameters)
        self.log = log or self.postfix.maillog
        self.agent = AgentProcess(
            write_reading_settings(folder, self.postfix, source=str(self.log), test_interval=test_interval)
        )
        self.agent.ready_timeout = 30.0

    def send(self, count: int = 20) -> None:
        """Send mails."""
        self.postfix.inject(f"u{number}@example.org" for number in range(count))
        self.sent += count

    def await_all(self, timeout: float = 30.0) -> None:
        """Wait until all deliveries are counted. It fails if more are counted."""
        wait_for(
            lambda: self.agent.value("postfix_deliveries_total", status="sent") == self.sent,
            timeout,
            f"{self.sent} deliveries",
        )

    def await_value(self, wanted: float, name: str, timeout: float = TIMEOUT, **labels: str) -> None:
        """Wait until a metric has this value."""
        wait_for(lambda: self.agent.value(name, **labels) == wanted, timeout, f"{name} = {wanted}")

    def grows(self, name: str, **labels: str) -> None:
        """Wait until a counter is higher than now."""
        before = self.agent.value(name, **labels)
        wait_for(lambda: self.agent.value(name, **labels) > before, TIMEOUT, f"{name} to grow")

    @contextlib.contextmanager
    def sent_meanwhile(self) -> Iterator[None]:
        """Send mails until the end of the `with` block."""
        over = threading.Event()

        def send() -> None:
            while not over.is_set():
                self.send()

        with ThreadPoolExecutor(1) as threads:
            sending = threads.submit(send)
            try:
                yield
            finally:
                over.set()
        sending.result()
