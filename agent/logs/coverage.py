"""How much of the logs was read: lines of Postfix, of other programs, and what an unreadable file looks like.

A command that looks back says this with its result. "No incident" means something only if lines of Postfix were read.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from postward.agent.logs.archive import STANDARD_INPUT, blocks
from postward.agent.logs.lines import lines_of
from postward.agent.text import counted
from postward.parsers import OUTCOMES, Event, Record, outcome_of
from postward.parsers.dialects import peel
from postward.parsers.scrub import printable

_SAMPLE: Final = 200  # lines
_MAX_FORMS: Final = 8
_MAX_PROGRAMS: Final = 3
_MAX_QUOTED: Final = 60  # characters
_BINARY: Final = re.compile(r"[\x00-\x08\x0e-\x1a\ufffd]")
_JOURNAL_BLOCKS: Final = re.compile(
    r"__CURSOR=|__REALTIME_TIMESTAMP=|    (?:MESSAGE|_HOSTNAME)=|\s*\"(?:MESSAGE|__CURSOR)\" :"
)
_WITHOUT_HEADER: Final = re.compile(
    r"(?:warning: |[0-9A-Z]{6,}: (?:to|from|client|message-id|uid)=|connect (?:from|to) )"
)
_PROGRAM: Final = re.compile(r"(?:\S+ +){1,5}?([A-Za-z][\w./@-]*)(?:\[\d+\])?: ")


class Coverage:
    """Counts the lines that were read, by outcome."""

    def __init__(self) -> None:
        self._lines: Counter[str] = Counter()
        self._in_time = 0
        self._sample: list[str] = []

    def add(self, line: str, record: Record | None, event: Event | None, *, in_time: bool = True) -> None:
        """Count a line, with what `parse` returned for it; `in_time`: it is not older than the command wants."""
        self._lines[outcome_of(record, event)] += 1
        self._in_time += in_time and event is not None
        if len(self._sample) < _SAMPLE:
            self._sample.append(line)

    @property
    def is_blind(self) -> bool:
        """Whether no line of the time that the command wants was recognised."""
        return self._in_time == 0

    @property
    def summary(self) -> str:
        """The counts as a sentence, and what to do if nothing was read."""
        number, unknown = self._lines.total(), self._lines["unrecognised"]
        of_postfix = number - self._lines["foreign"]
        if not of_postfix:
            return f"0 of {counted(number)} lines read: {looks_of(self._sample)}"
        parts = [f"{counted(of_postfix)} of {counted(number)} lines are Postfix's"]
        if forms := forms_of(self._sample):
            parts[0] += f" ({'; '.join(forms)})"
        if generic := self._lines["generic"]:
            parts.append(f"{counted(generic)} of them known by their severity only")
        if unknown:
            parts.append(
                f"{counted(unknown)} not understood" if unknown < of_postfix else "none of them understood"
            )
        if self.is_blind and unknown < of_postfix:
            parts.append("none in the time asked for")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts by outcome, the forms of the lines and the summary, as JSON values."""
        return {
            **{outcome: self._lines[outcome] for outcome in OUTCOMES},
            "in_time": self._in_time,
            "forms": forms_of(self._sample),
            "summary": self.summary,
        }


def forms_of(sample: Sequence[str]) -> list[str]:
    """Return what differs from plain syslog lines, most frequent first; nothing for plain lines."""
    peeled = (peel(line) for line in sample)
    forms = Counter(line.form for line in peeled if line is not None and line.form and line.body)
    return [form for form, _ in forms.most_common(_MAX_FORMS)]


def looks_of(sample: Sequence[str]) -> str:
    """Return what lines that are not Postfix's look like, and what would be right if that is known."""
    lines = [line for line in sample if line.strip()]
    if not lines:
        return "the log is empty"
    if sum(_BINARY.search(line) is not None for line in lines) * 2 > len(lines):
        return "these are binary data, not a log"
    if any(_JOURNAL_BLOCKS.match(line) for line in lines):
        return (
            "this is the journal in a form of several lines; print it with journalctl -o short-iso or -o json"
        )
    if any(_WITHOUT_HEADER.match(line) for line in lines):
        return (
            "these look like texts of Postfix without time, host and program; "
            "print them with their headers (journalctl -o short-iso)"
        )
    if programs := _programs_of(lines):
        return f"these are lines of other programs: {', '.join(programs)}"
    quoted = lines[0].strip()
    quoted = quoted[:_MAX_QUOTED] + ("…" if len(quoted) > _MAX_QUOTED else "")
    return f'these are not lines of syslog: "{printable(quoted)}"'


def head_of(path: Path) -> list[str]:
    """Return the first lines of a log; nothing of standard input, which was read already. Raises LogFileError."""
    if path == STANDARD_INPUT:
        return []
    return list(islice((line for block in blocks(path) for line in lines_of(block)), _SAMPLE))


def _programs_of(lines: Sequence[str]) -> list[str]:
    programs = Counter(match[1] for line in lines if (match := _PROGRAM.match(line)))
    return [program for program, _ in programs.most_common(_MAX_PROGRAMS)]
