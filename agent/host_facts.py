"""Reads what lint wants to know of this host: a `HostFacts` value.

Promise: nothing is changed, and no program is run but postconf(1). Logins are forgotten as soon as their form has
been judged (`config.lint.text`). What may not be read is named in `HostFacts.unread`; nothing is guessed in its place.
"""

import grp
import os
import pwd
import re
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from agent.postfix import Postfix, PostfixError
from config.fields import is_address
from config.lint.facts import (
    MISSING,
    TABLE_SUFFIX,
    Disk,
    FileFacts,
    HostFacts,
    Table,
    TableReference,
    expand,
    holds_logins,
    table_references,
    wants_values,
)
from config.lint.text import parse_main_cf, parse_master_cf, parse_table, without_secrets
from config.parameters import DERIVED_PARAMETERS
from config.settings import Settings
from parsers.postconf import Master, parse_master, parse_parameters, split_list

_OPTIONS = ("-d", "-n", "-x", "-M", "-P", "-m", "-A")
_LARGEST_SOURCE = 1_000_000  # bytes of a table's source that are read
# What a chrooted smtp(8) needs of the host, by its name under etc/.
_CHROOTED = ("resolv.conf", "hosts", "services", "nsswitch.conf")
_SASL_FOLDERS = ("usr/lib/sasl2", "usr/lib64/sasl2", "usr/local/lib/sasl2", "usr/lib/*/sasl2", "lib/*/sasl2")
# ID and ID_LIKE of os-release(5) → the family whose commands and paths hold.
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
_FILE_PARAMETERS = ("smtp_tls_CAfile", "smtp_tls_cert_file", "smtp_tls_key_file", "smtp_tls_CApath")


def read_host_facts(
    postfix: Postfix, settings: Settings | None, settings_file: Path | None, system: Path = Path("/")
) -> HostFacts:
    """What is known of this host. `system` is where its own files are: the distribution's, not Postfix's."""
    reader = _Reader(system)
    wanted = {Path(name): True for name in _authorities(settings)} | {
        Path(relay.password_file): False
        for relay in (settings.relay if settings else ())
        if relay.password_file
    }
    # A password can come from the environment as well; then nothing in the file is secret.
    if settings_file and re.search(r"^\s*password\s*=", reader.text(settings_file) or "", re.MULTILINE):
        wanted[settings_file] = False
    try:
        # postconf would call it a fault of the configuration if it is only not for us to read.
        unreadable = [
            path for path in (postfix.main_cf, postfix.config_directory / "master.cf") if not _for_us(path)
        ]
        printed = postfix.inspect(_OPTIONS)
        # Compiled-in values need no configuration, but postconf wants one that it can read.
        compiled_in = printed["-d"][0] or postfix.compiled_in()
    except (PostfixError, OSError) as error:
        return _bare(postfix, reader, wanted, str(error))
    if unreadable:
        return _bare(postfix, reader, wanted, *(f"{path}: Permission denied" for path in unreadable))
    facts = _with_postfix(postfix, printed, compiled_in, reader, wanted)
    if settings is None:
        return facts
    return replace(
        facts,
        managed=frozenset(DERIVED_PARAMETERS),
        clear_on_purpose=frozenset(relay.next_hop for relay in settings.relay if relay.cleartext_password),
    )


def _for_us(path: Path) -> bool:
    return not path.exists() or os.access(path, os.R_OK)


def _bare(postfix: Postfix, reader: "_Reader", wanted: Mapping[Path, bool], *unread: str) -> HostFacts:
    """What is known without Postfix's configuration."""
    files = reader.wanted(wanted)
    return HostFacts(
        config_directory=str(postfix.config_directory), files=files, unread=(*unread, *reader.unread)
    )


def _with_postfix(
    postfix: Postfix,
    printed: Mapping[str, tuple[str, str]],
    compiled_in: str,
    reader: "_Reader",
    wanted: Mapping[Path, bool],
) -> HostFacts:
    main_cf = parse_main_cf(reader.text(postfix.main_cf) or "")
    master_text = reader.text(postfix.config_directory / "master.cf") or ""
    fault = _fault(printed["-n"][1])
    defaults = _parameters(compiled_in)
    explicit = (
        {line.name: line.value for line in main_cf if line.name} if fault else _parameters(printed["-n"][0])
    )
    here = {"config_directory": str(postfix.config_directory)}
    expanded = expand(defaults | explicit | here) if fault else _parameters(printed["-x"][0])
    master = _master(printed)
    values = expanded | {key.rpartition("/")[2]: value for key, value in master.overrides.items()}
    tables = tuple(reader.tables(values, explicit, master))
    queue = Path(expanded.get("queue_directory", "/var/spool/postfix"))
    return HostFacts(
        config_directory=str(postfix.config_directory),
        main_cf=main_cf,
        master_cf=parse_master_cf(master_text),
        explicit=explicit,
        defaults=defaults,
        expanded=expanded,
        warnings=tuple(dict.fromkeys(_warnings(printed["-n"][1]))),
        fault=fault,
        master=master,
        map_types=frozenset(printed["-m"][0].split()),
        sasl_types=frozenset(printed["-A"][0].split()),
        distribution=reader.distribution(),
        selinux=reader.selinux(),
        sasl_plugins=reader.sasl_plugins(),
        tables=tables,
        files=reader.files(postfix, expanded, tables, queue) | reader.wanted(wanted),
        chrooted={name: reader.compared(name, queue) for name in _CHROOTED},
        nameservers=_nameservers(reader.system / "etc/resolv.conf"),
        chroot_nameservers=_nameservers(queue / "etc/resolv.conf"),
        hosts=reader.hosts(),
        port_names=reader.port_names(),
        not_local=frozenset(_not_local(expanded)),
        daemons=_names_in(Path(expanded.get("daemon_directory", ""))),
        disk=_disk(queue),
        mail_uid=_uid(expanded.get("mail_owner", "")),
        setgid_gid=_gid(expanded.get("setgid_group", "")),
        unread=tuple(dict.fromkeys(reader.unread)),
    )


