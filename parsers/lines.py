"""Bytes in, lines out.

Only LF ends a line: a remote server can send U+2028, VT or FF, and ``str.splitlines`` would cut there.
A trailing CR is dropped. Invalid UTF-8 becomes U+FFFD and NUL stays as it is, so nothing here raises.
An unfinished last line is kept for the next chunk; one longer than the bound is handed out in pieces, so
a file without line ends costs no more than the bound.
"""

from typing import Final

MAX_LINE: Final = 1 << 20


class LineBuffer:
    """Cuts a stream of chunks into lines; ``pending`` bytes wait for their line end."""

    __slots__ = ("_max_line", "_rest", "pending")

    def __init__(self, max_line: int = MAX_LINE) -> None:
        if max_line < 1:
            raise ValueError(f"max_line: {max_line} is too small, at least 1 is needed")
        self._max_line = max_line
        self._rest: list[bytes] = []
        self.pending = 0

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that this chunk completes, without their line ends."""
        end = chunk.rfind(b"\n")
        if end < 0:
            return self._keep(chunk)
        head, rest = chunk[:end], chunk[end + 1 :]
        if self._rest:
            head = b"".join((*self._rest, head))
            self._rest.clear()
            self.pending = 0
        lines = _cut(head, self._max_line)
        if rest:
            lines += self._keep(rest)
        return lines

    def flush(self) -> list[str]:
        """What is left of a stream that has ended: no line, or one without its line end."""
        if not self.pending:
            return []
        rest = b"".join(self._rest)
        self._rest.clear()
        self.pending = 0
        return _cut(rest, self._max_line)

    def _keep(self, chunk: bytes) -> list[str]:
        if not chunk:
            return []
        # Pieces are joined only when a line ends: appending to one bytes object would cost the square of its length.
        self._rest.append(chunk)
        self.pending += len(chunk)
        if self.pending < self._max_line:
            return []
        whole = b"".join(self._rest)
        cut = len(whole) - len(whole) % self._max_line
        self._rest = [whole[cut:]] if cut < len(whole) else []
        self.pending = len(whole) - cut
        return _pieces(whole[:cut], self._max_line)


def _cut(block: bytes, max_line: int) -> list[str]:
    # LF is never part of a longer UTF-8 sequence, so decoding the block first cuts at the same places.
    text = block.decode("utf-8", "replace")
    lines = text.split("\n")
    if "\r" in text:
        lines = [line.removesuffix("\r") for line in lines]
    if len(block) <= max_line:
        return lines
    return [piece for line in lines for piece in _text_pieces(line, max_line)]


def _pieces(block: bytes, size: int) -> list[str]:
    return [block[at : at + size].decode("utf-8", "replace") for at in range(0, len(block), size)]


def _text_pieces(line: str, size: int) -> list[str]:
    if len(line) <= size:
        return [line]
    return [line[at : at + size] for at in range(0, len(line), size)]
