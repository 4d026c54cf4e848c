"""Lookup tables as Postfix searches them.

Pure: the caller supplies the text of files. Two kinds of answers are exceptions, because they end a search: a table
that this program cannot search (`UnknownTableError`), and one that Postfix cannot search either (`BrokenTableError`).

Sources: global/maps.c, util/match_list.c, util/match_ops.c, util/dict_inline.c, util/dict_static.c, util/dict_pcre.c,
util/dict_regexp.c; postmap(1) for the format of sources.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from postward.parsers.logical_lines import logical_lines
from postward.parsers.postconf import split_list

# Types whose source is lines of key and value; the value of an index built from it.
KEYED_TYPES = frozenset({"hash", "btree", "lmdb", "cdb", "dbm", "sdbm", "texthash"})
PATTERN_TYPES = frozenset({"pcre", "regexp"})


class UnknownTableError(Exception):
    """A table decides whose answers only Postfix can find. The text is the table as the configuration names it."""


class BrokenTableError(Exception):
    """A table decides that Postfix cannot search, so it defers the mail. The text is the table."""


class Contents(Protocol):
    """The contents of a table.

    Attributes:
        fixed: keys are fixed strings, so Postfix also looks up parts of addresses (DICT_FLAG_FIXED).
    """

    @property
    def fixed(self) -> bool: ...

    def get(self, key: str, *, substitute: bool) -> tuple[str, str] | None:
        """Return the matching key and its value; None without a match."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A table of keys and values. The keys are lower case, as postmap(1) stores them."""

    entries: Mapping[str, str] = field(repr=False)
    fixed: bool = True

    def get(self, key: str, *, substitute: bool) -> tuple[str, str] | None:
        value = self.entries.get(key.lower())
        return None if value is None else (key.lower(), value)


@dataclass(frozen=True, slots=True)
class Static:
    """A table with one value for every key."""

    value: str = field(repr=False)
    fixed: bool = True

    def get(self, key: str, *, substitute: bool) -> tuple[str, str] | None:
        return ("*", self.value)


class Condition(NamedTuple):
    """A pattern, and whether it must match; the pattern is None if Python cannot say what it matches."""

    pattern: re.Pattern[str] | None
    wanted: bool


class PatternRule(NamedTuple):
    """A line of a table of patterns: the conditions of it and of the `if` lines around it, and its value."""

    source: str
    conditions: tuple[Condition, ...]
    value: str


@dataclass(frozen=True, slots=True)
class Patterns:
    """A table of patterns."""

    name: str
    rules: tuple[PatternRule, ...] = field(repr=False)
    fixed: bool = False

    def get(self, key: str, *, substitute: bool) -> tuple[str, str] | None:
        for rule in self.rules:
            references = _REFERENCE.search(rule.value.replace("$$", ""))
            if references and not substitute:
                continue  # Postfix skips such a rule where values decide about routes (DICT_FLAG_NO_REGSUB)
            match: re.Match[str] | None = None
            for pattern, wanted in rule.conditions:
                if pattern is None:
                    raise UnknownTableError(self.name)
                match = pattern.search(key)
                if (match is not None) is not wanted:
                    break
            else:
                return rule.source, _substituted(rule.value, match)
        return None


_REFERENCE = re.compile(r"\$(?:(\d+)|\{(\d+)\}|\((\d+)\))")


def _substituted(value: str, match: re.Match[str] | None) -> str:
    def group(reference: re.Match[str]) -> str:
        number = int(reference[1] or reference[2] or reference[3])
        return (match[number] or "") if match and number <= match.re.groups else ""

    return "$".join(_REFERENCE.sub(group, part) for part in value.split("$$"))


# Parsers of sources


def parse_contents(kind: str, name: str, text: str) -> Contents | None:
    """Return the contents of a table by its source; None if Postfix cannot open it.

    Args:
        kind: the type: one of `KEYED_TYPES` or `PATTERN_TYPES`.
        name: the table as the configuration names it.
        text: the source.
    """
    if kind in PATTERN_TYPES:
        return Patterns(name, tuple(_patterns(kind, text)))
    pairs = list(_pairs(text))
    # postmap(1) keeps the first of two entries with one key, and reports the second. texthash has no postmap(1).
    entries = dict(reversed(pairs))
    return None if kind == "texthash" and len(entries) < len(pairs) else Keyed(entries)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for parts in logical_lines(text):
        if parts[0][1][0] in " \t":
            continue  # as postmap(1)
        line = " ".join(part for _, part in parts)
        if match := re.match(r'((?:\\.|"[^"]*"|[^\s"\\])+)\s+(\S.*)', line):
            yield match[1].lower(), match[2]


