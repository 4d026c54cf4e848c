"""Read JSON that others may have written: state of another user or version, answers of servers.

Promise: content is bounded in size and depth, numbers are finite and fit into 64 bits, and values have the form that the
reader expects. A FIFO or a device in a file's place neither holds the reader up nor feeds it without an end.

How it fails: ValueError says where the form differs, without the value, which may be a secret or a stranger's text.
"""

import json
import math
import os
import stat
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from postward.parsers.scrub import printable

T = TypeVar("T")

MAX_BYTES = 1 << 26  # of a file; the checkpoint of a busy host has some megabytes
MAX_TEXT = 2000  # characters, as Postfix cuts its own
MAX_MOMENT = 4e9  # seconds since 1970: of the year 2096
_MAX_DIGITS = 18


class Form(Generic[T]):
    """The form of a JSON value: any type that pydantic validates. Built on first use, which takes milliseconds."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._adapter: TypeAdapter[T] | None = None

    def parse(self, content: bytes) -> T:
        """Return the value of a JSON text. Raises ValueError."""
        parse_json(content)
        if self._adapter is None:
            self._adapter = TypeAdapter(self._kind)
        try:
            return self._adapter.validate_json(content, strict=True)
        except ValidationError as error:
            raise ValueError(_reason(error)) from None

    def check(self, value: Any) -> T:
        """Return a part of a JSON value in this form. Raises ValueError."""
        return self.parse(json.dumps(value).encode())


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON text, of any form. Raises ValueError."""
    try:
        return json.loads(content, parse_float=_finite, parse_int=_integer, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def printable_values(value: Any) -> Any:
    """Return a JSON value with all of its texts printable and of bounded length. Raises ValueError if it is too deep."""
    try:
        return _printable(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value[:MAX_TEXT])
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {printable(key[:MAX_TEXT]): _printable(item) for key, item in value.items()}
    return value


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _integer(text: str) -> int:
    return int(text) if len(text) <= _MAX_DIGITS else _refuse(text)


def _refuse(_text: str) -> Any:
    raise ValueError("it has a number that is not finite, or too large")


def read_stored(path: Path, form: Form[T], max_bytes: int = MAX_BYTES) -> T:
    """Return the value of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a regular file, too large, not JSON, or of another form.
    """
    return form.parse(read_regular(path, max_bytes))


def read_regular(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a regular file, or too large.
    """
    descriptor = os.open(
        path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    )  # a FIFO without a writer would wait
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes} bytes")
    return content


def _reason(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])[:100]
    text = f"{place}: {first['msg']}" if place else str(first["msg"])
    return text if text.isprintable() else ascii(text)
