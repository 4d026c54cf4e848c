"""Scenes of receiving: well-behaved and misbehaving clients of smtpd, submission, postscreen and qmqpd, filters, policies."""

import base64
import contextlib
from collections.abc import Iterator

from tests.support import Fault
from tools.releases.host import CONFIG
from tools.releases.misbehaving_server import crowd, milter, serving, session, talk
from tools.releases.stage import SENDER, Stage, pause, scene

_EHLO = b"EHLO client.example.test"
_MAIL = f"MAIL FROM:<{SENDER}>".encode()
_RCPT = b"RCPT TO:<server@dest.test>"
_TEXT = b"Subject: x\r\n\r\nx\r\n."


def _plain(user: str, password: str) -> bytes:
    return b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode())


@scene(
    "mail by SMTP from clients with and without a name",
    "client=localhost[127.0.0.1]",
    "disconnect from",
    "status=sent",
    "does not resolve to address",
)
def clients(stage: Stage) -> None:
    for number in range(1, 4):
        stage.smtp(f"client{number}@dest.test", source=f"127.0.0.{number}")
        stage.arrives(f"client{number}@dest.test", "sent")
    session(stage.port("smtpd"), _EHLO, _MAIL, _RCPT, b"RSET", b"NOOP", b"VRFY x@dest.test", b"HELP", b"QUIT")


@scene(
    "relay denied, unknown recipients, bad addresses and commands",
    "NOQUEUE: reject: RCPT from",
    "Relay access denied",
    "too many errors after",
)
def refusals(stage: Stage) -> None:
    for recipient in (
        b"someone@elsewhere.test",
        b"nobody@local.test",
        b"<bad@@x>",
        b"x@[1.2.3",
        b"x",
        b'"a b"@elsewhere.test',
    ):
        session(stage.port("strict"), _EHLO, _MAIL, b"RCPT TO:<" + recipient + b">", b"QUIT")
    session(stage.port("strict"), _EHLO, *[b"NONSENSE"] * 5)
    session(stage.port("strict"), b"MAIL FROM:<x@y>", b"RCPT TO:<x@y>", b"DATA", b"QUIT")
    session(stage.port("strict"), _EHLO, _MAIL, b"RCPT TO:<a\xff\xfeb@elsewhere.test>", b"QUIT")
    session(
        stage.port("smtpd"),
        _EHLO,
        _MAIL,
        b"RCPT TO:<nobody@local.test>",
        b"RCPT TO:<nobody@virtual.test>",
        b"QUIT",
    )


@scene(
    "lost connections, time-outs, pipelining abuse, no SMTP at all",
    "lost connection after",
    "timeout after",
    "improper command pipelining|command pipelining after",
    "non-SMTP command",
)
def misbehaving_clients(stage: Stage) -> None:
    port = stage.port("smtpd")
    full = [_EHLO + b"\r\n", None, _MAIL + b"\r\n", None, _RCPT + b"\r\n", None, b"DATA\r\n", None]
    talk(port)
    for length in (2, 4, 6, 8):
        talk(port, None, *full[:length])
    talk(port, None, *full, b"Subject: cut\r\n\r\nno end", 0.2)
    talk(port, None, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0.2)
    talk(port, None, b"HELO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n", 0.5)
    talk(port, None, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0.3)
    talk(port, None, b"X" * 5000 + b"\r\n", 0.3)
    talk(port, None, *full, b"Subject: bare\n\nline\n.\nend\r\n.\r\n", 0.3)
    with stage.host.configured(
        smtpd_timeout="1s",
        smtpd_starttls_timeout="1s",
        smtpd_forbid_bare_newline="yes",
        smtpd_forbid_unauth_pipelining="yes",
    ):
        talk(port, None, 2.5)
        talk(port, None, *full, 2.5)
        talk(port, None, _EHLO + b"\r\n", None, b"STARTTLS\r\n", None, 2.5)
        talk(port, None, *full, b"Subject: bare\n\nline\n.\nend\r\n.\r\n", 0.3)
        talk(port, None, b"HELO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n", 0.5)


