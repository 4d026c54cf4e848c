"""A Debian release with its Postfix in a directory, made by debootstrap once and kept in a cache.

Only the file system is separate (chroot). Loopback is the machine's, where the test relay listens. Nothing is mounted.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from tests.support import PostfixError

RELEASES = {"bullseye": "3.5", "bookworm": "3.7", "trixie": "3.10", "sid": "3.11"}
DEADLINE = 60.0  # seconds for one command inside a tree

_PACKAGES = (
    "postfix",
    "postfix-lmdb",
    "libsasl2-modules",
    "sasl2-bin",
    "ca-certificates",
    "openssl",
    "netbase",
)
_ONE_LINE = re.compile(r"^deb(?: \[[^\]]*\])? (\S+) \S+ .*\bmain\b")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def default_cache() -> Path:
    """Return the directory of the trees: POSTWARD_RELEASES, or postward-releases in the user's cache."""
    chosen = os.environ.get("POSTWARD_RELEASES")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "postward-releases"


def mirror(sources: Path = Path("/etc/apt")) -> str:
    """Return the archive that this machine's apt uses for the main component."""
    files = [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))]
    lines = [line for file in files if file.is_file() for line in file.read_text().splitlines()]
    uris = [line.split()[1] for line in lines if line.startswith("URIs: ")]
    uris += [match[1] for line in lines if (match := _ONE_LINE.match(line))]
    for uri in uris:
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise PostfixError("no Debian archive in apt's sources; add one to /etc/apt/sources.list")


class Tree:
    """The directory of one release."""

    def __init__(self, release: str, cache: Path) -> None:
        self.release = release
        self.root = cache / release

    def make(self) -> None:
        """Fetch and unpack the release unless it exists; the rest of a failed attempt is deleted."""
        if self.root.is_dir():
            return
        debootstrap = shutil.which("debootstrap", path=_PATH)
        if debootstrap is None:
            raise PostfixError("debootstrap is missing: install the package debootstrap")
        partial = self.root.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        included = f"--include={','.join(_PACKAGES)}"
        command = [debootstrap, "--variant=minbase", included, self.release, str(partial), mirror()]
        log = self.root.with_suffix(".log")
        with log.open("wb") as out:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False
            ).returncode
        if code != 0:
            output = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            raise PostfixError(f"debootstrap {self.release}: exit status {code}:\n{output}")
        partial.rename(self.root)

    def path(self, inside: str) -> Path:
        return self.root / inside.lstrip("/")

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs a command inside."""
        chroot = shutil.which("chroot", path=_PATH) or "chroot"
        return [chroot, str(self.root), *arguments]

    def run(self, *arguments: str, stdin: bytes = b"", check: bool = True) -> str:
        """Run a command inside; return its standard output and standard error."""
        out_path = self.root / "tmp" / f"out.{os.getpid()}"
        with out_path.open("w+b") as out:  # a file: a daemon may keep the output open
            done = subprocess.run(
                self.command(*arguments),
                input=stdin,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
                cwd="/",
                timeout=DEADLINE,
                check=False,
            )
            out.seek(0)
            output = out.read().decode(errors="replace")
        out_path.unlink()
        if check and done.returncode != 0:
            raise PostfixError(f"{' '.join(arguments)}: exit status {done.returncode}: {output.strip()}")
        return output

    def pids(self) -> list[int]:
        """List the processes whose file system root is this tree, or that work inside it."""
        root, found = str(self.root.resolve()), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if str((entry / "root").readlink()) == root:
                        found.append(int(entry.name))
        return found

    @staticmethod
    def proc(pid: int) -> Path:
        return Path("/proc") / str(pid)

    def kill(self, pid: int) -> None:
        """End one of the tree's processes at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
