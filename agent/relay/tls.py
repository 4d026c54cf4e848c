"""TLS of a client with Python's ssl module: contexts, the chain that a server sent, OpenSSL's error text."""

import contextlib
import ssl
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

_MAX_CONTEXT_AGE = 3600.0  # seconds
_MAX_CHAIN = 10


def client_context(
    ca_file: str,
    *,
    verify: bool,
    certificate: tuple[str, str] = ("", ""),
    ca_path: str = "",
    check_name: bool = True,
) -> ssl.SSLContext:
    """Return a client's context with OpenSSL's default strictness, which is also Postfix's. Raises OSError.

    Args:
        ca_file: the authorities; "" for those of the host.
        verify: require a certificate that is valid.
        certificate: the files of the client's own certificate and key; "" for none.
        ca_path: a directory with authorities; "" for none.
        check_name: require that it is valid for the server's name.
    """
    files = [name for name in (ca_file if verify else "", *certificate) if name]
    modified = tuple(Path(name).stat().st_mtime_ns for name in files)
    age = time.time() // _MAX_CONTEXT_AGE
    return _cached_context((ca_file, ca_path), modified, verify, check_name, certificate, age)


@lru_cache(maxsize=8)
def _cached_context(
    authorities: tuple[str, str],
    _modified: tuple[int, ...],
    verify: bool,
    check_name: bool,
    certificate: tuple[str, str],
    _age: float,
) -> ssl.SSLContext:
    """Load the authorities, which takes 100 times as long as a handshake: hourly, or when the file changes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if certificate[0]:
        context.load_cert_chain(*certificate)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.check_hostname = check_name
    if any(authorities):
        ca_file, ca_path = authorities
        context.load_verify_locations(ca_file or None, ca_path or None)
    else:
        context.load_default_certs()
    return context


def sent_chain(tls: Any) -> list[bytes]:
    """Return the certificates that the server sent, in DER, its own first."""
    owner = tls if hasattr(tls, "get_unverified_chain") else getattr(tls, "_sslobj", None)
    with contextlib.suppress(AttributeError, ValueError, ssl.SSLError):
        sent = owner.get_unverified_chain() if owner is not None else None
        # Public, and in bytes, since Python 3.13.
        chain = [entry if isinstance(entry, bytes) else _der(entry) for entry in sent or ()]
        if chain:
            return chain[:_MAX_CHAIN]
    leaf = tls.getpeercert(binary_form=True)
    return [leaf] if leaf else []


def _der(certificate: Any) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.public_bytes())


def certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    """Return why OpenSSL did not verify a certificate."""
    return error.verify_message or "the certificate cannot be verified"