@scene(
    "server TLS: STARTTLS, garbage instead of it, wrapper mode, no certificate",
    "TLS connection established from",
    "SSL_accept error from",
)
def server_tls(stage: Stage) -> None:
    stage.smtp_tls(_MAIL, _RCPT, b"DATA", _TEXT)
    talk(stage.port("smtpd"), None, _EHLO + b"\r\n", None, b"STARTTLS\r\n", None, b"garbage\r\n", 0.3)
    talk(stage.port("smtpd"), None, _EHLO + b"\r\n", None, b"STARTTLS\r\n", None)
    talk(stage.port("smtps"), b"EHLO plain\r\n", 0.3)
    talk(stage.port("smtps"))
    session(stage.port("submission"), _EHLO, _MAIL, b"AUTH PLAIN x", b"QUIT")
    with stage.host.configured(smtpd_tls_loglevel="2", smtpd_tls_ask_ccert="yes"):
        stage.smtp_tls(_MAIL, b"QUIT")
    with stage.host.configured(smtpd_tls_cert_file=f"{CONFIG}/nowhere.pem"):
        session(stage.port("smtpd"), _EHLO, b"STARTTLS", b"QUIT")
        talk(stage.port("smtps"), 0.3)


@scene(
    "AUTH at the server, right and wrong",
    "sasl_method=PLAIN, sasl_username=user",
    "SASL PLAIN authentication failed",
)
def server_auth(stage: Stage) -> None:
    stage.smtp_tls(_plain("user@host.example.test", "secret"), _MAIL, _RCPT, b"DATA", _TEXT)
    for tried in (_plain("user", "wrong"), b"AUTH PLAIN ###", b"AUTH NONSENSE", _plain("", "")):
        stage.smtp_tls(tried)
    stage.smtp_tls(b"AUTH LOGIN", base64.b64encode(b"user"), base64.b64encode(b"wrong"))
    stage.smtp_tls(b"AUTH LOGIN", b"*")
    with stage.host.configured(
        broken_sasl_auth_clients="yes",
        smtpd_reject_unlisted_sender="yes",
        smtpd_sender_login_maps="inline:{app@client.example.test=other}",
        smtpd_sender_restrictions="reject_sender_login_mismatch",
    ):
        stage.smtp_tls(_plain("user@host.example.test", "secret"), _MAIL, _RCPT)
    # The service that checks passwords is down.
    stage.host.write(f"{CONFIG}/sasl/smtpd.conf", "pwcheck_method: saslauthd\nmech_list: PLAIN LOGIN\n")
    with stage.host.configured():
        stage.smtp_tls(_plain("user", "secret"))
    stage.host.write(
        f"{CONFIG}/sasl/smtpd.conf",
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\n",
    )
    # Dovecot does not run, so smtpd ends before it sends a greeting.
    with stage.host.configured(
        smtpd_sasl_type="dovecot", smtpd_sasl_path="private/nowhere", smtpd_sasl_auth_enable="yes"
    ):
        talk(stage.port("smtpd"), 1.0)


_ACTIONS = {
    "reject": "REJECT not here",
    "code": "554 5.7.1 go away",
    "defer": "DEFER later",
    "soft": "450 4.7.1 later",
    "warn": "WARN look at this",
    "info": "INFO look at this",
    "hold": "HOLD for a look",
    "discard": "DISCARD silently",
    "redirect": "REDIRECT other@dest.test",
    "filter": "FILTER discard:filtered",
    "prepend": "PREPEND X-Seen: yes",
    "bcc": "BCC copy@dest.test",
    "permit": "DEFER_IF_PERMIT not yet",
    "ifreject": "DEFER_IF_REJECT not yet",
    "ok": "OK",
    "nonsense": "NONSENSE",
}


