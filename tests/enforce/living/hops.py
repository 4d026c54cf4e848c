"""Servers beside Postfix: a content filter, a milter and a directory. Each is a context manager with a `port`."""

import contextlib
import smtplib
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.support import CA, Relay, wait_for
from tests.support.require import required

VIRUS_MARK = b"X-Virus-Scanned: by the filter of the test bed\r\n"


class Filter(Relay):
    """An after-queue content filter: it takes each mail, marks it, and gives it back on another port.

    Attributes:
        swallows: it keeps each mail instead.
    """

    def __init__(self, back_port: int) -> None:
        super().__init__(CA(), tls="none", auth_required=False)
        self._back_port = back_port
        self.swallows = False

    def note_message(
        self, sender: str, recipients: list[str], data: bytes, user: str | None, tls: bool, helo: str
    ) -> None:
        super().note_message(sender, recipients, data, user, tls, helo)
        if not self.swallows:
            threading.Thread(target=self._give_back, args=(sender, recipients, data)).start()

    def _give_back(self, sender: str, recipients: list[str], data: bytes) -> None:
        with smtplib.SMTP("127.0.0.1", self._back_port, timeout=10) as client:
            client.sendmail(sender, recipients, VIRUS_MARK + data)


class _Milter(socketserver.StreamRequestHandler):
    """One conversation of the milter protocol, version 6 (libmilter's mfdef.h): accept, and add a header."""

    def handle(self) -> None:
        while head := self.rfile.read(5):
            size, command = struct.unpack("!I1s", head)
            self.rfile.read(size - 1)
            if command == b"O":  # negotiate: headers are added, no step is left out
                self._send(b"O", struct.pack("!III", 6, 1, 0))
            elif command == b"E":
                self._send(b"h", b"X-Spamd-Result\0default: False\0")
                self._send(b"c")
            elif command not in b"DAQ":  # macros, abort and quit have no reply
                self._send(b"c")

    def _send(self, command: bytes, data: bytes = b"") -> None:
        self.wfile.write(struct.pack("!I1s", len(data) + 1, command) + data)


class _MilterServer(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextlib.contextmanager
def milter() -> Iterator[int]:
    """Run a milter that adds a header to each mail. Yields its port."""
    with _MilterServer(("127.0.0.1", 0), _Milter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


_SLAPD = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
database ldif
suffix dc=example,dc=org
directory {folder}
access to * by * read
"""
_ROOT = "dn: dc=example,dc=org\nobjectClass: domain\ndc: example\n\n"
_ENTRY = "dn: cn={key}+description={table},dc=example,dc=org\nobjectClass: device\ncn: {key}\ndescription: {table}\nl: {value}\n\n"


@contextlib.contextmanager
def directory(folder: Path, port: int, entries: str) -> Iterator[None]:
    """Run slapd(8) on a port, with entries as lines of table, key and value."""
    slapd = required("slapd", "slapd")
    (folder / "db").mkdir(parents=True)
    configuration = folder / "slapd.conf"
    configuration.write_text(_SLAPD.format(folder=folder / "db"))
    rows = [line.split("\t") for line in entries.splitlines()]
    ldif = [_ENTRY.format(table=table, key=key, value=value) for table, key, value in rows]
    add = [required("slapadd", "slapd"), "-f", str(configuration)]
    subprocess.run(add, input=_ROOT + "".join(ldif), text=True, check=True, capture_output=True)
    command = [slapd, "-d", "0", "-h", f"ldap://127.0.0.1:{port}/", "-f", str(configuration)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port), what="slapd")
        yield
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
