"""The result of an adoption: relays with their logins, keys of `[host]`, and what stays unmanaged.

Promise: the text of the settings holds no password. Passwords are in `AdoptedRelay.password` alone, which is not shown.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from postward.config.fields import is_address
from postward.config.providers import PROVIDERS
from postward.config.relay import IMPLICIT_TLS_PORTS, STARTTLS_PORTS, TlsMode
from postward.config.toml import assignment

# First labels of a host name that say nothing about whose it is.
_USUAL_LABELS = re.compile(
    r"(e?mail|in|mta|mx|out(bound|going)?|relay|send|smarthost|smtps?|submission)[0-9-]*"
)
_RESERVED = frozenset({"local", "none", "other"})


class NothingToAdoptError(Exception):
    """The configuration names no relay that the settings could. The text says why."""


@dataclass(frozen=True, slots=True)
class Unmanaged:
    """A part of the configuration that stays as it is.

    Attributes:
        what: the part, as its configuration names it. It holds no secret.
        why: the reason, as a sentence without a full stop.
    """

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class AdoptedRelay:
    """A relay.

    Attributes:
        host, port, tls, senders, recipients, username, fallback: as in `[[relay]]`. Host and port are "" and 0 for direct
            delivery.
        password: for its password file; None without one.
        more: further keys of `[[relay]]`.
        name: its name, which `named` gives.
        provider: its preset, as `named` finds it; "" for none.
    """

    host: str
    port: int
    tls: TlsMode
    username: str = ""
    password: str | None = field(default=None, repr=False)
    senders: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    fallback: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    provider: str = ""

    def table(self, **login: str) -> dict[str, Any]:
        """Return the `[[relay]]` table, without values that mean nothing. `login`: where the password is."""
        usual = not self.host or (self.tls == "implicit") == (self.port in IMPLICIT_TLS_PORTS)
        if self.tls == "implicit" and self.port not in {*IMPLICIT_TLS_PORTS, *STARTTLS_PORTS}:
            usual = True
        given = {
            "name": self.name,
            "provider": self.provider,
            "host": self.host,
            "port": self.port,
            "tls": self.tls,
            "allow_unusual_port": not usual,
            "username": self.username,
            **(login if self.password is not None else {}),
            "allow_cleartext_password": self.tls == "none" and self.password is not None,
            "senders": list(self.senders),
            "recipients": list(self.recipients),
            "fallback": self.fallback,
            **self.more,
        }
        return {key: value for key, value in given.items() if value not in ("", 0, [])}


@dataclass(frozen=True, slots=True)
class Adopted:
    """Settings, and what they leave out.

    Attributes:
        host: the `[host]` table.
        relays: the relays; the first takes all mail.
        unmanaged: what stays as it is.
        tables: further tables of the settings.
    """

    host: Mapping[str, Any]
    relays: tuple[AdoptedRelay, ...]
    unmanaged: tuple[Unmanaged, ...] = ()
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def raw(self) -> dict[str, Any]:
        """Return the settings as `parse_settings` takes them, with the passwords in them, to try them."""
        relays = [
            relay.table(**({"password": relay.password} if relay.password is not None else {}))
            for relay in self.relays
        ]
        return {
            "host": dict(self.host),
            "relay": relays,
            **{name: dict(keys) for name, keys in self.tables.items()},
        }

    def text(self, passwords: PurePath) -> str:
        """Return the text of the settings file, which names password files in this folder."""
        lines = [
            "# Settings of Postward, adopted from this host. To see every setting, run: postward check --example"
        ]
        for title, table in self._sections(passwords):
            if table:
                lines += ["", title, *(assignment(key, value) for key, value in table.items())]
        return "\n".join(lines) + "\n"

    def _sections(self, passwords: PurePath) -> Iterator[tuple[str, Mapping[str, Any]]]:
        yield "[host]", self.host
        for relay in self.relays:
            yield "[[relay]]", relay.table(password_file=str(passwords / relay.name))
        for name, table in self.tables.items():
            yield f"[{name}]", table

    def passwords(self) -> dict[str, str]:
        """Return relay name → password."""
        return {relay.name: relay.password for relay in self.relays if relay.password is not None}

    def changed(self) -> "Adopted":
        """Return settings in which each port and each password is another one."""
        relays = tuple(
            replace(
                relay,
                port=relay.port - 1 or 2,
                password=None if relay.password is None else f"new {relay.name}",
                more={**relay.more, "allow_unusual_port": True},
            )
            for relay in self.relays
            if relay.host
        )
        direct = tuple(relay for relay in self.relays if not relay.host)
        ordered = (*direct, *relays) if self.relays[0] in direct else (*relays, *direct)
        return replace(self, relays=ordered)

    def and_unmanaged(self, what: Unmanaged) -> "Adopted":
        """Return the settings with a further part that stays unmanaged."""
        return replace(self, unmanaged=(*self.unmanaged, what))

    def without_providers(self) -> "Adopted":
        """Return the settings without presets, whose limits would change main.cf."""
        return replace(self, relays=tuple(replace(relay, provider="") for relay in self.relays))


def named(relays: Iterable[AdoptedRelay]) -> tuple[AdoptedRelay, ...]:
    """Return relays with unique names, and with the preset of their provider."""
    done: list[AdoptedRelay] = []
    for relay in relays:
        provider, more = _provider(relay)
        base = provider or (_name_of(relay.host) if relay.host else "direct")
        taken = {other.name for other in done}
        names = (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3)))
        name = next(name for name in names if name not in taken)
        done.append(replace(relay, name=name, provider=provider, more={**more, **relay.more}))
    return tuple(done)


def _provider(relay: AdoptedRelay) -> tuple[str, dict[str, str]]:
    """Return the provider of a host name, and its region if it has several."""
    for name, provider in PROVIDERS.items():
        pattern = re.escape(provider.host).replace(r"\{region\}", "([a-z0-9-]+)")
        if match := re.fullmatch(pattern, relay.host.lower()):
            return name, {"region": match[1]} if match.groups() else {}
    return "", {}


def _name_of(host: str) -> str:
    if is_address(host):
        return "relay"
    labels = [label for label in host.lower().split(".")[:-1] if not _USUAL_LABELS.fullmatch(label)]
    name = re.sub(r"[^a-z0-9-]", "-", labels[0] if labels else host.lower().partition(".")[0]).strip("-")[:40]
    return name if name and name not in _RESERVED else "relay"


def listed(names: Iterable[str], limit: int = 6) -> str:
    """Return names as text; only the number of those beyond the limit."""
    every = list(names)
    shown, left = every[:limit], len(every) - limit
    return f"{', '.join(shown)} and {left} more" if left > 0 else ", ".join(shown)
