"""Runs a daemon of Postfix without its master(8), and talks to it by Postfix's internal protocol.

The daemon gets the file descriptors that master(8) passes (master/master_proto.h): a status channel and a listening
socket. It ends when the status channel closes.
"""

import contextlib
import fcntl
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

_FLOW_READ, _FLOW_WRITE, _STATUS, _LISTEN = 3, 4, 5, 6
_DEADLINE = 20.0  # seconds


class Daemon:
    """A daemon that listens at a socket of its own. If it ends, it is started again, as master(8) does.

    Args:
        program: its path.
        service: its name in master.cf.
        directory: the configuration directory.
        path: the socket, in a directory of the queue directory.
    """

    def __init__(self, program: Path, service: str, directory: Path, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o666)
        self._listener.listen(16)
        # The working directory of a daemon is the queue directory.
        start = ["sh", "-c", 'cd "$0" && exec "$@"', str(path.parent.parent), str(program)]
        self._arguments = [*start, "-n", service, "-t", "unix", "-z", "-s", "1"]
        self._environment = {"PATH": "/usr/sbin:/usr/bin", "MAIL_CONFIG": str(directory), "GENERATION": "1"}
        self._stopped = False
        self._pid = self._start()
        self._master = threading.Thread(target=self._supervise, daemon=True)
        self._master.start()

    def _start(self) -> int:
        flow = os.pipe2(os.O_NONBLOCK)  # of tokens for mail; without one, a daemon waits for in_flow_delay
        self._status, status = socket.socketpair()
        # Numbers above those of master(8), so that no target is a source.
        sources = [
            fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _LISTEN + 1)
            for number in (*flow, status.fileno(), self._listener.fileno())
        ]
        actions = [
            (os.POSIX_SPAWN_DUP2, source, target)
            for source, target in zip(sources, (_FLOW_READ, _FLOW_WRITE, _STATUS, _LISTEN), strict=True)
        ]
        with Path(os.devnull).open("r+b") as null:
            standard = [(os.POSIX_SPAWN_DUP2, null.fileno(), number) for number in (0, 1, 2)]
            pid = os.posix_spawn(
                "/bin/sh", self._arguments, self._environment, file_actions=[*standard, *actions]
            )
        for number in (*sources, *flow):
            os.close(number)
        status.close()
        return pid

    def _supervise(self) -> None:
        while not self._stopped:
            while self._status.recv(4096):
                pass  # the daemon reports that it is busy or idle, until it ends
            os.waitpid(self._pid, 0)
            self._status.close()
            if not self._stopped:
                self._pid = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        while self._master.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
            self._master.join(0.05)
        self._listener.close()

    @contextlib.contextmanager
    def connection(self) -> Iterator["Connection"]:
        """Yield a connection whose greeting has been read."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_DEADLINE)
            client.connect(str(self.path))
            yield Connection(client)


class Connection:
    """Attribute lists over a socket (util/attr_print0.c): names and values, each ended by NUL.

    Attributes:
        client: the socket.
        greeting: the first list of the daemon.
    """

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self._file = client.makefile("rb")
        self.greeting = self.read()

    def ask(self, **attributes: str) -> list[str]:
        """Write an attribute list, and return the values of the answer."""
        self.write(**attributes)
        return self.read()

    def write(self, **attributes: str) -> None:
        """Write an attribute list."""
        text = "".join(f"{name}\0{value}\0" for name, value in attributes.items())
        self.client.sendall(f"{text}\0".encode())

    def read(self) -> list[str]:
        """Read the values of an attribute list. Raises ConnectionError at the end of the connection."""
        values: list[str] = []
        while name := self._word():
            del name
            values.append(self._word())
        return values

    def _word(self) -> str:
        data = bytearray()
        while (byte := self._file.read(1)) != b"\0":
            if not byte:
                raise ConnectionError("the daemon closed the connection")
            data += byte
        return data.decode(errors="replace")
