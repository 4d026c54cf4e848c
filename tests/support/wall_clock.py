"""A wall clock that a test sets, for processes that run: a shared object that ld.so(8) preloads into them.

Linux has namespaces for the monotonic clocks alone (time_namespaces(7)), and a test must not set the machine's clock.
Times that the kernel writes, as those of files, are not shifted. Programs with setuid or setgid ignore it.
"""

import shutil
import struct
import subprocess
from pathlib import Path

from tests.support.require import demand

_SOURCE = Path(__file__).with_suffix(".c")


class WallClock:
    """The clock.

    Args:
        folder: for the shared object and the shift, which all users may read.

    Attributes:
        environment: the variables of a process with this clock.
    """

    def __init__(self, folder: Path) -> None:
        demand(None if shutil.which("gcc") else "gcc is missing: install gcc and libc6-dev")
        library, self._file = folder / "wall_clock.so", folder / "wall_clock"
        command = [
            "gcc",
            "-std=gnu11",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-shared",
            "-fPIC",
            "-o",
            str(library),
        ]
        subprocess.run([*command, str(_SOURCE)], check=True)
        self._file.touch()
        self._file.chmod(0o644)
        self.set(0)
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(self._file)}

    def set(self, seconds: int) -> None:
        """Set the clock: `seconds` ahead of the machine's. It is a step, at once for all processes."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("q", seconds))

    @property
    def launcher(self) -> tuple[str, ...]:
        """The beginning of a command whose process has this clock."""
        return ("env", *(f"{name}={value}" for name, value in self.environment.items()))
