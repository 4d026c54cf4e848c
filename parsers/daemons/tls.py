"""Rules for the TLS library, which several daemons use: src/tls of the Postfix source."""

from typing import Final

from postward.parsers.events import (
    CertificateNotVerified,
    TlsAcceptFailed,
    TlsDisabled,
    TlsEstablished,
    TlsFailed,
    TlsLibraryProblem,
    TlsNote,
    TlsReport,
)
from postward.parsers.grammar import PEER
from postward.parsers.rules import Rule, problem, rule

# tls/tls_misc.c, tls_log_summary: a name, then its group, curve or bits in parentheses. Any part may be missing.
_ALGORITHM: Final = r"[^\s(]++(?: \([^()]*+\))?"

# tls/tls_client.c, tls/tls_server.c: details that follow "host[address]:port: " at higher levels.
_DETAILS: Final = (
    r"subject_CN=|Reusing old session|re-using session |TLS cipher list |SNI hostname: |[Mm]atched |depth=|verify="
    r"|raw public key|(?:looking up|reloaded|remove|save) session |Issuing session ticket|Decrypting session ticket"
    r"|subject=|issuer=|certificate |Trusted|Untrusted|Verified"
)

_SESSION_NOTES: Final = (
    r"setting up TLS connection (?:to|from) .*",
    r"initializing the (?:client|server)-side TLS engine",
    r"TLS SNI .* not matched, using default chain",
    r"SSL_(?:connect|accept):.*",
    r"SSL3 alert .*",
    r"(?:looking for|reloaded|save|remove) session .*",
    r"(?:open|write|read|lookup|put|delete|close) \w+ (?:TLS|session) .*",
    r"TLS protocol trace for .*",
    r"skipping TLS trace output .*",
    r"TLS handshake failed for service=.*",
    r"\S+: start TLS \S+ session cache cleanup",
)
_ENGINE_PROBLEMS: Final = (
    r".*: (?:disabling TLS support|aborting TLS session)",
    r"error loading the .* OpenSSL configuration file, .*",
    r"TLS has been selected, but TLS support is not compiled in",
    r"No server certs available\. .*",
    r"Wrapper-mode request dropped from .*",
    r"run-time library vs\. compile-time header version mismatch: .*",
    r"TLS policy lookup .*",
    r".*: invalid security level \".*\"",
    r"Invalid TLS level \".*\"",
    r".*: policy table lookup error",
    r".*: (?:invalid|error setting) (?:TLS )?cipher grade: \".*\"",
    r"\S+: all (?:fingerprints|trust anchors) unusable",
)

# Separate, because smtp(8) tries it early: it logs one such line per session.
ESTABLISHED: Final = rule(
    r"(?:(?P<trust>\w++) )?TLS connection (?P<how>established|reused) (?P<direction>to|from)"
    r" (?P<peer>[^\s\[\]]*+\[[^\]\s]*+\](?::\w++)?|[^\s\[\]:]++)"
    r"(?: to (?P<sni>[^\s:]++))?: (?P<protocol>\S++) with cipher (?P<cipher>\S++)"
    rf"(?: \((?P<bits>[0-9]++/[0-9]++) bits\))?(?: key-exchange (?P<key_exchange>{_ALGORITHM}))?"
    rf"(?: server-signature (?P<server_signature>{_ALGORITHM}))?(?: server-digest (?P<server_digest>\S++))?"
    rf"(?: client-signature (?P<client_signature>{_ALGORITHM}))?(?: client-digest (?P<client_digest>\S++))?",
    TlsEstablished,
    "tls/tls_misc.c",
)

TLS: Final[tuple[Rule, ...]] = (
    ESTABLISHED,
    rule(r"SSL_connect error to (?P<peer>\S+): (?P<reason>.*)", TlsFailed, "tls/tls_client.c"),
    rule(r"SSL_accept error from (?P<peer>\S+): (?P<reason>.*)", TlsAcceptFailed, "tls/tls_server.c"),
    rule(
        r"(?:(?:server|client) )?certificate verification failed for (?P<peer>\S+): (?P<reason>.*)",
        CertificateNotVerified,
        "tls/tls_verify.c",
    ),
    # Postfix 2.8 and earlier.
    rule(
        rf"(?P<peer>{PEER}): certificate verification failed: (?P<reason>.*)",
        CertificateNotVerified,
        "tls/tls_client.c",
    ),
    rule(
        r"TLSRPT: status=(?P<status>\w+), domain=(?P<domain>[^,]*), receiving_mx=(?P<receiving_mx>[^,]*)"
        r"(?:, failure_type=(?P<failure_type>[^,]*))?(?:, failure_reason=(?P<failure_reason>.*))?",
        TlsReport,
        "tls/tlsrpt_wrapper.c",
    ),
    rule(r"(?P<text>cannot .*: disabling TLS support)", TlsDisabled, "tls/tls_certkey.c"),
    rule(
        rf"(?P<peer>{PEER}): (?P<text>(?:{_DETAILS}).*)",
        TlsNote,
        "tls/tls_client.c",
        "tls/tls_server.c",
        "tls/tls_verify.c",
        "tls/tls_dane.c",
    ),
    rule(
        rf"(?P<text>{'|'.join(_SESSION_NOTES)})",
        TlsNote,
        "tls/tls_client.c",
        "tls/tls_server.c",
        "tls/tls_misc.c",
        "tls/tls_scache.c",
        "tlsproxy/tlsproxy_state.c",
        "tlsmgr/tlsmgr.c",
    ),
    problem(r"TLS library problem: (?P<detail>.*)", TlsLibraryProblem, "tls/tls_misc.c"),
    problem(
        rf"(?P<text>{'|'.join(_ENGINE_PROBLEMS)})",
        TlsDisabled,
        "tls/tls_certkey.c",
        "tls/tls_client.c",
        "tls/tls_misc.c",
        "smtp/smtp.c",
        "smtp/smtp_connect.c",
        "smtp/smtp_tls_policy.c",
        "smtpd/smtpd.c",
    ),
)
