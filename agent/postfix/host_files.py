"""Reads files, names and addresses of this host for lint.

Promise: nothing is changed. A file that may not be read is noted in `HostFiles.unread`, and nothing is guessed in its
place.
"""

import grp
import os
import pwd
import re
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from postward.config.lint.file_facts import MISSING, Disk, FileFacts

_MAX_BYTES = 1_000_000  # read of a file
_SASL_FOLDERS = ("usr/lib/sasl2", "usr/lib64/sasl2", "usr/local/lib/sasl2", "usr/lib/*/sasl2", "lib/*/sasl2")
# ID and ID_LIKE of os-release(5) → the family of distributions with the same commands and paths.
_FAMILIES = {
    "debian": "debian",
    "ubuntu": "debian",
    "rhel": "rhel",
    "fedora": "rhel",
    "centos": "rhel",
    "amzn": "rhel",
    "suse": "suse",
    "opensuse": "suse",
    "sles": "suse",
    "alpine": "alpine",
}


class HostFiles:
    """Reads files, and notes those that may not be read.

    Attributes:
        system: the root directory of the distribution's files.
        unread: the files that may not be read, with the reason.
    """

    def __init__(self, system: Path) -> None:
        self.system = system
        self.unread: list[str] = []

    def text(self, path: Path) -> str | None:
        """Return the text of a file; None if it is missing or unreadable, which is noted."""
        try:
            with path.open("rb") as file:
                return file.read(_MAX_BYTES).decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            self.unread.append(f"{path}: {error.strerror}")
            return None

    def file(self, path: Path, *, certificates: bool = False, first_word: bool = False) -> FileFacts:
        """Return a file's status, and on request whether it holds certificates and its first word."""
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return MISSING
        except OSError as error:
            self.unread.append(f"{path}: {error.strerror}")
            return FileFacts()
        directory = path.is_dir()
        content = self.text(path) if (certificates or first_word) and not directory else None
        names = names_in(path) if directory and certificates else None
        return FileFacts(
            mode=status.st_mode & 0o7777,
            owner=status.st_uid,
            group=status.st_gid,
            mtime=status.st_mtime,
            directory=directory,
            certificates="-----BEGIN " in content if certificates and content is not None else None,
            word=(content.split() or [""])[0] if first_word and content is not None else None,
            entries=len(names) if names is not None else None,
        )

    def files(self, paths: Mapping[Path, bool]) -> dict[str, FileFacts]:
        """Return the files that the settings name. True marks those that hold certificates."""
        return {str(path): self.file(path, certificates=inside) for path, inside in paths.items()}

    def distribution(self) -> str:
        """Return the family of the distribution (os-release(5)); "" if it is unknown."""
        text = self.text(self.system / "etc/os-release") or ""
        pairs = (line.partition("=") for line in text.split("\n"))
        release = {name: value.strip("\"'") for name, _, value in pairs}
        for name in [release.get("ID", ""), *release.get("ID_LIKE", "").split()]:
            if family := _FAMILIES.get(name.partition("-")[0]):
                return family
        return ""

    def selinux(self) -> bool:
        """Return True if SELinux enforces its policy (selinux(8); the file exists only with SELinux)."""
        enforce = self.system / "sys/fs/selinux/enforce"
        return enforce.exists() and (self.text(enforce) or "1").strip() == "1"

    def sasl_plugins(self) -> frozenset[str]:
        """Return the SASL mechanisms for which a plug-in is installed, as its file name spells them."""
        return frozenset(
            match[1]
            for folder in _SASL_FOLDERS
            for path in self.system.glob(f"{folder}/lib*.so*")
            if (match := re.match(r"lib([\w-]+)\.so", path.name))
        )

    def compared(self, name: str, queue: Path) -> str:
        """Compare a file of /etc with its copy for chrooted services: "same", "differs" or "missing"."""
        copy = self.text(queue / "etc" / name)
        if copy is None:
            return "missing"
        return "same" if copy == self.text(self.system / "etc" / name) else "differs"

    def hosts(self) -> dict[str, tuple[str, ...]]:
        """Return /etc/hosts: name → addresses."""
        addresses: dict[str, tuple[str, ...]] = {}
        for line in (self.text(self.system / "etc/hosts") or "").split("\n"):
            address, *names = line.partition("#")[0].split() or [""]
            for name in names:
                addresses[name.lower()] = (*addresses.get(name.lower(), ()), address)
        return addresses

    def port_names(self) -> frozenset[str]:
        """Return the names and aliases of /etc/services."""
        lines = (self.text(self.system / "etc/services") or "").split("\n")
        rows = [line.partition("#")[0].split() for line in lines]
        return frozenset(name for row in rows if len(row) > 1 for name in (row[0], *row[2:]))


def nameservers(path: Path) -> tuple[str, ...] | None:
    """Return the name servers of a resolv.conf: () if the file is missing, None if it cannot be read."""
    try:
        rows = [line.split() for line in path.read_text(errors="replace").split("\n")]
    except FileNotFoundError:
        return ()
    except OSError:
        return None
    return tuple(row[1] for row in rows if len(row) > 1 and row[0] == "nameserver")


# Magic number of a Berkeley DB file → map type; and the magic number of an LMDB file.
_BDB = {0x061561: "hash", 0x053162: "btree"}
_LMDB = 0xBEEFC0DE
_BYTE_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")


def index_type(path: Path) -> str | None:
    """Return the map type of an index, or "damaged"; None if it is missing, unreadable, or has no magic number."""
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError:
        return None
    for order in _BYTE_ORDERS:
        kind = _BDB.get(int.from_bytes(head[12:16], order))
        if kind or int.from_bytes(head[16:20], order) == _LMDB:
            return kind or "lmdb"
    return "damaged" if path.suffix in {".db", ".lmdb"} else None


def can_bind(address: str) -> bool:
    """Return True if this host has the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def names_in(path: Path) -> frozenset[str] | None:
    """Return the names in a directory; None if it cannot be read."""
    try:
        return frozenset(entry.name for entry in path.iterdir()) if path.name else None
    except OSError:
        return None


def disk(path: Path) -> Disk | None:
    """Return the free space of a path's file system; None if it cannot be read."""
    try:
        usage, status = shutil.disk_usage(path), os.statvfs(path)
    except OSError:
        return None
    return Disk(status.f_bavail * status.f_frsize, usage.total, status.f_favail, status.f_files)


def uid(name: str) -> int | None:
    """Return the number of a user; None if the user does not exist."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def gid(name: str) -> int | None:
    """Return the number of a group; None if the group does not exist."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
