"""What every section of the settings is made of: the strict table, and the kinds of text that Postfix can carry."""

import ipaddress
import json
import re
import unicodedata
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

_MAX_SHOWN = 100  # characters of a value that a message repeats


def plain_text(value: str) -> str:
    """Values end up as one line of main.cf: postconf(5) has no quoting for line ends and control characters."""
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in value):
        raise ValueError("has a line end or control character; write it on one line")
    return value


def joined(value: object) -> object:
    """Postfix lists may be written as a TOML list."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value


def _absolute(value: str) -> str:
    if not PurePosixPath(value).is_absolute():
        raise ValueError(f'is {quoted(value)}; write the whole path, beginning with "/"')
    return value


Text = Annotated[str, AfterValidator(plain_text)]
PostfixList = Annotated[str, BeforeValidator(joined), AfterValidator(plain_text)]
AbsolutePath = Annotated[str, AfterValidator(plain_text), AfterValidator(_absolute)]


class Section(BaseModel):
    """A table of the settings file: strict in keys and types, immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, hide_input_in_errors=True
    )


def quoted(value: str) -> str:
    """A value as messages repeat it: like in the file, and not at any length."""
    return json.dumps(value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}…", ensure_ascii=False)


def words_of(value: str) -> list[str]:
    """The items of a Postfix list."""
    return value.replace(",", " ").split()


def is_address(text: str) -> bool:
    """True for an IPv4 or IPv6 address. Postfix knows none with a zone (`fe80::1%eth0`)."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def is_host_name(text: str) -> bool:
    """True for what Postfix takes as a host name (valid_hostname.c); anything else stops its programs."""
    return bool(_HOST_NAME.fullmatch(text)) and len(text) <= 255 and not re.fullmatch(r"[0-9.]+", text)


def host_name_meant(text: str, example: str) -> str:
    """What to write instead of something that is no host name: its own right form if it has one."""
    bare = text.strip().rstrip(".")
    try:
        name = bare.encode("idna").decode() if not bare.isascii() else bare
    except UnicodeError:
        name = ""
    return f'write "{name}"' if is_host_name(name) else f'write it as in "{example}"'


_LISTENER = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")


def split_address(value: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`.

    Raises:
        ValueError: it is neither; the text says what would be right.
    """
    match = _LISTENER.fullmatch(value)
    if match is None or int(match["port"]) > 65535 or (match["v6"] and not is_address(match["v6"])):
        raise ValueError(
            f'is {quoted(value)}; write address and port, as in "127.0.0.1:9787" or "[::1]:9787"'
        )
    return match["v6"] or match["host"], int(match["port"])


def _mail_address(value: str) -> str:
    if value and not re.fullmatch(r"[^\s@<>,]+@[^\s@<>,]+", value):
        raise ValueError(f'is {quoted(value)}, which is no mail address; write it as in "probe@example.com"')
    return value


MailAddress = Annotated[str, AfterValidator(plain_text), AfterValidator(_mail_address)]
