"""A private rsyslog that writes the mail lines from its socket into a file.

How it fails: an AssertionError if it does not start. No process is left after `stop`.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.require import ADMIN_PATH
from tests.support.waiting import wait_for

_CONFIGURATION = Path(__file__).with_name("rsyslog.conf").read_text()


class Rsyslog:
    """An rsyslogd.

    Args:
        folder: the directory for its configuration and state.
        log: the file that it writes.
        socket: the socket on which it listens.
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
            template: the format of its lines; "": its default.
            burst: the rate limit, in lines a second of one process; 0: none. Suppressed lines are logged.
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
        """End it, after it has written everything that it received."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None
            self.socket.unlink(missing_ok=True)

    def hang_up(self) -> None:
        """Make it close its file and open it again, as the scripts of logrotate do."""
        os.kill(int(self.pid_file.read_text()), signal.SIGHUP)

    def open_files(self) -> list[str]:
        """Return the paths of the files that it has open. A renamed file has its new name."""
        paths = []
        for link in Path(f"/proc/{int(self.pid_file.read_text())}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                paths.append(str(link.readlink()))
        return paths

    @contextlib.contextmanager
    def running(self, template: str = "", burst: int = 0) -> Iterator[None]:
        """Run it for the length of the `with` block."""
        self.start(template, burst)
        try:
            yield
        finally:
            self.stop()
