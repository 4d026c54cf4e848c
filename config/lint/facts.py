"""What is known of a host, as one value: what rules look at.

Promise: it holds no secret. What could not be read is named in `unread` and absent otherwise (None, or not in its
mapping), and a rule is silent about what is absent.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from postward.config.desired import INDEX_SUFFIX
from postward.config.lint.text import Entry, Line, ServiceLine
from postward.parsers.postconf import Master, split_list

# Table type of a file → suffix of its index; "" if Postfix reads the text itself.
TABLE_SUFFIX: Mapping[str, str] = {**INDEX_SUFFIX, "regexp": "", "pcre": "", "cidr": ""}
_TABLE = re.compile(r"(proxy:)?([a-z]+):(/[^\s,{}]+)")
# Tables whose values say where mail goes and how. Those of passwords are never kept.
_VALUES_WANTED = re.compile(
    r"(smtp_tls_policy_maps|transport_maps|sender_dependent_(relayhost|default_transport)_maps)"
)
_LOGINS = re.compile(r"pass(word|wd)")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file as stat(2) sees it.

    Attributes:
        exists: it is there.
        mode: permission bits.
        owner: uid.
        group: gid.
        mtime: in seconds since the epoch.
        directory: it is a folder.
        certificates: it has at least one certificate; None if nobody looked.
        word: the first word of the file, where it is no secret; None if nobody looked.
        entries: how many files a folder has; None if nobody looked.
    """

    exists: bool = True
    mode: int = 0o644
    owner: int = 0
    group: int = 0
    mtime: float = 0.0
    directory: bool = False
    certificates: bool | None = None
    word: str | None = None
    entries: int | None = None


MISSING = FileFacts(exists=False)


@dataclass(frozen=True, slots=True)
class TableReference:
    """A lookup table as main.cf or master.cf refers to it."""

    type: str
    path: str
    proxied: bool = False

    @property
    def name(self) -> str:
        """`type:path`."""
        return f"{self.type}:{self.path}"

    @property
    def index_path(self) -> str | None:
        """What postmap(1) makes; None for types that Postfix reads as text."""
        suffix = TABLE_SUFFIX[self.type]
        return f"{self.path}{suffix}" if suffix else None


