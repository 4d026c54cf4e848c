"""Parsers for the output of postconf(1).

Pure: the caller supplies the text. A line that is not an assignment is skipped, because the output may contain
warnings of postconf. Nothing raises.
"""

import re
from typing import Final, NamedTuple

_ASSIGNMENT: Final = re.compile(r"([^\s=]+)\s*=[ \t]*(.*)")


class Service(NamedTuple):
    """One line of ``postconf -M``: a service of master.cf with its eight fields, as printed."""

    name: str
    type: str
    private: str
    unprivileged: str
    chroot: str
    wakeup: str
    maxproc: str
    command: str


class Master(NamedTuple):
    """The contents of master.cf: services by ``name/type``, and ``-o`` options by ``name/type/parameter``."""

    services: dict[str, Service]
    overrides: dict[str, str]


def parse_parameters(text: str) -> dict[str, str]:
    """Return the parameters of ``postconf`` or ``postconf -n``; a continued value is joined into one line."""
    values: dict[str, str] = {}
    last = ""
    for line in text.split("\n"):
        if line[:1] in (" ", "\t") and last:
            values[last] = f"{values[last]} {line.strip()}".strip()
        elif (match := _ASSIGNMENT.fullmatch(line.rstrip("\r"))) is not None:
            last = match[1]
            values[last] = match[2].strip()
        else:
            last = ""
    return values


def parse_master(text: str) -> Master:
    """Return the services of ``postconf -M`` and the options of ``postconf -P``; the text may hold one or both."""
    services: dict[str, Service] = {}
    overrides: dict[str, str] = {}
    for line in _joined(text):
        match = _ASSIGNMENT.fullmatch(line)
        if match is not None and match[1].count("/") >= 2:
            overrides[match[1]] = match[2].strip()
            continue
        fields = line.split(None, 7)
        if len(fields) == 8 and not line.startswith("#"):
            service = Service(*fields)
            services[f"{service.name}/{service.type}"] = service
    return Master(services, overrides)


def split_list(value: str) -> list[str]:
    """Return the items of a list value, which commas or white space outside braces separate."""
    items: list[str] = []
    item = ""
    depth = 0
    for char in value:
        if depth == 0 and (char == "," or char.isspace()):
            if item:
                items.append(item)
            item = ""
            continue
        depth = max(0, depth + (char == "{") - (char == "}"))
        item += char
    return [*items, item] if item else items


def _joined(text: str) -> list[str]:
    lines: list[str] = []
    for line in text.split("\n"):
        if line[:1] in (" ", "\t") and lines:
            lines[-1] = f"{lines[-1]} {line.strip()}"
        elif line.strip():
            lines.append(line.rstrip())
    return lines
