"""Symptoms of a failed TLS handshake by the reason that OpenSSL gives (openssl/sslerr.h, ssl/ssl_err.c).

Postfix prints the reason as `TLS library problem`. A reason without a row is quoted.
"""

from postward.agent.incidents.catalog.symptom import Candidate, Changes, Symptom, pattern
from postward.parsers import Cause

_RELAY = "nothing in the settings: the relay"
_REASON = (
    pattern(r"error:[0-9A-F]+:SSL routines:[^:]*:(?P<REASON>[\w ,/.-]+)"),
    pattern(r"error:[0-9A-F]+:[\w ]+:[^:]*:(?P<REASON>[\w ,/.-]+)"),
)


def _of_relay(
    identifier: str, regex: str, title: str, what: str, remedy: str, changes: Changes = Changes.READS
) -> Symptom:
    """Return a symptom whose words name a property of the server."""
    return Symptom(
        id=identifier,
        title=title,
        cause=Cause.TLS_HANDSHAKE,
        context=pattern(regex),
        names=_REASON,
        candidates=(
            Candidate(
                id=identifier.removeprefix("tls-"),
                what=f"{what} (or a firewall that inspects TLS answers in its place)",
                setting=_RELAY,
                parameter="-",
                certain_by=pattern(regex),
                remedy=remedy,
                changes=changes,
                check="openssl s_client -starttls smtp -connect HOST:PORT",
            ),
        ),
    )


# tls/tls_misc.c, tls/tls_client.c: other reasons to switch TLS off.
ENGINE_FAULTS = (
    Candidate(
        id="tls-config-file",
        what="tls_config_file or tls_config_name names a file or a section that OpenSSL cannot load",
        setting="main_cf.tls_config_file",
        parameter="tls_config_file, tls_config_name",
        certain_by=pattern(r"tls_config_(?:file|name)|configuration file, disabling TLS"),
        remedy="correct tls_config_file and tls_config_name, or remove them from main.cf; then {reload}",
        changes=Changes.WRITES,
        check="postconf -n tls_config_file tls_config_name",
    ),
    Candidate(
        id="openssl-start",
        what="OpenSSL cannot start here: it has no source of randomness, or is of another version",
        setting="the host's packages",
        parameter="libssl",
        certain_by=pattern(
            "no entropy|allocate client SSL_CTX|DANE initialization failed|initializing the OpenSSL library"
        ),
        remedy="install the OpenSSL that this Postfix was built for, then {restart}",
        changes=Changes.RESTARTS,
        check="openssl version; postconf -T compile-version; postconf -T run-version",
    ),
    Candidate(
        id="tls-digest",
        what="OpenSSL does not know the digest algorithm that smtp_tls_fingerprint_digest names",
        setting="main_cf.smtp_tls_fingerprint_digest",
        parameter="smtp_tls_fingerprint_digest",
        certain_by=pattern(r'Digest algorithm "[^"]*" not found'),
        remedy="{set smtp_tls_fingerprint_digest=sha256}",
        changes=Changes.WRITES,
        check="postconf -n smtp_tls_fingerprint_digest",
    ),
)

