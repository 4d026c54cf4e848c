"""Asks the real cleanup(8) and trivial-rewrite(8) for one configuration after another."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from postward.agent.postfix.config import PostfixConfig
from postward.agent.postfix.run import find_program
from tools.oracle.daemon import Connection, Daemon
from tools.oracle.generate import HOST, Case, parameters

_ERROR, _FAIL = 1 << 2, 1 << 3  # global/resolve_clnt.h
_CLASSES = {8: "local", 9: "virtual alias", 10: "virtual mailbox", 11: "relay", 12: "default"}
_MAP_OK = 1 << 5  # global/cleanup_user.h: CLEANUP_FLAG_MAP_OK
_SERVICES = (
    "smtp unix - - n - - smtp",
    "relay unix - - n - - smtp",
    "lmtp unix - - n - - lmtp",
    "local unix - n n - - local",
)


class Answer(NamedTuple):
    """The answer of trivial-rewrite(8), after the queue manager's handling of errors."""

    transport: str
    next_hop: str
    recipient: str
    address_class: str


class Mail(NamedTuple):
    """The envelope that cleanup(8) queues; the reason, if it does not take the mail."""

    sender: str
    recipients: tuple[str, ...]
    refused: str = ""


class Postfix:
    """A configuration directory that is written again for each case, and the daemons for it.

    Args:
        folder: its directory, which Postfix's user can enter.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = PostfixConfig(folder / "etc")
        for name in ("etc", "data", *(f"queue/{part}" for part in ("pid", "private", "public", "incoming"))):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._values = {
            "compatibility_level": "3.6",
            "queue_directory": str(folder / "queue"),
            "data_directory": str(folder / "data"),
            "maillog_file": str(folder / "mail.log"),
            "maillog_file_prefixes": str(folder),
            "myhostname": HOST,
            "mydestination": "$myhostname, localhost",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "in_flow_delay": "0",
            # A loop of aliases takes minutes with the defaults.
            "virtual_alias_recursion_limit": "20",
            "virtual_alias_expansion_limit": "30",
        }
        self._write(self._values, list(_SERVICES))
        built = self.config.parameters(["mail_owner", "daemon_directory"])
        self._daemons = Path(built["daemon_directory"])
        for name in ("data", "queue/incoming"):
            shutil.chown(folder / name, built["mail_owner"])

    def write(self, values: dict[str, str], case: Case) -> None:
        """Write the parameters and services of a case, with those that every case has."""
        self._write(self._values | values, with_overrides([*_SERVICES, *case.services], case))

    def _write(self, main_cf: dict[str, str], master_cf: list[str]) -> None:
        etc = self.config.config_directory
        (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main_cf.items()))
        (etc / "master.cf").write_text("\n".join(master_cf) + "\n")
        before = time.time() - 10  # Postfix waits for a main.cf that has just been changed
        os.utime(etc / "main.cf", (before, before))

    @contextlib.contextmanager
    def using(self, case: Case) -> Iterator["Answers"]:
        """Write a configuration, build its tables, and yield the daemons that use it."""
        etc = self.config.config_directory
        tables = write_tables(case, etc)
        # No proxymap(8) runs.
        values = {name: value.replace("proxy:", "") for name, value in parameters(case, str(tables)).items()}
        self.write(values, case)
        queue = self.folder / "queue"
        with ExitStack() as stack:
            rewrite, cleanup = (
                stack.enter_context(Daemon(self._daemons / program, name, etc, queue / path))
                for program, name, path in (
                    ("trivial-rewrite", "rewrite", "private/rewrite"),
                    ("cleanup", "cleanup", "public/cleanup"),
                )
            )
            resolver = stack.enter_context(rewrite.connection())
            yield Answers(resolver, cleanup, queue)


class Answers:
    """The answers of the daemons for one configuration."""

    def __init__(self, resolver: Connection, cleanup: Daemon, queue: Path) -> None:
        self._resolver = resolver
        self._cleanup = cleanup
        self._queue = queue

    def complete(self, address: str) -> str:
        """Return the completed form of an address in external form (rewrite_clnt)."""
        return self._resolver.ask(request="rewrite", rule="local", address=address)[1]

    def resolve(self, sender: str, recipient: str) -> Answer:
        """Return the answer for a recipient, as the queue manager asks (resolve_clnt_query_from)."""
        reply = self._resolver.ask(request="resolve", sender=sender, address=recipient)
        _, transport, next_hop, address, flags = reply
        if int(flags) & _FAIL:
            return Answer("retry", "4.3.0 address resolver failure", "", "")
        if int(flags) & _ERROR:
            return Answer("error", "5.1.3 bad address syntax", "", "")
        address_class = next(name for bit, name in _CLASSES.items() if int(flags) & 1 << bit)
        return Answer(transport, next_hop, address, address_class)

    def queue(self, sender: str, recipient: str) -> Mail:
        """Return the envelope of a mail as cleanup(8) queues it (global/post_mail.c)."""
        with self._cleanup.connection() as client:
            queue_id = client.greeting[1]
            client.write(flags=str(_MAP_OK))
            seconds = f"{int(time.time())} 0"
            records = [("T", seconds), ("S", sender), ("R", recipient), ("M", ""), ("N", "Received: by x")]
            records += [("X", ""), ("E", "")]
            client.client.sendall(b"".join(_record(kind, text) for kind, text in records))
            status, why = client.read()
        file = self._queue / "incoming" / queue_id
        if status != "0":
            return Mail("", (), why or status)
        envelope = list(_records(file.read_bytes()))
        file.unlink()
        senders = [text for kind, text in envelope if kind == "S"]
        return Mail(senders[0], tuple(text for kind, text in envelope if kind == "R"))


def _record(kind: str, text: str) -> bytes:
    data = text.encode()
    assert len(data) < 128  # a longer one has more bytes of length
    return kind.encode() + bytes([len(data)]) + data


def _records(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the records of a queue file (global/record.c), without the padding of pointers."""
    place = 0
    while place < len(data):
        kind, place, length, shift = chr(data[place]), place + 1, 0, 0
        while True:
            byte, place = data[place], place + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        yield kind, data[place : place + length].decode(errors="replace")
        place += length


def with_overrides(lines: list[str], case: Case) -> list[str]:
    """Return lines of master.cf with the -o settings of a case."""
    return [
        line
        + "".join(
            f" -o {{ {name} = {value} }}"
            for service, name, value in case.overrides
            if service == "/".join(line.split()[:2])
        )
        for line in lines
    ]


def write_tables(case: Case, etc: Path) -> Path:
    """Write the tables of a case into a fresh directory and build their indexes. Return the directory."""
    folder = etc / "tables"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    postmap = find_program("postmap")
    for table in case.tables:
        (folder / table.name).write_text("".join(f"{key} {value}\n" for key, value in table.lines))
        if table.type not in {"texthash", "pcre", "regexp"}:
            command = [postmap, "-c", str(etc), f"{table.type}:{folder / table.name}"]
            subprocess.run(command, check=True, capture_output=True)
        before = time.time() - 10  # a table of text that has just been written is read again after a while
        os.utime(folder / table.name, (before, before))
    return folder
