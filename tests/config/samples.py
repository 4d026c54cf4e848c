"""The shortest right settings, and ways to put something wrong into them."""

import re
import tomllib

from postward.config.settings import Settings, parse_settings

HOST = {"myhostname": 'myhostname = "mail.example.com"'}
RELAY = {"name": 'name = "a"', "host": 'host = "smtp.example.net"'}
SECRET = 'S3cr#t: "pass" wörd'


def table(title: str, usual: dict[str, str], lines: str) -> str:
    """A table with these lines, and the usual ones for keys that are not among them."""
    given = set(re.findall(r"^(\w+) *=", lines, re.MULTILINE))
    return "\n".join([title, *(line for key, line in usual.items() if key not in given), lines, ""])


def toml(host: str = "", relay: str = "", more: str = "") -> str:
    """A settings file that is right, but for what is handed in."""
    return table("[host]", HOST, host) + table("[[relay]]", RELAY, relay) + more


def load(text: str) -> Settings:
    """Settings from text, called `postward.toml` in messages."""
    return parse_settings(tomllib.loads(text), "postward.toml")
