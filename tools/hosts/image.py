"""Debian's base systems, as debootstrap makes them: made once, kept in a cache, copied for each host.

A system has systemd, Postfix (which listens nowhere, for hosts share the machine's network) and Python, as its release has them.
Making one takes about two minutes and the network: the mirror is the one that this machine's apt uses. A system is complete or absent: a
half-made one has another name.
"""

import os
import shutil
import subprocess
from pathlib import Path

_PACKAGES = "systemd,systemd-sysv,dbus,postfix,libsasl2-modules,python3,ca-certificates,iproute2,curl"  # as debootstrap takes them
# Release → what comes on top. Since Debian 12 a small system has the journal alone.
RELEASES = {"bookworm": ",rsyslog", "trixie": ""}
_VERSION = 1  # one more when what is made here changes
_DEADLINE = 1200.0  # seconds


class ImageError(Exception):
    """A system cannot be made; the text says why."""


def cache() -> Path:
    """Where systems are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME", "/var/cache")) / "postward-hosts"


def image(release: str) -> Path:
    """The folder of a release's base system. Raises ImageError."""
    folder = cache() / f"{release}-{_VERSION}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        _bootstrap(release, partial)
        _prepare(partial)
        partial.rename(folder)
    return folder


def copy(release: str, folder: Path) -> None:
    """A system of its own in a folder that does not exist yet; blocks are shared where the file system can."""
    subprocess.run(["cp", "--archive", "--reflink=auto", image(release), folder], check=True)


def _bootstrap(release: str, folder: Path) -> None:
    command = [
        "debootstrap",
        "--variant=minbase",
        f"--include={_PACKAGES}{RELEASES[release]}",
        release,
        str(folder),
    ]
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
    """The Debian archive that this machine's apt uses."""
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
    raise ImageError("this machine's apt has no Debian archive; hosts can only be made on Debian")


def _prepare(folder: Path) -> None:
    """Postfix as the package configures it, without a listener; no network services of the host's own."""
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
