"""A temporary certificate authority and the server certificates that it issues, valid and invalid.

Only the test that writes the authority's file trusts it. Keys exist in memory, and briefly in a temporary file that the
TLS library needs.
"""

import datetime
import ssl
from pathlib import Path

import trustme

_DAY = datetime.timedelta(days=1)


class CA:
    """A certificate authority. `path` is its certificate as a PEM file, after `write`."""

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
        """The authority's certificate."""
        return self._authority.cert_pem.bytes()

    @property
    def path(self) -> Path:
        """The file that `write` wrote."""
        if self._path is None:
            raise RuntimeError("the authority has not been written to a file: call write(folder) first")
        return self._path

    def client_certificate(self, name: str) -> tuple[bytes, bytes]:
        """Return key and certificate of a client, in PEM."""
        issued = self._authority.issue_cert(common_name=name, key_type=trustme.KeyType.RSA)
        return issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()

    def server_certificate(self, *names: str) -> tuple[bytes, bytes]:
        """Return key and certificate of a server, in PEM, for one that reads them from files."""
        issued = self._authority.issue_cert(*names)
        return issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()

    def server_context(
        self,
        *names: str,
        expired: bool = False,
        not_yet_valid: bool = False,
        wrong_name: bool = False,
        self_signed: bool = False,
    ) -> ssl.SSLContext:
        """Return a server's TLS context with a certificate for these names, or with the given faults."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certify(
            context,
            *names,
            expired=expired,
            not_yet_valid=not_yet_valid,
            wrong_name=wrong_name,
            self_signed=self_signed,
        )
        return context

    def certify(
        self,
        context: ssl.SSLContext,
        *names: str,
        expired: bool = False,
        not_yet_valid: bool = False,
        wrong_name: bool = False,
        self_signed: bool = False,
    ) -> None:
        """Give a server another certificate, as `server_context` does; it is used from the next connection on."""
        now = datetime.datetime.now(datetime.UTC)
        starts, ends = now - _DAY, now + 365 * _DAY
        if expired:
            starts, ends = now - 30 * _DAY, now - _DAY
        if not_yet_valid:
            starts = now + 30 * _DAY
        if wrong_name:
            names = ("wrong.example.test",)
        # An unknown authority: to the client the same as a self-signed certificate.
        issuer = trustme.CA(organization_name="Unknown authority") if self_signed else self._authority
        certificate = issuer.issue_cert(*(names or ("localhost",)), not_before=starts, not_after=ends)
        certificate.configure_cert(context)
