"""Events of Postfix as a client of other servers: smtp(8), lmtp(8) and the TLS library."""

from typing import NamedTuple


class ConnectFailed(NamedTuple):
    """A connection to this peer failed; logged once for every address."""

    peer: str
    error: str


class TlsEstablished(NamedTuple):
    """A TLS session was established or reused, with the trust in the peer."""

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
    """An error of OpenSSL. It belongs to the TLS failure of the same process, on the line before or after."""

    detail: str


class CertificateNotVerified(NamedTuple):
    """A certificate failed verification; the mail may have been sent nevertheless."""

    peer: str
    reason: str


class TlsDisabled(NamedTuple):
    """The TLS engine of this host failed to start: certificates, CA files, protocol lists."""

    text: str


class TlsNote(NamedTuple):
    """Details of a TLS session, logged at higher values of smtp_tls_loglevel or smtpd_tls_loglevel."""

    peer: str | None
    text: str


class TlsReport(NamedTuple):
    """A result reported to the TLSRPT library."""

    status: str
    domain: str
    receiving_mx: str
    failure_type: str | None
    failure_reason: str | None


class StartTlsOffered(NamedTuple):
    """The server offered STARTTLS and Postfix did not use it."""

    host: str


class WrapperModeNeeded(NamedTuple):
    """The port and the TLS parameters contradict each other."""

    text: str


class SaslFailed(NamedTuple):
    """An error of the SASL library; the outcome follows in a delivery record."""

    reason: str


class PluginNote(NamedTuple):
    """A line of a SASL plug-in that logs under the name of smtp(8), as sasl-xoauth2 does."""

    text: str


class MechanismsUnsupported(NamedTuple):
    """No mechanism in the server's AUTH list is supported here."""

    peer: str
    mechanisms: str | None


class ProxyConnection(NamedTuple):
    """tlsproxy took over or ended a connection."""

    action: str
    direction: str | None
    peer: str


class ServerReply(NamedTuple):
    """A server rejected an optional command, or sent a response that is not SMTP."""

    queue_id: str | None
    peer: str
    reply: str


class SessionNote(NamedTuple):
    """A workaround or filter applied to a session with a server."""

    queue_id: str | None
    text: str


class LoopDetected(NamedTuple):
    """The server has the name of this host."""

    peer: str
    name: str


class NameLookupProblem(NamedTuple):
    """A DNS lookup gave no usable answer."""

    text: str


class RelayhostProblem(NamedTuple):
    """The next hop in this parameter failed permanently, so Postfix defers the mail: relayhost, smtp_fallback_relay."""

    parameter: str


class BadDestination(NamedTuple):
    """A next hop with invalid syntax; the delivery agent exits."""

    reason: str
    destination: str
