"""A Postfix instance that runs: controls its daemons, submits mail, lists its queue, writes to its log."""

import os
import stat
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from postward.agent.fsutil import wait_until
from postward.agent.postfix.config import PostfixConfig
from postward.agent.postfix.process import (
    is_master_in_foreground,
    master_cgroup,
    queue_manager_start,
    routing,
    service_of,
)
from postward.agent.postfix.run import PostfixError, check_on_terminal, find_program, run, stream

_SYSTEMD = Path("/run/systemd/system")  # exists where systemd runs (sd_booted(3))
_RELOAD_TIMEOUT = 5.0  # seconds until master(8) has started another queue manager
_SYSTEMD_TIMEOUT = 120.0  # seconds for `systemctl restart`
_POSTSUPER_TIMEOUT = 300.0  # seconds: it opens each mail of a list


class Postfix(PostfixConfig):
    """A Postfix instance, known by its configuration directory."""

    __slots__ = ()

    def last_read(self) -> float | None:
        """Return when the running Postfix read its configuration, in seconds since the epoch; None if it does not run.

        A reload and a start make a new queue manager. Raises PostfixError.
        """
        return queue_manager_start(self._queue_directory())

    def is_running(self) -> bool:
        """Return True if master(8) runs (`postfix status`)."""
        try:
            check_on_terminal(self.command("postfix", "status"))
        except PostfixError:
            return False
        return True

    def reload(self) -> None:
        """Reload, and wait until a new queue manager runs, so that `last_read` sees the reload. Raises PostfixError.

        Until the former queue manager and trivial-rewrite(8) have ended, mail is still routed the former way.
        """
        queue_directory = self._queue_directory()
        former = routing(queue_directory)
        check_on_terminal(self.command("postfix", "reload"))
        if former.managers:
            wait_until(lambda: routing(queue_directory).has_replaced(former), _RELOAD_TIMEOUT)

    @property
    def _is_systemds(self) -> bool:
        return str(self.config_directory) == "/etc/postfix" and _SYSTEMD.is_dir()

    def _unit(self) -> str:
        """Return the unit of systemd in which master(8) runs, as in "postfix@out.service"; "" without one."""
        return service_of(master_cgroup(self._queue_directory())) if _SYSTEMD.is_dir() else ""

    def can_restart(self) -> bool:
        """Return False if Postfix runs as in a container (`postfix start-fg`), which ends with it. Raises PostfixError."""
        return self._is_systemds or not is_master_in_foreground(self._queue_directory())

    def restart(self) -> None:
        """Stop and start, for parameters that a reload does not bring into force. Raises PostfixError.

        systemd restarts an instance that it supervises: started from here, Postfix would belong to this service.
        """
        unit = "postfix.service" if self._is_systemds else self._unit()
        if unit:
            run(["systemctl", "restart", unit], timeout=_SYSTEMD_TIMEOUT)
            return
        check_on_terminal(self.command("postfix", "stop"))
        check_on_terminal(self.command("postfix", "start"))

    def submit(self, message: bytes, sender: str, recipient: str) -> None:
        """Submit a mail as cron does (sendmail(1)). Raises PostfixError."""
        run(
            [find_program("sendmail"), "-C", str(self.config_directory), "-i", "-f", sender, "--", recipient],
            stdin=message,
        )

    async def list_queue(self) -> AsyncIterator[bytes]:
        """Yield the output of `postqueue -j` in chunks. Raises PostfixError."""
        with self._settled() as settled:
            async for chunk in stream(settled.command("postqueue", "-j")):
                yield chunk

    def flush(self) -> None:
        """Attempt delivery of all queued mail now (postqueue(1)). Raises PostfixError."""
        run(self.command("postqueue", "-f"))

    def flush_mail(self, queue_id: str) -> None:
        """Attempt delivery of one mail now (postqueue(1)). Raises PostfixError."""
        run(self.command("postqueue", "-i", queue_id))

    def supervise(self, option: str, queue_ids: Iterable[str]) -> None:
        """Hold (-h), release (-H) or delete (-d) mails (postsuper(1), root only). Raises PostfixError.

        An ID that is no longer in the queue is ignored.
        """
        run(self.command("postsuper", option, "-"), stdin="\n".join(queue_ids), timeout=_POSTSUPER_TIMEOUT)

    def delete(self, queue_id: str) -> None:
        """Delete a mail from the queue (postsuper(1), root only). Raises PostfixError."""
        run(self.command("postsuper", "-d", queue_id))

    def log(self, text: str) -> None:
        """Write a line into Postfix's log (postlog(1)). Raises PostfixError, also if the line would be lost.

        With maillog_file, postlog writes to postlogd's socket and is silent if it cannot.
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
        run(command)

    def _queue_directory(self) -> str:
        return self.parameters(["queue_directory"])["queue_directory"]


__all__ = ["Postfix", "PostfixError"]
