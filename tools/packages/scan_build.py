"""Compile the log scan: `python tools/packages/scan_build.py FOLDER` writes FOLDER/_scan.abi3.so.

One library serves every CPython from 3.11 on (its limited API). It needs a C compiler and the headers of this Python. Without
them nothing is written, which the output says: the log is then scanned by `re`, with the same result.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

SOURCE = Path("parsers/_scan.c")
LIBRARY = "_scan.abi3.so"
TAG = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"  # of a wheel that has it
_WARNINGS = "-Wall", "-Wextra", "-Werror", "-Wno-cast-function-type"
_HARDENED = "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong", "-Wl,-z,relro,-z,now,-z,noexecstack"
_OPTIONS = "-std=c11", "-O2", "-g0", *_WARNINGS, *_HARDENED, "-fvisibility=hidden", "-fPIC", "-shared"


def compile_scan(root: Path, folder: Path) -> Path | None:
    """Compile the scan of a checkout into a folder. Return the library; None if it cannot be compiled here.

    The environment's CC is the compiler.
    """
    headers = Path(sysconfig.get_path("include"))
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    missing = (
        "a C compiler" if not compiler else None if (headers / "Python.h").exists() else "Python's headers"
    )
    if compiler and not missing:
        folder.mkdir(parents=True, exist_ok=True)
        new, library = folder / f"{LIBRARY}.new", folder / LIBRARY
        command = [*compiler.split(), *_OPTIONS, f"-I{headers}", "-o", str(new), str(root / SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            new.replace(library)  # a program that runs has the former one open
            return library
        missing = f"a working C compiler: {done.stderr.strip()}"
    sys.stderr.write(
        f"setup: {SOURCE} is not compiled: {missing} is missing; logs are scanned by re, slower\n"
    )
    return None


if __name__ == "__main__":
    compile_scan(Path(__file__).parents[2], Path(sys.argv[1]))
