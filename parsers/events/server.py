"""What Postfix tells as a server of clients: smtpd(8), postscreen(8) and their helpers.

Fields as the package describes them; nothing here fails.
"""

from typing import NamedTuple


class ClientConnected(NamedTuple):
    """A client connected."""

    client: str


class ClientDisconnected(NamedTuple):
    """A client left; ``statistics`` counts its commands."""

    client: str
    statistics: str | None = None


class ClientLost(NamedTuple):
    """A session broke off: lost connection, timeout, too many errors."""

    queue_id: str | None
    what: str
    stage: str
    size: str | None
    client: str


class ClientVerdict(NamedTuple):
    """What became of a client's command: reject, hold, discard, milter-reject and their like."""

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
    """A client did not authenticate with us."""

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
    """A client broke the protocol."""

    kind: str
    stage: str | None
    client: str
    detail: str | None


class HostnameMismatch(NamedTuple):
    """A client's name does not lead back to its address."""

    hostname: str
    address: str
    reason: str | None


class Screened(NamedTuple):
    """postscreen's word on a client: PASS NEW, PREGREET, HANGUP, DNSBL rank and their like."""

    verdict: str
    client: str
    detail: str | None


class DnsListed(NamedTuple):
    """A block list knows this address."""

    address: str
    domain: str
    reply: str


class ClientNote(NamedTuple):
    """Remarks of a server about a session that change nothing for the mail."""

    text: str