@scene(
    "every action of an access table",
    "NOQUEUE: reject: RCPT from",
    "NOQUEUE: warn: RCPT from",
    "hold: RCPT from",
    "discard: RCPT from",
    "redirect: RCPT from",
    "filter: RCPT from",
)
def access(stage: Stage) -> None:
    stage.host.write(
        f"{CONFIG}/access", "".join(f"{name}@dest.test {action}\n" for name, action in _ACTIONS.items())
    )
    restrictions = f"check_recipient_access texthash:{CONFIG}/access, permit_mynetworks, reject"
    with stage.host.configured(smtpd_recipient_restrictions=restrictions):
        for name in _ACTIONS:
            stage.smtp(f"{name}@dest.test")
        pause(1)


_RESTRICTIONS = (
    ("client", "reject_unknown_client_hostname", b"EHLO a.test", "127.0.0.3"),
    ("client", "reject_unknown_reverse_client_hostname", b"EHLO a.test", "127.0.0.8"),
    ("client", "reject_rbl_client bl.example.test", b"EHLO a.test", "127.0.0.4"),
    ("client", "warn_if_reject reject_rbl_client bl.example.test", b"EHLO a.test", "127.0.0.4"),
    ("client", "reject_rbl_client tryagain.test", b"EHLO a.test", "127.0.0.4"),
    ("client", "check_client_access texthash:/etc/postfix/nowhere", b"EHLO a.test", "127.0.0.1"),
    ("client", "reject_plaintext_session", b"EHLO a.test", "127.0.0.1"),
    ("client", "nonsense_restriction", b"EHLO a.test", "127.0.0.1"),
    ("helo", "reject_invalid_helo_hostname", b"EHLO -bad-", "127.0.0.1"),
    ("helo", "reject_non_fqdn_helo_hostname", b"EHLO short", "127.0.0.1"),
    ("helo", "reject_unknown_helo_hostname", b"EHLO nowhere.example.test", "127.0.0.1"),
    ("helo", "check_helo_access inline:{a.test=REJECT}", b"EHLO a.test", "127.0.0.1"),
    ("sender", "reject_unknown_sender_domain", b"EHLO a.test", "127.0.0.1"),
    ("sender", "reject_rhsbl_sender bl.example.test", b"EHLO a.test", "127.0.0.1"),
    ("sender", "check_sender_mx_access inline:{127.0.0.1=REJECT}", b"EHLO a.test", "127.0.0.1"),
    (
        "recipient",
        "reject_non_fqdn_recipient, reject_unknown_recipient_domain, permit_mynetworks, reject",
        b"EHLO a.test",
        "127.0.0.1",
    ),
    (
        "recipient",
        "check_policy_service inet:127.0.0.1:9, permit_mynetworks, reject",
        b"EHLO a.test",
        "127.0.0.1",
    ),
    ("recipient", "permit_mynetworks", b"EHLO a.test", "127.0.0.1"),
    ("data", "reject_multi_recipient_bounce, reject_unauth_pipelining", b"EHLO a.test", "127.0.0.1"),
    ("end_of_data", "check_policy_service unix:private/nowhere", b"EHLO a.test", "127.0.0.1"),
)


@scene(
    "restrictions one after another",
    "Helo command rejected",
    "Sender address rejected",
    "blocked using bl.example.test",
    "problem talking to server",
    "reject_warning",
)
def restrictions(stage: Stage) -> None:
    for kind, value, helo, source in _RESTRICTIONS:
        changes = {
            f"smtpd_{kind}_restrictions": value,
            "smtpd_policy_service_timeout": "1s",
            "smtpd_policy_service_retry_delay": "1s",
        }
        with stage.host.configured(**changes):
            for sender in (b"MAIL FROM:<a@nowhere.test>", b"MAIL FROM:<>"):
                with contextlib.suppress(OSError):
                    session(
                        stage.port("smtpd"),
                        helo,
                        sender,
                        b"RCPT TO:<r@nowhere.test>",
                        b"RCPT TO:<s@dest.test>",
                        b"DATA",
                        _TEXT,
                        b"QUIT",
                        source=source,
                    )


