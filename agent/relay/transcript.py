"""What was said in a conversation with a relay, for a human to read and for JSON, without secrets.

Promise: no secret that was named (`hide`), nor its base64, is in any line, also where the other side repeats it; no
control character is, and the whole is bounded. Pure: the time is an argument.
"""

import base64
from dataclasses import dataclass, field

_MAX_LINES = 200
_LONGEST = 500  # characters
MASK = "****"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: when (seconds since the beginning), whose ("C" ours, "S" the relay's, "-" a remark), and what."""

    seconds: float
    by: str
    text: str


@dataclass(slots=True)
class Transcript:
    """Lines in their order."""

    started: float
    lines: list[Line] = field(default_factory=list)
    _secrets: set[str] = field(default_factory=set, repr=False)

    def hide(self, *secrets: str) -> None:
        """Name texts that must not show."""
        for secret in filter(None, secrets):
            self._secrets |= {secret, base64.b64encode(secret.encode()).decode()}

    def add(self, by: str, text: str, now: float) -> None:
        """Add a line."""
        if len(self.lines) < _MAX_LINES:
            self.lines.append(Line(max(0.0, now - self.started), by, self.masked(text)))

    def masked(self, text: str) -> str:
        """A text as it may be shown."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        text = "".join(char if char.isprintable() else "?" for char in text)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
