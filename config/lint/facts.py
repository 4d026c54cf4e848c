"""The facts of a host, as one value that the rules of lint examine.

Promise: they hold no secret. Files that could not be read are named in `unread`, and their facts are absent (None, or
not in their mapping). A rule is silent about absent facts.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from postward.config.lint.file_facts import Disk, FileFacts
from postward.config.lint.table_facts import Table
from postward.config.lint.text import Line, ServiceLine
from postward.config.lint.values import intended
from postward.config.routing import INTERNAL, PICKUP, Configuration, Hop, Origin, Tables, routes
from postward.config.routing.parameters import LISTS, MAPS, holds_logins
from postward.config.routing.route import Route as MailRoute
from postward.config.routing.samples import ELSEWHERE, samples
from postward.config.routing.tables import Contents, Keyed
from postward.parsers.postconf import Master, parse_master, split_list

# The parameters that name relays. Hops of other parameters are filters and servers of single destinations.
_OF_RELAYS = frozenset(
    {
        "relayhost",
        "smtp_fallback_relay",
        "default_transport",
        "sender_dependent_relayhost_maps",
        "sender_dependent_default_transport_maps",
    }
)
# Of a host whose master.cf is unknown.
_USUAL_SERVICES = parse_master("smtp unix - - y - - smtp\nrelay unix - - y - - smtp\n").services


@dataclass(frozen=True, slots=True)
class Route:
    """A route of mail to another host.

    Attributes:
        where: the place in the configuration that sets it.
        parameter: the parameter that sets it.
        service: name of the service of master.cf that delivers.
        hop: the next hop, with the TLS level and the login that Postfix uses.
        senders: the senders of the mail that takes it; "" for bounces.
    """

    where: str
    parameter: str
    service: str
    hop: Hop
    senders: frozenset[str]

    @property
    def next_hop(self) -> str:
        """`[host]:port`, as it is configured."""
        return self.hop.destination

    @property
    def login(self) -> bool:
        """It leads to a relay, which is expected to require a login."""
        return self.parameter in _OF_RELAYS


@dataclass(frozen=True)
class HostFacts:
    """The facts of a host. The empty value stands for an unknown host.

    Attributes:
        config_directory: the directory of main.cf.
        main_cf: the logical lines of main.cf.
        master_cf: the logical lines of master.cf.
        explicit: parameters that main.cf sets (`postconf -n`, or its lines if postconf fails).
        defaults: compiled-in values (`postconf -d`); empty without Postfix.
        expanded: effective values with `$name` replaced (`postconf -x`).
        warnings: the warnings of postconf.
        fault: why postconf could not read the configuration; "" if it could.
        master: services and their -o settings, as postconf prints them.
        map_types: `postconf -m`.
        sasl_types: `postconf -A`.
        distribution: "debian", "rhel", "suse", "alpine", or "".
        selinux: SELinux enforces its policy; None if unknown.
        sasl_plugins: names of the installed SASL plug-ins, as in "plain"; None if unknown.
        tables: the lookup tables that are files.
        contents: the contents of the tables and lists that decide about routes.
        aliases: the aliases (aliases(5)) by which local mail to root goes on, in their order; None if they are unknown.
        root_forwards: root has a .forward file; None if that is unknown.
        files: path → facts of the file.
        chrooted: name under etc/ of the host → "same", "differs" or "missing" in the queue directory.
        token_files: key of a login → the token file that its password names for the plug-in sasl-xoauth2, as smtp(8) sees
            it; empty without that plug-in.
        token_authorities: the path of the authorities that the plug-in loads, and the file there, likewise.
        nameservers: the name servers in the host's resolv.conf; () without any, None if it could not be read.
        chroot_nameservers: the name servers in its copy in the queue directory, likewise.
        hosts: name → addresses, from /etc/hosts.
        port_names: names in /etc/services; empty if it was not read.
        not_local: addresses that the configuration uses as this host's, although they are not.
        daemons: file names in daemon_directory; None if it was not read.
        disk: the file system of the queue; None if unknown.
        mail_uid: uid of mail_owner; None without such a user.
        setgid_gid: gid of setgid_group; None without such a group.
        managed: parameters that Postward derives from its settings: `postward apply` repairs them.
        password_files: name of a relay → the file with its password, as the settings name it.
        clear_on_purpose: next hops whose password may cross the network unencrypted, as the settings say.
        mx_on_purpose: next hops whose servers MX records name, by the settings.
        instances: directories of main.cf of the further instances whose settings files the settings name.
        unread: files and commands that could not be read, and why.
        vouched: the enforcer, which may read everything, found all that Postward manages as the settings say.
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
    contents: Tables = field(default_factory=Tables)
    aliases: Mapping[str, str] | None = None
    root_forwards: bool | None = None
    files: Mapping[str, FileFacts] = field(default_factory=dict)
    chrooted: Mapping[str, str] = field(default_factory=dict)
    token_files: Mapping[str, FileFacts] = field(default_factory=dict)
    token_authorities: tuple[str, FileFacts] | None = None
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
    password_files: Mapping[str, str] = field(default_factory=dict)
    clear_on_purpose: frozenset[str] = frozenset()
    mx_on_purpose: frozenset[str] = frozenset()
    instances: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()
    vouched: bool = False

    @property
    def unknown(self) -> tuple[str, ...]:
        """The parts of the host that could not be read, without the tables that the enforcer vouches for."""
        known = tuple(f"{table.reference.path}:" for table in self.tables if self.vouches_for(table))
        return tuple(text for text in self.unread if not (known and text.startswith(known)))

    def vouches_for(self, table: Table) -> bool:
        """Return whether the enforcer found a table as the settings say: it is the only one of a managed parameter."""
        return self.vouched and any(
            name in self.managed and len(self.words(name)) == 1 for name in table.parameters
        )

    # Parameters

    @property
    def version(self) -> tuple[int, int]:
        """mail_version, as in (3, 7)."""
        numbers = re.match(r"(\d+)\.(\d+)", self.defaults.get("mail_version", ""))
        return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)

    def value(self, name: str, service: str = "") -> str:
        """Return an effective value as the admin intended it: without an inline comment and without quotes.

        Postfix takes both for part of the value. Rules of their own report that; the other rules check the intended value.
        """
        override = self.master.overrides.get(f"{service}/unix/{name}") if service else None
        return intended(override if override is not None else self.expanded.get(name, ""))

    def words(self, name: str, service: str = "") -> list[str]:
        """Return the items of a list."""
        return split_list(self.value(name, service))

    def yes(self, name: str, service: str = "") -> bool:
        """Return a boolean; a value that is not one counts as no, and a rule of its own reports it."""
        return self.value(name, service).lower() == "yes"

    def where(self, name: str) -> str:
        """Return the last place in main.cf that sets a parameter, which is the one in force."""
        lines = [line.number for line in self.main_cf if line.name == name]
        if not lines:
            return f"{self.config_directory}/main.cf: {name} (not set)"
        return f"{self.config_directory}/main.cf:{lines[-1]}: {name}"

    def master_where(self, key: str) -> str:
        """Return the line of a service in master.cf."""
        number = next((line.number for line in self.master_cf if line.key == key), None)
        place = f"{self.config_directory}/master.cf"
        return f"{place}:{number}: {key}" if number else f"{place}: {key}"

    # Derived facts

    def table_of(self, name: str) -> Iterator[Table]:
        """Return the tables to which a parameter refers."""
        return (table for table in self.tables if name in table.parameters)

    @property
    def login_tables(self) -> tuple[Table, ...]:
        """The tables of the SMTP client's passwords."""
        return tuple(self.table_of("smtp_sasl_password_maps"))

    @property
    def sends_by_login(self) -> bool:
        """True if the SMTP client is configured to log in."""
        return self.yes("smtp_sasl_auth_enable")

    @property
    def default_service(self) -> str:
        """The service of master.cf that delivers mail for other hosts."""
        return self.value("default_transport").partition(":")[0] or "smtp"

    @property
    def relay_routes(self) -> tuple[Route, ...]:
        """The routes of mail for other hosts that goes through a relay."""
        return tuple(route for route in self.routes if route.login)

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """The routes to hosts that the configuration names, for mails that together take all of them.

        Routes are the same for two senders if service, hop, policy and login are. A routing table that cannot be read
        counts as empty here, and a table of logins as unknown.
        """
        config = self._routing
        filters = {
            config.value("content_filter", entry): entry
            for entry in (PICKUP, *self.commands("smtpd"))
            if entry in self.master.services
        }
        mails = [(*mail, INTERNAL) for mail in samples(config)]
        mails += [("root", ELSEWHERE, entry) for value, entry in filters.items() if value]
        found: dict[tuple[str, str, str, Hop], list[str]] = {}
        for sender, recipient, entry in mails:
            for route in routes(sender, recipient, config, entry):
                for hop in route.hops if route.command == "smtp" else ():
                    fallback = Origin("smtp_fallback_relay")
                    if origin := fallback if hop.fallback else route.next_hop_origin:
                        key = (self._place(origin), origin.parameter, route.transport, hop)
                        found.setdefault(key, []).append(route.sender)
        return tuple(Route(*key, frozenset(senders)) for key, senders in found.items())

    @cached_property
    def root_route(self) -> MailRoute | None:
        """The route of mail from and to root, such as cron's; None if it is unknown, or has several recipients."""
        found = routes("root", "root", self._routing) if self.expanded else ()
        return found[0] if len(found) == 1 and not (found[0].unknown or found[0].broken) else None

    @property
    def _routing(self) -> Configuration:
        values = {name: intended(value) for name, value in self.expanded.items()}
        overrides = {name: intended(value) for name, value in self.master.overrides.items()}
        contents: dict[str, Contents | None] = dict(self.contents.contents)
        for name in {*MAPS, *LISTS}:
            for item in split_list(values.get(name, "")) if not holds_logins(name) else ():
                if ":" in item and self.contents.contents_of(item) is None:
                    contents[item] = Keyed({})
        lists = {path: text or "" for path, text in self.contents.lists.items()}
        services = self.master.services or _USUAL_SERVICES
        return Configuration(values, Master(services, overrides), Tables(contents, lists))

    def _place(self, origin: Origin) -> str:
        path = origin.table.removeprefix("proxy:").partition(":")[2]
        for table in self.tables:
            for entry in table.entries or ():
                if table.reference.path == path and (entry.key or "").lower() == origin.key:
                    return f"{path}:{entry.number}: {entry.key}"
        service, slash, name = origin.parameter.rpartition("/")
        return f"{self.master_where(service)} -o {name}" if slash else self.where(origin.parameter)

    def commands(self, command: str) -> list[str]:
        """Return `name/type` of the services that run a daemon."""
        return [
            key
            for key, service in self.master.services.items()
            if (service.command.split() or [""])[0].rpartition("/")[2] == command
        ]

    def is_chrooted(self, service: str) -> bool:
        """Return True if a service of type unix runs chrooted. "-" means no from compatibility_level 1 on."""
        entry = self.master.services.get(f"{service}/unix")
        if entry is None:
            return False
        return entry.chroot == "y" or (entry.chroot == "-" and self.level < (1, 0))

    @property
    def level(self) -> tuple[int, int]:
        """compatibility_level, as in (3, 6)."""
        numbers = re.match(r"(\d+)(?:\.(\d+))?", self.value("compatibility_level"))
        return (int(numbers[1]), int(numbers[2] or 0)) if numbers else (0, 0)