@scene(
    "client limits and the statistics of anvil",
    "Connection rate limit exceeded",
    "statistics: max connection rate",
)
def limits(stage: Stage) -> None:
    changes = {
        "smtpd_client_event_limit_exceptions": "",
        "smtpd_client_connection_rate_limit": "4",
        "smtpd_client_message_rate_limit": "2",
        "smtpd_client_recipient_rate_limit": "2",
        "smtpd_client_auth_rate_limit": "1",
        "smtpd_client_new_tls_session_rate_limit": "1",
        "smtpd_client_connection_count_limit": "2",
    }
    with stage.host.configured(**changes):
        for _ in range(6):
            with contextlib.suppress(OSError):
                session(
                    stage.port("smtpd"),
                    _EHLO,
                    _MAIL,
                    _RCPT,
                    b"RSET",
                    _MAIL,
                    _RCPT,
                    b"RSET",
                    _MAIL,
                    _RCPT,
                    b"QUIT",
                )
        for number in range(3):
            with contextlib.suppress(OSError):
                session(
                    stage.port("smtps"),
                    _EHLO,
                    _plain("user", "wrong"),
                    _plain("user", "wrong"),
                    b"QUIT",
                    tls=True,
                    source=f"127.0.0.{5 + number // 2}",
                )
        for _ in range(3):
            with contextlib.suppress(OSError):
                talk(
                    stage.port("smtpd"),
                    None,
                    _EHLO + b"\r\n",
                    None,
                    b"STARTTLS\r\n",
                    None,
                    b"x\r\n",
                    0.1,
                    source="127.0.0.7",
                )
    stage.says("statistics: max connection rate")


@scene(
    "size limits at the server, in cleanup and in postdrop",
    "Message size exceeds fixed limit",
    "queue file size limit exceeded",
    "too large|size limit",
)
def sizes(stage: Stage) -> None:
    with stage.host.configured(
        message_size_limit="2000", smtpd_recipient_limit="2", header_size_limit="200", line_length_limit="600"
    ):
        session(stage.port("smtpd"), _EHLO, _MAIL + b" SIZE=5000000", b"QUIT")
        session(
            stage.port("smtpd"),
            _EHLO,
            _MAIL,
            _RCPT,
            b"DATA",
            b"Subject: x\r\n\r\n" + b"big\r\n" * 2000 + b".",
            b"QUIT",
        )
        session(
            stage.port("smtpd"), _EHLO, _MAIL, *[b"RCPT TO:<many%d@dest.test>" % n for n in range(4)], b"QUIT"
        )
        session(
            stage.port("smtpd"),
            _EHLO,
            _MAIL,
            _RCPT,
            b"DATA",
            b"Subject: " + b"x" * 900 + b"\r\n\r\nx\r\n.",
            b"QUIT",
        )
        with contextlib.suppress(AssertionError):
            stage.submit("toobig@dest.test", body="big\n" * 2000)


_CHECKS = """\
/^Subject: reject/ REJECT not wanted
/^Subject: warn/ WARN look
/^Subject: info/ INFO look
/^Subject: hold/ HOLD please
/^Subject: discard/ DISCARD silently
/^Subject: redirect/ REDIRECT other@dest.test
/^Subject: filter/ FILTER discard:filtered
/^Subject: prepend/ PREPEND X-Seen: yes
/^Subject: replace/ REPLACE Subject: replaced
/^Subject: ignore/ IGNORE
/^Subject: bcc/ BCC copy@dest.test
/^Subject: strip/ STRIP gone
/^Subject: pass/ PASS
/^Subject: nonsense/ NONSENSE
/^Subject: badfilter/ FILTER nonsense
"""
_WORDS = (
    "reject",
    "warn",
    "info",
    "hold",
    "discard",
    "redirect",
    "filter",
    "prepend",
    "replace",
    "ignore",
    "bcc",
    "strip",
    "pass",
    "nonsense",
    "badfilter",
)


