"""Symptoms of TLS: how it begins, certificates, protocols, levels."""

from collections.abc import Collection

from postward.agent.incidents.catalog.openssl import ENGINE_FAULTS, OTHER_REASON
from postward.agent.incidents.catalog.symptom import Candidate, Changes, Symptom, pattern
from postward.agent.incidents.catalog.tables import TABLE_NAMES, table_causes
from postward.agent.incidents.model import Effect
from postward.config.lint.facts import HostFacts
from postward.parsers import Cause

_HANDSHAKE = pattern("Cannot start TLS|unexpected server message")


def _leaves_out_modern_versions(facts: HostFacts, _domains: Collection[str]) -> bool | None:
    """Rule the cause out if TLS 1.2 and 1.3 are both allowed: without one, even a modern relay may not match."""
    if not facts.defaults:
        return None
    level = facts.value("smtp_tls_security_level")
    name = "smtp_tls_protocols" if level in {"", "none", "may"} else "smtp_tls_mandatory_protocols"
    allowed = [item for item in facts.words(name) if item[0] not in "!<>"]
    out = any(
        item in {"!TLSv1.2", "!TLSv1.3", "<=TLSv1", "<=TLSv1.1", "<=TLSv1.2", ">=TLSv1.3"}
        for item in facts.words(name)
    ) or bool(allowed and not {"TLSv1.2", "TLSv1.3"} <= set(allowed))
    return None if out else False


