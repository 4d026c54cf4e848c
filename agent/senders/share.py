"""The sender behind most of the mail of an hour or day, as a value and as text. Pure.

A source is the way in which a message came: `uid:33` is a program of a local user, `login:NAME` a client that logged in,
`client:HOST[ADDRESS]` any other client. All of them are facts of the log; the name of a user is looked up when it is shown.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypedDict

from postward.agent.stored import MAX_TEXT
from postward.agent.text import plural
from postward.parsers.scrub import printable

LOCAL, LOGIN, CLIENT = "uid:", "login:", "client:"
VIA: Final = {LOCAL: "local", LOGIN: "authenticated", CLIENT: "network"}  # prefix of a source → the way in
WINDOWS: Final = {"hour": "hour", "day": "24 hours"}  # window → its name in texts
DOMINATES: Final = 0.5  # of the recipients
MIN_MESSAGES: Final = 10  # of the source; fewer say nothing

# Texts that are safe in a shell command, unquoted.
_SAFE_ADDRESS: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]*@[A-Za-z0-9.-]+")
_SAFE_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LOOPBACK: Final = re.compile(r"\[(?:127\.[0-9.]+|::1|IPv6:::1)\]$")

Users = Callable[[str], str | None]  # uid → name of the user; None if there is none, or on another host


@dataclass(frozen=True, slots=True)
class Share:
    """The part of one source in the mail of a time.

    Attributes:
        window: a key of `WINDOWS`.
        until: its end, in seconds since 1970.
        source: see the module.
        sender: the first sender address of the source in that time.
        messages: messages of the source; a lower bound, and exact while few sources send.
        recipients: recipients of these messages; likewise.
        all_messages: messages of all sources.
        all_recipients: recipients of all messages.
    """

    window: str
    until: float
    source: str
    sender: str
    messages: int
    recipients: int
    all_messages: int
    all_recipients: int

    def masked(self) -> "Share":
        """Return the share without mail addresses and names of logins."""
        return replace(self, source=masked_source(self.source), sender=masked_address(self.sender))

    def printable(self) -> "Share":
        """Return the share with printable texts of bounded length."""
        source, sender = (printable(text)[:MAX_TEXT] for text in (self.source, self.sender))
        return replace(self, source=source, sender=sender)


class ShareRow(TypedDict):
    """A share in JSON.

    Keys:
        what: the fact as text.
        find: how to find the program, login or client.
        hold: how to hold the mail of the sender that waits.
        window, until, source, user, sender, messages, recipients, all_messages, all_recipients: as in `Share`; `user` is the
            name of the local user.
    """

    what: str
    find: str
    hold: str
    window: str
    until: float
    source: str
    user: str | None
    sender: str
    messages: int
    recipients: int
    all_messages: int
    all_recipients: int


def masked_source(source: str) -> str:
    """Return a source without the name of a login; the domain of an address stays."""
    if not source.startswith(LOGIN):
        return source
    _, at, domain = source.rpartition("@")
    return f"{LOGIN}…{at}{domain if at else ''}"


def masked_address(address: str) -> str:
    """Return an address without its local part."""
    _, at, domain = address.rpartition("@")
    return f"…@{domain}" if at else "…" if address else ""


def source_text(source: str, users: Users = lambda _: None) -> str:
    """Return a source as text, as in "uid 33 (www-data)"."""
    kind, _, name = source.partition(":")
    if f"{kind}:" != LOCAL:
        return f"{kind} {name}"
    user = users(name)
    return f"uid {name} ({user})" if user else f"uid {name}"


def address_text(address: str) -> str:
    """Return an address as text; the empty sender is that of notifications."""
    return address or "<>"


def share_row(share: Share, users: Users = lambda _: None) -> ShareRow:
    """Return a share for people.

    Args:
        share: the share.
        users: returns the name of a uid of this host.
    """
    is_local = share.source.startswith(LOCAL)
    user = users(share.source.removeprefix(LOCAL)) if is_local else None
    end = datetime.fromtimestamp(share.until).astimezone()
    messages = f"{share.messages:,} of {plural(share.all_messages, 'message')}"
    what = (
        f"{source_text(share.source, users)} submitted {messages} of the {WINDOWS[share.window]} until "
        f"{end:%d %b %H:%M} ({percent(share.messages, share.all_messages)}), to {share.recipients:,} of "
        f"{plural(share.all_recipients, 'recipient')}; first sender {address_text(share.sender)}"
    )
    return {
        "what": what,
        "find": _find(share.source, user),
        "hold": _hold(share.sender),
        "window": share.window,
        "until": share.until,
        "source": share.source,
        "user": user,
        "sender": share.sender,
        "messages": share.messages,
        "recipients": share.recipients,
        "all_messages": share.all_messages,
        "all_recipients": share.all_recipients,
    }


def percent(part: int, whole: int) -> str:
    """Return a part as per cent of a whole, rounded down: 100 % means all."""
    return f"{100 * part // whole if whole else 0} %"


def _find(source: str, user: str | None) -> str:
    """Return how to find the program, login or client."""
    if source.startswith(LOCAL):
        uid = source.removeprefix(LOCAL)
        name = user if user and _SAFE_USER.fullmatch(user) else ""
        if not uid.isdecimal():
            return "ps -ef"
        whose = "" if name else f"USER is that of `getent passwd {uid}`: "
        name = name or "USER"
        return (
            f"ps -fu {uid}; {whose}crontab -l -u {name}; grep -rw {name} /etc/crontab /etc/cron.d; "
            "systemctl list-timers"
        )
    if source.startswith(LOGIN):
        return "grep sasl_username in the mail log for the clients of this login; change its password if it is abused"
    if _LOOPBACK.search(source):
        return "ss -tnp 'dport = :25': a program of this host that submits by SMTP, or a content filter"
    return "the program on that client"


def _hold(sender: str) -> str:
    """Return the command that holds the mail of a sender, with a placeholder for an address that is masked or unsafe."""
    if not sender:
        return ""
    name = sender if _SAFE_ADDRESS.fullmatch(sender) else "ADDRESS"
    return f"postward queue --sender {name} --hold"
