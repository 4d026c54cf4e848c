"""The arguments and environments of all processes of the machine, those of hosts in containers included."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSE = 0.005  # seconds between two looks; a process that lives for less can be missed


@contextmanager
def spy_on_processes() -> Iterator[set[str]]:
    """Collect arguments and environments of other processes until the end of the block."""
    texts: set[str] = set()
    over = threading.Event()
    thread = threading.Thread(target=_collect, args=(texts, over))
    thread.start()
    try:
        yield texts
    finally:
        over.set()
        thread.join()


def _collect(texts: set[str], over: threading.Event) -> None:
    while not over.wait(_PAUSE):
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                texts.update(_texts_of(entry))


def _texts_of(process: Path) -> Iterator[str]:
    for name in ("cmdline", "environ"):
        try:
            yield (process / name).read_bytes().decode(errors="replace")
        except OSError:  # it has ended
            return