# What postconf says


def _parameters(text: str) -> dict[str, str]:
    return {name: without_secrets(name, value) for name, value in parse_parameters(text).items()}


def _master(printed: Mapping[str, tuple[str, str]]) -> Master:
    master = parse_master(printed["-M"][0] + printed["-P"][0])
    overrides = {
        key: without_secrets(key.rpartition("/")[2], value) for key, value in master.overrides.items()
    }
    services = {
        key: service._replace(command=service.command.split()[0]) for key, service in master.services.items()
    }
    return Master(services, overrides)


def _fault(errors: str) -> str:
    """Why postconf gave up. A value that it repeats may be a login."""
    lines = errors.split("\n")
    fatal = [line for line in lines if ": fatal: " in line]
    if not fatal:
        return ""
    # A circle is named in a warning before.
    line = next((line for line in lines if "macro call nesting" in line), fatal[0])
    words = re.sub(r'(attribute name: ").*(")', r"\1…\2", line.partition(": ")[2])
    return without_secrets("", words)


def _warnings(errors: str) -> Iterator[str]:
    """The names that postconf warns of; values are left out, because a misspelt parameter can hold a login."""
    for line in errors.split("\n"):
        if match := re.search(r"(/[^ ]+): (unused|undefined) parameter: ([^=]+)", line):
            yield f"{match[1]}: {match[2]} parameter: {match[3]}"


# What the system has