def _patterns(kind: str, text: str) -> Iterable[PatternRule]:
    stack: list[Condition] = []
    for parts in logical_lines(text):
        line = " ".join(part.strip() for _, part in parts)
        word = line.split(None, 1)[0].lower()
        if word == "endif":
            stack = stack[:-1]
        elif word == "if":
            if parsed := _pattern(kind, line[2:].strip(), ""):
                stack = [*stack, parsed[1]]
        elif not line[0].isalnum() and (parsed := _pattern(kind, line, line)):
            source, condition, value = parsed
            yield PatternRule(source, (*stack, condition), value)


_PATTERN_LINE = re.compile(r"([!\s]*)([^!\s])((?:\\.|(?!\2).)*)\2(\S*)\s*(.*)", re.DOTALL)


def _pattern(kind: str, line: str, rule: str) -> tuple[str, Condition, str] | None:
    match = _PATTERN_LINE.fullmatch(line)
    if match is None:
        return None  # Postfix warns, and skips the line
    negations, delimiter, text, flags, value = match.groups()
    compiled = _compiled(kind, text, flags)
    if kind == "regexp" and "|" in text and _REFERENCE.search(value):
        compiled = None  # POSIX takes the longest alternative, Python the first
    source = f"{negations.strip()}{delimiter}{text}{delimiter}{flags}" if rule else ""
    return source, Condition(compiled, negations.count("!") % 2 == 0), value


def _compiled(kind: str, text: str, flags: str) -> re.Pattern[str] | None:
    """Compile a pattern of Postfix; None if Python's patterns may differ."""
    options = re.IGNORECASE | (re.DOTALL if kind == "pcre" else 0)
    for flag in flags:
        if kind == "pcre" and flag == "A":
            text = rf"\A(?:{text})"
            continue
        option = _OPTIONS[kind].get(flag)
        if option is None:
            return None
        options ^= option
    if _FOREIGN[kind].search(text):
        return None
    try:
        return re.compile(_translated(kind, text), options)
    except (re.error, OverflowError, RecursionError):
        return None


_OPTIONS: Mapping[str, Mapping[str, re.RegexFlag]] = {
    "pcre": {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE},
    "regexp": {"i": re.IGNORECASE, "m": re.MULTILINE},
}
# Constructs that Python lacks, or reads otherwise.
_FOREIGN = {
    "pcre": re.compile(r"\\[KQEGzZhHvVRXCpPNgk]|\(\?[|R&C0-9+']|\(\?P[>=]|\(\*|\(\?<[A-Za-z]"),
    "regexp": re.compile(r"\\[^\W_wWsSbB]|\(\?|[*+?}]\?|[*+?}]\+|\\[<>`']"),
}
_CLASSES = {
    "alpha": "A-Za-z",
    "digit": "0-9",
    "alnum": "A-Za-z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "0-9A-Fa-f",
}
# An escaped character, or a bracket expression; in POSIX expressions a backslash in brackets is a character.
_BRACKET = {
    "pcre": re.compile(r"\\.|\[(\^?)(\]?(?:\[:\w+:\]|\\.|[^\]])*)\]", re.DOTALL),
    "regexp": re.compile(r"\\.|\[(\^?)(\]?(?:\[:\w+:\]|[^\]])*)\]", re.DOTALL),
}
_IN_BRACKETS = {
    "pcre": re.compile(r"\[:(\w+):\]|\\.|[\[\]]", re.DOTALL),
    "regexp": re.compile(r"\[:(\w+):\]|[\[\]\\]"),
}


def _translated(kind: str, text: str) -> str:
    """Write bracket expressions as Python has them. Raises re.error for unknown classes."""

    def bracket(match: re.Match[str]) -> str:
        if match[2] is None:
            return match[0]
        return f"[{match[1]}{_IN_BRACKETS[kind].sub(_in_brackets, match[2])}]"

    return _BRACKET[kind].sub(bracket, text)


