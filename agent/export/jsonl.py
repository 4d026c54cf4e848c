"""Recognised events as JSON lines, on standard output or in a file, for a log collector (docs/fleet.md has the schema).

Promise: a line contains no password. It contains no mail address, Message-ID, client, or text chosen by a client or
server, unless `events.include_personal_data` is set. A collector that stops reading, or a disk that hangs, does not
block the agent. A separate thread writes; the queue of waiting lines is bounded; further lines are dropped and counted.

After a crash the last lines may be missing, and the events since the last checkpoint are written again.
"""

import asyncio
import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from postward.agent.metrics.labels import RelayNames
from postward.agent.parts import Gauges, Part
from postward.agent.text import local_now
from postward.parsers import Event, Record, as_fields, cause_of, parse_stamp, step_of
from postward.parsers.events import Delivery
from postward.parsers.scrub import scrub

SCHEMA: Final = 1
_MAX_WAITING: Final = 10_000  # lines
# Fields that do not identify senders, recipients or clients. All others require `events.include_personal_data`.
IMPERSONAL: Final = frozenset(
    {
        "action",
        "bits",
        "cipher",
        "conn_use",
        "delay",
        "delays",
        "direction",
        "dsn",
        "how",
        "key_exchange",
        "kind",
        "limit",
        "mechanism",
        "mechanisms",
        "nrcpt",
        "number",
        "parameter",
        "protocol",
        "server_digest",
        "server_signature",
        "signal",
        "size",
        "stage",
        "status",
        "trust",
        "verdict",
        "why",
    }
)


class EventStream(Part):
    """Writes events as JSON lines. An observer of the pipeline.

    Args:
        target: opens the output, at the start and again after `reopen`.
        names: the relays of the settings.
        personal: include addresses, Message-IDs, clients and replies.
        clock: returns the time near which time stamps without a year are read.

    Attributes:
        dropped: lines that could not be written in time.
    """

    def __init__(
        self,
        target: Callable[[], BinaryIO],
        names: RelayNames,
        *,
        personal: bool = False,
        clock: Callable[[], datetime] = local_now,
    ) -> None:
        self._open = target
        self._names = names
        self._personal = personal
        self._clock = clock
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_MAX_WAITING)
        self._reopen = threading.Event()
        self.dropped = 0
        self._file = target()
        # A daemon thread, so that a write that hangs does not prevent the exit of the agent.
        self._thread = threading.Thread(target=self._write, name="events", daemon=True)
        self._thread.start()

    def observe(self, record: Record, event: Event) -> None:
        """Queue the JSON line of an event; drop and count it if the queue is full."""
        entry = self._entry(record, event)
        try:
            self._waiting.put_nowait(json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        except queue.Full:
            self.dropped += 1

    def gauges(self) -> Gauges:
        """Return the number of dropped lines."""
        return {"postward_events_dropped_total": {(): float(self.dropped)}}

    async def run(self) -> None:
        """Wait until cancelled, then write the queued lines."""
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(self.close)

    def reopen(self) -> None:
        """Open the output again before the next write, after a rotation."""
        self._reopen.set()

    def close(self, timeout: float = 2.0) -> None:
        """Write the queued lines and close the output. Each of the two waits lasts at most `timeout` seconds."""
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _entry(self, record: Record, event: Event) -> dict[str, Any]:
        moment = parse_stamp(record.stamp, self._clock())
        fields = as_fields(event)
        cause = cause_of(event)
        entry: dict[str, Any] = {
            "schema": SCHEMA,
            "time": moment.isoformat() if moment else None,
            "host": record.host,
            "instance": record.instance,
            "daemon": record.daemon,
            "pid": record.pid,
            "severity": record.severity,
            "repeat": record.repeat,
            "event": type(event).__name__,
            "queue_id": fields.pop("queue_id", None),
        }
        if isinstance(event, Delivery):
            entry["relay_name"] = self._names.of_delivery(event, record.instance)
        elif isinstance(peer := fields.get("peer"), str):
            entry["relay_name"] = self._names.of_peer(peer, record.instance)
        if cause is not None:
            entry |= {"cause": cause.value, "step": step_of(event)}
        if self._personal:
            entry |= {key: scrub(value) if isinstance(value, str) else value for key, value in fields.items()}
        else:
            entry |= {key: _short(value) for key, value in fields.items() if key in IMPERSONAL}
        return {key: value for key, value in entry.items() if value is not None}

    def _write(self) -> None:
        while True:
            lines = self._take()
            if self._reopen.is_set():
                self._reopen.clear()
                self._open_again()
            try:
                self._file.write(b"".join(line for line in lines if line is not None))
                self._file.flush()
            except (OSError, ValueError):
                self.dropped += sum(line is not None for line in lines)
            if None in lines:
                self._close_file()
                return

    def _take(self) -> list[bytes | None]:
        """Wait for a line and return it with up to 999 more, so that a burst needs one write."""
        lines = [self._waiting.get()]
        while len(lines) < 1000 and lines[-1] is not None:
            try:
                lines.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return lines

    def _open_again(self) -> None:
        try:
            file = self._open()
        except OSError:
            return  # keep the old file
        self._close_file()
        self._file = file

    def _close_file(self) -> None:
        if self._file is not sys.stdout.buffer:
            with contextlib.suppress(OSError):
                self._file.close()


def _short(value: object) -> object:
    """Cut a text to 100 characters. Postfix's own values are shorter; a longer one is from a client or server."""
    return value[:100] if isinstance(value, str) else value


def open_target(target: str) -> Callable[[], BinaryIO]:
    """Return a function that opens the target: "stdout", or a file to append to, created with mode 0640."""
    if target == "stdout":
        return lambda: sys.stdout.buffer

    def opened() -> BinaryIO:
        descriptor = os.open(Path(target), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        return os.fdopen(descriptor, "ab")

    return opened
