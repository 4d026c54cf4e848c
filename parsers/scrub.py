"""Filters that make log text safe to show: secrets, control characters and mail addresses.

- ``scrub`` removes secrets. With ``smtp -v`` or ``debug_peer_list`` Postfix logs the relay's password in clear
  text, the AUTH dialogue, and the entries of the password table. Every output of log lines uses this filter.
- ``hide`` masks secrets that this process knows, the relays' passwords, wherever they occur.
- ``printable`` escapes control characters. Remote servers and clients can send them, and a terminal would
  interpret them.
- ``mask_addresses`` removes the local parts of mail addresses from output that must not hold personal data.

Promises: linear time, and text with nothing to remove is returned unchanged. Of a debug message and of a table with its
values in its name, only what is known to be harmless is shown. All text after it is removed, because a password may
contain any character.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Final

from postward.parsers.grammar import TABLE_TYPE
from postward.parsers.verbose import DEBUG_LABEL

SCRUBBED: Final = "[scrubbed]"
MASK: Final = "********"  # replaces a secret whose position is known

_MECHANISM: Final = (
    r"(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|NTLM|GSSAPI|EXTERNAL|XOAUTH2|OAUTHBEARER|SCRAM-[\w-]+)"
)
_VERB: Final = r"(?:BDAT|DATA|EHLO|ETRN|EXPN|HELO|HELP|LHLO|MAIL|NOOP|QUIT|RCPT|RSET|STARTTLS|VRFY)"

# After these words comes a secret, wherever they stand. The first group is kept, and the rest of the text is removed.
_SECRETS: Final[tuple[re.Pattern[str], ...]] = (
    # util/dict_static.c, dict_inline.c, dict_pipe.c, dict_union.c, dict_random.c, dict_debug.c: the table's name is its content.
    re.compile(
        rf"(\b(?:(?:static|inline|pipemap|unionmap|randmap):(?=\S)|{TABLE_TYPE}:(?= ?\{{)))"
        r"(?:.+(?= is unavailable\. | lookup error for \"|: lookup of )|.+)",
        re.DOTALL,
    ),
    # util/dict_debug.c, global/maps.c: a table, a key and its value.
    re.compile(rf"(\b{TABLE_TYPE}:\S.*? (?:=|->) ).+", re.DOTALL),
    # Names of parameters and fields: bind_pw = P, client_secret=S, "access_token": "T".
    re.compile(
        r"((?:passw(?:or)?d|passphrase|_pw|secret|token|api_?key)(?:\\?\"? ?= ?|\\?\" ?: ?)).+",
        re.DOTALL | re.IGNORECASE,
    ),
    re.compile(r"(\b(?:Authorization: ?\w+|Bearer) )[^\s].+", re.DOTALL | re.IGNORECASE),
    # sasl-xoauth2, src/token_store.cc and src/client.cc: the trace of a failed login.
    re.compile(
        r"(\b(?:TokenStore::Read: refresh=|TokenStore::Refresh: request: |ReadPrompt: found id \d+ with value )).*",
        re.DOTALL,
    ),
    # smtp/smtp_sasl_glue.c, behind a header that is not known: user `U' pass `P'
    re.compile(r"(\bpass `).+", re.DOTALL),
)

# Debug messages of which more than the label is harmless. The first group is kept, and the rest is removed.
_KNOWN_DEBUG: Final[tuple[re.Pattern[str], ...]] = (
    # Messages without a value, and those of other rules that begin alike.
    re.compile(
        r"(SSL_(?:accept|connect)[ :].*|daemon started -- .*|open \w+ TLS .*|tlsmgr_cache_run_event: start TLS .*"
        r"|\w+: (?:queue \S+: limit .*|feedback .*|\S+ feedback type .*)|name_mask: [\w-]+\Z|disposing SASL state information\Z"
        r"|sasl_client_add_plugin\(\): entry_point\(\): failed for plugname [\w-]+\Z|vstream_\w+: fd \d+ got \d+\Z)",
        re.DOTALL,
    ),
    # smtp/smtp_sasl_glue.c: smtp_sasl_passwd_lookup: host `H' user `U' pass `P'
    re.compile(r"(.*?\bpass `).+", re.DOTALL),
    # xsasl/xsasl_cyrus_client.c, xsasl_cyrus_server.c, xsasl_dovecot_server.c
    re.compile(
        r"(xsasl_\w+: (?:SASL service=.*|SASL config file.*|(?:keep|skip) mechanism: .*|Connecting\Z"
        r"|no applicable SASL mechanisms|uncoded (?:initial reply: |client response |server challenge: )"
        r"|decoded (?:challenge: |initial response |response: )|auth reply: |sasl_method [^\s,]++(?:\Z|, init_response ))).*",
        re.DOTALL,
    ),
    # xsasl/xsasl_cyrus_log.c: SASL_LOG_TRACE and SASL_LOG_PASS.
    re.compile(r"(SASL authentication (?:trace|pass|debug|info): ).*", re.DOTALL),
    # global/maps.c: maps_find: smtp_sasl_password_maps: hash:/etc/postfix/sasl_passwd(0,lock): KEY = USER:PASSWORD
    re.compile(rf"(maps_\w+: \w+: {TABLE_TYPE}:/\S+ [^\s=]+ = ).+", re.DOTALL),
    # util/attr_print0.c, attr_scan0.c and similar: values, also those transferred from proxymap.
    re.compile(
        r"(send attr (?:\w+ = (?:lookup|open|update|delete)\Z|(?:name \S+ )?value(?: =)? )).*", re.DOTALL
    ),
    re.compile(
        r"([^:]+: (?:wanted attribute: .*|input attribute (?:name: \w+\Z|value: (?:\(end\)\Z)?))).*",
        re.DOTALL,
    ),
    # smtp/smtp_chat.c, smtpd/smtpd_chat.c, postscreen: commands and replies, but for those of a login.
    re.compile(
        rf"([<>] \S+: (?:{_VERB}\b.*|AUTH [\w-]+(?: |\Z)|334 (?:UGFzc3dvcmQ6|VXNlcm5hbWU6)\Z"
        r"|235[ -][\w. ]*\Z|(?!334|235)\d{3}[ -].*|)).*",
        re.DOTALL | re.IGNORECASE,
    ),
)
# A command that a client sent too early, quoted in a warning.
_AUTH_COMMAND: Final = re.compile(rf"(\bAUTH {_MECHANISM} )[\w+/=-]+(?=(?:\\r|\\n|[\s)])*\Z)", re.IGNORECASE)
# The header of a whole line.
_HEADER: Final = re.compile(r"[^\[\]]{0,200}\[\d{1,10}\]: ")
_DEBUG: Final = re.compile(DEBUG_LABEL)
# Of these even a complaint has a value only at the end.
_LOGIN_FUNCTION: Final = re.compile(
    r"xsasl_|maps_|smtp_sasl_passwd|send attr |input attribute |SASL authentication (?:trace|pass)"
)
# Words, in lower case, without which no secret stands in a text.
_MARKS: Final = (
    *(
        "auth",
        "bearer",
        "prompt",
        "passw",
        "pass `",
        "passphrase",
        "_pw",
        "secret",
        "token",
        "apikey",
        "api_key",
    ),
    *("static:", "inline:", "map:", ":{", " = ", " -> "),
)

_MIN_HIDDEN: Final = (
    6  # characters; a shorter secret is masked as a word of its own, or it would mask parts of others
)
_logins: dict[tuple[str, str], None] = {}  # in the order of their arrival
_MAX_LOGINS: Final = 100
_MAX_SIZE: Final = 20_000  # characters of all; a token has some 3000, and is worthless after an hour
_hidden: list[str] = []  # the forms of the logins, the longest first
_hidden_words: re.Pattern[str] | None = None  # the short ones


def hide(logins: Iterable[tuple[str, str]]) -> None:
    """Let this process mask these logins (user name, password) from now on, in each form that Postfix logs.

    Former passwords stay masked, because the log still has them; the last hundred are known, or fewer of long tokens.
    """
    global _hidden, _hidden_words
    new = [login for login in logins if login[1] and login not in _logins]
    if not new:
        return
    _logins.update(dict.fromkeys(new))
    while len(_logins) > _MAX_LOGINS or (sum(map(_size, _logins)) > _MAX_SIZE and len(_logins) > len(new)):
        del _logins[next(iter(_logins))]
    forms = sorted({form for login in _logins for form in _forms(*login)}, key=len, reverse=True)
    # No pattern of the long ones: compiling that of some tokens takes half a second.
    _hidden = [form for form in forms if len(form) >= _MIN_HIDDEN]
    short = "|".join(re.escape(form) for form in forms if len(form) < _MIN_HIDDEN)
    _hidden_words = re.compile(rf"(?<!\w)(?:{short})(?!\w)") if short else None


def _size(login: tuple[str, str]) -> int:
    return len(login[1])


def _forms(user: str, password: str) -> Iterator[str]:
    """Yield a password as AUTH LOGIN, AUTH PLAIN, XOAUTH2 and tables have it."""
    yield password
    token = f"user={user}\1auth=Bearer {password}\1\1"
    for text in (password, f"\0{user}\0{password}", f"{user}\0{user}\0{password}", token):
        yield base64.b64encode(text.encode()).decode().rstrip("=")


def hidden(text: str) -> str:
    """Return the text without the secrets that `hide` was given."""
    for form in _hidden:
        if form in text:
            text = text.replace(form, MASK)
    return _hidden_words.sub(MASK, text) if _hidden_words else text


def scrub(text: str, severity: str = "info") -> str:
    """Return a line, or the text of one with its severity, without secrets."""
    is_debugging = severity == "info" or _LOGIN_FUNCTION.match(text)
    if is_debugging and (shown := _shown_of_debugging(text)) is not None:
        return hidden(shown)
    folded = text.casefold()
    if _has_mark(folded):
        text = _AUTH_COMMAND.sub(rf"\1{SCRUBBED}", text)
        for pattern in _SECRETS:
            text = pattern.sub(rf"\1{SCRUBBED}", text)
    return hidden(text)


def _has_mark(folded: str) -> bool:
    for mark in _MARKS:  # noqa: SIM110 -- a generator takes half as long again
        if mark in folded:
            return True
    return False


def _shown_of_debugging(text: str) -> str | None:
    """Return what may be shown of a debug message; None for any other text."""
    header = _HEADER.match(text) if "postfix" in text else None
    start = header.end() if header and "postfix" in header[0] else 0
    label = _DEBUG.match(text, start)
    if label is None:
        return None
    known = next(filter(None, (pattern.match(text, start) for pattern in _KNOWN_DEBUG)), label)
    end = max(label.end(), known.end(1) if known.re is not _DEBUG else 0)
    shown = text[:end]
    for pattern in _SECRETS:
        shown = pattern.sub(rf"\1{SCRUBBED}", shown)
    if end == len(text) or shown.endswith(SCRUBBED):
        return text if shown == text else shown
    return f"{shown}{'' if shown.endswith((' ', '`')) else ': '}{SCRUBBED}"


_ADDRESS_IN_BRACKETS: Final = re.compile(r"<[^<>]*@(?=[^<>@\s]*>)")
_BARE_ADDRESS: Final = re.compile(r"(?<![\w.%+*/=…-])[\w.%+*/=-]+@(?=[\w-]+\.|\w+\b|\[[0-9A-Fa-f.:IPv]+\])")
# Names of persons in fields that say so: smtpd/smtpd.c, smtpd/smtpd_sasl_glue.c, local/unknown.c.
_PERSON: Final = re.compile(
    r"(\bsasl_(?:username|sender)=<?|\bunknown user: \")[^\s,;<>\"@]+(?![^\s,;<>\"]*@)"
)
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
    """Return `text` without the local parts of mail addresses: `<…@example.com>`, and without names of users in their fields.

    An address that the reply of a server gives to write to stays: it is the server's, and neither sender nor recipient.
    """
    if "sasl_" in text or "unknown user" in text:
        text = _PERSON.sub(r"\1…", text)
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
