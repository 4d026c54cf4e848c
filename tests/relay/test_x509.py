"""The certificate parser, beside the cryptography package, and on damaged bytes."""

import ssl

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from postward.agent.relay.x509 import parse_certificate


def test_the_fields_agree_with_the_cryptography_package() -> None:
    """The parser reads the same as the cryptography package, for names and organizations of several kinds."""
    for organization in ("x", "Ö & Co", None):
        issued = trustme.CA().issue_cert("a.test", "192.0.2.7", "2001:db8::1", organization_name=organization)
        pem = issued.cert_chain_pems[0].bytes()
        theirs = x509.load_pem_x509_certificate(pem)
        ours = parse_certificate(ssl.PEM_cert_to_DER_cert(pem.decode()))

        assert ours.fingerprint == theirs.fingerprint(hashes.SHA256()).hex()
        assert ours.not_after == theirs.not_valid_after_utc.timestamp()
        assert set(ours.names) >= {"a.test", "192.0.2.7", "2001:db8::1"}
        for attribute in theirs.issuer:
            assert str(attribute.value) in ours.issuer


def test_damaged_certificates_raise_value_error() -> None:
    """Truncated or changed anywhere, a certificate is read or raises ValueError."""
    der = ssl.PEM_cert_to_DER_cert(trustme.CA().issue_cert("a.test").cert_chain_pems[0].bytes().decode())
    for position in range(len(der)):
        for damaged in (der[:position], der[:position] + b"\xff" + der[position + 1 :]):
            try:
                parse_certificate(damaged)
            except ValueError:
                continue
