"""What the TLS library of Postfix logs, whichever daemon uses it: src/tls of the Postfix source."""

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

# tls/tls_misc.c, tls_log_summary: a name, and in parentheses its group, curve or bits; any part may be missing.
_ALGORITHM: Final = r"[^\s(]++(?: \([^()]*+\))?"

# tls/tls_client.c, tls/tls_server.c: details that follow "host[address]:port: " at higher levels.
_DETAILS: Final = (
    r"subject_CN=|Reusing old session|re-using session |TLS cipher list |SNI hostname: |[Mm]atched |depth=|verify="
    r"|raw public key|(?:looking up|reloaded|remove|save) session |Issuing session ticket|Decrypting session ticket"
    r"|subject=|issuer=|certificate |Trusted|Untrusted|Verified"
)

# Apart, because it comes early in the table of the client: one such line for every session.
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
    # Up to 2.8 the trust of a peer was judged in the callback and printed so.
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
        r"(?P<text>setting up TLS connection (?:to|from) .*|initializing the (?:client|server)-side TLS engine"
        r"|TLS SNI .* not matched, using default chain|SSL_(?:connect|accept):.*|SSL3 alert .*"
        r"|(?:looking for|reloaded|save|remove) session .*|(?:open|write|read|lookup|put|delete|close) \w+ (?:TLS|session) .*"
        r"|TLS protocol trace for .*|skipping TLS trace output .*|TLS handshake failed for service=.*"
        r"|\S+: start TLS \S+ session cache cleanup)",
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
        r"(?P<text>.*: (?:disabling TLS support|aborting TLS session)|error loading the .* OpenSSL configuration file, .*"
        r"|TLS has been selected, but TLS support is not compiled in|No server certs available\. .*"
        r"|Wrapper-mode request dropped from .*|run-time library vs\. compile-time header version mismatch: .*"
        r"|TLS policy lookup .*|.*: invalid security level \".*\"|Invalid TLS level \".*\"|.*: policy table lookup error"
        r"|.*: (?:invalid|error setting) (?:TLS )?cipher grade: \".*\"|\S+: all (?:fingerprints|trust anchors) unusable)",
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
