"""Events of Postfix as a server: smtpd(8), postscreen(8) and their helpers."""

from typing import NamedTuple


class ClientConnected(NamedTuple):
    """A client connected."""

    client: str


class ClientDisconnected(NamedTuple):
    """A client disconnected; `statistics` counts its commands."""

    client: str
    statistics: str | None = None


class ClientLost(NamedTuple):
    """A session ended early: lost connection, timeout, too many errors."""

    queue_id: str | None
    what: str
    stage: str
    size: str | None
    client: str


class ClientVerdict(NamedTuple):
    """The action on a client's command: reject, hold, discard, milter-reject and others."""

    queue_id: str | None
    action: str
    stage: str
    client: str
    text: str
    from_: str | None = None
    to: str | None = None
    proto: str | None = None
    helo: str | None = None
    sasl_method: str | None = None
    sasl_username: str | None = None
    sasl_sender: str | None = None


class ClientSaslFailed(NamedTuple):
    """SASL authentication of a client failed."""

    client: str
    mechanism: str
    reason: str | None
    sasl_username: str | None = None


class ClientLimit(NamedTuple):
    """A client exceeded one of anvil's limits."""

    limit: str
    number: str
    client: str
    service: str


class ClientMisbehaved(NamedTuple):
    """A client violated the protocol."""

    kind: str
    stage: str | None
    client: str
    detail: str | None


class HostnameMismatch(NamedTuple):
    """A client's name does not resolve to its address."""

    hostname: str
    address: str
    reason: str | None


class Screened(NamedTuple):
    """postscreen's verdict on a client: PASS NEW, PREGREET, HANGUP, DNSBL rank and others."""

    verdict: str
    client: str
    detail: str | None


class DnsListed(NamedTuple):
    """A DNS block list contains this address."""

    address: str
    domain: str
    reply: str


class ClientNote(NamedTuple):
    """A remark about a session, without effect on the mail."""

    text: str
