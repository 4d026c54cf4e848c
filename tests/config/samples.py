"""Minimal valid settings, with a place for faults."""

import re
import tomllib

from postward.config.settings import Settings, parse_settings

HOST = {"myhostname": 'myhostname = "mail.example.com"'}
RELAY = {"name": 'name = "a"', "host": 'host = "smtp.example.net"'}
SECRET = 'S3cr#t: "pass" wörd'


def table(title: str, usual: dict[str, str], lines: str) -> str:
    """Return a table with these lines, and the usual lines for other keys."""
    given = set(re.findall(r"^(\w+) *=", lines, re.MULTILINE))
    return "\n".join([title, *(line for key, line in usual.items() if key not in given), lines, ""])


def toml(host: str = "", relay: str = "", more: str = "") -> str:
    """Return a settings file that is valid apart from the arguments."""
    return table("[host]", HOST, host) + table("[[relay]]", RELAY, relay) + more


def load(text: str) -> Settings:
    """Return settings from text. Messages call it `postward.toml`."""
    return parse_settings(tomllib.loads(text), "postward.toml")


def names_a_remedy(message: str) -> bool:
    """Return True for a message that says what is right."""
    return any(phrase in message for phrase in ("must ", "; ", ". Write "))
