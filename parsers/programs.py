"""Rules' patterns as programs for the compiled scan in `_scan.c`.

The rules stay the only source: a pattern is read by the parser of `re`. A program matches printable ASCII only, and a whole
text. Pure.
"""

import re
import struct
from collections.abc import Iterable, Sequence
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

Program = tuple[bytes, bytes, bytes, int]  # steps, sets, strings, number of groups

# The operations, as in `_scan.c`.
_MATCH, _CHAR, _SET, _STRING, _SAVE, _SPLIT, _JUMP = range(7)
_GREEDY, _LAZY, _POSSESSIVE, _ATOMIC, _LOOP, _AHEAD, _NOT_AHEAD, _AT_END = range(7, 15)
_STEP: Final = struct.Struct("=BBHIII")  # operation, byte, set, to, min, max
_ENDLESS: Final = 0xFFFFFFFF
_PRINTABLE: Final = range(0x20, 0x7F)
_NEVER: Final = 0x0A  # no line has a line end
_MAX_COPIES: Final = 8  # of a body that is repeated a fixed number of times
_CATEGORIES: Final = {  # of printable ASCII
    op.CATEGORY_DIGIT: frozenset(b"0123456789"),
    op.CATEGORY_SPACE: frozenset(b" "),
    op.CATEGORY_WORD: frozenset(b"0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
}
_NOT: Final = {
    op.CATEGORY_NOT_DIGIT: op.CATEGORY_DIGIT,
    op.CATEGORY_NOT_SPACE: op.CATEGORY_SPACE,
    op.CATEGORY_NOT_WORD: op.CATEGORY_WORD,
}
_SINGLE: Final = (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN)
_REPEATS: Final = {op.MAX_REPEAT: _GREEDY, op.MIN_REPEAT: _LAZY, op.POSSESSIVE_REPEAT: _POSSESSIVE}


def program_of(pattern: str) -> Program | None:
    """Return the program that matches what a pattern matches in full, with DOTALL; None if it cannot be compiled."""
    parsed = _parser.parse(pattern, re.DOTALL)
    compiler = _Compiler()
    try:
        compiler.sequence(parsed)
    except NotImplementedError:
        return None
    compiler.step(_AT_END)
    compiler.step(_MATCH)
    steps = b"".join(_STEP.pack(*step) for step in compiler.steps)
    return steps, b"".join(compiler.sets), bytes(compiler.strings), parsed.state.groups - 1


class _Compiler:
    def __init__(self) -> None:
        self.steps: list[list[int]] = []
        self.sets: dict[bytes, int] = {}
        self.strings = bytearray()

    def step(
        self, operation: int, *, byte: int = 0, number: int = 0, to: int = 0, low: int = 0, high: int = 0
    ) -> int:
        """Add a step. Return its place."""
        self.steps.append([operation, byte, number, to, low, high])
        return len(self.steps) - 1

    def sequence(self, items: Iterable[Any]) -> None:
        """Compile parts that follow each other."""
        run = bytearray()
        for kind, value in items:
            if kind is op.LITERAL and value in _PRINTABLE:
                run.append(value)
                continue
            self._literal(run)
            run.clear()
            self._part(kind, value)
        self._literal(run)

    def _literal(self, run: bytearray) -> None:
        if len(run) == 1:
            self.step(_CHAR, byte=run[0])
        elif run:
            self.step(_STRING, to=len(self.strings), low=len(run))
            self.strings += run

    def _part(self, kind: Any, value: Any) -> None:
        if kind in _SINGLE:
            self.step(_SET, number=self._set(_characters(kind, value)))
        elif kind is op.BRANCH:
            self._branch(value[1])
        elif kind is op.SUBPATTERN and not value[1] and not value[2]:
            self._group(value[0], value[3])
        elif kind in _REPEATS:
            self._repeat(kind, *value)
        elif kind is op.ATOMIC_GROUP:
            self._body(_ATOMIC, value)
        elif kind in {op.ASSERT, op.ASSERT_NOT} and value[0] == 1:
            self._body(_AHEAD if kind is op.ASSERT else _NOT_AHEAD, value[1])
        elif kind is op.AT and value is op.AT_END_STRING:
            self.step(_AT_END)
        else:
            raise NotImplementedError(str(kind))

    def _group(self, number: int | None, items: Iterable[Any]) -> None:
        if number is None:
            self.sequence(items)
            return
        self.step(_SAVE, to=2 * number)
        self.sequence(items)
        self.step(_SAVE, to=2 * number + 1)

    def _branch(self, branches: Sequence[Any]) -> None:
        jumps = []
        for branch in branches[:-1]:
            split = self.step(_SPLIT)
            self.sequence(branch)
            jumps.append(self.step(_JUMP))
            self._come_from(split)
        self.sequence(branches[-1])
        for jump in jumps:
            self._come_from(jump)

    def _repeat(self, kind: Any, low: int, high: int, body: Any) -> None:
        most = min(int(high), _ENDLESS)
        if len(body) == 1 and body[0][0] in _SINGLE:
            characters = _characters(*body[0])
            without = frozenset(_PRINTABLE).difference(characters)
            byte = next(iter(without), _NEVER) if len(without) < 2 else 0
            operation = _POSSESSIVE if low == most else _REPEATS[kind]
            self.step(operation, byte=byte, number=self._set(characters), low=low, high=most)
        elif kind is op.MIN_REPEAT or body.getwidth()[0] == 0 or low > _MAX_COPIES:
            raise NotImplementedError("repetition")
        elif kind is op.POSSESSIVE_REPEAT:
            self._body(_LOOP, body, low=low, high=most)
        else:
            self._greedy(low, most, body)

    def _greedy(self, low: int, most: int, body: Any) -> None:
        for _ in range(low):
            self.sequence(body)
        if most == _ENDLESS:
            split = self.step(_SPLIT)
            self.sequence(body)
            self.step(_JUMP, to=split)
            self._come_from(split)
            return
        if most - low > _MAX_COPIES:
            raise NotImplementedError("repetition")
        splits = []
        for _ in range(most - low):
            splits.append(self.step(_SPLIT))
            self.sequence(body)
        for split in splits:
            self._come_from(split)

    def _body(self, operation: int, items: Iterable[Any], *, low: int = 0, high: int = 0) -> None:
        place = self.step(operation, low=low, high=high)
        self.sequence(items)
        self.step(_MATCH)
        self._come_from(place)

    def _come_from(self, place: int) -> None:
        """Let a step lead to the next one."""
        self.steps[place][3] = len(self.steps)

    def _set(self, characters: frozenset[int]) -> int:
        bits = bytearray(32)
        for character in characters:
            bits[character >> 3] |= 1 << (character & 7)
        return self.sets.setdefault(bytes(bits), len(self.sets))


def _characters(kind: Any, value: Any) -> frozenset[int]:
    """Return the printable characters that a part of a pattern matches."""
    printable = frozenset(_PRINTABLE)
    if kind is op.ANY:
        return printable
    if kind is op.LITERAL:
        return printable & {value}
    if kind is op.NOT_LITERAL:
        return printable - {value}
    found: set[int] = set()
    negated = False
    for part, argument in value:
        if part is op.NEGATE:
            negated = True
        elif part is op.LITERAL:
            found.add(argument)
        elif part is op.RANGE:
            found.update(printable.intersection(range(argument[0], argument[1] + 1)))
        elif part is op.CATEGORY and argument in _CATEGORIES:
            found |= _CATEGORIES[argument]
        elif part is op.CATEGORY and argument in _NOT:
            found |= printable - _CATEGORIES[_NOT[argument]]
        else:
            raise NotImplementedError(str(part))
    return printable - found if negated else printable & found
