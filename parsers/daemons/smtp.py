"""Rules for smtp(8) and lmtp(8): src/smtp of the Postfix source."""

from typing import Final

from postward.parsers.daemons.delivery import DELIVERY
from postward.parsers.events import (
    Attempt,
    BadDestination,
    ConfigurationProblem,
    ConnectFailed,
    ContentAction,
    LookupFailed,
    LoopDetected,
    MechanismsUnsupported,
    NameLookupProblem,
    PluginNote,
    RelayhostProblem,
    SaslFailed,
    ServerReply,
    SessionNote,
    StartTlsOffered,
    WrapperModeNeeded,
)
from postward.parsers.grammar import PEER, QUEUE_ID, STRICT_QUEUE_ID
from postward.parsers.rules import Rule, problem, rule

RULES: Final[tuple[Rule, ...]] = (
    *DELIVERY,
    rule(rf"connect to (?P<peer>{PEER}): (?P<error>.*)", ConnectFailed, "smtp/smtp_connect.c"),
    rule(r"Host offered STARTTLS: \[(?P<host>.*)\]", StartTlsOffered, "smtp/smtp_proto.c"),
    rule(
        r"(?P<text>SMTPS wrappermode \(TCP port \d+\) requires setting .*)",
        WrapperModeNeeded,
        "smtp/smtp_connect.c",
    ),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<text>(?:enabling PIX workarounds|replacing server reply|breaking line >"
        r"|Sender requested REQUIRETLS, but REQUIRETLS support was not offered).*)",
        SessionNote,
        "smtp/smtp_proto.c",
        "smtp/smtp_chat.c",
    ),
    rule(r"(?P<text>discarding EHLO keywords: .*)", SessionNote, "smtp/smtp_proto.c"),
    rule(r"(?P<text>skipping SRV lookup for .*)", SessionNote, "smtp/smtp_addr.c"),
    # The line quotes a header of the message. A table's text after it cannot be separated from it.
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<action>[\w-]+): (?P<part>header|body|content) (?P<content>.*)",
        ContentAction,
        "smtp/smtp_proto.c",
        "global/header_body_checks.c",
    ),
    rule(
        r"(?P<text>host \S+ offers SMTPUTF8 support, but not 8BITMIME|skipping address family .*|\S+: native lookup result: .*"
        r"|ignoring DNS RR: .*)",
        SessionNote,
        "smtp/smtp_proto.c",
        "smtp/smtp_addr.c",
        "dns/dns_rr_filter.c",
    ),
    problem(r"(?P<parameter>\w+) configuration problem", RelayhostProblem, "smtp/smtp_connect.c"),
    problem(
        r"SASL authentication (?:failure|problem): (?P<reason>.*)", SaslFailed, "xsasl/xsasl_cyrus_log.c"
    ),
    # Release 0.25 of the plug-in and later; earlier ones log under a name of their own.
    rule(
        r"(?P<text>(?:\[sasl-xoauth2\]|sasl-xoauth2:) .*)",
        PluginNote,
        "sasl-xoauth2/log.cc",
        "sasl-xoauth2/config.cc",
    ),
    problem(
        rf"(?P<peer>{PEER}) offered (?:no supported AUTH mechanisms: '(?P<mechanisms>.*)'"
        r"|null AUTH mechanism list)",
        MechanismsUnsupported,
        "smtp/smtp_sasl_proto.c",
    ),
    problem(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<table>[\w ]+?)(?: map)? lookup error(?: for (?P<key>.*))?",
        LookupFailed,
        "smtp/smtp_sasl_glue.c",
    ),
    problem(
        rf"host (?P<peer>{PEER}) (?:replied to HELO/EHLO|greeted me) with my own hostname (?P<name>.*)",
        LoopDetected,
        "smtp/smtp_proto.c",
    ),
    problem(
        r"(?P<text>no (?:MX|SRV) host for .* has a valid address record)",
        NameLookupProblem,
        "smtp/smtp_addr.c",
    ),
    problem(rf"host (?P<peer>{PEER}) said: (?P<reply>.*)", ServerReply, "smtp/smtp_proto.c"),
    problem(
        rf"(?P<queue_id>{QUEUE_ID}): non-(?:E?SMTP|LMTP) response from (?P<peer>{PEER}): (?P<reply>.*)",
        ServerReply,
        "smtp/smtp_chat.c",
    ),
    problem(r"(?P<text>\w+ requires \"\w+ = encrypt\" .*)", WrapperModeNeeded, "smtp/smtp_connect.c"),
    problem(
        r"(?P<reason>.*) in server description: (?P<destination>.*)", BadDestination, "smtp/smtp_connect.c"
    ),
    problem(r"(?P<reason>unknown service): (?P<destination>.*)", BadDestination, "smtp/smtp_connect.c"),
    problem(
        r"(?P<reason>bad network port: .*) for destination: (?P<destination>.*)",
        BadDestination,
        "smtp/smtp_connect.c",
    ),
    problem(
        r"(?P<text>smtp_connect_addr: bind .*|\w+: bind .*|specify a password table via the .*|SASL library initialization"
        r"|SASL per-connection initialization failed|bad per-session SASL security properties|\w+ is true, but SASL support .*"
        r"|unsupported SASL client implementation: .*|incorrect SASL library version\. .*|SASL library initialization error: .*"
        r"|(?:set )?per-session SASL .*|\w+ map lookup problem for .*|to prevent loss of mail, .*"
        r"|bad \w+ value: .*|\w+ is (?:selected|obsolete).*"
        r"|.*: (?:attribute \".*|malformed attribute/value pair .*|invalid empty policy|unknown TLS policy .*)"
        r"|.*TLS is required but unavailable, .*)",
        ConfigurationProblem,
        "smtp/smtp_connect.c",
        "smtp/smtp_sasl_glue.c",
        "xsasl/xsasl_client.c",
        "xsasl/xsasl_cyrus_client.c",
        "smtp/smtp_map11.c",
        "smtp/smtp_tls_policy.c",
        "smtp/smtp_chat.c",
        "smtp/smtp.c",
    ),
)

# The last of all rules, because a server chooses nearly the whole text.
ATTEMPT: Final = rule(rf"(?P<queue_id>{STRICT_QUEUE_ID}): (?P<reason>.+)", Attempt, "smtp/smtp_trouble.c")
