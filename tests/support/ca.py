"""A throw-away certificate authority and the server certificates that it issues, good and bad.

Nothing is trusted outside the test that writes the authority's file. Keys exist in memory, and for a moment in
a temporary file that the TLS library needs.
"""

import datetime
import ssl
from pathlib import Path

import trustme

_DAY = datetime.timedelta(days=1)


class CA:
    """One authority. `path` is its certificate as a PEM file once `write` has put it somewhere."""

    def __init__(self) -> None:
        self._authority = trustme.CA(organization_name="Postward test bed")
        self._path: Path | None = None

    def write(self, folder: Path) -> Path:
        """Write the authority's certificate (not its key) as ca.pem into the folder."""
        self._path = folder / "ca.pem"
        self._path.write_bytes(self.pem)
        self._path.chmod(0o644)
        return self._path

    @property
    def pem(self) -> bytes:
        return self._authority.cert_pem.bytes()

    @property
    def path(self) -> Path:
        if self._path is None:
            raise RuntimeError("the authority is in no file yet: call write(folder) first")
        return self._path

    def server_context(
        self,
        *names: str,
        expired: bool = False,
        not_yet_valid: bool = False,
        wrong_name: bool = False,
        self_signed: bool = False,
    ) -> ssl.SSLContext:
        """Make a server's TLS context whose certificate is for these names, or is bad in the asked-for way."""
        now = datetime.datetime.now(datetime.UTC)
        starts, ends = now - _DAY, now + 365 * _DAY
        if expired:
            starts, ends = now - 30 * _DAY, now - _DAY
        if not_yet_valid:
            starts = now + 30 * _DAY
        if wrong_name:
            names = ("wrong.example.test",)
        # An authority that nobody was told of: to the client the same as a certificate out of thin air.
        issuer = trustme.CA(organization_name="Nobody's authority") if self_signed else self._authority
        certificate = issuer.issue_cert(*(names or ("localhost",)), not_before=starts, not_after=ends)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context
