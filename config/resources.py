"""The lookup tables and services of master.cf to which a desired state refers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

# Table type → suffix of the index that postmap(1) builds; "" if Postfix reads the text itself.
INDEX_SUFFIX: Mapping[str, str] = {
    "hash": ".db",
    "btree": ".db",
    "lmdb": ".lmdb",
    "cdb": ".cdb",
    "dbm": ".pag",
    "sdbm": ".pag",
    "texthash": "",
}
# The first line of every table that Postward writes. Tables without it are the admin's.
HEADER = "# Written by Postward from its settings. Changes made here are overwritten.\n"
# Names of Postward's tables; OWN_PREFIX comes first where the admin has a table of that name that stays in use.
# A table of senders has a second one for subdomains, whose keys are patterns.
_SUBDOMAINS = "_subdomains"
_BY_SENDER = ("sasl_passwd", "sender_canonical", "sender_relay", "sender_transport")
TABLE_NAMES = (
    *_BY_SENDER,
    *(f"{name}{_SUBDOMAINS}" for name in _BY_SENDER),
    "local_mail",
    "recipient_transport",
    "tls_policy",
)
OWN_PREFIX = "postward_"
# A reference to Postward's table for host.admin, which virtual_alias_domains contains too by default.
LOCAL_MAIL = re.compile(rf"/({OWN_PREFIX})?local_mail$")


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A lookup table that Postward owns: source text and index.

    Attributes:
        name: file name in config_directory.
        type: Postfix's table type, as in "hash".
        entries: (key, value), in order.
        secret: only root may read the files (0600), and printed values are masked.
        renewed: the keys of logins with a token, which is renewed every hour. Their values are the only ones that may
            change without a change of the settings.
    """

    name: str
    type: str
    entries: tuple[tuple[str, str], ...] = field(repr=False)
    secret: bool
    renewed: frozenset[str] = frozenset()

    @property
    def lasting(self) -> tuple[tuple[str, str], ...]:
        """The entries without tokens."""
        return tuple((key, self._lasting(key, value)) for key, value in self.entries)

    def _lasting(self, key: str, value: str) -> str:
        return value.partition(":")[0] if key in self.renewed else value

    def renewal_of(self, text: str) -> "LookupTable | None":
        """Return a table like the one on disk, with this table's tokens; None if its tokens are these already.

        Its other entries stay: they may be those of former settings, which are in force again.
        """
        own = dict(self.entries)
        former = entries_of(text)
        same = {
            key
            for key, value in former
            if key in self.renewed and value.startswith(self._lasting(key, own[key]) + ":")
        }
        entries = tuple((key, own[key] if key in same else value) for key, value in former)
        return replace(self, entries=entries) if entries != former and text.startswith(HEADER) else None

    @property
    def text(self) -> str:
        """The content of the source file, in the format of postmap(1)."""
        return HEADER + "".join(f"{key} {value}\n" for key, value in self.entries)

    @property
    def mode(self) -> int:
        """The permission bits of the source file and of the index."""
        return 0o600 if self.secret else 0o644

    @property
    def index_name(self) -> str | None:
        """File name of the index (postmap(1)); None for types that Postfix reads as text."""
        suffix = INDEX_SUFFIX.get(self.type)
        return f"{self.name}{suffix}" if suffix else None


def entries_of(text: str) -> tuple[tuple[str, str], ...]:
    """Return (key, value) of each entry in a table's source. Continued lines are left out."""
    rows = [line.split(None, 1) for line in text.split("\n") if line[:1] not in ("#", " ", "\t")]
    return tuple((row[0], row[1].strip()) for row in rows if len(row) == 2)


# Prefix of Postward's own services in master.cf. Other services are not touched.
OWN_SERVICE = "postward-"


@dataclass(frozen=True, slots=True)
class Transport:
    """A service of master.cf: smtp(8) or lmtp(8) with its own parameters.

    Attributes:
        relay: the name of the relay that it serves.
        overrides: (parameter, value).
        max_processes: the maximum number of its processes, which is that of its connections; "-" for Postfix's.
        command: the program.
    """

    relay: str
    overrides: tuple[tuple[str, str], ...]
    max_processes: str = "-"
    command: str = "smtp"

    @property
    def name(self) -> str:
        """The service's name."""
        return f"{OWN_SERVICE}{self.relay}"

    @property
    def definition(self) -> str:
        """The line of master.cf (master(5)), its fields separated by one space. Not chrooted."""
        options = [f"{name}={value}" for name, value in self.overrides]
        written = " ".join(f"-o {{{one}}}" if " " in one else f"-o {one}" for one in options)
        return f"{self.name} unix - - n - {self.max_processes} {self.command} {written}"


class Tables:
    """Collect the tables to which derived parameters refer.

    Args:
        directory: where they are written.
        table_type: their type.
        taken: names of files there that must stay as they are.

    Attributes:
        collected: the tables, in the order of their references.
    """

    def __init__(self, directory: str, table_type: str, taken: frozenset[str] = frozenset()) -> None:
        self._directory = directory
        self._type = table_type
        self._taken = taken
        self.collected: list[LookupTable] = []

    def refer(self, name: str, entries: Sequence[tuple[str, str]]) -> str:
        """Add a table with these entries, and return its reference, `type:path`; "" without entries.

        Keys such as "@.example.com", for subdomains, go into a second table, of patterns.
        """
        return self._add(name, entries)

    def refer_logins(self, entries: Sequence[tuple[str, str]], renewed: frozenset[str]) -> str:
        """Add the table of logins, and return its reference; "" without a login.

        Args:
            entries: (key, login), the key being a sender, or a relay's next hop or host.
            renewed: the keys whose logins are renewed.
        """
        return self._add("sasl_passwd", entries, secret=True, renewed=renewed)

    def _add(
        self,
        name: str,
        entries: Sequence[tuple[str, str]],
        *,
        secret: bool = False,
        renewed: frozenset[str] = frozenset(),
    ) -> str:
        exact = tuple(entry for entry in entries if not entry[0].startswith("@."))
        # The first pattern that matches decides, so the nearest parent comes first.
        below = sorted(
            (entry for entry in entries if entry[0].startswith("@.")), key=lambda one: -len(one[0])
        )
        patterns = tuple((_pattern(key), value.replace("$", "$$")) for key, value in below)
        written = (
            (name, self._type, exact, renewed & {key for key, _ in exact}),
            (f"{name}{_SUBDOMAINS}", "regexp", patterns, frozenset(map(_pattern, renewed))),
        )
        references = []
        for title, kind, rows, fresh in written:
            if rows:
                title = f"{OWN_PREFIX}{title}" if title in self._taken else title
                keys = fresh & {key for key, _ in rows}
                self.collected.append(LookupTable(title, kind, rows, secret, keys))
                references.append(f"{kind}:{self._directory}/{title}")
        return ", ".join(references)


def _pattern(subdomains: str) -> str:
    """Return the pattern of regexp_table(5) for the addresses below a domain, as in "@.example.com"."""
    return f"/@[^@]*{re.escape(subdomains.removeprefix('@')).replace(chr(92) + '-', '-')}$/"
