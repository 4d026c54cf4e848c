"""A client's TLS with Python's ssl: contexts, the chain that a server sent, OpenSSL's words."""

import contextlib
import ssl
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

_CONTEXT_AGE = 3600.0  # seconds
_LONGEST_CHAIN = 10


def client_context(ca_file: str, *, verify: bool) -> ssl.SSLContext:
    """A client's context; Postfix is not stricter than OpenSSL's default, so neither is this. Raises OSError."""
    state = Path(ca_file).stat().st_mtime_ns if ca_file and verify else 0
    return _made_context(ca_file, state, verify, time.time() // _CONTEXT_AGE)


@lru_cache(maxsize=8)
def _made_context(ca_file: str, _state: int, verify: bool, _age: float) -> ssl.SSLContext:
    """Reading a host's authorities takes a hundred times as long as a handshake: once an hour, or when they change."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    return context


def sent_chain(tls: Any) -> list[bytes]:
    """The certificates that the relay sent, in DER, its own first."""
    owner = tls if hasattr(tls, "get_unverified_chain") else getattr(tls, "_sslobj", None)
    with contextlib.suppress(AttributeError, ValueError, ssl.SSLError):
        sent = owner.get_unverified_chain() if owner is not None else None
        # Public, and in bytes, since Python 3.13.
        found = [entry if isinstance(entry, bytes) else _der(entry) for entry in sent or ()]
        if found:
            return found[:_LONGEST_CHAIN]
    leaf = tls.getpeercert(binary_form=True)
    return [leaf] if leaf else []


def _der(certificate: Any) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.public_bytes())


def certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    """OpenSSL's words."""
    return error.verify_message or "the certificate cannot be verified"