@dataclass(frozen=True, slots=True)
class Table:
    """A lookup table on disk.

    Attributes:
        reference: how it is referred to.
        parameters: the parameters that do so.
        entries: its source, without secrets; None if it could not be read or has another syntax.
        index_type: what its index is by its first bytes, as in "hash"; None if nobody could tell.
    """

    reference: TableReference
    parameters: tuple[str, ...]
    entries: tuple[Entry, ...] | None = None
    index_type: str | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of the queue, in bytes and inodes (0 of 0 inodes: they are made as needed)."""

    free: int
    size: int
    free_inodes: int
    inodes: int


@dataclass(frozen=True, slots=True)
class Route:
    """A way that mail takes to another host.

    Attributes:
        where: what says so.
        next_hop: `[host]:port`, as Postfix has it.
        service: the service of master.cf that delivers.
        login: it is a relay that is expected to want a login.
    """

    where: str
    next_hop: str
    service: str
    login: bool = True


@dataclass(frozen=True, slots=True)
class HostFacts:
    """A host. The empty value knows nothing.

    Attributes:
        config_directory: the folder of main.cf.
        main_cf: its logical lines.
        master_cf: those of master.cf.
        explicit: parameters that main.cf sets (`postconf -n`), or that its lines set if postconf fails.
        defaults: compiled-in values (`postconf -d`); empty if there is no Postfix.
        expanded: effective values with `$name` replaced (`postconf -x`).
        warnings: what postconf printed besides.
        fault: why postconf could not read the configuration; "" if it could.
        master: services and their -o settings, as postconf has them.
        map_types: `postconf -m`.
        sasl_types: `postconf -A`.
        distribution: "debian", "rhel", "suse", "alpine", or "".
        selinux: SELinux enforces its policy; None if nobody looked.
        sasl_plugins: names of the SASL plug-ins on disk, as in "plain"; None if nobody looked.
        tables: the lookup tables that are files.
        files: path → what is known of it.
        chrooted: name under etc/ of the host → "same", "differs" or "missing" in the queue directory.
        nameservers: of resolv.conf, on the host; () if there is none, None if it could not be read.
        chroot_nameservers: those of its copy in the queue directory, likewise.
        hosts: name → addresses, from /etc/hosts.
        port_names: names of /etc/services; empty if nobody looked.
        not_local: addresses that the configuration takes for this host's, and that are not.
        daemons: file names in daemon_directory; None if nobody looked.
        disk: the file system of the queue; None if nobody looked.
        mail_uid: uid of mail_owner; None if there is no such user.
        setgid_gid: gid of setgid_group; None if there is no such group.
        managed: parameters that Postward derives from its settings, so that `postward apply` mends them.
        clear_on_purpose: next hops whose password may cross the network unencrypted, as the settings say.
        unread: what could not be read, and why.
    """

    config_directory: str = "/etc/postfix"
    main_cf: tuple[Line, ...] = ()
    master_cf: tuple[ServiceLine, ...] = ()
    explicit: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    expanded: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    fault: str = ""
    master: Master = field(default_factory=lambda: Master({}, {}))
    map_types: frozenset[str] = frozenset()
    sasl_types: frozenset[str] = frozenset()
    distribution: str = ""
    selinux: bool | None = None
    sasl_plugins: frozenset[str] | None = None
    tables: tuple[Table, ...] = ()
    files: Mapping[str, FileFacts] = field(default_factory=dict)
    chrooted: Mapping[str, str] = field(default_factory=dict)
    nameservers: tuple[str, ...] | None = None
    chroot_nameservers: tuple[str, ...] | None = None
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    port_names: frozenset[str] = frozenset()
    not_local: frozenset[str] = frozenset()
    daemons: frozenset[str] | None = None
    disk: Disk | None = None
    mail_uid: int | None = None
    setgid_gid: int | None = None
    managed: frozenset[str] = frozenset()
    clear_on_purpose: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()

    # Parameters

    @property
    def version(self) -> tuple[int, int]:
        """mail_version, as in (3, 7)."""
        numbers = re.match(r"(\d+)\.(\d+)", self.defaults.get("mail_version", ""))
        return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)

    def value(self, name: str, service: str = "") -> str:
        """An effective value, as it is desired: without the comment and the quotes that Postfix would take for part of it.

        What is wrong with those is told by rules of their own; the others look at what the admin had in mind.
        """
        override = self.master.overrides.get(f"{service}/unix/{name}") if service else None
        return meant(override if override is not None else self.expanded.get(name, ""))

    def words(self, name: str, service: str = "") -> list[str]:
        """The items of a list."""
        return split_list(self.value(name, service))

    def yes(self, name: str, service: str = "") -> bool:
        """A boolean's value; what is no boolean is a no, and told by a rule of its own."""
        return self.value(name, service).lower() == "yes"

    def where(self, name: str) -> str:
        """The last place in main.cf that sets a parameter; that is the one in force."""
        lines = [line.number for line in self.main_cf if line.name == name]
        if not lines:
            return f"{self.config_directory}/main.cf: {name} (not set)"
        return f"{self.config_directory}/main.cf:{lines[-1]}: {name}"

    def master_where(self, key: str) -> str:
        """The line of a service in master.cf."""
        number = next((line.number for line in self.master_cf if line.key == key), None)
        place = f"{self.config_directory}/master.cf"
        return f"{place}:{number}: {key}" if number else f"{place}: {key}"

    # What follows from several of them

    def table_of(self, name: str) -> Iterator[Table]:
        """The tables that a parameter refers to."""
        return (table for table in self.tables if name in table.parameters)

    @property
    def login_tables(self) -> tuple[Table, ...]:
        """The tables of the SMTP client's passwords."""
        return tuple(self.table_of("smtp_sasl_password_maps"))

    @property
    def sends_by_login(self) -> bool:
        """The SMTP client logs in, or is meant to."""
        return self.yes("smtp_sasl_auth_enable")

    @property
    def default_service(self) -> str:
        """The service of master.cf that delivers mail for other hosts."""
        return self.value("default_transport").partition(":")[0] or "smtp"

    @property
    def relay_routes(self) -> tuple[Route, ...]:
        """Where mail for other hosts goes when a relay takes it."""
        service = self.default_service
        hops = [
            Route(self.where(name), hop, service)
            for name in ("relayhost", "smtp_fallback_relay")
            for hop in self.words(name)
        ]
        transport, _, hop = self.value("default_transport").partition(":")
        if hop:
            hops.append(Route(self.where("default_transport"), hop, transport))
        hops += [
            Route(where, hop, service)
            for where, value in self._values("sender_dependent_relayhost_maps")
            for hop in split_list(value)
            if hop.upper() != "DUNNO"
        ]
        return (*hops, *self._transported("sender_dependent_default_transport_maps", login=True))

    @property
    def routes(self) -> tuple[Route, ...]:
        """All of these, and where single destinations go."""
        return (*self.relay_routes, *self._transported("transport_maps", login=False))

    def _transported(self, name: str, *, login: bool) -> Iterator[Route]:
        for where, value in self._values(name):
            transport, _, hop = value.partition(":")
            yield from (
                Route(where, item, transport or self.default_service, login) for item in split_list(hop)
            )

    def _values(self, name: str) -> Iterator[tuple[str, str]]:
        """Place and value of the entries of a parameter's tables."""
        for table in self.table_of(name):
            for entry in table.entries or ():
                yield f"{table.reference.path}:{entry.number}: {entry.key}", entry.value or ""

    def commands(self, command: str) -> list[str]:
        """`name/type` of the services that run a daemon."""
        return [
            key
            for key, service in self.master.services.items()
            if (service.command.split() or [""])[0].rpartition("/")[2] == command
        ]

    def is_chrooted(self, service: str) -> bool:
        """The service of type unix runs chrooted. "-" means no, but for a compatibility_level below 1."""
        entry = self.master.services.get(f"{service}/unix")
        if entry is None:
            return False
        return entry.chroot == "y" or (entry.chroot == "-" and self.level < (1, 0))

    @property
    def level(self) -> tuple[int, int]:
        """compatibility_level."""
        numbers = re.match(r"(\d+)(?:\.(\d+))?", self.value("compatibility_level"))
        return (int(numbers[1]), int(numbers[2] or 0)) if numbers else (0, 0)