@scene(
    "every action of header and body checks",
    *(
        f"{word}: header Subject"
        for word in (
            "reject",
            "warning",
            "info",
            "hold",
            "discard",
            "redirect",
            "filter",
            "prepend",
            "replace",
        )
    ),
)
def header_checks(stage: Stage) -> None:
    stage.host.write(f"{CONFIG}/header_checks", _CHECKS)
    stage.host.write(f"{CONFIG}/body_checks", _CHECKS.replace("Subject: ", "Body "))
    checks = {
        "header_checks": f"regexp:{CONFIG}/header_checks",
        "body_checks": f"regexp:{CONFIG}/body_checks",
    }
    with stage.host.configured(**checks):
        for word in _WORDS:
            session(
                stage.port("smtpd"),
                _EHLO,
                _MAIL,
                _RCPT,
                b"DATA",
                f"Subject: {word} (x)\r\n\r\nx\r\n.".encode(),
                b"QUIT",
            )
            session(
                stage.port("smtpd"),
                _EHLO,
                _MAIL,
                _RCPT,
                b"DATA",
                f"Subject: x\r\n\r\nBody {word} x\r\n.".encode(),
                b"QUIT",
            )
        stage.submit("byhand@dest.test", body="Body reject\n")
        pause(1)
    checks = {
        "smtp_header_checks": f"regexp:{CONFIG}/header_checks",
        "nested_header_checks": f"regexp:{CONFIG}/nowhere",
    }
    with stage.host.configured(**checks):
        for word in ("warn", "replace", "ignore", "prepend", "strip", "info", "hold"):
            session(
                stage.port("smtpd"),
                _EHLO,
                _MAIL,
                _RCPT,
                b"DATA",
                f"Subject: {word}\r\n\r\nx\r\n.".encode(),
                b"QUIT",
            )
        pause(1)
    stage.clean()


_VERDICTS = (
    ("connect", b"C", b"r", b""),
    ("helo", b"H", b"t", b""),
    ("sender", b"M", b"y550 5.7.1 no %s from you\0", b""),
    ("recipient", b"R", b"y451 4.7.1 later\0", b""),
    ("recipientreject", b"R", b"r", b""),
    ("data", b"T", b"r", b""),
    ("header", b"L", b"r", b""),
    ("body", b"B", b"d", b""),
    ("end", b"E", b"r", b""),
    ("endsoft", b"E", b"t", b""),
    ("endown", b"E", b"y554 5.7.1 Spam found\0", b""),
    ("discarded", b"E", b"d", b""),
    ("quarantine", b"E", b"c", b"qfor a look\0"),
    ("added", b"E", b"c", b"hX-Seen\0yes\0"),
    ("shutdown", b"R", b"4", b""),
    ("odd", b"R", b"Z", b""),
)


@contextlib.contextmanager
def _filtered(stage: Stage, where: str, **changes: str) -> Iterator[None]:
    with stage.host.configured(smtpd_milters=where, non_smtpd_milters=where, **changes):
        yield


@scene(
    "mail filters: refusing, deferring, holding, down",
    "milter-reject: ",
    "milter-hold: ",
    "milter-discard: ",
    "connect to Milter service",
)
def milters(stage: Stage) -> None:
    for name, step, verdict, extra in _VERDICTS:
        with serving(milter(step, verdict, extra)) as port, _filtered(stage, f"inet:127.0.0.1:{port}"):
            stage.smtp(f"{name}@dest.test")
            if name in ("end", "quarantine", "discarded", "sender"):
                stage.submit(f"{name}@dest.test")
            pause(0.2)
    for action in ("tempfail", "accept", "reject", "quarantine"):
        with _filtered(stage, "inet:127.0.0.1:9", milter_default_action=action):
            stage.smtp(f"down{action}@dest.test")
            stage.submit(f"down{action}@dest.test")
            pause(0.2)
    with (
        serving(lambda link: link.sendall(b"this is no filter\r\n")) as port,
        _filtered(stage, f"inet:127.0.0.1:{port}"),
    ):
        stage.smtp("nofilter@dest.test")
    with serving(lambda link: link.close()) as port, _filtered(stage, f"inet:127.0.0.1:{port}"):
        stage.smtp("hangsup@dest.test")


