"""logrotate with the configurations of distributions, and with some that admins write.

`tools/soak/logrotate/` has the files of rsyslog's packages, verbatim; only their paths are replaced. Rotations are one
week apart: before each one, the dates in file names are set back by a week.
"""

import os
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from tests.support.require import ADMIN_PATH

_STOCK = Path(__file__).with_name("logrotate")
# /etc/logrotate.conf of Debian and RHEL, without commented settings.
_DEBIAN = "weekly\nrotate 4\ncreate\n"
_RHEL = "weekly\nrotate 4\ncreate\ndateext\n"
_OWN = "/var/log/mail.log {{\n  rotate 40\n  missingok\n  {options}\n  compress\n{script}}}\n"
_SCRIPT = "  postrotate\n    /usr/lib/rsyslog/rsyslog-rotate\n  endscript\n"


class Configuration(NamedTuple):
    """A configuration of logrotate.

    Attributes:
        log: file name of the mail log.
        text: the whole configuration, with the paths of the distribution.
        loses_lines: logrotate loses lines that are written while it copies or compresses the file.
    """

    log: str
    text: str
    loses_lines: bool = False


def _stock(name: str) -> str:
    return (_STOCK / name).read_text()


CONFIGURATIONS = {
    "debian": Configuration("mail.log", _DEBIAN + _stock("debian")),
    "debian, by date": Configuration("mail.log", _DEBIAN + "dateext\n" + _stock("debian")),
    "rhel": Configuration("maillog", _RHEL + _stock("rhel")),
    "rhel, compressed": Configuration("maillog", _RHEL + "compress\n" + _stock("rhel"), loses_lines=True),
    "rhel 7": Configuration("maillog", _RHEL + _stock("rhel-7")),
    "nocreate": Configuration("mail.log", _OWN.format(options="nocreate\n  delaycompress", script=_SCRIPT)),
    "copytruncate": Configuration(
        "mail.log", _OWN.format(options="copytruncate", script=""), loses_lines=True
    ),
}


class Rotation:
    """A folder in the place of /var/log, and logrotate for it.

    Args:
        folder: the folder of the logs, of logrotate's configuration and of its state.
        configuration: the configuration of logrotate.
        pid_file: the PID file of rsyslog.
    """

    def __init__(self, folder: Path, configuration: Configuration, pid_file: Path) -> None:
        self._folder = folder
        self._configuration = folder / "logrotate.conf"
        hup = folder / "hup"
        hup.write_text(f'#!/bin/sh\nkill -HUP "$(cat {pid_file})"\n')
        hup.chmod(0o755)
        text = configuration.text
        for path, own in (
            ("/var/log/", f"{folder}/"),
            ("/var/run/syslogd.pid", str(pid_file)),
            ("/usr/lib/rsyslog/rsyslog-rotate", str(hup)),
            ("/usr/bin/systemctl", str(hup)),
        ):
            text = text.replace(path, own)
        self._configuration.write_text(text)
        self._configuration.chmod(0o644)

    def rotate(self) -> None:
        """Rotate once, one week after the previous rotation. Raises subprocess.CalledProcessError."""
        self._let_a_week_pass()
        command = [
            "logrotate",
            "--force",
            "--state",
            f"{self._folder}/logrotate.state",
            str(self._configuration),
        ]
        subprocess.run(command, check=True, timeout=60, env={**os.environ, "PATH": ADMIN_PATH})

    def _let_a_week_pass(self) -> None:
        for file in sorted(self._folder.glob("mail*-*")):
            name, _, rest = file.name.partition("-")
            earlier = datetime.strptime(rest[:8], "%Y%m%d") - timedelta(weeks=1)  # noqa: DTZ007 - a date only
            file.rename(file.with_name(f"{name}-{earlier:%Y%m%d}{rest[8:]}"))
