"""What Postfix tells as a client of other servers: smtp(8), lmtp(8), and the TLS library.

Fields as the package describes them; nothing here fails.
"""

from typing import NamedTuple


class ConnectFailed(NamedTuple):
    """No connection to this peer; logged once for every address tried."""

    peer: str
    error: str


class TlsEstablished(NamedTuple):
    """A TLS session began or went on, and how far the other side is to be trusted."""

    trust: str | None
    how: str
    direction: str
    peer: str
    sni: str | None
    protocol: str
    cipher: str
    bits: str | None
    key_exchange: str | None = None
    server_signature: str | None = None
    server_digest: str | None = None
    client_signature: str | None = None
    client_digest: str | None = None


class TlsFailed(NamedTuple):
    """The TLS handshake with a server failed."""

    peer: str
    reason: str


class TlsAcceptFailed(NamedTuple):
    """The TLS handshake with a client failed."""

    peer: str
    reason: str | None


class TlsLibraryProblem(NamedTuple):
    """What OpenSSL said; belongs to the TLS failure of the same process just before or after."""

    detail: str


class CertificateNotVerified(NamedTuple):
    """A certificate did not pass; says nothing of whether mail went out all the same."""

    peer: str
    reason: str


class TlsDisabled(NamedTuple):
    """Our own TLS engine could not start: certificates, CA files, protocol lists."""

    text: str


class TlsNote(NamedTuple):
    """Details of a TLS session, logged at higher levels."""

    peer: str | None
    text: str


class TlsReport(NamedTuple):
    """What was handed to the TLSRPT library."""

    status: str
    domain: str
    receiving_mx: str
    failure_type: str | None
    failure_reason: str | None


class StartTlsOffered(NamedTuple):
    """The server offers STARTTLS and we do not use it."""

    host: str


class WrapperModeNeeded(NamedTuple):
    """smtp says that the port and the TLS settings do not go together."""

    text: str


class SaslFailed(NamedTuple):
    """The SASL library's own complaint; the outcome follows in a delivery record."""

    reason: str


class MechanismsUnsupported(NamedTuple):
    """The server's AUTH list holds nothing that we can do."""

    peer: str
    mechanisms: str | None


class ProxyConnection(NamedTuple):
    """tlsproxy took a connection over, or ended it."""

    action: str
    direction: str | None
    peer: str


class ServerReply(NamedTuple):
    """A server refused a command that is not essential, or spoke something that is not SMTP."""

    queue_id: str | None
    peer: str
    reply: str


class SessionNote(NamedTuple):
    """Workarounds and filters applied to a session with a server."""

    queue_id: str | None
    text: str


class LoopDetected(NamedTuple):
    """The server bears our own name."""

    peer: str
    name: str


class NameLookupProblem(NamedTuple):
    """DNS gave no usable answer."""

    text: str


class RelayhostProblem(NamedTuple):
    """The next hop of main.cf failed for good, so Postfix keeps the mail: "relayhost", or the fallback."""

    parameter: str


class BadDestination(NamedTuple):
    """A next hop that Postfix cannot even parse: the agent dies."""

    reason: str
    destination: str