@scene(
    "postscreen: greeted too early, listed, deep tests, TLS, limits, passed",
    "PREGREET",
    "DNSBLOG|listed by domain",
    "DNSBL rank",
    "PASS NEW",
    "PASS OLD",
    "COMMAND PIPELINING",
    "BARE NEWLINE",
    "NON-SMTP COMMAND",
    "HANGUP",
)
def postscreen(stage: Stage) -> None:
    port = stage.port("postscreen")
    base = {
        "postscreen_access_list": f"cidr:{CONFIG}/postscreen",
        "postscreen_greet_action": "enforce",
        "postscreen_greet_wait": "1s",
        "postscreen_dnsbl_sites": "bl.example.test*2, tryagain.test",
        "postscreen_dnsbl_threshold": "2",
        "postscreen_dnsbl_action": "enforce",
    }
    stage.host.write(f"{CONFIG}/postscreen", "127.0.0.20 reject\n127.0.0.21 permit\n127.0.0.22 dunno\n")
    dialogue = (_EHLO, _MAIL, b"RCPT TO:<ps@dest.test>", b"QUIT")
    with stage.host.configured(**base):
        talk(port, b"EHLO early\r\n", 1.5, source="127.0.0.5")
        for source in (4, 4, 6, 6, 20, 21):
            session(port, *dialogue, source=f"127.0.0.{source}")
        talk(port, source="127.0.0.9")
        talk(port, None, 0.2, source="127.0.0.9")
    with stage.host.configured(**base, postscreen_blacklist_action="drop", postscreen_denylist_action="drop"):
        talk(port, None, 0.3, source="127.0.0.20")
    deep = {
        "postscreen_pipelining_enable": "yes",
        "postscreen_non_smtp_command_enable": "yes",
        "postscreen_bare_newline_enable": "yes",
        "postscreen_pipelining_action": "enforce",
        "postscreen_non_smtp_command_action": "drop",
        "postscreen_bare_newline_action": "enforce",
        "postscreen_command_time_limit": "2s",
        "postscreen_command_count_limit": "5",
        "postscreen_helo_required": "yes",
    }
    with stage.host.configured(**base, **deep):
        session(port, *dialogue, source="127.0.0.10")
        session(port, *dialogue, source="127.0.0.10")
        talk(port, None, _EHLO + b"\r\n" + _MAIL + b"\r\nNOOP\r\n", 0.5, source="127.0.0.11")
        talk(port, None, b"EHLO bare\n", 0.5, source="127.0.0.12")
        talk(port, None, b"EHLO x\r\n", None, b"GET / HTTP/1.0\r\n", 0.5, source="127.0.0.13")
        talk(port, None, b"EHLO x\r\n", None, 3.0, source="127.0.0.14")
        talk(port, None, b"EHLO x\r\n", None, *[b"NOOP\r\n", None] * 7, source="127.0.0.15")
        talk(port, None, b"EHLO x\r\n", None, b"STARTTLS\r\n", None, b"junk\r\n", 0.5, source="127.0.0.16")
        talk(port, None, b"MAIL FROM:<x@y.test>\r\n", 0.3, b"X" * 3000 + b"\r\n", 0.3, source="127.0.0.17")
        talk(port, None, b"EHLO x\r\n", None, 0.1, b"BDAT 10\r\n", 0.3, b"DATA\r\n", 0.3, source="127.0.0.18")
    with stage.host.configured(
        **base, postscreen_client_connection_count_limit="1", postscreen_pre_queue_limit="2"
    ):
        crowd(port, 4, source="127.0.0.30")
    pause(1)


