"""The receiver's verdicts of SPF, DKIM and DMARC, from Authentication-Results (RFC 8601).

Pure. Anyone can write such a field into a mail, so it counts only if

- its authserv-id is the one that the settings name,
- it stands above a Received field: below all of them is only what the sender wrote,
- it is the topmost with the method, and no Received field separates it from the topmost trusted field: a server adds its
  fields at the top, and a field below another hop can be that hop's.
"""

import re
from collections.abc import Iterator, Sequence
from email.message import Message
from typing import Final

METHODS: Final = ("spf", "dkim", "dmarc")
# RFC 8601, 2.7; RFC 7489, 11.2. Others, such as Microsoft's bestguesspass, count as "other".
RESULTS: Final = frozenset(
    {"none", "pass", "fail", "softfail", "neutral", "policy", "temperror", "permerror", "hardfail"}
)
FAILED: Final = frozenset({"fail", "softfail", "hardfail", "policy", "permerror"})
_FIELD: Final = "authentication-results"
_MAX_FIELD: Final = 8192  # characters
_RESULT: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)\s*(?:/\s*\d+\s*)?=\s*([A-Za-z]+)")

Verdicts = tuple[tuple[str, str], ...]  # method → result, in the order of METHODS


def verdicts_of(message: Message, authserv_id: str) -> Verdicts:
    """Return the verdicts of the trusted receiver on a mail.

    Args:
        message: the mail, as the mailbox has it.
        authserv_id: the receiver's name; "": none is trusted.
    """
    found: dict[str, str] = {}
    for value in _trusted_fields(message, authserv_id) if authserv_id else ():
        for method, result in _results(value).items():
            found.setdefault(method, result)
    return tuple((method, found[method]) for method in METHODS if method in found)


def _trusted_fields(message: Message, authserv_id: str) -> Iterator[list[str]]:
    """Yield the parts of each field that can be the receiver's, the topmost first."""
    fields = [(name.lower(), str(value)[:_MAX_FIELD]) for name, value in message.items()]
    places = [place for place, (name, _) in enumerate(fields) if name == "received"]
    last_received = places[-1] if places else -1
    found = False
    for name, value in fields[: max(0, last_received)]:
        if found and name == "received":
            return
        if name == _FIELD:
            parts = _parts(value)
            words = parts[0].split()
            if words and words[0].casefold() == authserv_id.casefold():
                found = True
                yield parts[1:]


def _results(parts: Sequence[str]) -> dict[str, str]:
    """Return method → result of a field. One valid signature is enough: of several results, a pass wins."""
    results: dict[str, str] = {}
    for part in parts:
        if (match := _RESULT.match(part)) and (method := match[1].lower()) in METHODS:
            result = match[2].lower()
            result = result if result in RESULTS else "other"
            if result == "pass" or method not in results:
                results[method] = result
    return results


def _parts(value: str) -> list[str]:
    """Return the parts of a field between its semicolons, without comments and quoted strings (RFC 5322, 3.2)."""
    parts, depth, is_quoted, is_escaped = [""], 0, False, False
    for char in value:
        if is_escaped:
            is_escaped = False
        elif char == "\\":
            is_escaped = True
        elif is_quoted:
            is_quoted = char != '"'
        elif char == "(":
            depth += 1
        elif char == ")":
            depth = max(0, depth - 1)
        elif depth:
            continue
        elif char == '"':
            is_quoted = True
            parts[-1] += "?"  # a quoted authserv-id is another name
        elif char == ";":
            parts.append("")
        else:
            parts[-1] += char
    return parts
