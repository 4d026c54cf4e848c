"""Postfix's own phrases: the start of each reason that Postfix composes, its cause and its step.

Patterns match at the start of a reason only, because Postfix writes the start. Patterns that find a system error further
on come after those of quoted replies. A row names a function if the cause or the step depends on a system error or on
the command that was answered.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from postward.parsers.cause.causes import Cause
from postward.parsers.cause.reply import auth_cause, read_reply, reply_cause, text_cause

_Match = re.Match[str]
Decide = Callable[[_Match, str | None], Cause | None]


class Phrase(NamedTuple):
    """The start of a reason, with its cause and step, or the functions that decide them."""

    text: str
    cause: Cause | Decide
    step: str | Callable[[_Match], str]

    @property
    def pattern(self) -> re.Pattern[str]:
        """The compiled pattern. Compiling all takes as long as reading 3,000 lines, so each waits for its first use."""
        return _compile(self.text)


@cache
def _compile(text: str) -> re.Pattern[str]:
    return re.compile(text, re.DOTALL)


# strerror(3) of glibc, musl and the BSDs.
_SYSTEM_ERRORS: Final[tuple[tuple[str, Cause], ...]] = (
    ("refused", Cause.REFUSED),
    ("timed out", Cause.TIMEOUT),
    ("timeout", Cause.TIMEOUT),
    ("reset by peer", Cause.LOST),
    ("connection aborted", Cause.LOST),
    ("lost connection", Cause.LOST),
    ("broken pipe", Cause.LOST),
    ("too many open files", Cause.LOCAL_RESOURCE),
    ("cannot allocate memory", Cause.LOCAL_RESOURCE),
    ("out of memory", Cause.LOCAL_RESOURCE),
    ("no buffer space", Cause.LOCAL_RESOURCE),
    ("no such file", Cause.LOCAL_CONFIG),  # the socket of an LMTP server
    ("cannot assign requested address", Cause.LOCAL_CONFIG),  # smtp_bind_address
)


def system_error_cause(error: str) -> Cause:
    """Return the cause of a failed connect(): `unreachable` for any error that is not in the table."""
    error = error.casefold()
    for text, cause in _SYSTEM_ERRORS:
        if text in error:
            return cause
    return Cause.UNREACHABLE


def _connect(match: _Match, _dsn: str | None) -> Cause:
    return system_error_cause(match["error"])


def _auth_reply(match: _Match, dsn: str | None) -> Cause:
    return auth_cause(read_reply(match["reply"], "auth", dsn))


def _greeting(match: _Match, dsn: str | None) -> Cause:
    """A refusal before MAIL FROM: a block list or the HELO name, if the reply names them."""
    reply = read_reply(match["reply"], "connect", dsn)
    return text_cause(reply, Cause.HELO_REJECTED, Cause.BLOCKED) or Cause.GREETING_REFUSED


_COMMANDS: Final[tuple[tuple[str, str, str], ...]] = (
    ("MAIL FROM", "mail", "mail_from"),
    ("RCPT TO", "rcpt", "rcpt_to"),
    ("end of DATA", "data", "data"),
    ("DATA", "data", "data"),
    ("BDAT", "data", "data"),
    ("XFORWARD", "xforward", "mail_from"),
    ("XCLIENT", "xforward", "mail_from"),
    ("EHLO", "ehlo", "ehlo"),
    ("HELO", "ehlo", "ehlo"),
    ("LHLO", "ehlo", "ehlo"),
    ("STARTTLS", "starttls", "tls"),
    ("AUTH", "auth", "auth"),
)


def command_name(printed: str) -> str:
    """Return the name of a command as Postfix prints it, for `read_reply`; "" for another one."""
    return _named(printed)[0]


def _named(printed: str) -> tuple[str, str]:
    for start, name, step in _COMMANDS:
        if printed.startswith(start):
            return name, step
    return "", "data"  # RSET, QUIT, or cut off


def _command(match: _Match) -> tuple[str, str]:
    return _named(match["command"] or "")


def _command_reply(match: _Match, dsn: str | None) -> Cause | None:
    return reply_cause(read_reply(match["reply"], _command(match)[0], dsn))


def _command_step(match: _Match) -> str:
    return _command(match)[1]


_PHASES: Final[tuple[tuple[str, str], ...]] = (
    ("receiving the initial server greeting", "greeting"),
    ("performing the EHLO", "ehlo"),
    ("performing the HELO", "ehlo"),
    ("performing the LHLO", "ehlo"),
    ("receiving the STARTTLS", "tls"),
    ("performing the TLS", "tls"),
    ("sending XFORWARD", "mail_from"),
    ("sending MAIL FROM", "mail_from"),
    ("sending RCPT TO", "rcpt_to"),
)


def _phase(match: _Match) -> str:
    phase = match["phase"] or ""
    for start, step in _PHASES:
        if phase.startswith(start):
            return step
    return "data"


_AUTH_FAILED: Final = r"SASL (?:\[CACHED\] )?authentication failed"
_HOST_SAID: Final = r"host \S+ said: (?P<reply>.*)"

PHRASES: Final[tuple[Phrase, ...]] = (
    # smtp/smtp_connect.c, dns/dns_lookup.c, smtp/smtp_addr.c
    Phrase(r"connect to (?P<peer>[^\s\[\]]*+\[[^\]]*+\](?::[\w-]+)?): (?P<error>.*)", _connect, "connect"),
    Phrase(r"(?:Host or domain name not found\. )?Name service error for name=", Cause.DNS, "dns"),
    Phrase(r"Host or domain name not found|Host found but no data record", Cause.DNS, "dns"),
    Phrase(
        r"unable to look up host |unable to find primary relay for |\S+: host not found", Cause.DNS, "dns"
    ),
    Phrase(r"Domain \S+ does not accept mail \(nullMX\)", Cause.RECIPIENT_REJECTED, "dns"),
    Phrase(r"DNSSEC |TLSA lookup error for |no (?:MX|SRV) host for ", Cause.DNS, "dns"),
    Phrase(r"mail for .* loops back to myself|mail forwarding loop for ", Cause.LOOP, "connect"),
    Phrase(r".{0,40}(?:hopcount exceeded|too many hops)", Cause.LOOP, "queue"),
    Phrase(
        r"all network protocols are disabled|[Ss]erver configuration error", Cause.LOCAL_CONFIG, "connect"
    ),
    Phrase(r"server unavailable or unable to receive mail", Cause.LOCAL_CONFIG, "connect"),
    # smtp/smtp_proto.c, smtp/smtp_trouble.c
    Phrase(r"host \S+ refused to talk to me: (?P<reply>.*)", _greeting, "greeting"),
    Phrase(rf"{_HOST_SAID} \(in reply to (?P<command>[\w /-]+)\)\Z", _command_reply, _command_step),
    Phrase(rf"{_HOST_SAID}(?P<command>(?!))?", _command_reply, _command_step),
    Phrase(r"lost connection with \S+ while (?P<phase>.*)", Cause.LOST, _phase),
    Phrase(r"conversation with \S+ timed out while (?P<phase>.*)", Cause.TIMEOUT, _phase),
    # Nearly always the lookup of the password, before AUTH.
    Phrase(r"local data error while talking to ", Cause.LOCAL_CONFIG, "auth"),
    Phrase(r"message size \d+ exceeds size limit ", Cause.SIZE, "mail_from"),
    Phrase(r"SMTPUTF8 is required, but |message requires SMTPUTF8, but ", Cause.CONTENT, "mail_from"),
    Phrase(r"unexpected server message", Cause.TLS_HANDSHAKE, "tls"),
    # smtp/smtp_proto.c and smtp/smtp_connect.c: TLS
    Phrase(r"Cannot start TLS: handshake failure", Cause.TLS_HANDSHAKE, "tls"),
    Phrase(r"Server certificate not (?:verified|trusted)", Cause.TLS_VERIFY, "tls"),
    Phrase(r"TLS is required, but our TLS engine is unavailable", Cause.LOCAL_CONFIG, "tls"),
    Phrase(r"TLS is required, but ", Cause.TLS_NOT_OFFERED, "tls"),
    Phrase(r"client TLS configuration problem|TLS policy ", Cause.LOCAL_CONFIG, "tls"),
    Phrase(
        r"REQUIRETLS policy configuration error|Sender requested REQUIRETLS, but my configured",
        Cause.LOCAL_CONFIG,
        "tls",
    ),
    Phrase(r"Sender requested REQUIRETLS, but .*(?:certificate|not verified)", Cause.TLS_VERIFY, "tls"),
    Phrase(r"Sender requested REQUIRETLS, but ", Cause.TLS_NOT_OFFERED, "tls"),
    # smtp/smtp_sasl_glue.c, smtp/smtp_sasl_proto.c
    Phrase(rf"{_AUTH_FAILED}; server \S+ said: (?P<reply>.*)", _auth_reply, "auth"),
    Phrase(rf"{_AUTH_FAILED}[;:] ", Cause.AUTH_MECHANISM, "auth"),
    # qmgr, trivial-rewrite, cleanup
    Phrase(
        r"mail transport unavailable|unknown mail transport error|deferred transport",
        Cause.LOCAL_CONFIG,
        "queue",
    ),
    Phrase(
        r"address resolver (?:loop|failure)|(?:address )?table lookup (?:failure|error)",
        Cause.LOCAL_CONFIG,
        "queue",
    ),
    Phrase(
        r"Temporary lookup failure|[Aa]lias database unavailable|:include: |user lookup error",
        Cause.LOCAL_CONFIG,
        "queue",
    ),
    Phrase(
        r"(?:bad|invalid) (?:\w+ )?address syntax|bad recipient address syntax",
        Cause.RECIPIENT_REJECTED,
        "queue",
    ),
    Phrase(
        r"(?:recipient )?address rewriting |.*map lookup problem|unable to rewrite",
        Cause.LOCAL_CONFIG,
        "queue",
    ),
    Phrase(
        r"message (?:file )?too (?:big|large)|message size exceeds|.* file size limit exceeded",
        Cause.SIZE,
        "queue",
    ),
    Phrase(
        r"queue file write error|Insufficient system storage|.*(?:No space left on device|Disk quota exceeded"
        r"|Cannot allocate memory|Too many open files|Read-only file system)",
        Cause.LOCAL_RESOURCE,
        "queue",
    ),
    # local, virtual, pipe: global/pipe_command.c, local/unknown.c, local/mailbox.c
    Phrase(
        r'unknown user: "|[Uu]ser unknown|.{0,400}User unknown in (?:local|virtual|relay)',
        Cause.RECIPIENT_REJECTED,
        "queue",
    ),
    Phrase(r"user unknown(?:\.| |$)|Command died with status 67", Cause.RECIPIENT_REJECTED, "queue"),
    Phrase(r"Command time limit exceeded: ", Cause.TIMEOUT, "data"),
    Phrase(
        r"Command died with (?:status|signal) |cannot (?:update|create|open|access|append)|unable to lock "
        r"|mailbox .*: |maildir |create maildir |destination |can't ",
        Cause.LOCAL_CONFIG,
        "data",
    ),
    Phrase(
        r"(?:mailbox|recipient)'?s? .*(?:not owned|permission denied)|.*[Pp]ermission denied",
        Cause.LOCAL_CONFIG,
        "data",
    ),
    Phrase(r"invalid (?:recipient|sender)|.*bounce failed", Cause.LOCAL_CONFIG, "queue"),
    # Texts of smtpd and cleanup checks that reach a record through cleanup
    Phrase(
        r"(?P<reply>[45]\d\d [45]\.\d+\.\d+ .*|[45]\.\d+\.\d+ .*)(?P<command>(?!))?", _command_reply, "queue"
    ),
)
