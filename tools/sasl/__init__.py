"""The SASL plug-in outside libsasl2: built with the sanitizers of gcc, for tests and for fuzzing."""

import subprocess
from pathlib import Path

_SANITIZERS = "-fsanitize=address,undefined", "-fno-sanitize-recover=all"


def build_harness(folder: Path) -> Path:
    """Build the harness and return its path."""
    program = folder / "harness"
    source = Path(__file__).with_name("harness.c")
    command = ["gcc", "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *_SANITIZERS]
    subprocess.run([*command, "-o", str(program), str(source)], check=True)
    return program
