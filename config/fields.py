"""What every section of the settings is made of: the strict table and the kinds of text that main.cf can carry."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


def plain_text(value: str) -> str:
    """Values end up as one line of main.cf: postconf(5) has no quoting for line ends and control characters."""
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("has a line end or control character; write it on one line")
    return value


def joined(value: object) -> object:
    """Postfix lists may be written as a TOML list."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value


Text = Annotated[str, AfterValidator(plain_text)]
PostfixList = Annotated[str, BeforeValidator(joined), AfterValidator(plain_text)]


class Section(BaseModel):
    """A table of the settings file: strict, immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def split_address(value: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`.

    Raises:
        ValueError: it is neither; the text says what would be right.
    """
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535 or (":" in host and host[0] != "["):
        raise ValueError(f'is "{value}"; write address and port, as in "127.0.0.1:9787" or "[::1]:9787"')
    return host.strip("[]"), int(port)
