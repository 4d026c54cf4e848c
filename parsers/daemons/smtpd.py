"""Rules for smtpd(8) and qmqpd(8): src/smtpd and src/qmqpd of the Postfix source."""

from typing import Final

from postward.parsers.events import (
    ClientAccepted,
    ClientConnected,
    ClientDisconnected,
    ClientLimit,
    ClientLost,
    ClientMisbehaved,
    ClientNote,
    ClientSaslFailed,
    ClientVerdict,
    ConfigurationProblem,
    HostnameMismatch,
    MessageRefused,
    NameLookupProblem,
    SaslFailed,
    ServiceUnavailable,
    TlsAcceptFailed,
)
from postward.parsers.grammar import AFTER_TEXT, CLIENT, ENVELOPE, QUEUE_ID, SASL_FIELDS, until
from postward.parsers.rules import Rule, problem, rule

_FIELD: Final = r" (?:sasl_sender|orig_queue_id|orig_client)="
_QUOTING: Final = rf'[^";]*+(?:(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|;(?!{AFTER_TEXT}))[^";]*+)*+'
_VERDICT: Final = (
    rf"(?:(?P<queue_id>{QUEUE_ID}): )?(?P<action>[\w-]+): (?P<stage>[^:]+?) from (?P<client>{CLIENT}): "
)

