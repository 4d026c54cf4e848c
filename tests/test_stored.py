"""The reader of JSON that others may have written."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postward.agent.stored import Form, parse_json, read_regular, read_stored

ANY: Form[dict[str, float]] = Form(dict[str, float])


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"a": 1e400}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"9" * 400 + b"}",
        b'{"a": "1"}',
        b'{"a": null}',
        b"[]",
        b"null",
        b"",
        b"\0",
        b"\xff\xfe",
        b'{"a": 1} trailing',
    ],
)
def test_other_forms_are_value_errors_on_one_printable_line(content: bytes) -> None:
    """Deep nesting, numbers without a value, and wrong types."""
    with pytest.raises(ValueError, match=r"\A[ -~]+\Z") as error:
        ANY.parse(content)

    assert len(str(error.value)) < 300


def test_an_error_does_not_repeat_the_value() -> None:
    """It may be a secret."""
    with pytest.raises(ValueError, match=r"\Aa: ") as error:
        ANY.parse(b'{"a": "s3cret"}')

    assert "s3cret" not in str(error.value)


@given(st.binary(max_size=50))
def test_any_bytes_are_a_value_or_a_value_error(content: bytes) -> None:
    """No other exception."""
    for parse in (parse_json, ANY.parse):
        with contextlib.suppress(ValueError):
            parse(content)


def test_other_kinds_of_files_are_not_waited_for(tmp_path: Path) -> None:
    """A FIFO without a writer, a device, a folder."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero"), tmp_path):
        with pytest.raises((ValueError, IsADirectoryError)):
            read_stored(path, ANY)


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    """Without reading it all."""
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1 << 40)

    with pytest.raises(ValueError, match="more than 100 bytes"):
        read_regular(path, 100)