@scene("QMQP: a mail, and a client that breaks the protocol", "postfix/qmqpd", "client=localhost")
def qmqp(stage: Stage) -> None:
    parts = (b"Subject: q\n\nHello.\n", SENDER.encode(), b"qmqp@dest.test")
    inner = b"".join(b"%d:%s," % (len(part), part) for part in parts)
    talk(stage.port("qmqpd"), b"%d:%s," % (len(inner), inner), 0.5)
    stage.arrives("qmqp@dest.test", "sent")
    talk(stage.port("qmqpd"), b"nonsense", 0.3)
    talk(stage.port("qmqpd"), b"100:x", 0.2)
    with stage.host.configured(qmqpd_authorized_clients="192.0.2.1"):
        talk(stage.port("qmqpd"), 0.3)


@scene("addresses verified: accepted, refused, and by hand", "status=deliverable", "status=undeliverable")
def verification(stage: Stage) -> None:
    changes = {
        "smtpd_recipient_restrictions": "reject_unverified_recipient, permit_mynetworks, reject",
        "address_verify_poll_delay": "1s",
        "smtpd_sender_restrictions": "reject_unverified_sender",
    }
    with (
        stage.host.configured(**changes),
        stage.relay.failing(Fault(step="rcpt", reply="550 5.1.1 Unknown", only="unknown@")),
    ):
        for recipient in ("known@dest.test", "unknown@dest.test", "unknown@dest.test"):
            stage.smtp(recipient, sender="verified@dest.test")
        stage.smtp("known@dest.test", sender="unknown@dest.test")
        stage.host.run(
            "sendmail",
            "-bv",
            "-f",
            "root@local.test",
            "bv@dest.test",
            "unknown@dest.test",
            "nobody@local.test",
            stdin=b"",
        )
        stage.arrives("bv@dest.test", "deliverable")
        stage.host.run(
            "sendmail", "-v", "-f", "root@local.test", "traced@dest.test", stdin=b"Subject: v\n\nx\n"
        )
        stage.arrives("traced@dest.test", "sent")
        pause(1)


@scene("BDAT, ETRN, VRFY, XCLIENT, an unusual EHLO, DSN requests", "etrn=|commands=")
def extensions(stage: Stage) -> None:
    port = stage.port("smtpd")
    session(
        port,
        _EHLO,
        _MAIL + b" RET=HDRS ENVID=x1",
        b"RCPT TO:<dsn@dest.test> NOTIFY=SUCCESS,FAILURE",
        b"DATA",
        _TEXT,
        b"QUIT",
    )
    stage.arrives("dsn@dest.test", "sent")
    session(port, _EHLO, _MAIL, _RCPT, b"BDAT 16 LAST\r\nSubject: b\r\n\r\nx", b"QUIT")
    talk(
        port,
        None,
        _EHLO + b"\r\n",
        None,
        _MAIL + b"\r\n",
        None,
        _RCPT + b"\r\n",
        None,
        b"BDAT 100\r\nhalf",
        0.2,
    )
    session(
        port,
        _EHLO,
        b"ETRN dest.test",
        b"ETRN [bad",
        b"ETRN local.test",
        b"XCLIENT NAME=x ADDR=192.0.2.7",
        b"QUIT",
    )
    with stage.host.configured(
        smtpd_authorized_xclient_hosts="127.0.0.1",
        smtpd_authorized_xforward_hosts="127.0.0.1",
        fast_flush_domains="dest.test",
    ):
        session(
            port,
            _EHLO,
            b"XFORWARD NAME=far.example.test ADDR=192.0.2.7 PORT=99 HELO=far",
            _MAIL,
            _RCPT,
            b"DATA",
            _TEXT,
            b"XFORWARD NONSENSE",
            b"QUIT",
        )
        session(
            port,
            _EHLO,
            b"XCLIENT NAME=far.example.test ADDR=192.0.2.7",
            _EHLO,
            _MAIL,
            b"RCPT TO:<x@elsewhere.test>",
            b"QUIT",
        )
        session(port, _EHLO, b"XCLIENT NAME=x ADDR=bad", b"QUIT")
        session(port, _EHLO, b"ETRN dest.test", b"QUIT")
        stage.host.run("postqueue", "-s", "dest.test", check=False)
