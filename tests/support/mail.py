"""A Postfix whose mails are delivered at once, and an agent that counts them by its log.

How it fails: AssertionError that says which value was awaited.
"""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.postfix import PostfixInstance
from tests.support.product import AgentProcess, write_reading_settings
from tests.support.waiting import wait_for

PATIENCE = 15.0  # seconds; several times what things take on an idle machine


class Mail:
    """A Postfix whose mails are delivered at once, and an agent that reads its log.

    Args:
        folder: for all of it; its agent's state is in `state`.
        log: where Postfix writes its log.
        syslog: it does not, but hands it to syslog, which writes it there.
        test_interval: as log.test_interval_seconds.
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
        self.agent.patience = 30.0

    def send(self, count: int = 20) -> None:
        """Mails."""
        self.postfix.inject(f"u{number}@example.org" for number in range(count))
        self.sent += count

    def await_all(self, timeout: float = 30.0) -> None:
        """Until all deliveries are counted; more would never be equal."""
        wait_for(
            lambda: self.agent.value("postfix_deliveries_total", status="sent") == self.sent,
            timeout,
            f"{self.sent} deliveries",
        )

    def await_value(self, wanted: float, name: str, timeout: float = PATIENCE, **labels: str) -> None:
        """Until a metric has this value."""
        wait_for(lambda: self.agent.value(name, **labels) == wanted, timeout, f"{name} = {wanted}")

    def grows(self, name: str, **labels: str) -> None:
        """Until a counter is higher than now."""
        before = self.agent.value(name, **labels)
        wait_for(lambda: self.agent.value(name, **labels) > before, PATIENCE, f"{name} to grow")

    @contextlib.contextmanager
    def sent_meanwhile(self) -> Iterator[None]:
        """Mails are sent all the while."""
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
