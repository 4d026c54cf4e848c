"""Parse main.cf, master.cf and table sources into numbered lines, for lint alone: other code asks postconf(1) for values.

Pure. Promise: the results of these functions hold no login, whatever form it had in the file.
"""

import re
from dataclasses import dataclass, field

from postward.config.lint.sasl_passwd import is_key, login_faults
from postward.parsers.logical_lines import BLANK, logical_lines
from postward.parsers.scrub import MASK

# Logins in the configuration itself: in a table whose entries are in its reference, in addresses,
_LOGIN_IN_TABLE = re.compile(r"\b(static(?=:[^,\s]*:)|static(?=:\{)|inline):.*", re.DOTALL)
_LOGIN_IN_ADDRESS = re.compile(r"(://|^|[\s,\[:@])(?!static:|inline:\{)[^\s/@,\[\]:]+:(?!//)\S+@")
# and in parameters that do not exist, such as smtp_sasl_password.
_SECRET_NAME = re.compile(r"passw|pwd|secret|(auth|access|api)_?(token|key)|login|credential", re.IGNORECASE)
# Parameters whose tables hold no logins, whatever their entries are. A misspelt one is not among them.
_WITHOUT_LOGINS = re.compile(
    r"(transport|canonical|virtual_\w+|relocated|smtp_generic|smtp_tls_policy|sender_dependent_\w+|"
    r"(sender|recipient)_(canonical|bcc))_maps|mydestination|(relay|virtual_(alias|mailbox))_domains"
)
_REFERENCE = re.compile(
    r"(proxy:)?([a-z]+:)?[$/]\S*|(proxy:)?(ldap|mysql|pgsql|sqlite|socketmap|tcp|unix|static|inline):\S*"
)


def without_secrets(name: str, value: str) -> str:
    """Return a parameter's value with its logins masked."""
    if not _WITHOUT_LOGINS.fullmatch(name):
        value = _LOGIN_IN_TABLE.sub(rf"\1:{MASK}", value)
    if not name.endswith("cipherlist"):
        value = _LOGIN_IN_ADDRESS.sub(rf"\1{MASK}@", value)
    if _SECRET_NAME.search(name) and value.strip("\"' ") and not _names_tables(value):
        return MASK
    return value


def _names_tables(value: str) -> bool:
    """Return True for values that are not passwords: references to tables, yes and no."""
    words = value.replace(",", " ").split()
    return all(_REFERENCE.fullmatch(word.strip("\"'")) for word in words if MASK not in word) or (
        value.lower() in {"yes", "no"}
    )


@dataclass(frozen=True, slots=True)
class Line:
    """A logical line of main.cf: a line and those after it that begin with white space.

    Attributes:
        number: the number of its first line.
        name: the parameter; "" if the line has no '='.
        value: the value, joined from all lines.
        parts: the further lines: (number, text).
        text: the first word, if the line has no '='.
    """

    number: int
    name: str
    value: str
    parts: tuple[tuple[int, str], ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class ServiceLine:
    """A logical line of master.cf: a service.

    Attributes:
        number: the number of its first line.
        fields: its fields, options included.
        parts: the further lines: (number, fields).
    """

    number: int
    fields: tuple[str, ...]
    parts: tuple[tuple[int, tuple[str, ...]], ...] = ()

    @property
    def key(self) -> str:
        """`name/type`."""
        return "/".join(self.fields[:2])


def parse_main_cf(text: str) -> tuple[Line, ...]:
    """Parse the assignments of main.cf, and the lines without '='."""
    return tuple(_main_line(line) for line in logical_lines(text))


def _main_line(parts: list[tuple[int, str]]) -> Line:
    number, first = parts[0]
    whole = " ".join(text.strip(BLANK) for _, text in parts)
    name, equals, value = whole.partition("=")
    if not equals:
        return Line(number, "", "", text=first.split()[0])
    name, value = name.strip(BLANK), value.strip(BLANK)
    shown = without_secrets(name, value)
    # The further lines of a masked value could hold its secret.
    rest = tuple(parts[1:]) if shown == value else ()
    return Line(number, name, shown, rest)


def parse_master_cf(text: str) -> tuple[ServiceLine, ...]:
    """Parse the services of master.cf."""
    return tuple(
        ServiceLine(
            parts[0][0],
            tuple(word for _, text in parts for word in _masked_words(text)),
            tuple((number, tuple(_masked_words(text))) for number, text in parts[1:]),
        )
        for parts in logical_lines(text)
    )


def _masked_words(text: str) -> list[str]:
    return [
        f"{name}={without_secrets(name, value)}" if equals else without_secrets("", word)
        for word in text.split()
        for name, equals, value in [word.partition("=")]
    ]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a table's source.

    Attributes:
        number: the number of its first line.
        key: the key; None if the text in its place may be a password.
        value: the value, of tables without secrets.
        faults: the mistakes in a login.
        continued: the numbers of the indented lines that belong to it.
        account: a number that is the same for logins with the same user; 0 if the entry has no login.
    """

    number: int
    key: str | None
    value: str | None = field(default=None, repr=False)
    faults: frozenset[str] = frozenset()
    continued: tuple[int, ...] = ()
    account: int = field(default=0, repr=False)


def parse_table(text: str, *, secret: bool, values: bool) -> tuple[Entry, ...]:
    """Parse the source of a table, as postmap(1) does.

    Args:
        text: the source.
        secret: the table holds logins; they are checked here and not kept.
        values: keep the values, if the table is not secret.
    """
    return tuple(_entry(parts, secret=secret, values=values) for parts in logical_lines(text))


def _entry(parts: list[tuple[int, str]], *, secret: bool, values: bool) -> Entry:
    words = " ".join(text for _, text in parts).split(None, 1)
    key, value = words[0], words[1].rstrip() if len(words) > 1 else ""
    indented = parts if parts[0][1][0] in " \t" else parts[1:]
    continued = tuple(number for number, _ in indented)
    if not secret:
        return Entry(parts[0][0], key, value if values else None, continued=continued)
    first = parts[0][1].split(None, 1)
    faults = frozenset(login_faults(key, first[1].rstrip() if len(first) > 1 else ""))
    shown = key if value and is_key(key) else None
    user, colon, _ = value.partition(":")
    account = hash(user) if colon else 0
    return Entry(parts[0][0], shown, faults=faults, continued=continued, account=account)
