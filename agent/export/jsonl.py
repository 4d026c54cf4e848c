"""Recognised events as JSON lines, on standard output or in a file, for a log collector (docs/fleet.md has the schema).

Promise: no mail address, Message-ID, client, or word of a stranger is in a line unless `events.include_personal_data` is set, and
never a password. A collector that does not read, or a disk that hangs, stops nothing: a thread of its own writes,
lines wait in bounded number, and what does not fit is dropped and counted.

Lines are told at most once: after a crash a few may be missing, and those since the last checkpoint come again.
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
# What says nothing about who wrote to whom. Everything else is left out unless it is asked for.
IMPERSONAL: Final = frozenset({
    "action", "bits", "cipher", "conn_use", "delay", "delays", "direction", "dsn", "how", "key_exchange", "kind",
    "limit", "mechanism", "mechanisms", "nrcpt", "number", "parameter", "protocol", "server_digest",
    "server_signature", "signal", "size", "stage", "status", "trust", "verdict", "why",
})  # fmt: skip


class EventStream(Part):
    """Writes events. An observer of the pipeline.

    Args:
        target: opens what is written to: at the start, and again after `reopen`.
        names: the relays of the settings.
        personal: also addresses, Message-IDs, clients and replies.
        clock: the time that year-less stamps are near to.

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
        # A daemon: a write that hangs must not keep the agent from ending.
        self._thread = threading.Thread(target=self._write, name="events", daemon=True)
        self._thread.start()

    def observe(self, record: Record, event: Event) -> None:
        """Take one line that a rule knows."""
        entry = self._entry(record, event)
        try:
            self._waiting.put_nowait(json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        except queue.Full:
            self.dropped += 1

    def gauges(self) -> Gauges:
        """Return how many lines were dropped."""
        return {"postward_events_dropped_total": {(): float(self.dropped)}}

    async def run(self) -> None:
        """Wait until cancelled, then write the lines that wait."""
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(self.close)

    def reopen(self) -> None:
        """Open the file again: it was rotated."""
        self._reopen.set()

    def close(self, patience: float = 2.0) -> None:
        """Write what waits, for as long as the patience lasts."""
        try:
            self._waiting.put(None, timeout=patience)
        except queue.Full:
            return
        self._thread.join(patience)

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
            entry["relay_name"] = self._names.of_delivery(event)
        elif isinstance(peer := fields.get("peer"), str):
            entry["relay_name"] = self._names.of_peer(peer)
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
        """The lines that wait, at least one, so that a burst is one write."""
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
            return  # the old one goes on
        self._close_file()
        self._file = file

    def _close_file(self) -> None:
        if self._file is not sys.stdout.buffer:
            with contextlib.suppress(OSError):
                self._file.close()


def _short(value: object) -> object:
    """Words of Postfix are short; what is long came from elsewhere."""
    return value[:100] if isinstance(value, str) else value


def open_target(target: str) -> Callable[[], BinaryIO]:
    """How a target of the settings is opened: "stdout", or a file to append to, readable by its group at most."""
    if target == "stdout":
        return lambda: sys.stdout.buffer

    def opened() -> BinaryIO:
        descriptor = os.open(Path(target), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        return os.fdopen(descriptor, "ab")

    return opened
