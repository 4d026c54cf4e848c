"""Events as Parquet: one row for each Postfix line, in columns for analytical databases.

Requires the extra `parquet`. docs/report.md documents `SCHEMA`. A number that is missing or invalid is null.
"""

import json
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from postward.agent.export.rows import of_record
from postward.agent.metrics.labels import STAGES, RelayNames
from postward.parsers import parse_event, parse_record, parse_stamp
from postward.parsers.events import Delivery
from postward.parsers.scrub import mask_addresses, scrub

_ROWS_IN_MEMORY: Final = 50_000
_MAX_NUMBER: Final = 2**31

SCHEMA: Final = pa.schema(
    [
        pa.field("time", pa.timestamp("us", tz="UTC")),  # null if the stamp is invalid
        pa.field("stamp", pa.string()),  # as printed
        pa.field("host", pa.string()),
        pa.field("instance", pa.string()),
        pa.field("daemon", pa.string()),
        pa.field("pid", pa.int64()),
        pa.field("severity", pa.string()),
        pa.field("repeat", pa.int32(), nullable=False),  # N of "message repeated N times", else 1
        pa.field("event", pa.string()),  # type of the event; null for an unrecognised line
        pa.field("queue_id", pa.string()),
        pa.field("message_id", pa.string()),
        pa.field("from", pa.string()),
        pa.field("to", pa.string()),
        pa.field("orig_to", pa.string()),
        pa.field("size", pa.int64()),  # bytes
        pa.field("nrcpt", pa.int64()),
        pa.field("relay", pa.string()),  # as printed
        pa.field("relay_name", pa.string()),  # as returned by `names`; deliveries only
        pa.field("relay_host", pa.string()),
        pa.field("relay_addr", pa.string()),
        pa.field("relay_port", pa.int64()),
        pa.field("delay", pa.float64()),  # seconds
        pa.field("delay_before_queue_manager", pa.float64()),
        pa.field("delay_queue_manager", pa.float64()),
        pa.field("delay_connection_setup", pa.float64()),
        pa.field("delay_transmission", pa.float64()),
        pa.field("dsn", pa.string()),
        pa.field("status", pa.string()),
        pa.field("cause", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("client", pa.string()),
        pa.field("protocol", pa.string()),
        pa.field("cipher", pa.string()),
        pa.field("trust", pa.string()),
        pa.field("fields", pa.string()),  # all fields of the event as JSON; of an unrecognised line its text
    ]
)
_STAGES: Final = (
    "delay_before_queue_manager",
    "delay_queue_manager",
    "delay_connection_setup",
    "delay_transmission",
)
_HEADER: Final = frozenset(
    {"stamp", "host", "instance", "daemon", "pid", "severity", "repeat", "event", "outcome"}
)
_NUMBERS: Final = {
    field.name: float if pa.types.is_floating(field.type) else int
    for field in SCHEMA
    if pa.types.is_primitive(field.type)
}


class EventFile:
    """A writer of a Parquet file.

    Args:
        path: the file; it is overwritten.
        names: returns the name of a relay for `relay_name`.
        mask: write only the domains of mail addresses.
    """

    def __init__(self, path: Path, names: RelayNames, *, mask: bool = False) -> None:
        self.rows = 0
        self._names = names
        self._mask = mask
        self._pending: list[dict[str, Any]] = []
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(self._file, SCHEMA, compression="zstd")

    def feed(self, block: bytes, reference: datetime) -> None:
        """Add a block of whole lines. Time stamps without a year are read near the reference."""
        for line in block.decode("utf-8", "replace").split("\n"):
            row = self._row(line.removesuffix("\r"), reference)
            if row is not None:
                self._pending.append(row)
        if len(self._pending) >= _ROWS_IN_MEMORY:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the pending rows and the footer of the file."""
        try:
            self._flush()
        finally:
            self._writer.close()
            self._file.close()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_table(pa.Table.from_pylist(self._pending, SCHEMA))
            self.rows += len(self._pending)
            self._pending.clear()

    def _row(self, line: str, reference: datetime) -> dict[str, Any] | None:
        record = parse_record(line)
        if record is None:
            return None
        record = record._replace(text=scrub(record.text, record.severity))
        event = parse_event(record)
        row = of_record(record, event)
        if self._mask:
            row = {key: _without_addresses(value) for key, value in row.items() if key not in _PERSONS}
        fields = {key: value for key, value in row.items() if key not in _HEADER}
        delays = row.pop("delays", None)
        if isinstance(delays, list):
            row.update(zip((f"delay_{stage}" for stage in STAGES), delays, strict=False))
        row["fields"] = json.dumps(fields, ensure_ascii=False)
        row["time"] = parse_stamp(record.stamp, reference)
        row["repeat"] = record.repeat
        if isinstance(event, Delivery):
            row["relay_name"] = self._names.of_delivery(event, record.instance)
        return {name: _fit(name, row.get(name)) for name in SCHEMA.names}


def _fit(name: str, value: Any) -> Any:
    if name == "time" or value is None:
        return value
    kind = _NUMBERS.get(name)
    if kind is None:
        return str(value)
    return kind(value) if isinstance(value, int | float) and abs(value) < _MAX_NUMBER else None


_PERSONS = frozenset({"sasl_username", "sasl_sender", "user", "uid"})  # fields that name a user of this host


def _without_addresses(value: Any) -> Any:
    """Remove the local parts of the mail addresses in a text."""
    return mask_addresses(value) if isinstance(value, str) else value
