"""The hosts, one file each: what stands in /etc/postfix, what runs beside Postfix, and where each mail arrives.

Each follows a documented layout (Postfix's READMEs, how-tos of amavis, Dovecot and Rspamd, public roles and images).
In all texts `<etc>` is Postfix's directory, `<mail>` the folder of mailboxes, `<ca>` the authorities' file, `<NAME>` the
`[host]:port` of a hop, and `<NAME port>` its port. `<back port>` is free for a listener of this Postfix.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

_FOLDER = Path(__file__).parent
HOSTS = sorted(path.stem for path in _FOLDER.glob("*.toml"))


@dataclass(frozen=True)
class Hop:
    """A server beside Postfix.

    Attributes:
        kind: smtp takes mail by SMTP and LMTP; filter takes it and gives it back; the others are asked by Postfix.
        tls: starttls, implicit or none.
        users: the logins, of which one is required; empty: no login.
        host: its address. Mail to user@[127.0.0.2] goes to the hop `world` there by itself, as to a mail exchanger.
    """

    kind: Literal["smtp", "filter", "milter", "ldap"] = "smtp"
    tls: str = "none"
    users: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"


class Arrival(NamedTuple):
    """The place where a mail arrives: a hop or a mailbox, and the login, TLS and EHLO name of the last session."""

    at: str
    login: str | None = None
    tls: bool = False
    helo: str = ""

    @classmethod
    def parse(cls, text: str) -> "Arrival":
        """Return an arrival, written as `HOP [LOGIN] [tls] [helo=NAME]`."""
        at, *words = text.split()
        helo = next((word.removeprefix("helo=") for word in words if word.startswith("helo=")), "")
        login = next((word for word in words if word != "tls" and not word.startswith("helo=")), None)
        return cls(at, login, "tls" in words, helo)


@dataclass(frozen=True)
class Mail:
    """A route of a host.

    Attributes:
        to: the recipient.
        before: where its mail arrives before Postward and after a rollback (`Arrival.parse`).
        after: where it arrives while Postward manages the relay; empty: where it did before.
        sender: the envelope sender.
        via: sendmail, smtp (from another host), or other (sendmail of the other instance).
        mark: a header that a filter adds.
    """

    to: str
    before: str
    after: str = ""
    sender: str = "app@mail.example.org"
    via: Literal["sendmail", "smtp", "other"] = "sendmail"
    mark: str = ""

    def arrival(self, *, managed: bool) -> Arrival:
        """Return where it arrives."""
        return Arrival.parse(self.after if managed and self.after else self.before)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A host.

    Attributes:
        main_cf, master_cf: the files; services of master.cf come after those of every Postfix.
        hops: what runs beside Postfix. The hop `relay` is the relay of the settings.
        mails: the routes.
        tables: file → content; those that main.cf names with an indexed type are built.
        relay, relay_host: further keys of `[[relay]]`, and its host.
        edit: what an admin sets by hand while Postward runs; empty: the former main.cf is copied back.
        entries: of a hop of kind ldap, as lines of table, key and value.
        other: main.cf of another instance.
        foreground: Postfix runs in the foreground and logs to standard output.
        crlf: main.cf has Windows line ends.
    """

    main_cf: str
    hops: Mapping[str, Hop]
    mails: tuple[Mail, ...]
    master_cf: str = ""
    tables: Mapping[str, str] = field(default_factory=dict)
    relay: str = ""
    relay_host: str = "127.0.0.1"
    edit: Mapping[str, str] = field(default_factory=dict)
    entries: str = ""
    other: str = ""
    foreground: bool = False
    crlf: bool = False


def layout(name: str) -> Layout:
    """Return the host of a name."""
    raw = tomllib.loads((_FOLDER / f"{name}.toml").read_text())
    hops = {hop: Hop(**keys) for hop, keys in raw.pop("hops").items()}
    return Layout(hops=hops, mails=tuple(Mail(**mail) for mail in raw.pop("mails")), **raw)