class _Reader:
    """Reads files, and notes which it may not read."""

    def __init__(self, system: Path) -> None:
        self.system = system
        self.unread: list[str] = []

    def text(self, path: Path) -> str | None:
        """A text file; None if it is missing or unreadable, which is noted."""
        try:
            with path.open("rb") as file:
                return file.read(_LARGEST_SOURCE).decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            self.unread.append(f"{path}: {error.strerror}")
            return None

    def file(self, path: Path, *, certificates: bool = False, word: bool = False) -> FileFacts:
        """What stat(2) says, and more where it is wanted."""
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return MISSING
        except OSError as error:
            self.unread.append(f"{path}: {error.strerror}")
            return FileFacts()
        directory = path.is_dir()
        content = self.text(path) if (certificates or word) and not directory else None
        names = _names_in(path) if directory and certificates else None
        return FileFacts(
            mode=status.st_mode & 0o7777,
            owner=status.st_uid,
            group=status.st_gid,
            mtime=status.st_mtime,
            directory=directory,
            certificates="-----BEGIN " in content if certificates and content is not None else None,
            word=(content.split() or [""])[0] if word and content is not None else None,
            entries=len(names) if names is not None else None,
        )

    def wanted(self, paths: Mapping[Path, bool]) -> dict[str, FileFacts]:
        """Files that the settings name; True for those with certificates."""
        return {str(path): self.file(path, certificates=inside) for path, inside in paths.items()}

    def files(
        self,
        postfix: Postfix,
        expanded: Mapping[str, str],
        tables: tuple[Table, ...],
        queue: Path,
    ) -> dict[str, FileFacts]:
        """The files that rules ask about."""
        directory = postfix.config_directory
        plain = [
            *(directory / name for name in ("", "main.cf", "master.cf", "dynamicmaps.cf")),
            *(queue / name for name in ("", "incoming", "active", "deferred", "maildrop", "public")),
            Path(expanded.get("data_directory", "/var/lib/postfix")),
            Path(expanded.get("command_directory", "/usr/sbin"), "postdrop"),
            Path(expanded.get("daemon_directory", "")),
            *(Path(table.reference.path) for table in tables),
            *(Path(path) for table in tables if (path := table.reference.index_path)),
        ]
        known = {str(path): self.file(path) for path in plain}
        for name in _FILE_PARAMETERS:
            if (value := expanded.get(name, "")).startswith("/"):
                # A private key is not read.
                authorities = name.startswith("smtp_tls_CA")
                inside = queue / value.lstrip("/")
                known[value] = self.file(Path(value), certificates=authorities)
                known[str(inside)] = self.file(inside, certificates=authorities)
        if (origin := expanded.get("myorigin", "")).startswith("/"):
            known[origin] = self.file(Path(origin), word=True)
        return known

    def tables(
        self, values: Mapping[str, str], explicit: Mapping[str, str], master: Master
    ) -> Iterator[Table]:
        """The tables in files that the configuration names. Those of compiled-in values are the distribution's matter."""
        named = set(explicit) | {key.rpartition("/")[2] for key in master.overrides}
        users: dict[TableReference, list[str]] = {}
        for name, reference in table_references({name: values[name] for name in named if name in values}):
            users.setdefault(reference, []).append(name)
        for reference, names in users.items():
            yield self._table(reference, tuple(sorted(names)))

    def _table(self, reference: TableReference, names: tuple[str, ...]) -> Table:
        keyed = TABLE_SUFFIX[reference.type] or reference.type == "texthash"
        # An alias file has another syntax (aliases(5)), and a cache has no source.
        text = (
            self.text(Path(reference.path))
            if keyed and not names[0].startswith(("alias_", "local_"))
            else None
        )
        entries = None
        if text is not None:
            entries = parse_table(text, secret=holds_logins(names), values=wants_values(names))
        index = reference.index_path
        return Table(reference, names, entries, _index_type(Path(index)) if index else None)

    def distribution(self) -> str:
        """The family of os-release(5)."""
        text = self.text(self.system / "etc/os-release") or ""
        pairs = (line.partition("=") for line in text.split("\n"))
        release = {name: value.strip("\"'") for name, _, value in pairs}
        for word in [release.get("ID", ""), *release.get("ID_LIKE", "").split()]:
            if family := _FAMILIES.get(word.partition("-")[0]):
                return family
        return ""

    def selinux(self) -> bool:
        """SELinux enforces its policy (selinux(8): without SELinux there is no such file)."""
        enforce = self.system / "sys/fs/selinux/enforce"
        return enforce.exists() and (self.text(enforce) or "1").strip() == "1"

    def sasl_plugins(self) -> frozenset[str]:
        """The SASL mechanisms that have a plug-in, in its spelling."""
        return frozenset(
            match[1]
            for folder in _SASL_FOLDERS
            for path in self.system.glob(f"{folder}/lib*.so*")
            if (match := re.match(r"lib(\w+)\.so", path.name))
        )

    def compared(self, name: str, queue: Path) -> str:
        """How a file of /etc and its copy for chrooted services compare."""
        copy = self.text(queue / "etc" / name)
        if copy is None:
            return "missing"
        return "same" if copy == self.text(self.system / "etc" / name) else "differs"

    def hosts(self) -> dict[str, tuple[str, ...]]:
        """/etc/hosts, by name."""
        found: dict[str, tuple[str, ...]] = {}
        for line in (self.text(self.system / "etc/hosts") or "").split("\n"):
            address, *names = line.partition("#")[0].split() or [""]
            for name in names:
                found[name.lower()] = (*found.get(name.lower(), ()), address)
        return found

    def port_names(self) -> frozenset[str]:
        """The names and aliases of /etc/services."""
        lines = (self.text(self.system / "etc/services") or "").split("\n")
        rows = [line.partition("#")[0].split() for line in lines]
        return frozenset(name for row in rows if len(row) > 1 for name in (row[0], *row[2:]))


def _authorities(settings: Settings | None) -> Iterator[str]:
    yield from (relay.ca_file for relay in (settings.relay if settings else ()) if relay.ca_file)


def _nameservers(path: Path) -> tuple[str, ...] | None:
    """Of a resolv.conf: () if the file is missing, None if it cannot be read."""
    try:
        words = [line.split() for line in path.read_text(errors="replace").split("\n")]
    except FileNotFoundError:
        return ()
    except OSError:
        return None
    return tuple(row[1] for row in words if len(row) > 1 and row[0] == "nameserver")


# The mark in the head of a Berkeley DB file → map type; and that of an LMDB file.
_BDB = {0x061561: "hash", 0x053162: "btree"}
_LMDB = 0xBEEFC0DE
_BYTE_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")


def _index_type(path: Path) -> str | None:
    """The map type that an index was made for; None if it is missing, unreadable, or of a kind without a mark."""
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


def _not_local(expanded: Mapping[str, str]) -> Iterator[str]:
    """Addresses to bind to that this host does not have."""
    names = ("smtp_bind_address", "smtp_bind_address6", "inet_interfaces")
    for word in (word.strip("[]") for name in names for word in split_list(expanded.get(name, ""))):
        if is_address(word) and not _can_bind(word):
            yield word


def _can_bind(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _names_in(path: Path) -> frozenset[str] | None:
    try:
        return frozenset(entry.name for entry in path.iterdir()) if path.name else None
    except OSError:
        return None


def _disk(path: Path) -> Disk | None:
    try:
        usage, status = shutil.disk_usage(path), os.statvfs(path)
    except OSError:
        return None
    return Disk(status.f_bavail * status.f_frsize, usage.total, status.f_favail, status.f_files)


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _gid(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def unread_of(facts: HostFacts) -> Iterable[str]:
    """What could not be read, in words for the admin."""
    hint = "" if os.geteuid() == 0 else "; call this with sudo to have it looked at"
    return [f"{words}{hint}" for words in facts.unread]
