"""A thread of its own in which a mailbox is read: each piece of work has a deadline.

A failure lengthens the pause until the mailbox is asked again, so that a wrong password locks no account.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from postward.agent.mailbox.access import MailboxError, Reader
from postward.agent.mailbox.maildir import MaildirReader
from postward.config.mailbox import Account
from postward.config.settings import Settings

T = TypeVar("T")

_DEADLINE: Final = 60.0  # seconds for a piece of work
_FIRST_RETRY, _MAX_RETRY = 5.0, 300.0  # seconds after a failure
_FIRST_LOGIN, _MAX_LOGIN = 60.0, 900.0  # seconds after a refused login


def reader_of(account: Account, settings: Settings) -> Reader:
    """Return the reader of a mailbox, by its settings."""
    if not account.host:
        return MaildirReader(account)
    from postward.agent.mailbox.imap import ImapReader  # its library is needed by few hosts

    return ImapReader(account, settings)


class ReaderThread:
    """Does work with a reader in a thread, which is made when there is work.

    Args:
        reader: reads the mailbox.

    Attributes:
        reader: the same.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._threads: ThreadPoolExecutor | None = None
        self._job: asyncio.Future[Any] | None = None

    async def do(self, work: Callable[[], T]) -> T:
        """Do work in the thread. Raises MailboxError, also if the work before it has not ended."""
        self._threads = self._threads or ThreadPoolExecutor(1, "mailbox")
        if self._job is not None and not self._job.done():
            raise MailboxError("server", f"no answer within {_DEADLINE:g} s")
        job = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._job = job
        try:
            return await asyncio.wait_for(asyncio.shield(job), _DEADLINE)
        except TimeoutError:
            job.add_done_callback(_ignore)
            self.reader.abort()
            raise MailboxError("server", f"no answer within {_DEADLINE:g} s") from None

    async def release(self) -> bool:
        """Close the connection and end the thread, unless it is at work. Return True if it has ended."""
        if self._threads is None or (self._job is not None and not self._job.done()):
            return False
        with contextlib.suppress(MailboxError):
            await self.do(self.reader.close)
        self._threads.shutdown(wait=False)
        self._threads = None
        return True

    def close(self) -> None:
        """Release the thread, without waiting."""
        self.reader.abort()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


class BackOff:
    """The pause after failures: longer after each, and longest after a refused login."""

    def __init__(self) -> None:
        self._failures = 0
        self._retry = (_FIRST_RETRY, _MAX_RETRY)

    def note(self, error: MailboxError | None) -> None:
        """Note the end of a look; None for one that succeeded."""
        if error is None:
            self._failures = 0
            return
        is_login = error.fault == "login"
        self._retry = (_FIRST_LOGIN, _MAX_LOGIN) if is_login else (_FIRST_RETRY, _MAX_RETRY)
        self._failures = min(self._failures + 1, 10)

    @property
    def pause(self) -> float | None:
        """Seconds until the next look; None if the last one succeeded."""
        if not self._failures:
            return None
        first, longest = self._retry
        return min(first * 2.0 ** (self._failures - 1), longest)


def _ignore(job: "asyncio.Future[Any]") -> None:
    """Take the result of work that came too late."""
    if not job.cancelled():
        job.exception()
