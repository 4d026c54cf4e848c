"""A real rsyslog with a configuration of its own, that writes the mail lines of its socket into one file.

How it fails: AssertionError if it does not come up. Nothing is left after stop().
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.require import ADMIN_PATH
from tests.support.waiting import wait_for

_CONFIGURATION = """\
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" CreatePath="on" RateLimit.Interval="{interval}" RateLimit.Burst="{burst}")
global(workDirectory="{folder}" processInternalMessages="on")
{template}
mail.*{own_lines} action(type="omfile" file="{log}"{options})
"""


class Rsyslog:
    """One rsyslogd.

    Args:
        folder: for its configuration and state.
        log: what it writes.
        socket: where it listens.
    """

    def __init__(self, folder: Path, log: Path, socket: Path) -> None:
        self.pid_file = folder / "rsyslogd.pid"
        self.socket = socket
        self._folder = folder
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, template: str = "", burst: int = 0) -> None:
        """Start it.

        Args:
            template: what it writes, instead of its default format.
            burst: how many lines it takes of a process within a second, and what it tells of the others; 0: all.
        """
        configuration = self._folder / "rsyslog.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self._folder,
                log=self._log,
                socket=self.socket,
                template=f'template(name="own" type="string" string="{template}\\n")' if template else "",
                options=' template="own"' if template else "",
                interval=1 if burst else 0,
                burst=burst or 200,
                own_lines=";syslog.*" if burst else "",
            )
        )
        self.pid_file.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            ["rsyslogd", "-n", "-f", str(configuration), "-i", str(self.pid_file)],
            env={**os.environ, "PATH": ADMIN_PATH},
        )
        wait_for(self.socket.exists, what="rsyslog's socket")
        wait_for(self.pid_file.exists, what="rsyslog's process ID")

    def stop(self) -> None:
        """End it; it writes all that it has been given."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None
            self.socket.unlink(missing_ok=True)

    @contextlib.contextmanager
    def running(self, template: str = "", burst: int = 0) -> Iterator[None]:
        """Started, and stopped at the end."""
        self.start(template, burst)
        try:
            yield
        finally:
            self.stop()
