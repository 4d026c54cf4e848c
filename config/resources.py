"""The lookup tables and services of master.cf to which a desired state refers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from postward.config.relay import Relay

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
TABLE_NAMES = ("sasl_passwd", "sender_relay", "sender_transport", "tls_policy")
OWN_PREFIX = "postward_"


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
        suffix = INDEX_SUFFIX[self.type]
        return f"{self.name}{suffix}" if suffix else None


def entries_of(text: str) -> tuple[tuple[str, str], ...]:
    """Return (key, value) of each entry in a table's source. Continued lines are left out."""
    rows = [line.split(None, 1) for line in text.split("\n") if line[:1] not in ("#", " ", "\t")]
    return tuple((row[0], row[1].strip()) for row in rows if len(row) == 2)


# Prefix of Postward's own services in master.cf. Other services are not touched.
OWN_SERVICE = "postward-"


@dataclass(frozen=True, slots=True)
class Transport:
    """A service of master.cf: smtp(8) with its own parameters.

    Attributes:
        relay: the name of the relay that it serves.
        overrides: (parameter, value).
        max_processes: the maximum number of its processes, which is that of its connections; "-" for Postfix's.
    """

    relay: str
    overrides: tuple[tuple[str, str], ...]
    max_processes: str = "-"

    @property
    def name(self) -> str:
        """The service's name."""
        return f"{OWN_SERVICE}{self.relay}"

    @property
    def definition(self) -> str:
        """The line of master.cf (master(5)), its fields separated by one space. Not chrooted."""
        options = [f"{name}={value}" for name, value in self.overrides]
        written = " ".join(f"-o {{{one}}}" if " " in one else f"-o {one}" for one in options)
        return f"{self.name} unix - - n - {self.max_processes} smtp {written}"


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

    def refer(self, name: str, entries: list[tuple[str, str]]) -> str:
        """Add a table with these entries, and return its reference, `type:path`; "" without entries."""
        if not entries:
            return ""
        return self._add(name, tuple(entries))

    def refer_logins(self, entries: Sequence[tuple[str, str]], relays: Iterable[Relay]) -> str:
        """Add the table of logins, and return its reference; "" without a login.

        Args:
            entries: (key, login), the key being a relay's next hop or host.
            relays: the relays; those with tokens have their logins renewed.
        """
        if not entries:
            return ""
        tokens = {key for relay in relays if relay.oauth2 for key in (relay.next_hop, relay.host)}
        renewed = frozenset(key for key, _ in entries if key in tokens)
        return self._add("sasl_passwd", tuple(entries), secret=True, renewed=renewed)

    def _add(
        self,
        name: str,
        entries: tuple[tuple[str, str], ...],
        *,
        secret: bool = False,
        renewed: frozenset[str] = frozenset(),
    ) -> str:
        name = f"{OWN_PREFIX}{name}" if name in self._taken else name
        self.collected.append(LookupTable(name, self._type, entries, secret, renewed))
        return f"{self._type}:{self._directory}/{name}"
