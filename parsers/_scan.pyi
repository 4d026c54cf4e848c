from collections.abc import Callable
from typing import Any, TypeAlias

_Program: TypeAlias = tuple[bytes, bytes, bytes, int]  # steps, sets, strings, number of groups
_Tag: TypeAlias = tuple[str, str, tuple[int, ...]]

class Scanner:
    def __init__(
        self,
        header: _Program,
        widths: tuple[int, ...],
        find: Callable[[str, int], _Tag | None],
        no_hosts: frozenset[str],
    ) -> None: ...
    def add(
        self, program: _Program, fields: tuple[int, ...], columns: tuple[int, ...], kind: int, /
    ) -> int: ...
    def scan(self, text: str, /) -> tuple[list[list[list[Any]] | None], list[tuple[Any, ...]]]: ...
