"""Rules for postscreen(8), dnsblog(8) and tlsproxy(8): their folders in the Postfix source."""

from typing import Final

from postward.parsers.events import (
    ClientNote,
    ClientVerdict,
    DnsListed,
    NameLookupProblem,
    ProxyConnection,
    Screened,
)
from postward.parsers.grammar import QUEUE_ID, until
from postward.parsers.rules import Rule, problem, rule

_CLIENT: Final = r"(?P<client>\[[^\]\s]*+\](?::[0-9]++)?)"

POSTSCREEN: Final[tuple[Rule, ...]] = (
    rule(
        rf"(?P<verdict>CONNECT) from {_CLIENT}(?: to (?P<detail>\S+))?", Screened, "postscreen/postscreen.c"
    ),
    rule(
        rf"(?P<verdict>PASS (?:OLD|NEW)|DISCONNECT|\w+LISTED|\w+LIST VETO) {_CLIENT}",
        Screened,
        "postscreen/postscreen.c",
        "postscreen/postscreen_misc.c",
    ),
    rule(rf"(?P<verdict>DNSBL rank \d+) for {_CLIENT}", Screened, "postscreen/postscreen_early.c"),
    rule(
        rf"(?P<verdict>PREGREET \d+) after \S+ from {_CLIENT}: (?P<detail>.*)",
        Screened,
        "postscreen/postscreen_early.c",
    ),
    rule(
        rf"(?P<verdict>HANGUP) after \S+ from {_CLIENT} in (?P<detail>.*)",
        Screened,
        "postscreen/postscreen_misc.c",
    ),
    rule(
        rf"(?P<verdict>BARE NEWLINE|NON-SMTP COMMAND|COMMAND (?:TIME|COUNT|LENGTH) LIMIT|COMMAND PIPELINING) from"
        rf" {_CLIENT}(?: after (?P<detail>.*))?",
        Screened,
        "postscreen/postscreen_smtpd.c",
    ),
    rule(
        rf"(?P<verdict>(?:DATA|BDAT) without valid RCPT) from {_CLIENT}",
        Screened,
        "postscreen/postscreen_smtpd.c",
    ),
    # The client chooses from, to and helo. None of them can extend into an earlier field.
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<action>[\w-]+): (?P<stage>\S+) from {_CLIENT}: (?P<text>{until(';', ' from=<')})"
        rf"(?:; from=<(?P<from_>{until('>', ', to=<')})>, to=<(?P<to>{until('>', ', proto=')})>, proto=(?P<proto>[^,]*+)"
        r", helo=<(?P<helo>.*)>)?",
        ClientVerdict,
        "postscreen/postscreen_smtpd.c",
        "postscreen/postscreen.c",
    ),
    rule(
        rf"(?P<action>reject): (?P<stage>connect) from {_CLIENT}: (?P<text>.*)",
        ClientVerdict,
        "postscreen/postscreen.c",
    ),
    rule(
        r"(?P<text>(?:entering|leaving) STRESS mode with \d+ connections|\S+: discarding EHLO keywords: .*"
        r"|\S+: replacing command .*)",
        ClientNote,
        "postscreen/postscreen_state.c",
        "postscreen/postscreen_smtpd.c",
    ),
    problem(r"(?P<text>dnsblog reply timeout .*)", NameLookupProblem, "postscreen/postscreen_dnsbl.c"),
)

DNSBLOG: Final[tuple[Rule, ...]] = (
    rule(
        r"addr (?P<address>\S+) listed by domain (?P<domain>\S+) as (?P<reply>.*)",
        DnsListed,
        "dnsblog/dnsblog.c",
    ),
    problem(r"(?P<text>\S+: lookup error for DNS query .*)", NameLookupProblem, "dnsblog/dnsblog.c"),
)

TLSPROXY: Final[tuple[Rule, ...]] = (
    rule(r"(?P<action>CONNECT) (?P<direction>from|to) (?P<peer>\S+)", ProxyConnection, "tlsproxy/tlsproxy.c"),
    rule(r"(?P<action>DISCONNECT) (?P<peer>\S+)", ProxyConnection, "tlsproxy/tlsproxy_state.c"),
)
