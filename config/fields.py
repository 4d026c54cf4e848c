"""Building blocks of the settings' sections: the strict table, and the kinds of text that Postfix can carry."""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from postward.config.toml import toml_value

_MAX_SHOWN = 100  # characters of a value that a message repeats


def plain_text(value: str) -> str:
    """Return text that fits one line of main.cf: postconf(5) cannot quote line ends and control characters."""
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in value):
        raise ValueError("must be a single line without control characters")
    return value


def joined(value: object) -> object:
    """Return a TOML list of strings as a Postfix list; any other value as it is."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value


def _absolute_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"must be an absolute path, not {quoted(value)}")
    return value


def _absolute_path_or_empty(value: str) -> str:
    return value and _absolute_path(value)


def _credential_name(value: str) -> str:
    if "/" in value or value in {".", ".."}:
        raise ValueError(f"must be the name before the colon in LoadCredential=, not {quoted(value)}")
    return value


Text = Annotated[str, AfterValidator(plain_text)]
PostfixList = Annotated[str, BeforeValidator(joined), AfterValidator(plain_text)]
AbsolutePath = Annotated[str, AfterValidator(plain_text), AfterValidator(_absolute_path)]
OptionalPath = Annotated[str, AfterValidator(plain_text), AfterValidator(_absolute_path_or_empty)]
CredentialName = Annotated[str, AfterValidator(plain_text), AfterValidator(_credential_name)]


class Section(BaseModel):
    """A table of the settings file: strict in keys and types, immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, hide_input_in_errors=True
    )


def quoted(value: str) -> str:
    """Return a value as messages repeat it: in quotes, as in the file, and cut to `_MAX_SHOWN` characters."""
    return toml_value(value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}…")


def is_address(text: str) -> bool:
    """Return True for an IPv4 or IPv6 address. Postfix takes no zone, as in `fe80::1%eth0`."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def is_host_name(text: str) -> bool:
    """Return True for a host name by Postfix's rules (valid_hostname.c). Its programs refuse to start with another."""
    return bool(_HOST_NAME.fullmatch(text)) and len(text) <= 255 and not re.fullmatch(r"[0-9.]+", text)


def forms_of_hosts(names: Iterable[str]) -> set[str]:
    """Return names of hosts in lower case, each in full and up to its first dot; "" is left out."""
    return {form for name in names if name for form in (name.lower(), name.lower().partition(".")[0])}


def suggest_host_name(text: str, example: str) -> str:
    """Return advice for text that is not a host name: its corrected form (without dot, in IDNA), else an example."""
    bare = text.strip().rstrip(".")
    try:
        name = bare.encode("idna").decode() if not bare.isascii() else bare
    except UnicodeError:
        name = ""
    return f'write "{name}"' if is_host_name(name) else f'write it as in "{example}"'


_LISTENER = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")


def split_address(value: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[v6]:port`.

    Raises:
        ValueError: the value has neither form; the message shows both.
    """
    match = _LISTENER.fullmatch(value)
    if match is None or int(match["port"]) > 65535 or (match["v6"] and not is_address(match["v6"])):
        raise ValueError(
            f'must be address and port, as in "127.0.0.1:19787" or "[::1]:19787", not {quoted(value)}'
        )
    return match["v6"] or match["host"], int(match["port"])


def _mail_address(value: str) -> str:
    if value and not re.fullmatch(r"[^\s@<>,]+@[^\s@<>,]+", value):
        raise ValueError(f'must be a mail address such as "probe@example.com", not {quoted(value)}')
    return value


MailAddress = Annotated[str, AfterValidator(plain_text), AfterValidator(_mail_address)]


def _address(value: str) -> str:
    if not re.fullmatch(r'(?:[^\s@#"*]+@|@\.?)[^\s@*.][^\s@*]*', value):
        raise ValueError(
            f'must be an address such as "app@example.com" or a domain such as "@example.com", not {quoted(value)}'
        )
    return value


# An address, a domain as in "@example.com", or all subdomains of one as in "@.example.com".
Addresses = Annotated[str, AfterValidator(plain_text), AfterValidator(_address)]
