"""The compiled scan of logs, compared with `re` on mutated lines, and under the sanitizers of gcc."""

import os
import random
import re
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from postward.parsers import _scan
from postward.parsers.programs import Program, program_of
from postward.parsers.record import HEADER
from tools.packages.scan_build import LIBRARY, SOURCE

ROOT = Path(__file__).parents[2]
_HEAD = "Nov 24 06:05:01 mx1 postfix/x[1]: "
_SANITIZERS = "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"
_MAX_STEPS = 40
_STEP = struct.Struct("=BBHIII")
Groups = tuple[str | None, ...]


def matcher(program: Program) -> Callable[[Sequence[str]], list[Groups | None]]:
    """Return a function that matches texts with a program: the groups of each, None for one that does not match."""
    header = program_of(HEADER)
    assert header is not None
    groups = tuple(range(1, program[3] + 1))
    scanner = _scan.Scanner(header, (), lambda _tag, _severity: ("postfix", "x", (0,)), frozenset())
    scanner.add(program, groups, (), -1)

    def match(texts: Sequence[str]) -> list[Groups | None]:
        _, others = scanner.scan("".join(f"{_HEAD}{text}\n" for text in texts))
        return [row[10] if len(row) > 2 else None for row in others]

    return match


def differences(pattern: str, texts: Sequence[str]) -> list[str]:
    """Return the texts for which the program of a pattern gives other groups than `re`."""
    program = program_of(pattern)
    if program is None:
        return [f"not compiled: {pattern}"]
    fullmatch = re.compile(pattern, re.DOTALL).fullmatch
    expected = [found.groups() if (found := fullmatch(text)) else None for text in texts]
    return [
        text
        for text, found, true in zip(texts, matcher(program)(texts), expected, strict=True)
        if found != true
    ]


def random_program(rnd: random.Random) -> Program:
    """Return a program of random steps; few of them make sense, and one of two is not valid."""
    size, sets, text, groups = (
        rnd.randrange(1, _MAX_STEPS),
        rnd.randrange(1, 3),
        rnd.randbytes(8),
        rnd.randrange(1, 4),
    )
    is_wild = rnd.random() < 0.5
    steps = b""
    for _ in range(size):
        odd = is_wild and rnd.random() < 0.1
        steps += _STEP.pack(
            rnd.randrange(17 if odd else 15),
            rnd.choice((0, 32, 97, 255)),
            rnd.choice((sets, 65535)) if odd else rnd.randrange(sets),
            rnd.choice((size + 2, 1 << 31)) if odd else rnd.randrange(min(size, 2 * groups + 2)),
            rnd.choice((0, 1, 2, 300)) if odd else 1,
            rnd.choice((0, 1, 5, 0xFFFFFFFF)),
        )
    return steps + bytes(_STEP.size), rnd.randbytes(32 * sets), text, groups


def build_sanitized(folder: Path) -> Path:
    """Build the scan with the sanitizers. Return the folder in which `postward.parsers` has it."""
    package = folder / "postward"
    package.mkdir(parents=True)
    for name in ("agent", "config", "files"):
        (package / name).symlink_to((ROOT / ".import-path/postward" / name).resolve())
    (package / "parsers").mkdir()
    for path in (ROOT / "parsers").iterdir():
        if path.name != LIBRARY:
            (package / "parsers" / path.name).symlink_to(path)
    headers = sysconfig.get_path("include")
    command = ["gcc", "-std=c11", "-g", "-O1", *_SANITIZERS, "-fPIC", "-shared", f"-I{headers}"]
    library = package / "parsers" / LIBRARY
    subprocess.run([*command, "-o", str(library), str(ROOT / SOURCE)], check=True)
    return folder


def run_sanitized(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m tools.scan` with the scan that `build_sanitized` made. A fault ends it with a trace."""
    libraries = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment: dict[str, Any] = {
        **os.environ,
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter frees nothing at its end
        "PYTHONPATH": f"{folder}:{ROOT}",
        "PYTHONMALLOC": "malloc",
    }
    command = [sys.executable, "-m", "tools.scan", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