RULES: Final[tuple[Rule, ...]] = (
    rule(rf"connect from (?P<client>{CLIENT})", ClientConnected, "smtpd/smtpd.c", "qmqpd/qmqpd.c"),
    rule(
        rf"disconnect from (?P<client>{CLIENT})(?: (?P<statistics>.*))?",
        ClientDisconnected,
        "smtpd/smtpd.c",
        "qmqpd/qmqpd.c",
    ),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): client=(?P<client>{CLIENT})(?:, sasl_method=(?P<sasl_method>[^,]*+))?"
        rf"(?:, sasl_username=(?P<sasl_username>{until(',', _FIELD)}))?"
        rf"(?:, sasl_sender=(?P<sasl_sender>{until(',', _FIELD)}))?"
        rf"(?:, orig_queue_id=(?P<orig_queue_id>{QUEUE_ID}))?(?:, orig_client=(?P<orig_client>.*))?",
        ClientAccepted,
        "smtpd/smtpd.c",
        "qmqpd/qmqpd.c",
    ),
    rule(rf"NOQUEUE: abort: TLS from (?P<peer>{CLIENT}): (?P<reason>.*)", TlsAcceptFailed, "smtpd/smtpd.c"),
    # smtpd/smtpd_check.c log_whatsup. The text repeats the client's input, so a quoted string in it may hold anything.
    # The next rule takes texts whose quotes do not pair.
    rule(
        rf"{_VERDICT}(?P<text>{_QUOTING});?{ENVELOPE}{SASL_FIELDS}",
        ClientVerdict,
        "smtpd/smtpd_check.c",
        "smtpd/smtpd_milter.c",
        "smtpd/smtpd.c",
    ),
    rule(
        rf"{_VERDICT}(?P<text>{until(';', AFTER_TEXT)});?{ENVELOPE}{SASL_FIELDS}",
        ClientVerdict,
        "smtpd/smtpd_check.c",
    ),
    rule(
        rf"(?:(?P<queue_id>{QUEUE_ID}): )?(?P<what>[a-zA-Z]++(?: (?!after )[a-zA-Z]++){{0,3}}) after (?P<stage>[A-Z][\w-]*+(?: content)?)"
        rf"(?: \((?P<size>[^()]*) bytes\))? from (?P<client>{CLIENT})",
        ClientLost,
        "smtpd/smtpd.c",
    ),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?=\S+: (?P<what>[a-z ]+) while (?P<stage>[a-zA-Z ]+))(?P<client>{CLIENT}): .*",
        ClientLost,
        "qmqpd/qmqpd.c",
    ),
    rule(
        rf"(?:{QUEUE_ID}: )?(?P<kind>improper command pipelining|improper SMTP command) after (?P<stage>[A-Z][^:]*?)"
        rf" from (?P<client>{CLIENT})(?:: (?P<detail>.*))?",
        ClientMisbehaved,
        "smtpd/smtpd.c",
    ),
    # proxy-accept and proxy-reject repeat the verdict of a before-queue filter.
    rule(
        r"(?P<text>proxy-\w+: .*|discarding EHLO keywords: .*|\S+: replacing command .*|\S+: reply filter (?:in|out): .*"
        r"|mapping DSN status .*|skipping address family .*)",
        ClientNote,
        "smtpd/smtpd.c",
        "smtpd/smtpd_chat.c",
        "smtpd/smtpd_dsn_fix.c",
        "smtpd/smtpd_peer.c",
    ),
    problem(
        rf"(?P<client>{CLIENT}): SASL (?P<mechanism>\S+) authentication (?:failed|aborted)(?:: ?(?P<reason>"
        rf"{until(',', ' sasl_username=')}))?(?:, sasl_username=(?P<sasl_username>.*))?",
        ClientSaslFailed,
        "smtpd/smtpd_sasl_glue.c",
    ),
    problem(
        rf"(?P<limit>[A-Z][\w ]+) (?:rate |concurrency )?limit exceeded: (?P<number>\d+) from (?P<client>{CLIENT})"
        r" for service (?P<service>.*)",
        ClientLimit,
        "smtpd/smtpd.c",
    ),
    problem(
        r"hostname (?P<hostname>\S+) does not resolve to address (?P<address>[^\s:]+(?::[\da-fA-F:.]+)?)(?:: (?P<reason>.*))?",
        HostnameMismatch,
        "smtpd/smtpd_peer.c",
    ),
    problem(
        r"(?=\S+: hostname (?P<hostname>\S+) verification failed)(?P<address>\S+): hostname \S+ verification failed"
        r"(?:: (?P<reason>.*))?",
        HostnameMismatch,
        "smtpd/smtpd_peer.c",
    ),
    problem(
        rf"(?:{QUEUE_ID}: )?(?P<kind>non-SMTP command) from (?P<client>{CLIENT}): (?P<detail>.*)",
        ClientMisbehaved,
        "smtpd/smtpd.c",
    ),
    problem(
        rf"(?P<kind>Illegal address syntax) from (?P<client>{CLIENT}) in (?P<detail>.*)",
        ClientMisbehaved,
        "smtpd/smtpd.c",
    ),
    problem(
        rf"(?P<kind>Refusing \w+ request) from (?P<client>{CLIENT}) (?P<detail>.*)",
        ClientMisbehaved,
        "smtpd/smtpd.c",
    ),
    problem(r"(?P<text>\S+: RBL lookup error: .*)", NameLookupProblem, "smtpd/smtpd_check.c"),
    problem(
        r"connect to proxy filter (?P<service>\S+): (?P<error>.*)", ServiceUnavailable, "smtpd/smtpd_proxy.c"
    ),
    problem(
        r"SASL: Connect to (?:Dovecot auth socket )?'?(?P<service>[^\s']+)'? failed: (?P<error>.*)",
        ServiceUnavailable,
        "xsasl/xsasl_dovecot_server.c",
    ),
    problem(
        r"SASL authentication (?:failure|problem): (?P<reason>.*)", SaslFailed, "xsasl/xsasl_cyrus_log.c"
    ),
    problem(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<text>queue file size limit exceeded)",
        MessageRefused,
        "smtpd/smtpd.c",
    ),
    problem(
        r"(?P<text>unknown smtpd restriction: .*|no SASL authentication mechanisms|SASL per-\w+ initialization failed"
        r"|SASL: (?:Connected to wrong auth socket|Protocol version error).*)",
        ConfigurationProblem,
        "smtpd/smtpd_check.c",
        "smtpd/smtpd_sasl_glue.c",
        "xsasl/xsasl_dovecot_server.c",
    ),
)