def meant(value: str) -> str:
    """A value without an inline comment and without quotes around it."""
    value = re.split(r"(?:^|\s)#", value)[0].strip()
    quoted = re.fullmatch(r"([\"'])(.*)\1", value)
    return quoted[2] if quoted else value


def table_references(values: Mapping[str, str]) -> Iterator[tuple[str, TableReference]]:
    """(parameter, table) for every table in a file that these expanded values refer to."""
    for name, value in values.items():
        for proxy, kind, path in _TABLE.findall(value):
            if kind in TABLE_SUFFIX:
                yield name, TableReference(kind, path, bool(proxy))


def holds_logins(parameters: tuple[str, ...]) -> bool:
    """True if one of the parameters that refer to a table is about passwords."""
    return any(_LOGINS.search(name) for name in parameters)


def wants_values(parameters: tuple[str, ...]) -> bool:
    """True for tables that say where mail goes and how."""
    return any(_VALUES_WANTED.fullmatch(name) for name in parameters) and not holds_logins(parameters)


def expand(values: Mapping[str, str]) -> dict[str, str]:
    """What `postconf -x` prints, for a configuration that it cannot read. A circle ends where it began."""
    expanded = dict(values)
    for name in expanded:
        for _ in range(8):
            text = re.sub(
                r"\$(?:([A-Za-z0-9_]+)|[({]([A-Za-z0-9_]+)[)}])",
                lambda found: values.get(found[1] or found[2], ""),
                expanded[name],
            )
            if text == expanded[name] or len(text) > 20000:
                break
            expanded[name] = text
    return expanded
