"""Symptoms of TLS: how it begins, certificates, protocols, levels."""

from collections.abc import Collection

from postward.agent.incidents.symptom import Candidate, Certainty, Effect, Symptom, words
from postward.config.lint.facts import HostFacts
from postward.parsers import Cause

_HANDSHAKE = words(r"Cannot start TLS|unexpected server message")
_VERIFY = Cause.TLS_VERIFY
_NO_AUTHORITIES = Candidate(
    "ca-missing", "no authorities are named that know this certificate's issuer", "relay.ca_file", "smtp_tls_CAfile",
    "{set smtp_tls_CAfile={ca_file}}", "postconf -h smtp_tls_CAfile smtp_tls_CApath",
    ("verify-without-authorities", "ca-path-missing", "ca-path-outside-chroot", "ca-file-without-certificate"),
)  # fmt: skip
_OWN_ISSUER = Candidate(
    "issuer-unknown", "the relay's certificate is of an authority of its own, or a middlebox opens TLS", "relay.ca_file",
    "smtp_tls_CAfile", "get the authority's certificate from the relay, and name it in relay.ca_file",
    "openssl s_client -starttls smtp -connect HOST:PORT shows the issuer",
)  # fmt: skip


def _leaves_out_modern_versions(facts: HostFacts, _domains: Collection[str]) -> bool | None:
    """TLS 1.2 or 1.3 is left out: then a relay that is up to date may have nothing in common with this host. False: both are there."""
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


_EXPIRED = Candidate(
    "certificate-expired", "the relay did not renew its certificate, or this host's clock is wrong",
    "nothing in the settings: the relay", "-", "tell the relay; check this host's clock", "date",
)  # fmt: skip
_OTHER_NAME = Candidate(
    "relay-name", "the relay's name in the settings is an alias or address that is not in its certificate", "relay.host", "relayhost",
    "write a name that the certificate holds into relay.host, then {apply}",
    "openssl s_client -starttls smtp -connect HOST:PORT shows its names",
)  # fmt: skip
_WRAPPERMODE = Candidate("wrappermode-on-starttls", "TLS from the first byte (wrappermode) on a port that starts with STARTTLS",
                      "relay.tls, relay.port", "smtp_tls_wrappermode", "{set smtp_tls_wrappermode=no|smtp_tls_security_level=encrypt}"
                      ", or port 465", "postconf -hx smtp_tls_wrappermode; and postconf -P for an override in master.cf",
                      hints=("wrappermode-on-starttls-port",), needs=("smtp_tls_wrappermode",))  # fmt: skip
_WRAPPERMODE_ROUTE = Candidate("wrappermode-on-other-route", "smtp_tls_wrappermode holds for all destinations, also for this one on a port "
                      "with STARTTLS", "relay.tls", "smtp_tls_wrappermode", "give the relay on port 465 a service of its own in "
                      "master.cf with -o smtp_tls_wrappermode=yes, and take it out of main.cf; then {reload}",
                      "is this next hop one of transport_maps?", hints=("wrappermode-on-other-route",),
                      needs=("transport_maps", "sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps"))  # fmt: skip
_PROTOCOLS = Candidate("protocols", "smtp_tls_mandatory_protocols leaves out what the relay can do", "main_cf.smtp_tls_mandatory_protocols",
                      "smtp_tls_mandatory_protocols", "{remove smtp_tls_mandatory_protocols}", "postconf -n smtp_tls_mandatory_protocols smtp_tls_protocols",
                      host=_leaves_out_modern_versions)  # fmt: skip
_CIPHERS = Candidate("ciphers", "cipher settings leave out what the relay can do", "main_cf.smtp_tls_mandatory_ciphers",
                      "smtp_tls_mandatory_ciphers, smtp_tls_exclude_ciphers, tls_*_cipherlist",
                      "take the cipher settings out of main.cf, then {reload}", "postconf -n | grep -i cipher",
                      needs=("smtp_tls_mandatory_ciphers", "smtp_tls_ciphers", "smtp_tls_exclude_ciphers",
                             "smtp_tls_mandatory_exclude_ciphers", "tls_high_cipherlist", "tls_medium_cipherlist"))  # fmt: skip
