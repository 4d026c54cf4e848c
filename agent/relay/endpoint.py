"""A relay as the other end of an SMTP session: address, TLS, login."""

import socket
from dataclasses import dataclass, field, replace
from pathlib import Path

from postward.agent.postfix.config import PostfixConfig
from postward.agent.postfix.host_files import HostFiles
from postward.agent.postfix.run import PostfixError
from postward.config.host import Host
from postward.config.relay import IMPLICIT_TLS_PORTS, Relay, TlsMode
from postward.config.sasl import SaslClient
from postward.config.settings import Settings
from postward.parsers.postconf import split_list

ALTERNATIVE_PORTS = (587, 465, 2525, 25)
_TIMEOUT = 15.0  # seconds a step; RFC 5321 allows minutes, which is too long for a check
_FAMILIES = {"ipv4": (socket.AF_INET,), "ipv6": (socket.AF_INET6,)}
_ALL_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_USUAL_CLIENT = SaslClient()
_CERTIFICATES = ("smtp_tls_chain_files", "smtp_tls_cert_file", "smtp_tls_key_file")


@dataclass(frozen=True, slots=True)
class RelayEndpoint:
    """A relay to connect to, and how.

    Attributes:
        relay: its name in the settings.
        host, port, tls, ca_file, ca_path: as in the settings of the relay.
        verify: the certificate must be valid, or have one of the fingerprints.
        helo: the name of this host in EHLO.
        username, password: the login; None: no login is attempted.
        cleartext_password: the password may be sent over an unencrypted connection.
        families: address families to use.
        timeout: seconds a step.
        client_certificate, client_key: what this host presents; "" for nothing.
        sasl: Postfix's SASL client for this relay.
        ca_path, verify_names, fingerprints, socket, bind_address: as in the settings of the relay.
        lmtp: it speaks LMTP.
        envelope: the sender and the recipients to name after the login; empty: name none.
        message: a mail to send to them, with CRLF line ends; empty: send none.
    """

    relay: str
    host: str
    port: int
    tls: TlsMode
    verify: bool = False
    ca_file: str = ""
    helo: str = "localhost"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    cleartext_password: bool = False
    families: tuple[socket.AddressFamily, ...] = _ALL_FAMILIES
    timeout: float = _TIMEOUT
    client_certificate: str = ""
    client_key: str = ""
    sasl: SaslClient = _USUAL_CLIENT
    ca_path: str = ""
    verify_names: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    socket: str = ""
    bind_address: str = ""
    lmtp: bool = False
    envelope: tuple[str, ...] = ()
    message: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class PostfixClient:
    """How smtp(8) of this host logs in, beyond the settings of a relay.

    Attributes:
        plugins: the names of the installed SASL plug-ins; None without any, as on a host without Postfix.
        certificate, key: the files of main.cf that it presents; "" for none.
    """

    plugins: frozenset[str] | None = None
    certificate: str = ""
    key: str = ""


def read_client(settings: Settings) -> PostfixClient:
    """Return what smtp(8) has on this host. Without Postfix, or with a main.cf it cannot read, it has no certificate."""
    postfix = PostfixConfig(Path(settings.postfix.config_directory))
    given = {name: settings.main_cf[name] for name in _CERTIFICATES if name in settings.main_cf}
    try:
        values = postfix.meanings(_CERTIFICATES, given)
    except PostfixError:
        values = {}
    chain = split_list(values.get("smtp_tls_chain_files", ""))  # the key comes first (postconf(5))
    if chain:
        return PostfixClient(read_plugins(), chain[min(1, len(chain) - 1)], chain[0])
    certificate, key = (values.get(name, "") for name in ("smtp_tls_cert_file", "smtp_tls_key_file"))
    return PostfixClient(read_plugins(), certificate, key or certificate)


def read_plugins(system: Path = Path("/")) -> frozenset[str] | None:
    """Return the names of the installed SASL plug-ins; None without any, as on a host without Postfix."""
    return HostFiles(system).sasl_plugins() or None


def login_endpoint(
    relay: Relay, settings: Settings, password: str | None, client: PostfixClient
) -> RelayEndpoint:
    """Return the endpoint of a relay with the login that Postfix would make with these settings on this host."""
    own = relay.own_parameters
    words = own["smtp_sasl_mechanism_filter"] or settings.main_cf.get("smtp_sasl_mechanism_filter", "")
    options = frozenset(split_list(own["smtp_sasl_tls_security_options"]))
    sasl = SaslClient(client.plugins, tuple(word.lower() for word in split_list(words)), options)
    endpoint = replace(endpoint_of(relay, settings.host, password), sasl=sasl)
    if relay.client_certificate:
        return endpoint
    return replace(endpoint, client_certificate=client.certificate, client_key=client.key)


def endpoint_of(relay: Relay, host: Host, password: str | None = None) -> RelayEndpoint:
    """Return the endpoint of a relay, as seen from this host. Without a password no login is attempted."""
    return RelayEndpoint(
        relay.name,
        relay.host,
        relay.port,
        relay.tls,
        relay.verify or bool(relay.fingerprints),
        relay.ca_file,
        relay.helo_name or host.myhostname,
        relay.username or None,
        password,
        relay.allow_cleartext_password,
        _FAMILIES.get((host.inet_protocols or "").strip(), _ALL_FAMILIES),
        client_certificate=relay.client_certificate,
        client_key=relay.client_key,
        ca_path=relay.ca_path,
        verify_names=tuple(relay.verify_names),
        fingerprints=tuple(relay.fingerprints),
        socket=relay.socket,
        bind_address=relay.bind_address,
        lmtp=relay.protocol == "lmtp",
    )


def on_port(endpoint: RelayEndpoint, port: int) -> RelayEndpoint:
    """Return the same relay on another port, without a login: it shows only what answers there."""
    return RelayEndpoint(
        endpoint.relay,
        endpoint.host,
        port,
        "implicit" if port in IMPLICIT_TLS_PORTS else "opportunistic",
        ca_file=endpoint.ca_file,
        helo=endpoint.helo,
        families=endpoint.families,
        timeout=endpoint.timeout,
        bind_address=endpoint.bind_address,
    )
