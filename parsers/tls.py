"""What the TLS library of Postfix logs, whichever daemon uses it: src/tls of the Postfix source."""

from typing import Final

from parsers.events import CertificateNotVerified, TlsEstablished, TlsFailed, TlsLibraryProblem
from parsers.rules import Rule, problem, rule

# tls/tls_misc.c, tls_log_summary: each of these parts may be missing.
_SIGNATURE: Final = r"[^\s(]++(?: \([^()]*+\))?"

TLS: Final[tuple[Rule, ...]] = (
    rule(
        r"(?:(?P<trust>\w++) )?TLS connection (?P<how>established|reused) (?P<direction>to|from) (?P<peer>\S++)"
        r"(?: to (?P<sni>[^\s:]++))?: (?P<protocol>\S++) with cipher (?P<cipher>\S++)"
        rf"(?: \((?P<bits>\d++/\d++) bits\))?(?: key-exchange (?P<key_exchange>{_SIGNATURE}))?"
        rf"(?: server-signature (?P<server_signature>{_SIGNATURE}))?(?: server-digest (?P<server_digest>\S++))?"
        rf"(?: client-signature (?P<client_signature>{_SIGNATURE}))?(?: client-digest (?P<client_digest>\S++))?",
        TlsEstablished,
        "tls/tls_misc.c",
    ),
    rule(r"SSL_connect error to (?P<peer>\S+): (?P<reason>.*)", TlsFailed, "tls/tls_client.c"),
    rule(
        r"(?:(?:server|client) )?certificate verification failed for (?P<peer>\S+): (?P<reason>.*)",
        CertificateNotVerified,
        "tls/tls_verify.c",
    ),
    problem(r"TLS library problem: (?P<detail>.*)", TlsLibraryProblem, "tls/tls_misc.c"),
)