_NO_AUTHORITIES = Candidate(
    id="ca-missing",
    what="no configured certificate authority has issued this certificate",
    setting="relay.ca_file",
    parameter="smtp_tls_CAfile",
    remedy="{set smtp_tls_CAfile={ca_file}}",
    changes=Changes.WRITES,
    check="postconf -h smtp_tls_CAfile smtp_tls_CApath",
    lint_decides=(
        "verify-without-authorities",
        "ca-path-missing",
        "ca-path-outside-chroot",
        "ca-file-without-certificate",
    ),
)
_OWN_ISSUER = Candidate(
    id="issuer-unknown",
    what="the relay's certificate is from a private authority, or a middlebox intercepts TLS",
    setting="relay.ca_file",
    parameter="smtp_tls_CAfile",
    remedy="get the authority's certificate from the relay's operator, and name its file in relay.ca_file",
    changes=Changes.WRITES,
    check="openssl s_client -starttls smtp -connect HOST:PORT shows the issuer",
)
_EXPIRED = Candidate(
    id="certificate-expired",
    what=(
        "a certificate in the relay's chain has expired: its own, an intermediate one, or a root in this host's CA file; or "
        "this host's clock is wrong"
    ),
    setting="nothing in the settings: the relay",
    parameter="-",
    remedy="inform the relay's operator; check this host's clock",
    changes=Changes.READS,
    certain_by=pattern("certificate has expired"),
    check="date",
)
_OTHER_NAME = Candidate(
    id="relay-name",
    what="the relay's name in the settings is an alias or an address that the certificate does not contain",
    setting="relay.host",
    parameter="relayhost",
    remedy="if the relay's documentation lists a name from the certificate, write it into relay.host, then {apply}",
    changes=Changes.WRITES,
    check="openssl s_client -starttls smtp -connect HOST:PORT shows its names",
)
_INTERCEPTED = Candidate(
    id="middlebox",
    what="a firewall on the path intercepts TLS with its own certificate",
    setting="the network",
    parameter="-",
    remedy="exempt this host from TLS inspection",
    changes=Changes.READS,
    check=(
        "does openssl s_client -starttls smtp -connect HOST:PORT show another certificate from another network?"
    ),
)
_SNI = Candidate(
    id="sni",
    what="the relay presents a default certificate because Postfix sends no server name",
    setting="main_cf.smtp_tls_servername",
    parameter="smtp_tls_servername",
    remedy="{set smtp_tls_servername=hostname}",
    changes=Changes.WRITES,
    check="does openssl s_client -starttls smtp -connect HOST:PORT -servername HOST show another certificate?",
)
_WRAPPERMODE = Candidate(
    id="wrappermode-on-starttls",
    what="TLS starts with the first byte (wrappermode) on a port that expects STARTTLS",
    setting="relay.tls, relay.port",
    parameter="smtp_tls_wrappermode",
    remedy="{set smtp_tls_wrappermode=no|smtp_tls_security_level=encrypt}, or port 465",
    changes=Changes.WRITES,
    check="postconf -hx smtp_tls_wrappermode; and postconf -P for an override in master.cf",
    lint_proves=("wrappermode-on-starttls-port",),
    required_parameters=("smtp_tls_wrappermode",),
)
_WRAPPERMODE_ROUTE = Candidate(
    id="wrappermode-on-other-route",
    what="smtp_tls_wrappermode applies to all destinations, including this one on a STARTTLS port",
    setting="relay.tls",
    parameter="smtp_tls_wrappermode",
    remedy=(
        "define a service of its own in master.cf for the relay on port 465, with -o "
        "smtp_tls_wrappermode=yes, and remove the parameter from main.cf; then {reload}"
    ),
    changes=Changes.WRITES,
    check="is this next hop in transport_maps?",
    lint_proves=("wrappermode-on-other-route",),
    required_parameters=(
        "transport_maps",
        "sender_dependent_relayhost_maps",
        "sender_dependent_default_transport_maps",
    ),
)
_PROTOCOLS = Candidate(
    id="protocols",
    what="smtp_tls_mandatory_protocols excludes the versions that the relay supports",
    setting="main_cf.smtp_tls_mandatory_protocols",
    parameter="smtp_tls_mandatory_protocols",
    remedy="{remove smtp_tls_mandatory_protocols}",
    changes=Changes.LOWERS,
    check="postconf -n smtp_tls_mandatory_protocols smtp_tls_protocols",
    host_check=_leaves_out_modern_versions,
)
_CIPHERS = Candidate(
    id="ciphers",
    what="cipher settings exclude the ciphers that the relay supports",
    setting="main_cf.smtp_tls_mandatory_ciphers",
    parameter="smtp_tls_mandatory_ciphers, smtp_tls_exclude_ciphers, tls_*_cipherlist",
    remedy="remove the cipher settings from main.cf, then {reload}",
    changes=Changes.WRITES,
    check="postconf -n | grep -i cipher",
    required_parameters=(
        "smtp_tls_mandatory_ciphers",
        "smtp_tls_ciphers",
        "smtp_tls_exclude_ciphers",
        "smtp_tls_mandatory_exclude_ciphers",
        "tls_high_cipherlist",
        "tls_medium_cipherlist",
    ),
)
_RELAY_OLD = Candidate(
    id="relay-old",
    what=(
        "the relay supports only TLS versions or ciphers that this host forbids, or requires a client "
        "certificate"
    ),
    setting="relay.host",
    parameter="-",
    remedy="the relay must be upgraded",
    changes=Changes.READS,
    check="openssl s_client -starttls smtp -connect HOST:PORT",
)
_RELAY_CLOSES = Candidate(
    id="relay-closes",
    what="the relay or its load balancer closes the connection",
    setting="relay.host",
    parameter="-",
    remedy="contact the relay's operator",
    changes=Changes.READS,
    check="does openssl s_client -starttls smtp -connect HOST:PORT work from another network?",
)
_MIDDLEBOX = Candidate(
    id="middlebox",
    what="a firewall on the path inspects SMTP and closes the connection",
    setting="the network",
    parameter="-",
    remedy="exempt this host from SMTP inspection",
    changes=Changes.READS,
    check="does it work from another network?",
)
_POLICY_NAMES = (
    pattern(r'destination "(?P<DOMAIN>[\w.:\[\]-]+)"'),
    pattern(
        r'(?:invalid attribute name|security level|malformed attribute/value pair)[: ]+"(?P<NAME>[\w!.-]+)"'
    ),
)


def _policy_fault(identifier: str, what: str, words: str, check: str) -> Candidate:
    return Candidate(
        id=identifier,
        what=what,
        setting="relay.tls",
        parameter="smtp_tls_policy_maps",
        certain_by=pattern(words),
        remedy="correct the entry for {line DOMAIN|this next hop}, then {postmap smtp_tls_policy_maps}",
        changes=Changes.WRITES,
        check=check,
    )