_RELAY_OLD = Candidate(
    "relay-old", "the relay only knows TLS versions or ciphers that this host forbids, or wants a client certificate", "relay.host", "-",
    "the relay must be brought up to date", "openssl s_client -starttls smtp -connect HOST:PORT",
)  # fmt: skip
_RELAY_CLOSES = Candidate(
    "relay-closes", "the relay, or its load balancer, ends it", "relay.host", "-", "ask the relay",
    "does openssl s_client -starttls smtp -connect HOST:PORT work from another network?",
)  # fmt: skip
_MIDDLEBOX = Candidate(
    "middlebox", "a firewall on the way looks into SMTP and ends it", "the network", "-", "exempt this host from SMTP inspection",
    "does it work from another network?",
)  # fmt: skip


def _verify(
    name: str, title: str, clue: str, *candidates: Candidate, certainty: Certainty = Certainty.CERTAIN
) -> Symptom:
    return Symptom(name, title, candidates, certainty, _VERIFY, clue=words(clue))


SYMPTOMS: tuple[Symptom, ...] = (
    # --- handshake
    Symptom(
        "tls-no-tls-there", "the relay answers in clear where TLS was to begin",
        (_WRAPPERMODE, _WRAPPERMODE_ROUTE),
        cause=Cause.TLS_HANDSHAKE, says=_HANDSHAKE, clue=words("wrong version number"),
    ),
    Symptom(
        "tls-protocol-version", "the two sides have no TLS version in common",
        (
            _PROTOCOLS,
            Candidate("relay-old", "the relay only knows TLS versions that this host's OpenSSL or Postfix forbids", "relay.host", "-",
                      "the relay must be brought up to date", "openssl s_client -starttls smtp -connect HOST:PORT"),
        ),
        cause=Cause.TLS_HANDSHAKE, says=_HANDSHAKE, clue=words(r"alert protocol version|unsupported protocol|no protocols available|version too low"),
    ),
    Symptom(
        "tls-no-cipher", "the two sides have no cipher in common",
        (
            _CIPHERS,
            Candidate("relay-old", "the relay only knows ciphers that this host forbids, or wants a client certificate", "relay.host", "-",
                      "ask the relay", "openssl s_client -starttls smtp -connect HOST:PORT"),
        ),
        cause=Cause.TLS_HANDSHAKE, says=_HANDSHAKE, clue=words(r"alert handshake failure|no shared cipher|no ciphers available"),
    ),
    Symptom(
        "tls-protocol-list", "the list of TLS versions is misspelt",
        (Candidate("protocols-misspelt", "Postfix does not understand the list and aborts every TLS session",
                   "main_cf.smtp_tls_mandatory_protocols", "smtp_tls_mandatory_protocols, smtp_tls_protocols",
                   "{set smtp_tls_mandatory_protocols=!SSLv2, !SSLv3, !TLSv1, !TLSv1.1}; since 3.6 also >=TLSv1.2"),),
        cause=Cause.TLS_HANDSHAKE, clue=words("Invalid TLS protocol list|invalid protocol"),
    ),
    Symptom(
        "tls-cipher-grade", "a cipher grade is misspelt",
        (Candidate("cipher-grade", "Postfix does not know the grade and aborts every TLS session", "main_cf.smtp_tls_mandatory_ciphers",
                   "smtp_tls_mandatory_ciphers", "{remove smtp_tls_mandatory_ciphers}"),),
        cause=Cause.TLS_HANDSHAKE, clue=words("invalid .{0,20}cipher grade"),
    ),
    Symptom(
        "tls-closed", "the connection ends during the TLS handshake", (_RELAY_CLOSES, _MIDDLEBOX),
        cause=Cause.TLS_HANDSHAKE, clue=words(r"SSL_connect error to .*(?:lost connection|Connection reset|timed out)"),
    ),
    Symptom(
        "tls-handshake", "TLS does not come about, and the line that says why is not in what was read",
        (_WRAPPERMODE, _WRAPPERMODE_ROUTE, _PROTOCOLS, _CIPHERS, _RELAY_OLD, _RELAY_CLOSES, _MIDDLEBOX),
        cause=Cause.TLS_HANDSHAKE,
    ),
    # --- offered, demanded
    Symptom(
        "starttls-refused", "the relay cannot start TLS at the moment",
        (Candidate("relay-tls", "the relay answers STARTTLS with a temporary failure", "nothing in the settings: the relay", "-",
                   "wait, or ask the relay; do not lower relay.tls: the password would cross the network in clear"),),
        cause=Cause.TLS_NOT_OFFERED, says=words("refused to start TLS"),
    ),
    Symptom(
        "starttls-missing", "the relay offers no STARTTLS",
        (
            Candidate("port-without-tls", "this port of the relay has no STARTTLS", "relay.port, relay.tls", "relayhost",
                      "write the relay's submission port, mostly 587", "which ports does the relay's documentation name?"),
            Candidate("middlebox", "a firewall on the way takes STARTTLS out (SMTP inspection)", "the network", "-",
                      "exempt this host from SMTP inspection; do not lower relay.tls", "does openssl s_client -starttls smtp -connect HOST:PORT work from another network?"),
        ),
        cause=Cause.TLS_NOT_OFFERED,
    ),
    Symptom(
        "tls-demanded", "the relay demands TLS, and none was used",
        (Candidate("tls-off", "TLS is switched off", "relay.tls", "smtp_tls_security_level", "{set smtp_tls_security_level=encrypt}"),),
        cause=Cause.TLS_REQUIRED, effect=Effect.LOST,
    ),
    # --- certificates
    _verify("certificate-expired", "the relay's certificate has expired", "has expired",
            _EXPIRED, certainty=Certainty.LIKELY),
    _verify("certificate-not-yet-valid", "the relay's certificate is not valid yet", "not yet valid",
            Candidate("clock", "this host's clock is behind", "the host's clock", "-", "timedatectl set-ntp true", "date"),
            certainty=Certainty.LIKELY),
    _verify("certificate-name", "the relay's certificate is for another name", "hostname mismatch|num=62|is not the peer name",
            _OTHER_NAME),
    _verify("certificate-self-signed", "the relay shows a self-signed certificate", "self.signed certificate(?! in)",
            Candidate("relay-self-signed", "the relay itself has a self-signed certificate", "relay.ca_file", "smtp_tls_CAfile",
                      "get it from the relay in a safe way, and name it in relay.ca_file", "ask the relay"),
            Candidate("middlebox", "a firewall on the way opens TLS with a certificate of its own", "the network", "-",
                      "exempt this host from TLS inspection", "is it another one in openssl s_client -starttls smtp -connect HOST:PORT from another network?"),
            Candidate("sni", "the relay shows a default certificate because no server name is sent", "main_cf.smtp_tls_servername",
                      "smtp_tls_servername", "{set smtp_tls_servername=hostname}", "does openssl s_client -starttls smtp -connect HOST:PORT -servername HOST show another?")),
    _verify("certificate-issuer", "the relay's certificate cannot be verified: its issuer is not known",
            "untrusted issuer|unable to get (?:local )?issuer|self.signed certificate in", _NO_AUTHORITIES, _OWN_ISSUER),
    _verify("certificate-fingerprint", "the relay shows another certificate than the one that was agreed on",
            "TLSA|not trusted by local|num=65",
            Candidate("fingerprint", "smtp_tls_fingerprint_cert_match has the fingerprint of a former certificate: the relay renewed it",
                      "main_cf.smtp_tls_fingerprint_cert_match", "smtp_tls_fingerprint_cert_match",
                      "ask the relay for the new fingerprint and write it there, then {reload}; tls = \"starttls\" needs none",
                      "postconf -h smtp_tls_security_level says fingerprint",
                      needs=("smtp_tls_fingerprint_cert_match", "smtp_tls_policy_maps")),
            Candidate("tlsa", "the relay's TLSA record in DNS does not fit its certificate (DANE)", "nothing in the settings: the relay's DNS",
                      "-", "tell the relay; DANE is not for relays with a login, which tls = \"starttls\" checks by authority",
                      "postconf -h smtp_tls_security_level says dane", needs=("smtp_dns_support_level",))),
    Symptom("certificate-unverified", "the relay's certificate cannot be verified",
            (_NO_AUTHORITIES, _OWN_ISSUER, _OTHER_NAME, _EXPIRED), cause=_VERIFY),
    # --- our own settings
    Symptom(
        "tls-engine", "Postfix's TLS is switched off by a faulty setting",
        (Candidate("ca-file", "smtp_tls_CAfile names a file that cannot be loaded", "relay.ca_file", "smtp_tls_CAfile",
                   "{set smtp_tls_CAfile={ca_file}}"),),
        cause=Cause.LOCAL_CONFIG, says=words("TLS engine is unavailable"), clue=words("CAfile=|CApath="),
    ),
    Symptom(
        "tls-own-certificate", "Postfix's TLS is switched off: its own certificate or key cannot be loaded",
        (Candidate("tls-files", "smtp_tls_chain_files, smtp_tls_cert_file or smtp_tls_key_file names a file that is missing, unreadable "
                   "or does not fit the other", "main_cf.smtp_tls_cert_file", "smtp_tls_chain_files, smtp_tls_cert_file, smtp_tls_key_file",
                   "put the file in the line right, or take these parameters out of main.cf (a relay with passwords asks for no "
                   "certificate of this host); then {reload}"),),
        cause=Cause.LOCAL_CONFIG, says=words("TLS engine is unavailable"), clue=words("chain file|certificate from file|private key"),
    ),
    Symptom(
        "tls-wrapper-level", "Postfix does not even connect: wrappermode without a demand for TLS",
        (_WRAPPERMODE,
         Candidate("wrappermode-without-encryption", "smtp_tls_wrappermode = yes needs smtp_tls_security_level = encrypt", "relay.tls",
                   "smtp_tls_security_level", "{set smtp_tls_security_level=encrypt}", "postconf -hx relayhost: is it port 465?",
                   hints=("wrappermode-without-encryption",))),
        cause=Cause.LOCAL_CONFIG, clue=words(r"smtp_tls_wrappermode requires"),
    ),
    Symptom(
        "tls-policy", "smtp_tls_policy_maps has an entry that Postfix does not understand",
        (Candidate("tls-policy-level", "the level of the entry for this next hop is misspelt", "relay.tls", "smtp_tls_policy_maps",
                   "correct the entry, then {postmap smtp_tls_policy_maps}"),),
        cause=Cause.LOCAL_CONFIG, says=words("client TLS configuration problem|TLS policy"),
    ),
    Symptom(
        "tls-level", "smtp(8) cannot start: smtp_tls_security_level is misspelt",
        (Candidate("tls-level", "Postfix does not know the level", "relay.tls", "smtp_tls_security_level",
                   "{set smtp_tls_security_level=encrypt}"),),
        says=words("Invalid TLS level"),
    ),
    Symptom(
        "tls-prng", "tlsmgr(8) cannot start, and without it there is no TLS",
        (Candidate("data-directory-owner", "data_directory does not belong to Postfix's user", "the host's files", "data_directory",
                   "chown -R postfix: {data} && {restart}"),),
        daemon="tlsmgr", says=words(r"cannot open PRNG exchange file"),
    ),
)  # fmt: skip
