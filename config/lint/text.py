"""main.cf, master.cf and table sources as lines with their numbers, for lint alone: values are asked of postconf(1).

Pure, and the place where secrets end: what leaves these functions holds no login, whatever form it had in the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from postward.parsers.scrub import MASK

_BLANK = " \t\r\f\v"  # for Postfix; a no-break space is none
# People write logins into the configuration itself: tables whose entries stand in the reference, and addresses with a login.
_LOGIN_IN_TABLE = re.compile(r"\b(static(?=:[^,\s]*:)|static(?=:\{)|inline):.*", re.DOTALL)
_LOGIN_IN_ADDRESS = re.compile(r"(://|^|[\s,\[:@])(?!static:)[^\s/@,\[\]:]+:(?!//)\S+@")
# … and parameters that do not exist, such as smtp_sasl_password.
_SECRET_NAME = re.compile(r"passw|pwd|secret|(auth|access|api)_?(token|key)|login|credential", re.IGNORECASE)
_REFERENCE = re.compile(
    r"(proxy:)?([a-z]+:)?[$/]\S*|(proxy:)?(ldap|mysql|pgsql|sqlite|socketmap|tcp|unix|static|inline):\S*"
)


def without_secrets(name: str, value: str) -> str:
    """A parameter's value with logins masked."""
    value = _LOGIN_IN_TABLE.sub(rf"\1:{MASK}", value)
    if not name.endswith("cipherlist"):
        value = _LOGIN_IN_ADDRESS.sub(rf"\1{MASK}@", value)
    if _SECRET_NAME.search(name) and value.strip("\"' ") and not _names_tables(value):
        return MASK
    return value


def _names_tables(value: str) -> bool:
    """True for what may stand in a parameter about passwords: references to tables, numbers, yes and no."""
    words = value.replace(",", " ").split()
    return all(_REFERENCE.fullmatch(word.strip("\"'")) for word in words if MASK not in word) or (
        value.lower() in {"yes", "no"}
    )


@dataclass(frozen=True, slots=True)
class Line:
    """A logical line of main.cf: a line and those after it that begin with white space.

    Attributes:
        number: of its first line.
        name: the parameter; "" if the line has no '='.
        value: as Postfix joins it.
        parts: the further lines: (number, text).
        text: the first line of one without '='.
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
        number: of its first line.
        fields: its words.
        parts: the further lines: (number, words).
    """

    number: int
    fields: tuple[str, ...]
    parts: tuple[tuple[int, tuple[str, ...]], ...] = ()

    @property
    def key(self) -> str:
        """`name/type`."""
        return "/".join(self.fields[:2])


def logical_lines(text: str) -> Iterator[list[tuple[int, str]]]:
    """As Postfix joins lines: white space at the start continues the line before, also over comments (postconf(5))."""
    line: list[tuple[int, str]] = []
    for number, part in enumerate(text.split("\n"), 1):
        bare = part.strip(_BLANK)
        if not bare or bare.startswith("#"):
            continue
        if part[0] in " \t" and line:
            line.append((number, bare))
            continue
        if line:
            yield line
        # White space in front of the very first line stays: postmap(1) skips such a line.
        line = [(number, part.rstrip(_BLANK))]
    if line:
        yield line


def parse_main_cf(text: str) -> tuple[Line, ...]:
    """The assignments of main.cf, and lines that should be some."""
    return tuple(_main_line(line) for line in logical_lines(text))


def _main_line(parts: list[tuple[int, str]]) -> Line:
    number, first = parts[0]
    whole = " ".join(text.strip(_BLANK) for _, text in parts)
    name, equals, value = whole.partition("=")
    if not equals:
        return Line(number, "", "", text=first.split()[0])
    name, value = name.strip(_BLANK), value.strip(_BLANK)
    shown = without_secrets(name, value)
    # A masked value hides where it was cut into lines.
    rest = tuple(parts[1:]) if shown == value else ()
    return Line(number, name, shown, rest)


def parse_master_cf(text: str) -> tuple[ServiceLine, ...]:
    """The services of master.cf."""
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


# What can be wrong with an entry of a table of passwords, told without the password.
NO_VALUE, NO_COLON, NO_USER, NO_PASSWORD = "no value", "no colon", "no user", "no password"
QUOTED, COMMENT, PLACEHOLDER, EQUALS = "quoted", "comment", "placeholder", "equals"
_NEXT_HOP = re.compile(
    r"(\[[^\s\[\]@=]+\]|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+|localhost)(:([0-9]+|[a-z]*smtp[a-z]*|submissions?|urd))?"
)
_SENDER = re.compile(r"[^\s@:=]*@[A-Za-z0-9.-]+")
_FILLED_IN_LATER = re.compile(
    r"([x*]{4,}|<.*>|your[-_ ]?.*|(my)?[-_ ]?pass(word|wd)?|api_?key|secret|change[-_]?me|密码|授权码)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a table's source.

    Attributes:
        number: of its first line.
        key: None where a slip may have put a password in its place.
        value: kept of tables that hold no secret.
        faults: what is wrong with a login.
        continued: the numbers of indented lines that Postfix takes as part of it.
    """

    number: int
    key: str | None
    value: str | None = field(default=None, repr=False)
    faults: frozenset[str] = frozenset()
    continued: tuple[int, ...] = ()


def parse_table(text: str, *, secret: bool, values: bool) -> tuple[Entry, ...]:
    """The entries of a table's source, as postmap(1) reads it.

    Args:
        text: the source.
        secret: it holds logins; they are judged here and forgotten.
        values: keep values, of tables without secrets.
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
    faults = frozenset(_login_faults(key, first[1].rstrip() if len(first) > 1 else ""))
    shown = key if value and (_NEXT_HOP.fullmatch(key) or _SENDER.fullmatch(key)) else None
    return Entry(parts[0][0], shown, faults=faults, continued=continued)


def _login_faults(key: str, value: str) -> Iterator[str]:
    if not value:
        yield EQUALS if "=" in key else NO_VALUE
        return
    if re.search(r"\s#(\s|$)", value):
        yield COMMENT
        value = re.split(r"\s#(?:\s|$)", value)[0].rstrip()
    if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]:
        yield QUOTED
        value = value[1:-1]
    user, colon, password = value.partition(":")
    if len(password) > 1 and password[0] in "\"'" and password[-1] == password[0]:
        yield QUOTED
        password = password[1:-1]
    if value.startswith("="):
        yield EQUALS
    elif not colon:
        yield NO_COLON
    elif not user.strip():
        yield NO_USER
    elif not password:
        yield NO_PASSWORD
    elif _FILLED_IN_LATER.fullmatch(password):
        yield PLACEHOLDER
