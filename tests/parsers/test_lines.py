"""Bytes cut into lines."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postward.parsers import LineBuffer


def test_a_line_ends_at_lf_and_nowhere_else() -> None:
    """A remote server can send characters at which str.splitlines would cut."""
    text = "a\u2028b\x0bc\x0cd\x85e\x1cf\rg"
    assert LineBuffer().feed(f"{text}\n".encode()) == [text]


def test_a_trailing_cr_is_dropped() -> None:
    """A log that came over Windows reads the same."""
    assert LineBuffer().feed(b"a\r\nb\n\r\n") == ["a", "b", ""]


def test_an_unfinished_line_is_kept() -> None:
    """It comes with its end, or with the end of the stream."""
    buffer = LineBuffer()
    assert buffer.feed(b"a\nb") == ["a"]
    assert buffer.pending == 1
    assert buffer.feed(b"c") == []
    assert buffer.feed(b"d\ne") == ["bcd"]
    assert buffer.flush() == ["e"]
    assert (buffer.pending, buffer.flush()) == (0, [])


def test_broken_utf8_and_nul_are_text() -> None:
    """Neither raises, and neither ends a line."""
    assert LineBuffer().feed(b"caf\xe9 \x00 x\n") == ["caf\ufffd \x00 x"]


def test_a_character_split_between_chunks_is_whole() -> None:
    """A chunk may end in the middle of a character."""
    buffer = LineBuffer()
    assert buffer.feed("é".encode()[:1]) == []
    assert buffer.feed("é".encode()[1:] + b"\n") == ["é"]


def test_a_line_without_end_is_cut_and_not_lost() -> None:
    """Memory is bounded, and every byte comes out."""
    buffer = LineBuffer(max_line=10)
    pieces = [*buffer.feed(b"x" * 25), *buffer.feed(b"y" * 3 + b"\nz\n")]
    assert "".join(pieces) == "x" * 25 + "y" * 3 + "z"
    assert max(map(len, pieces)) <= 10
    assert buffer.pending == 0


def test_a_bound_below_one_is_refused() -> None:
    """It would never hand out anything."""
    with pytest.raises(ValueError, match="max_line"):
        LineBuffer(0)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_chunks_do_not_matter(stream: bytes, cuts: list[int]) -> None:
    """However a stream is cut into chunks, the lines are the same."""
    whole = LineBuffer()
    wanted = [*whole.feed(stream), *whole.flush()]
    places = [0, *sorted(cut for cut in cuts if cut <= len(stream)), len(stream)]
    buffer = LineBuffer()
    lines = [line for start, end in itertools.pairwise(places) for line in buffer.feed(stream[start:end])]
    assert [*lines, *buffer.flush()] == wanted
