"""A stage for faults: a real Postfix with a relay, in its own network and mount namespaces.

Relays have their usual ports, names are resolved by the stage's hosts file, and Postfix logs to a syslog socket.
Nothing on the machine changes. `run_apart` starts a module in the namespaces; `prepared` sets them up from inside.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import CA, PostfixError, PostfixInstance, Relay
from tests.support.mounts import own_devices

RELAY = "relay.example.test"
USER, PASSWORD = "relay-user", "Gr33n-Fern-s3cret"
LOGIN = f"{USER}:{PASSWORD}"
NAMESERVER = "127.0.0.53"
SENDER = "app@app.example.test"
_FOLDER = "POSTWARD_STAGE"  # environment variable: the folder of the stage
_HOSTS = f"127.0.0.1 localhost client.example.test {RELAY}\n"
_HEADER = re.compile(r"<\d+>(\w{3} [ \d]\d [\d:]{8}) (.*)", re.DOTALL)


def run_apart(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module in its own namespaces and return its output."""
    command = ["unshare", "--net", "--mount", sys.executable, "-m", module, *arguments]
    # The folder is removed outside the namespaces, because its mounts exist until they end.
    with tempfile.TemporaryDirectory(prefix="stage-") as folder:
        Path(folder).chmod(0o755)
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", _FOLDER: folder}
        return subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, env=environment)


@contextmanager
def prepared() -> Iterator[Path]:
    """Set up the namespaces: loopback is up, 192.0.2.0/24 unreachable, host files are hidden. Returns the folder."""
    folder = Path(os.environ[_FOLDER])
    try:
        for command in (
            ["ip", "link", "set", "lo", "up"],
            ["ip", "route", "add", "unreachable", "192.0.2.0/24"],
            ["mount", "--make-rprivate", "/"],
        ):
            subprocess.run(command, check=True)
        put_over(Path("/etc/hosts"), folder / "hosts", _HOSTS)
        put_over(Path("/etc/resolv.conf"), folder / "resolv.conf", f"nameserver {NAMESERVER}\n")
        own_devices(folder / "dev")
        yield folder
    finally:
        subprocess.run(["umount", "-l", "/dev"], check=False)


def put_over(path: Path, mine: Path, text: str) -> None:
    """Replace the text of a file in this mount namespace only."""
    mine.write_text(text)
    subprocess.run(["mount", "--bind", str(mine), str(path)], check=True)


class Syslog:
    """A listener at /dev/log; `lines` are as a syslog daemon writes them."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o666)
        self.lines: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            if match := _HEADER.fullmatch(self._socket.recv(65536).decode("utf-8", "replace").rstrip("\n\0")):
                self.lines.append(f"{match[1]} client {match[2]}")


@dataclass
class Stage:
    """A Postfix, the relay that it sends through, and the log."""

    folder: Path
    postfix: PostfixInstance
    relay: Relay
    syslog: Syslog

    def mail(self, to: str = "bob@dest.example.test", body: str = "A test.\n") -> None:
        """Submit a mail; a failure to submit may be the fault."""
        try:
            self.postfix.sendmail(to, sender=SENDER, body=body)
        except PostfixError:
            return

    def main_cf(self, *lines: str) -> None:
        """Append lines to main.cf while Postfix runs, without a reload."""
        path = self.postfix.config_directory / "main.cf"
        path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))
        self.postfix.settle()


def laid_out(folder: Path, ca: CA, main_cf: Mapping[str, str], relay_port: int = 587) -> PostfixInstance:
    """Return a Postfix that sends through the relay; `{etc}` and `{folder}` in parameters stand for its folders."""
    values = {
        "maillog_file": "",
        "relayhost": f"[{RELAY}]:587",
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": "hash:{etc}/sasl_passwd",
        "smtp_sasl_security_options": "noanonymous",
        "smtp_tls_security_level": "encrypt",
        "smtp_tls_loglevel": "1",
        "smtp_tls_CAfile": str(ca.path),
        "default_database_type": "hash",
        **main_cf,
    }
    places = {"{etc}": str(folder / "postfix" / "etc"), "{folder}": str(folder)}
    for place, path in places.items():
        values = {name: value.replace(place, path) for name, value in values.items()}
    postfix = PostfixInstance(folder / "postfix", values, smtpd_port=20025)
    table(postfix, "sasl_passwd", f"[{RELAY}]:{relay_port} {LOGIN}\n").chmod(0o600)
    return postfix


def table(postfix: PostfixInstance, name: str, text: str) -> Path:
    """Write a table beside main.cf and build its index."""
    path = postfix.config_directory / name
    path.write_text(text)
    postfix.build_table(path)
    return path
