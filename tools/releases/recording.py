"""Selection of the lines of a recorded log: one of each shape, without names of the recording machine."""

import os
import re
import socket
from pathlib import Path

from postward.parsers import parse_record

CORPUS = Path(__file__).parents[2] / "tests" / "corpus" / "releases"

_SHAPES = (
    (re.compile(r"\b(?:[0-9A-F]{6,}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{15,})\b"), "Q"),
    (re.compile(r"<[^<>@ ]*@"), "<@"),
    (re.compile(r"delays?=[\d./]+"), "delay"),
    (re.compile(r"queued as \w+"), "queued"),
    (re.compile(r"\d+"), "0"),
)


def shape(line: str) -> str:
    """Return the line without parts that change from run to run, such as numbers and queue IDs."""
    record = parse_record(line)
    text = line if record is None else f"{record.instance}/{record.daemon} {record.severity}: {record.text}"
    for pattern, instead in _SHAPES:
        text = pattern.sub(instead, text)
    return text


def distinct(lines: list[str]) -> list[str]:
    """Return the first line of each shape, in the order of the log."""
    seen: set[str] = set()
    kept = []
    for line in lines:
        if (form := shape(line)) not in seen:
            seen.add(form)
            kept.append(line)
    return kept


def neutral(line: str) -> str:
    """Replace this machine's name by `host`."""
    name = socket.gethostname()
    for own in {name, name.partition(".")[0], os.uname().nodename}:
        if own and own != "localhost":
            line = re.sub(rf"\b{re.escape(own)}\b", "host", line)
    return line