SYMPTOMS: tuple[Symptom, ...] = (
    _of_relay(
        "tls-weak-signature",
        "legacy sigalg disallowed|wrong signature type",
        "the server signs with an algorithm that OpenSSL refuses, such as SHA-1",
        "the server's signature uses SHA-1 or another algorithm below OpenSSL's security level "
        "(legacy sigalg)",
        "the server's operator must renew the certificate or upgrade the server; until then use another relay",
    ),
    # OpenSSL's ssl/t1_lib.c gives these reasons for the certificate of either side.
    Symptom(
        id="tls-weak-key",
        title="OpenSSL refuses a certificate as too weak: {line REASON|the line has its reason}",
        cause=Cause.TLS_HANDSHAKE,
        context=pattern("(?:ee|ca) key too small|ca md too weak|no suitable signature|no shared signature"),
        names=_REASON,
        candidates=(
            Candidate(
                id="weak-key",
                what="the server's certificate is weaker than OpenSSL's security level allows",
                setting=_RELAY,
                parameter="-",
                remedy="the server's operator must get a stronger certificate",
                changes=Changes.READS,
                check="openssl s_client -starttls smtp -connect HOST:PORT shows the certificate's key and signature",
            ),
            Candidate(
                id="weak-client-certificate",
                what="Postfix's own client certificate is weaker than OpenSSL's security level allows",
                setting="main_cf.smtp_tls_cert_file",
                parameter="smtp_tls_chain_files, smtp_tls_cert_file, smtp_tls_key_file",
                remedy="get a stronger certificate, or remove these parameters from main.cf; then {reload}",
                changes=Changes.WRITES,
                check="postconf -n smtp_tls_chain_files smtp_tls_cert_file",
                required_parameters=("smtp_tls_chain_files", "smtp_tls_cert_file", "smtp_tls_eccert_file"),
            ),
        ),
    ),
    _of_relay(
        "tls-weak-dh",
        r"dh key too small|bad dh value|dh too small",
        "the server's Diffie-Hellman key is too short for OpenSSL",
        "the server offers Diffie-Hellman parameters that are shorter than OpenSSL's security level allows",
        "the server's operator must use longer parameters or ECDHE; here, exclude kEDH in "
        "smtp_tls_exclude_ciphers so that other ciphers are used",
        Changes.WRITES,
    ),
    _of_relay(
        "tls-old-renegotiation",
        "unsafe legacy renegotiation disabled",
        "the server does not support secure renegotiation",
        "the server lacks RFC 5746, which OpenSSL 3 requires",
        "the server's operator must upgrade it",
    ),
    Symptom(
        id="tls-client-certificate",
        title="the server requires a client certificate, or refuses the one that Postfix sends",
        cause=Cause.TLS_HANDSHAKE,
        context=pattern(
            r"alert (?:certificate required|bad certificate|certificate unknown|unknown ca|"
            r"certificate expired|unsupported certificate|access denied)"
        ),
        names=_REASON,
        candidates=(
            Candidate(
                id="client-certificate",
                what="the server checks client certificates ({line REASON|the alert is in the line})",
                setting="main_cf.smtp_tls_cert_file",
                parameter="smtp_tls_chain_files, smtp_tls_cert_file, smtp_tls_key_file",
                remedy="get a client certificate from the server's operator, or remove a wrong one; then {reload}",
                changes=Changes.WRITES,
                check="postconf -n smtp_tls_chain_files smtp_tls_cert_file",
            ),
        ),
    ),
    Symptom(
        id="tls-server-name",
        title="the server does not know the name that Postfix asks for in TLS",
        cause=Cause.TLS_HANDSHAKE,
        context=pattern("unrecognized name"),
        names=_REASON,
        candidates=(
            Candidate(
                id="server-name",
                what="smtp_tls_servername or the next hop is a name that the server does not serve",
                setting="main_cf.smtp_tls_servername",
                parameter="smtp_tls_servername",
                remedy="correct the name, then {reload}",
                changes=Changes.WRITES,
                check="postconf -n smtp_tls_servername",
            ),
        ),
    ),
    Symptom(
        id="tls-not-verified-in-handshake",
        title="the server's certificate cannot be verified",
        cause=Cause.TLS_HANDSHAKE,
        context=pattern("certificate verify failed"),
        names=_REASON,
        candidates=(
            Candidate(
                id="ca-missing",
                what="no configured certificate authority has issued the server's certificate",
                setting="relay.ca_file",
                parameter="smtp_tls_CAfile",
                remedy="{set smtp_tls_CAfile={ca_file}}",
                changes=Changes.WRITES,
                check="postconf -h smtp_tls_CAfile smtp_tls_CApath",
                lint_decides=("verify-without-authorities", "ca-path-missing"),
            ),
            Candidate(
                id="certificate-expired",
                what="the server's certificate has expired, or is for another name",
                setting=_RELAY,
                parameter="-",
                remedy="inform the server's operator; check this host's clock",
                changes=Changes.READS,
                check="openssl s_client -starttls smtp -connect HOST:PORT shows the certificate",
            ),
        ),
    ),
    Symptom(
        id="tls-damaged",
        title="TLS records arrive damaged: {line REASON|the line has OpenSSL's reason}",
        cause=Cause.TLS_HANDSHAKE,
        context=pattern(
            r"bad record mac|decryption failed|excessive message size|bad length|length mismatch"
        ),
        names=_REASON,
        candidates=(
            Candidate(
                id="middlebox",
                what="a firewall or proxy on the path changes the data",
                setting="the network",
                parameter="-",
                remedy="exempt this host from SMTP inspection",
                changes=Changes.READS,
                check="does it work from another network?",
            ),
            Candidate(
                id="relay-tls",
                what="the server's TLS library is faulty",
                setting=_RELAY,
                parameter="-",
                remedy="contact the server's operator",
                changes=Changes.READS,
                check="does openssl s_client -starttls smtp -connect HOST:PORT work?",
            ),
        ),
    ),
    Symptom(
        id="tls-timeout",
        title="the TLS handshake times out: packets are lost on the path",
        cause=Cause.TLS_HANDSHAKE,
        context=pattern(r"SSL_connect error to .*(?:timed out|time limit)"),
        candidates=(
            Candidate(
                id="mtu",
                what="large packets are lost on the path: its MTU is smaller than this host's (VPN, PPPoE, container)",
                setting="the network",
                parameter="-",
                remedy="lower the MTU of the interface or container network to that of the path",
                changes=Changes.WRITES,
                check="ping -M do -s 1472 HOST",
            ),
            Candidate(
                id="relay-hangs",
                what="the server accepts STARTTLS and does not answer the handshake",
                setting=_RELAY,
                parameter="-",
                remedy="wait, or contact the server's operator",
                changes=Changes.READS,
                check="does openssl s_client -starttls smtp -connect HOST:PORT work from another network?",
            ),
            Candidate(
                id="middlebox",
                what="a firewall on the path holds back the handshake",
                setting="the network",
                parameter="-",
                remedy="exempt this host from SMTP inspection",
                changes=Changes.READS,
                check="does it work from another network?",
            ),
        ),
    ),
)

# After the rows that explain the frequent reasons.
OTHER_REASON = Symptom(
    id="tls-other-reason",
    title="the TLS handshake fails: {line REASON|the line has OpenSSL's reason}",
    cause=Cause.TLS_HANDSHAKE,
    context=pattern(r"TLS library problem: .*error:|SSL routines"),
    names=_REASON,
    candidates=(
        Candidate(
            id="relay-tls",
            what="the server does what OpenSSL refuses: {line REASON|the reason is in the line}",
            setting=_RELAY,
            parameter="-",
            remedy="inform the server's operator of OpenSSL's reason",
            changes=Changes.READS,
            check="does openssl s_client -starttls smtp -connect HOST:PORT fail in the same way?",
        ),
        Candidate(
            id="tls-settings",
            what="TLS settings of this host or of its OpenSSL forbid what the server does",
            setting="main_cf.smtp_tls_mandatory_protocols",
            parameter="smtp_tls_mandatory_protocols, smtp_tls_mandatory_ciphers, openssl.cnf",
            remedy="compare the settings with what the server offers",
            changes=Changes.READS,
            check="postconf -n | grep tls; /etc/ssl/openssl.cnf",
        ),
    ),
)
