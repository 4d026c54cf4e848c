"""Random lines, rotations and restarts of a real rsyslogd, while an agent reads its file, is stopped and is killed.

logrotate rotates with the configuration of Debian or of RHEL, once a week by the dates of the files. It deletes the
fifth rotated file, so the agent has counted a file before that. The rest is as in `log_soak`. Needs root.
"""

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.postfix import PostfixInstance
from tests.support.product import write_reading_settings
from tests.support.syslog import Rsyslog
from tests.support.waiting import wait_for
from tools.soak.log_soak import LogSoak, message
from tools.soak.rotation import CONFIGURATIONS, Rotation

_KEPT: Final = 4  # rotated files that both configurations keep
_DISTRIBUTIONS: Final = ("debian", "rhel")
_TIMEOUT: Final = 60.0  # seconds for rsyslogd to write what it has received
_MAIL_INFO: Final = b"<22>"  # facility mail, severity info (RFC 3164, section 4.1.1)
_NUMBER: Final = re.compile(rb"(?:queued as |run )([0-9A-F]{10})\)?\n\Z")
_TAIL: Final = 400  # bytes; a line has fewer


class RsyslogSoak(LogSoak):
    """A log that rsyslogd writes, and an agent, for any number of rounds.

    Attributes:
        rotations: how often logrotate has rotated the log.
    """

    def _write_settings(self, folder: Path) -> Path:
        configuration = CONFIGURATIONS[self._random.choice(_DISTRIBUTIONS)]
        logs = folder / "log"
        logs.mkdir()
        self.log = logs / configuration.log
        self._rsyslog = Rsyslog(logs, self.log, folder / "socket")
        self._rotation = Rotation(logs, configuration, self._rsyslog.pid_file)
        self.rotations = self._sent = self._seen_in_file = self._since_settled = 0
        return write_reading_settings(folder, PostfixInstance(folder), source=str(self.log))

    def _open_log(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._start_rsyslog()

    def _close_log(self) -> None:
        self._socket.close()
        self._rsyslog.stop()

    @property
    def written(self) -> int:
        """The number of lines so far."""
        return self._sent

    def summary(self) -> str:
        """Return the counts of lines, kills and rotations as text."""
        return f"{super().summary()}, {self.rotations} rotations of {self.log.name}"

    # The log

    def _start_rsyslog(self) -> None:
        self._rsyslog.start()
        self._socket.connect(str(self._rsyslog.socket))

    def _send(self, count: int) -> None:
        for _ in range(count):
            self._sent += 1
            self._socket.send(_MAIL_INFO + message(self._sent).encode())

    def _append(self) -> None:
        self._send(self._random.randint(1, 50))

    def _append_much(self) -> None:
        self._send(self._random.randint(1000, self._burst))

    def _rotate(self) -> None:
        """Rotate at once, also while rsyslogd still writes, and wait until it writes to no rotated file."""
        if self._since_settled == _KEPT:
            self.settle()
        inode = self.log.stat().st_ino if self.log.exists() else None
        self._rotation.rotate()
        if inode and (not self.log.exists() or self.log.stat().st_ino != inode):
            self.rotations += 1
            self._since_settled += 1
        wait_for(lambda: not self._writes_to_rotated(), _TIMEOUT, "rsyslogd to act on its SIGHUP")

    def _rotate_after_all(self) -> None:
        self._finish_writing()
        self._rotate()

    def _hang_up(self) -> None:
        self._rsyslog.hang_up()

    def _restart_rsyslog(self) -> None:
        """Restart rsyslogd, once it has written all: it may drop lines of its memory when it ends."""
        self._finish_writing()
        self._rsyslog.stop()
        self._start_rsyslog()

    def settle(self) -> None:
        """Wait until all lines are counted, then stop the agent, which saves its position."""
        super().settle()
        self._seen_in_file, self._since_settled = self._sent, 0

    def _writes_to_rotated(self) -> bool:
        return any(
            path.startswith(f"{self.log}") and path != f"{self.log}" for path in self._rsyslog.open_files()
        )

    def _finish_writing(self) -> None:
        wait_for(self._is_written, _TIMEOUT, f"line {self._sent} to be written")

    def _is_written(self) -> bool:
        if self._seen_in_file < self._sent and any(
            (found := _NUMBER.search(_end_of(path))) and int(found[1], 16) == self._sent
            for path in self.log.parent.glob(f"{self.log.name}*")
            if path.suffix != ".gz"
        ):
            self._seen_in_file = self._sent  # logrotate may delete the file later
        return self._seen_in_file == self._sent

    # Rounds

    def _log_actions(self) -> list[tuple[int, Callable[[], None]]]:
        return [
            (30, self._append),
            (2, self._append_much),
            (8, self._rotate),
            (4, self._rotate_after_all),
            (4, self._hang_up),
            (3, self._restart_rsyslog),
        ]

    def _delete_old(self) -> None:
        """Do nothing: logrotate deletes."""


def _end_of(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return file.read()