_POLICY_FAULTS = (
    _policy_fault(
        "tls-policy-level",
        "the level {line NAME|} of the entry for this next hop is misspelt",
        "invalid security level|Invalid TLS level|unknown TLS policy|invalid empty policy",
        "is the first word of the entry none, may, encrypt, dane, verify or secure?",
    ),
    _policy_fault(
        "tls-policy-attribute",
        "this Postfix does not know the attribute {line NAME|} of the policy; a later release may",
        "invalid attribute name",
        "does this release of Postfix support each attribute? (servername: 3.4, enable_rpk: 3.9)",
    ),
    _policy_fault(
        "tls-policy-malformed",
        "an attribute of the entry is not name=value: {line NAME|see the line}",
        "malformed attribute/value pair|missing '='",
        "is each attribute written name=value, with : between values?",
    ),
    _policy_fault(
        "tls-policy-value",
        "the attribute {line NAME|} of the entry has a value, or stands beside a level, that Postfix does not accept",
        r'attribute "\w+" (?:has an? |is specified|invalid at)|"\w+=\S*" specifies an invalid hostname',
        "is the attribute valid at this level, written once, and its value complete?",
    ),
)
# smtp/smtp_tls_policy.c: other reasons for "client TLS configuration problem".
_NO_POLICY = (
    Candidate(
        id="tls-no-fingerprints",
        what="the level is fingerprint, and no fingerprint is configured for {line DOMAIN|this next hop}",
        setting="main_cf.smtp_tls_fingerprint_cert_match",
        parameter="smtp_tls_fingerprint_cert_match, or match= in smtp_tls_policy_maps",
        certain_by=pattern("fingerprint security level, but with no fingerprints"),
        remedy="write the certificate's fingerprint there, then {reload}",
        changes=Changes.WRITES,
        check="postconf -n smtp_tls_security_level smtp_tls_fingerprint_cert_match",
    ),
    Candidate(
        id="tls-servername",
        what="smtp_tls_servername is not a host name",
        setting="main_cf.smtp_tls_servername",
        parameter="smtp_tls_servername",
        certain_by=pattern(r'"smtp_tls_servername = [^"]*" specifies an invalid hostname'),
        remedy="{remove smtp_tls_servername}",
        changes=Changes.WRITES,
        check="postconf -n smtp_tls_servername",
        required_parameters=("smtp_tls_servername",),
    ),
    *(one for one in table_causes("smtp_tls_policy_maps", "relay.tls") if one.id == "table-server"),
)


