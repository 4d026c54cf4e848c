"""Filters that make log text safe to show: secrets, control characters and mail addresses.

- ``scrub`` removes secrets. With ``smtp -v`` or ``debug_peer_list`` Postfix logs the relay's password in clear
  text, the AUTH dialogue, and the entries of the password table. Every output of log lines uses this filter.
- ``printable`` escapes control characters. Remote servers and clients can send them, and a terminal would
  interpret them.
- ``mask_addresses`` removes the local parts of mail addresses from output that must not hold personal data.

Promises: linear time, and text with nothing to remove is returned unchanged. In the messages that are known to print
a secret, all text after the label is removed, because a password may contain any character.
"""

import re
from typing import Final

SCRUBBED: Final = "[scrubbed]"
MASK: Final = "********"  # replaces a secret whose position is known

_MECHANISM: Final = (
    r"(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|NTLM|GSSAPI|EXTERNAL|XOAUTH2|OAUTHBEARER|SCRAM-[\w-]+)"
)
_VERB: Final = r"(?:AUTH|BDAT|DATA|EHLO|ETRN|EXPN|HELO|HELP|LHLO|MAIL|NOOP|QUIT|RCPT|RSET|STARTTLS|VRFY)"

# (text that every match contains, pattern). The first group is kept, and the rest of the match is replaced.
_PLACES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    # smtp/smtp_sasl_glue.c: smtp_sasl_passwd_lookup: host `H' user `U' pass `P'
    ("pass `", re.compile(r"(\bpass `).+", re.DOTALL)),
    # xsasl/xsasl_cyrus_client.c, xsasl_cyrus_server.c, xsasl_dovecot_server.c: all messages of these functions,
    # except those that are known to hold no secret.
    (
        "xsasl_",
        re.compile(
            r"(\bxsasl_\w+: (?!SASL service=|SASL config file|keep mechanism: |skip mechanism: |Connecting\Z"
            r"|no applicable SASL mechanisms)(?:uncoded initial reply: |decoded challenge: |uncoded client response "
            r"|uncoded server challenge: |decoded initial response |decoded response: |auth reply: "
            r"|sasl_method [^\s,]++(?:\Z|, init_response ))?).+",
            re.DOTALL,
        ),
    ),
    # xsasl/xsasl_cyrus_log.c: SASL_LOG_TRACE and SASL_LOG_PASS.
    ("SASL authentication ", re.compile(r"(\bSASL authentication (?:trace|pass): ).+", re.DOTALL)),
    # global/maps.c: maps_find: smtp_sasl_password_maps: hash:/etc/postfix/sasl_passwd(0,lock): KEY = USER:PASSWORD
    ("sasl_passw", re.compile(r"(\bmaps_\w+: .*?sasl_passw.*? = ).+", re.DOTALL)),
    # util/attr_print0.c, attr_scan0.c and similar: the same value, transferred from proxymap.
    (
        "attr",
        re.compile(
            r"(\bsend attr (?:name \S+ )?value(?: =)? |\binput attribute value: (?!\(end\)\Z)).+", re.DOTALL
        ),
    ),
    # smtp/smtp_chat.c, smtpd/smtpd_chat.c, postscreen: AUTH PLAIN BASE64, also in a quoted command of a client.
    ("", re.compile(rf"(\bAUTH {_MECHANISM} )[\w+/=-]+(?=(?:\\r|\\n|[\s)])*\Z)", re.IGNORECASE)),
    # AUTH LOGIN and responses to challenges: lines of base64 only.
    ("", re.compile(rf"((?:\A|: )[<>] \S+: )(?!{_VERB}\Z)[A-Za-z0-9+/]+={{0,2}}\Z", re.IGNORECASE)),
)


def scrub(text: str) -> str:
    """Return a line, or the text of one, without secrets."""
    # Nearly every text contains none of these, and this test takes a quarter of a microsecond.
    if not (
        "> " in text
        or "< " in text
        or "AUTH" in text
        or "auth" in text
        or "pass `" in text
        or "sasl_" in text
        or "attr" in text
    ):
        return text
    for marker, pattern in _PLACES:
        if marker in text:
            text = pattern.sub(rf"\1{SCRUBBED}", text)
    return text


_ADDRESS_IN_BRACKETS: Final = re.compile(r"<[^<>]*@(?=[^<>@\s]*>)")
_BARE_ADDRESS: Final = re.compile(r"(?<![\w.%+*/=…-])[\w.%+*/=-]+@(?=[\w-]+\.|\w+\b)")
# What comes before the reply of a server, which chooses the text: smtp/smtp_trouble.c, smtp/smtp_proto.c, smtp/smtp_sasl_glue.c.
SERVER_REPLY: Final = re.compile(r" (?:said|refused to talk to me|refused to start TLS): ")
_ADDRESS: Final = re.compile(r"(?<![\w.%+*/=-])[\w.%+*/=-]+@(?P<domain>[\w-]+(?:\.[\w-]+)+)")
_ROLE: Final = re.compile(
    r"(?:postmaster|hostmaster|abuse|noc|security|support|help(?:desk)?|delist|unblock|mailadmin)@",
    re.IGNORECASE,
)
_ASKS_TO_WRITE: Final = re.compile(
    r"(?:\b(?:contact|write|e-?mails?|mail|ask|report|notify|forward|inform|message)(?: (?:to|us|at|via|it|this|your|the|"
    r"message|postmaster|support|problem|error|e-?mail))*:? <?|\bmailto:)\Z",
    re.IGNORECASE,
)
_ASK_CHARACTERS: Final = 60
_HOST: Final = re.compile(r"([\w.-]+)\[[0-9A-Fa-f.:]+\](?::\d+)?\Z")


def printable(text: str) -> str:
    r"""Return `text` with each character that is not printable written as \uXXXX."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def mask_addresses(text: str) -> str:
    """Return `text` without the local parts of mail addresses: `<…@example.com>`.

    An address that the reply of a server gives to write to stays: it is the server's, and neither sender nor recipient.
    """
    if "@" not in text:
        return text
    reply = SERVER_REPLY.search(text)
    kept = _addresses_of_server(text, reply) if reply else []
    start, parts = 0, []
    for begin, end in kept:
        parts += [_masked(text[start:begin]), text[begin:end]]
        start = end
    return "".join(parts) + _masked(text[start:])


def _masked(text: str) -> str:
    return _BARE_ADDRESS.sub("…@", _ADDRESS_IN_BRACKETS.sub("<…@", text))


def _addresses_of_server(text: str, reply: re.Match[str]) -> list[tuple[int, int]]:
    """Return the places of the addresses in a reply that belong to the server."""
    parties = {match[0].lower() for match in _ADDRESS.finditer(text, 0, reply.start())}
    host = _HOST.search(text, max(0, reply.start() - 320), reply.start())
    domain = ".".join(host[1].lower().rsplit(".", 2)[-2:]) if host else ""
    places = []
    for match in _ADDRESS.finditer(text, reply.end()):
        is_asked = _ASKS_TO_WRITE.search(
            text, max(reply.start(), match.start() - _ASK_CHARACTERS), match.start()
        )
        is_role = _ROLE.match(match[0]) and f".{match['domain'].lower()}".endswith(f".{domain or '-'}")
        if match[0].lower() not in parties and (is_asked or is_role):
            places.append(match.span())
    return places