def _in_brackets(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[0] if len(match[0]) > 1 else f"\\{match[0]}"
    if match[1] not in _CLASSES:
        raise re.error(match[1])
    return _CLASSES[match[1]]


# Lists of tables, and what is searched in them


class Found(NamedTuple):
    """The entry of a table that decided."""

    value: str
    table: str
    key: str


@dataclass(frozen=True, slots=True)
class Tables:
    """The contents of tables by their names in the configuration, as in "hash:/etc/postfix/transport".

    Attributes:
        contents: name → contents; None for a table that Postfix cannot open. Static and inline tables need no entry.
        lists: path → text, of files with items of lists (`/path` in mydestination and the like).
    """

    contents: Mapping[str, Contents | None] = field(default_factory=dict)
    lists: Mapping[str, str | None] = field(default_factory=dict)

    def find(self, maps: str, key: str, *, partial: bool = False, substitute: bool = True) -> Found | None:
        """Search a list of tables in order (global/maps.c: maps_find).

        Args:
            maps: the value of a parameter such as transport_maps.
            key: the key.
            partial: the key is a part of an address, for which tables of patterns are not searched.
            substitute: values may refer to groups of a pattern.

        Raises:
            UnknownTableError, BrokenTableError: the search ended at a table without an answer.
        """
        for name in split_list(maps) if key else ():
            contents = self._open(name)
            if partial and not contents.fixed:
                continue
            if found := contents.get(key, substitute=substitute):
                if not found[1]:
                    raise BrokenTableError(name)
                return Found(found[1], name, found[0])
        return None

    def lists_string(self, items: str, text: str, *, parents: bool | None = None) -> bool:
        """Return True if a list such as mydestination has a string (util/match_list.c: match_list_match).

        Args:
            items: the value of the parameter.
            text: the string.
            parents: None to compare whole strings, as in mydestination; else whether `example.com` matches its
                subdomains (True), or only `.example.com` does (False), as in relay_domains.

        Raises:
            UnknownTableError, BrokenTableError: a table decides that has no answer.
        """
        text = text.lower()
        for wanted, item in self._items(items, wanted=True):
            in_table = ":" in item and item[0] != "["
            if self._lists_key(item, text, parents) if in_table else _matches(item.lower(), text, parents):
                return wanted
        return False

    def _items(self, value: str, *, wanted: bool) -> Iterable[tuple[bool, str]]:
        for word in split_list(value):
            if word[0] == "#":
                return
            item = word.lstrip("!")
            positive = wanted ^ bool((len(word) - len(item)) % 2)
            if not item.startswith("/"):
                yield positive, item
                continue
            if item not in self.lists:
                raise UnknownTableError(item)
            text = self.lists[item]
            if text is None:
                raise BrokenTableError(item)
            for line in text.split("\n"):
                if not line.startswith("#"):
                    yield from self._items(line, wanted=positive)

    def _lists_key(self, name: str, text: str, parents: bool | None) -> bool:
        contents = self._open(name)
        if contents.get(text, substitute=True) is not None:
            return True
        if parents is None or not contents.fixed:
            return False
        return any(
            contents.get(parent, substitute=True) for parent in parent_domains(text, dotted=not parents)
        )

    def contents_of(self, name: str) -> Contents | None:
        """Return the contents of a table; None if they are unknown, or Postfix cannot open it."""
        try:
            return self._open(name)
        except (UnknownTableError, BrokenTableError):
            return None

    def _open(self, name: str) -> Contents:
        if name in self.contents:
            contents = self.contents[name]
            if contents is None:
                raise BrokenTableError(name)
            return contents
        kind, _, text = name.partition(":")
        if kind == "proxy":
            return self._open(text)
        if kind == "static":
            return Static(text[1:-1].strip() if text.startswith("{") else text)
        if kind == "inline" and (inline := _inline(text)) is not None:
            return inline
        raise UnknownTableError(name)


def _inline(text: str) -> Keyed | None:
    entries: dict[str, str] = {}
    for item in split_list(text[1:-1]) if text[:1] == "{" and text[-1:] == "}" else ():
        bare = item[1:-1].strip() if item.startswith("{") else item
        key, equals, value = bare.partition("=")
        if not equals:
            return None
        entries[key.strip().lower()] = value.strip()
    return Keyed(entries) if entries else None


def _matches(item: str, text: str, parents: bool | None) -> bool:
    if item == text:
        return True
    if parents is None:
        return False
    return text.endswith(f".{item}") if parents else item.startswith(".") and text.endswith(item)


def parent_domains(domain: str, *, dotted: bool) -> Iterable[str]:
    """Yield the parents of a domain, nearest first, with or without a dot in front."""
    start = 0
    while (start := domain.find(".", start + 1)) >= 0:
        yield domain[start if dotted else start + 1 :]