SYMPTOMS: tuple[Symptom, ...] = (
    # smtp/smtp_tls_policy.c, at the levels dane-only and half-dane
    Symptom(
        id="tls-dane",
        title="a TLS policy demands DANE, and the destination has no usable TLSA records",
        cause=Cause.LOCAL_CONFIG,
        text=pattern(r"non DNSSEC destination|TLSA (?:lookup error|records)|DANE"),
        candidates=(
            Candidate(
                id="dane-only-unsigned",
                what="the level dane-only is set for a destination whose zone is not signed with DNSSEC, or has no TLSA records",
                setting="main_cf.smtp_tls_policy_maps",
                parameter="smtp_tls_policy_maps, its policy server, or smtp_tls_security_level",
                remedy="set the level dane for this destination, then {reload}",
                changes=Changes.LOWERS,
                check="dig +dnssec on the destination's MX: does the answer have the flag ad?",
            ),
            Candidate(
                id="resolver-not-validating",
                what="the resolver does not validate DNSSEC, so that no destination seems to be signed",
                setting="the host's resolver",
                parameter="smtp_dns_support_level, /etc/resolv.conf",
                remedy="use a validating resolver on this host, then {restart}",
                changes=Changes.WRITES,
                check="dig +dnssec postfix.org MX: does the answer have the flag ad?",
            ),
        ),
    ),
    # Handshake
    Symptom(
        id="tls-no-tls-there",
        title="the relay answers in cleartext where the TLS handshake should begin",
        cause=Cause.TLS_HANDSHAKE,
        text=_HANDSHAKE,
        context=pattern("wrong version number"),
        candidates=(
            _WRAPPERMODE,
            _WRAPPERMODE_ROUTE,
        ),
    ),
    Symptom(
        id="tls-protocol-version",
        title="this host and the relay have no TLS version in common",
        cause=Cause.TLS_HANDSHAKE,
        text=_HANDSHAKE,
        context=pattern("alert protocol version|unsupported protocol|no protocols available|version too low"),
        candidates=(
            _PROTOCOLS,
            Candidate(
                id="relay-old",
                what="the relay supports only TLS versions that this host's OpenSSL or Postfix forbids",
                setting="relay.host",
                parameter="-",
                remedy="the relay must be upgraded",
                changes=Changes.READS,
                check="openssl s_client -starttls smtp -connect HOST:PORT",
            ),
        ),
    ),
    Symptom(
        id="tls-no-cipher",
        title="this host and the relay have no cipher in common",
        cause=Cause.TLS_HANDSHAKE,
        text=_HANDSHAKE,
        context=pattern("alert handshake failure|no shared cipher|no ciphers available"),
        candidates=(
            _CIPHERS,
            Candidate(
                id="relay-old",
                what=(
                    "the relay supports only ciphers that this host forbids, or requires a client certificate"
                ),
                setting="relay.host",
                parameter="-",
                remedy="contact the relay's operator",
                changes=Changes.READS,
                check="openssl s_client -starttls smtp -connect HOST:PORT",
            ),
        ),
    ),
    Symptom(
        id="tls-protocol-list",
        title="the list of TLS versions is misspelt",
        cause=Cause.TLS_HANDSHAKE,
        context=pattern("Invalid TLS protocol list|invalid protocol"),
        candidates=(
            Candidate(
                id="protocols-misspelt",
                what="Postfix cannot parse the list and aborts every TLS session",
                setting="main_cf.smtp_tls_mandatory_protocols",
                parameter="smtp_tls_mandatory_protocols, smtp_tls_protocols",
                remedy=(
                    "{set smtp_tls_mandatory_protocols=!SSLv2, !SSLv3, !TLSv1, !TLSv1.1}; since 3.6 also "
                    ">=TLSv1.2"
                ),
                changes=Changes.WRITES,
                check="postconf -n smtp_tls_mandatory_protocols smtp_tls_protocols: is it the list in the line?",
            ),
            Candidate(
                id="tls-policy-protocols",
                what="protocols= in an entry of smtp_tls_policy_maps is misspelt",
                setting="relay.tls",
                parameter="smtp_tls_policy_maps",
                remedy="correct the entry, then {postmap smtp_tls_policy_maps}",
                changes=Changes.WRITES,
                check="does the entry for this next hop have protocols=?",
                required_parameters=("smtp_tls_policy_maps",),
            ),
        ),
    ),
    Symptom(
        id="tls-cipher-grade",
        title="a cipher grade is misspelt",
        cause=Cause.TLS_HANDSHAKE,
        context=pattern("invalid .{0,20}cipher grade"),
        candidates=(
            Candidate(
                id="cipher-grade",
                what="Postfix does not know the grade and aborts every TLS session",
                setting="main_cf.smtp_tls_mandatory_ciphers",
                parameter="smtp_tls_mandatory_ciphers",
                remedy="write low, medium or high into smtp_tls_mandatory_ciphers or smtp_tls_ciphers, then {reload}",
                changes=Changes.WRITES,
                check="postconf -n smtp_tls_mandatory_ciphers smtp_tls_ciphers: is it the grade in the line?",
            ),
            Candidate(
                id="tls-policy-ciphers",
                what="ciphers= in an entry of smtp_tls_policy_maps is misspelt",
                setting="relay.tls",
                parameter="smtp_tls_policy_maps",
                remedy="correct the entry, then {postmap smtp_tls_policy_maps}",
                changes=Changes.WRITES,
                check="does the entry for this next hop have ciphers=?",
                required_parameters=("smtp_tls_policy_maps",),
            ),
        ),
    ),
    Symptom(
        id="tls-closed",
        title="the connection closes during the TLS handshake",
        cause=Cause.TLS_HANDSHAKE,
        context=pattern("SSL_connect error to .*(?:lost connection|Connection reset)|unexpected eof"),
        candidates=(
            _RELAY_CLOSES,
            _MIDDLEBOX,
        ),
    ),
    OTHER_REASON,
    Symptom(
        id="tls-handshake",
        title="the TLS handshake fails, and the line that says why is missing from the log",
        cause=Cause.TLS_HANDSHAKE,
        candidates=(
            _WRAPPERMODE,
            _WRAPPERMODE_ROUTE,
            _PROTOCOLS,
            _CIPHERS,
            _RELAY_OLD,
            _RELAY_CLOSES,
            _MIDDLEBOX,
        ),
    ),
    # Offered, demanded
    Symptom(
        id="starttls-refused",
        title="the relay cannot start TLS at the moment",
        cause=Cause.TLS_NOT_OFFERED,
        text=pattern("refused to start TLS"),
        candidates=(
            Candidate(
                id="relay-tls",
                what="the relay answers STARTTLS with a temporary failure",
                setting="nothing in the settings: the relay",
                parameter="-",
                remedy=(
                    "wait, or contact the relay's operator; do not lower relay.tls: the password would "
                    "cross the network in cleartext"
                ),
                changes=Changes.READS,
            ),
        ),
    ),
    Symptom(
        id="starttls-missing",
        title="the relay does not offer STARTTLS",
        cause=Cause.TLS_NOT_OFFERED,
        candidates=(
            Candidate(
                id="port-without-tls",
                what="this port of the relay has no STARTTLS",
                setting="relay.port, relay.tls",
                parameter="relayhost",
                remedy="write the relay's submission port, usually 587",
                changes=Changes.WRITES,
                check="which ports does the relay's documentation list?",
            ),
            Candidate(
                id="middlebox",
                what="a firewall on the path removes STARTTLS (SMTP inspection)",
                setting="the network",
                parameter="-",
                remedy="exempt this host from SMTP inspection; do not lower relay.tls",
                changes=Changes.READS,
                check="does openssl s_client -starttls smtp -connect HOST:PORT work from another network?",
            ),
        ),
    ),
    Symptom(
        id="tls-demanded",
        title="the relay requires TLS, and none was used",
        cause=Cause.TLS_REQUIRED,
        effect=Effect.LOST,
        candidates=(
            Candidate(
                id="tls-off",
                what="TLS is switched off",
                setting="relay.tls",
                parameter="smtp_tls_security_level",
                remedy="{set smtp_tls_security_level=encrypt}",
                changes=Changes.WRITES,
                check="postconf -h smtp_tls_security_level",
                lint_proves=("password-without-tls",),
            ),
            Candidate(
                id="middlebox",
                what=(
                    "the relay's offer of STARTTLS does not reach this host, and smtp_tls_security_level = may "
                    "allows mail without TLS"
                ),
                setting="the network",
                parameter="-",
                remedy="exempt this host from SMTP inspection",
                changes=Changes.READS,
                check="does postward relay show STARTTLS?",
            ),
        ),
    ),
    # Certificates
    Symptom(
        id="certificate-expired",
        title="the relay's certificate has expired",
        cause=Cause.TLS_VERIFY,
        context=pattern("has expired"),
        candidates=(_EXPIRED,),
    ),
    Symptom(
        id="certificate-not-yet-valid",
        title="the relay's certificate is not valid yet",
        cause=Cause.TLS_VERIFY,
        context=pattern("not yet valid"),
        candidates=(
            Candidate(
                id="clock",
                what="this host's clock is behind",
                setting="the host's clock",
                parameter="-",
                remedy="timedatectl set-ntp true",
                changes=Changes.WRITES,
                check="date",
            ),
            Candidate(
                id="certificate-future",
                what="the relay's certificate begins in the future: it was issued by a clock that is ahead",
                setting="nothing in the settings: the relay",
                parameter="-",
                remedy="wait until it begins, or inform the relay's operator",
                changes=Changes.READS,
                check="openssl s_client -starttls smtp -connect HOST:PORT | openssl x509 -noout -startdate",
            ),
        ),
    ),
    Symptom(
        id="certificate-name",
        title="the relay's certificate is for another name",
        cause=Cause.TLS_VERIFY,
        context=pattern("hostname mismatch|num=62|is not the peer name"),
        candidates=(_OTHER_NAME, _SNI, _INTERCEPTED),
    ),
    Symptom(
        id="certificate-self-signed",
        title="the relay presents a self-signed certificate",
        cause=Cause.TLS_VERIFY,
        context=pattern("self.signed certificate(?! in)"),
        candidates=(
            Candidate(
                id="relay-self-signed",
                what="the relay itself has a self-signed certificate",
                setting="relay.ca_file",
                parameter="smtp_tls_CAfile",
                remedy=(
                    "get the certificate from the relay's operator over a safe channel, and name its file "
                    "in relay.ca_file"
                ),
                changes=Changes.WRITES,
                check="contact the relay's operator",
            ),
            _INTERCEPTED,
            _SNI,
        ),
    ),
    Symptom(
        id="certificate-issuer",
        title="the relay's certificate cannot be verified: its issuer is unknown",
        cause=Cause.TLS_VERIFY,
        context=pattern("untrusted issuer|unable to get (?:local )?issuer|self.signed certificate in"),
        candidates=(
            _NO_AUTHORITIES,
            _OWN_ISSUER,
        ),
    ),
    Symptom(
        id="certificate-fingerprint",
        title="the relay's certificate does not match the pinned fingerprint or TLSA record",
        cause=Cause.TLS_VERIFY,
        context=pattern("TLSA|not trusted by local|num=65"),
        candidates=(
            Candidate(
                id="fingerprint",
                what=(
                    "smtp_tls_fingerprint_cert_match contains the fingerprint of an old certificate: the "
                    "relay renewed it"
                ),
                setting="main_cf.smtp_tls_fingerprint_cert_match",
                parameter="smtp_tls_fingerprint_cert_match",
                remedy=(
                    "get the new fingerprint from the relay's operator and write it there, then {reload}; "
                    'tls = "starttls" needs none'
                ),
                changes=Changes.WRITES,
                check="postconf -h smtp_tls_security_level prints fingerprint",
                required_parameters=("smtp_tls_fingerprint_cert_match", "smtp_tls_policy_maps"),
            ),
            Candidate(
                id="tlsa",
                what="the relay's TLSA record in DNS does not match its certificate (DANE)",
                setting="nothing in the settings: the relay's DNS",
                parameter="-",
                remedy=(
                    "inform the relay's operator; a relay with a login does not need DANE: tls = "
                    '"starttls" verifies its certificate authority'
                ),
                changes=Changes.READS,
                check="postconf -h smtp_tls_security_level prints dane",
                required_parameters=("smtp_dns_support_level",),
            ),
        ),
    ),
    Symptom(
        id="certificate-unverified",
        title="the relay's certificate cannot be verified",
        cause=Cause.TLS_VERIFY,
        candidates=(
            _NO_AUTHORITIES,
            _OWN_ISSUER,
            _OTHER_NAME,
            _SNI,
            _EXPIRED,
        ),
    ),
    # Our own settings
    Symptom(
        id="tls-engine",
        title="a faulty setting switched Postfix's TLS off",
        cause=Cause.LOCAL_CONFIG,
        text=pattern("TLS engine is unavailable"),
        context=pattern(
            r"CAfile=|CApath=|tls_config_(?:file|name)|no entropy|SSL_CTX: disabling|DANE initialization|Digest algorithm"
        ),
        candidates=(
            Candidate(
                id="ca-file",
                what="smtp_tls_CAfile or smtp_tls_CApath names a file that cannot be loaded",
                setting="relay.ca_file",
                parameter="smtp_tls_CAfile",
                certain_by=pattern(r"CAfile=|CApath="),
                remedy="{set smtp_tls_CAfile={ca_file}}",
                changes=Changes.WRITES,
                check="is smtp_tls_CAfile a readable file, and smtp_tls_CApath a directory?",
            ),
            *ENGINE_FAULTS,
        ),
    ),
    Symptom(
        id="tls-own-certificate",
        title="Postfix's TLS is off: its own certificate or key cannot be loaded",
        cause=Cause.LOCAL_CONFIG,
        text=pattern("TLS engine is unavailable"),
        context=pattern("chain file|certificate from file|private key"),
        candidates=(
            Candidate(
                id="tls-files",
                what=(
                    "smtp_tls_chain_files, smtp_tls_cert_file or smtp_tls_key_file names a file that is "
                    "missing, unreadable, or does not match the other file"
                ),
                setting="main_cf.smtp_tls_cert_file",
                parameter="smtp_tls_chain_files, smtp_tls_cert_file, smtp_tls_key_file",
                certain_by=pattern(r"chain file|certificate from file|private key"),
                remedy=(
                    "repair the file in the line, or remove these parameters from main.cf (a relay with "
                    "passwords needs no client certificate); then {reload}"
                ),
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="tls-wrapper-level",
        title="Postfix does not connect: wrappermode requires a TLS security level of encrypt or higher",
        cause=Cause.LOCAL_CONFIG,
        context=pattern("smtp_tls_wrappermode requires"),
        candidates=(
            _WRAPPERMODE,
            Candidate(
                id="wrappermode-without-encryption",
                what="smtp_tls_wrappermode = yes requires smtp_tls_security_level = encrypt",
                setting="relay.tls",
                parameter="smtp_tls_security_level",
                remedy="{set smtp_tls_security_level=encrypt}",
                changes=Changes.WRITES,
                check="postconf -hx relayhost: is it port 465?",
                lint_proves=("wrappermode-without-encryption",),
            ),
        ),
    ),
    Symptom(
        id="tls-policy-table",
        title="smtp_tls_policy_maps cannot be looked up: mail waits",
        daemon="smtp",
        text=pattern("policy table lookup error|per-site table lookup error"),
        names=TABLE_NAMES,
        candidates=table_causes("smtp_tls_policy_maps", "relay.tls"),
    ),
    Symptom(
        id="tls-policy-entry",
        title="smtp_tls_policy_maps has an entry that Postfix cannot parse",
        daemon="smtp",
        text=pattern(r"tls_policy_maps, next-hop destination|TLS policy table"),
        names=_POLICY_NAMES,
        candidates=_POLICY_FAULTS,
    ),
    Symptom(
        id="tls-policy",
        title="smtp_tls_policy_maps cannot be used for this next hop",
        cause=Cause.LOCAL_CONFIG,
        text=pattern("client TLS configuration problem|TLS policy"),
        names=_POLICY_NAMES,
        candidates=(*_POLICY_FAULTS, *_NO_POLICY),
    ),
    Symptom(
        id="tls-level",
        title="a daemon cannot start: a TLS security level is misspelt",
        text=pattern("Invalid TLS level"),
        candidates=(
            Candidate(
                id="tls-level",
                what="Postfix does not know the level",
                setting="relay.tls",
                parameter="smtp_tls_security_level",
                certain_by=pattern(r"/smtp\[\d+\]: .*Invalid TLS level"),
                refuted_by=pattern(r"/(?:smtpd|postscreen)\[\d+\]: .*Invalid TLS level"),
                remedy="{set smtp_tls_security_level=encrypt}",
                changes=Changes.WRITES,
                check="postconf -h smtp_tls_security_level; is it none, may, encrypt, dane, verify or secure?",
            ),
            # smtpd/smtpd.c, postscreen/postscreen_tls_conf.c; tlsproxy(8) has both.
            Candidate(
                id="tls-level-server",
                what="Postfix does not know the level for mail that it receives",
                setting="main_cf.smtpd_tls_security_level",
                parameter="smtpd_tls_security_level",
                certain_by=pattern(r"/(?:smtpd|postscreen)\[\d+\]: .*Invalid TLS level"),
                refuted_by=pattern(r"/smtp\[\d+\]: .*Invalid TLS level"),
                remedy="{set smtpd_tls_security_level=may}",
                changes=Changes.WRITES,
                check="postconf -h smtpd_tls_security_level; is it none, may or encrypt?",
            ),
        ),
    ),
    Symptom(
        id="tls-prng",
        title="tlsmgr(8) cannot start, so TLS is not available",
        daemon="tlsmgr",
        text=pattern("cannot open PRNG exchange file"),
        candidates=(
            Candidate(
                id="data-directory-owner",
                what="data_directory is not owned by Postfix's user",
                setting="the host's files",
                parameter="data_directory",
                refuted_by=pattern("No such file|Read-only|No space"),
                remedy="chown -R postfix: {data} && {restart}",
                changes=Changes.WRITES,
                check="ls -ld {data}; ausearch -m avc -ts recent",
            ),
            Candidate(
                id="data-directory-missing",
                what="data_directory does not exist, or its file system is full or read-only",
                setting="the host's files",
                parameter="data_directory",
                certain_by=pattern("PRNG exchange file.*(?:No such file|Read-only|No space)"),
                refuted_by=pattern("PRNG exchange file.*Permission denied"),
                remedy="create the directory or repair its file system, then {permissions} and {restart}",
                changes=Changes.WRITES,
                check="ls -ld {data}; df -h {data}",
            ),
        ),
    ),
)
