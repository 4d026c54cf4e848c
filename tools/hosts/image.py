"""Images of Debian, made by debootstrap once, kept in a cache, and copied for each host.

An image has the release's systemd, Postfix and Python. Postfix has no listener, since hosts share the machine's
network. debootstrap takes about two minutes and needs the network; it uses the mirror of this machine's apt. An image
in the cache is complete: an unfinished one has another name.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

_PACKAGES = "systemd,systemd-sysv,dbus,postfix,libsasl2-modules,python3,ca-certificates,iproute2,curl"  # in the syntax of debootstrap
# Release → additional packages. From Debian 12 on, a minimal system has the journal only: no rsyslog, no mail log.
RELEASES = {"bookworm": ",rsyslog", "trixie": ""}
_VERSION = 1  # increase it when this module changes the image
_DEADLINE = 1200.0  # timeout for debootstrap, in seconds


class ImageError(Exception):
    """An image cannot be made; the text gives the reason."""


def cache() -> Path:
    """Return the folder that keeps images between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME", "/var/cache")) / "postward-hosts"


def image(release: str) -> Path:
    """Return the folder of a release's image, and make the image if it does not exist. Raises ImageError."""

    def make(folder: Path) -> None:
        bootstrap(release, folder, _PACKAGES + RELEASES[release])
        _prepare(folder)

    return cached(f"{release}-{_VERSION}", make)


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, and make it if it does not exist. Raises as `make`."""
    folder = cache() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be making it
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            make(partial)
            partial.rename(folder)
    return folder


def copy(release: str, folder: Path) -> None:
    """Copy a release's image into a new folder. The copy shares blocks if the file system supports reflinks."""
    subprocess.run(["cp", "--archive", "--reflink=auto", image(release), folder], check=True)


def bootstrap(release: str, folder: Path, packages: str = "") -> None:
    """Make a minimal Debian with further packages, separated by commas. Raises ImageError."""
    command = ["debootstrap", "--variant=minbase", release, str(folder)]
    if packages:
        command.insert(1, f"--include={packages}")
    done = subprocess.run(
        [*command, _mirror()],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        timeout=_DEADLINE,
        check=False,
    )
    if done.returncode:
        log = folder / "debootstrap/debootstrap.log"
        last = "\n".join(log.read_text(errors="replace").splitlines()[-20:]) if log.exists() else ""
        raise ImageError(f"debootstrap {release}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}\n{last}")


def _mirror() -> str:
    """Return the URL of the Debian archive that this machine's apt uses. Raises ImageError."""
    printed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(SITE) $(RELEASE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for line in printed.splitlines():
        origin, _, rest = line.partition(" ")
        site, _, release = rest.rpartition(" ")
        if origin == "Debian" and not release.endswith(("-security", "-updates", "-backports")):
            return site
    raise ImageError("apt on this machine has no Debian archive; images can be made on Debian only")


def _prepare(folder: Path) -> None:
    """Configure Postfix as Debian's package does, but without a listener."""
    shutil.rmtree(folder / "var/cache/apt/archives", ignore_errors=True)
    if not (folder / "etc/postfix/main.cf").exists():
        text = (folder / "usr/share/postfix/main.cf.debian").read_text()
        (folder / "etc/postfix/main.cf").write_text(text)
    for command in (
        [
            "postconf",
            "-e",
            "inet_interfaces = loopback-only",
            "myhostname = host.example.test",
            "mydestination =",
        ],
        ["postconf", "-M#", "smtp/inet"],
    ):
        subprocess.run(["chroot", str(folder), *command], check=True, capture_output=True, timeout=60)
