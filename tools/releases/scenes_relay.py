"""Scenes of sending: ordinary mail through the relay, and failures of the relay and of the path to it."""

import smtplib
import ssl
from dataclasses import dataclass

from tests.support import CA, Fault, Relay
from tools.releases.host import CONFIG
from tools.releases.misbehaving_server import scripted
from tools.releases.stage import SCENES, SENDER, Play, Scene, Stage, pause, scene

_GREET = b"220 relay.example.test ESMTP\r\n"
_EHLO = b"250-relay.example.test\r\n250 8BITMIME\r\n"


@scene(
    "ordinary mail by sendmail, one recipient and several",
    "status=sent",
    "Verified TLS connection established",
)
def ordinary(stage: Stage) -> None:
    for number in range(max(1, stage.mails // 4)):
        stage.submit(f"bob{number}@dest.test")
    stage.send("carol@dest.test", "dave@dest.test", "erin@dest.test", expect="sent")


@scene("many mails in one SMTP session, over cached connections", "conn_use=2", "status=sent")
def many(stage: Stage) -> None:
    # Without TLS: an encrypted connection is only cached where tlsproxy holds it.
    changes = {
        "smtp_connection_cache_destinations": "$relayhost",
        "default_destination_concurrency_limit": "2",
    }
    with stage.next_hop(scripted(_GREET, {b"EHLO": _EHLO}), changes=changes):
        with smtplib.SMTP("127.0.0.1", stage.port("smtpd"), timeout=30) as client:
            for number in range(max(20, stage.mails)):
                to = f"many{number}@dest.test"
                client.sendmail(
                    SENDER,
                    [to],
                    f"From: {SENDER}\r\nTo: {to}\r\nMessage-ID: <{number}@x.test>\r\n\r\nHi.\r\n",
                )
        stage.arrives(f"many{max(20, stage.mails) - 1}@dest.test", "sent")
        stage.says("statistics: start interval")


@scene("TLS connections reused through tlsproxy", "TLS connection reused to", "postfix/tlsproxy")
def tls_reuse(stage: Stage) -> None:
    changes = {
        "smtp_tls_connection_reuse": "yes",
        "smtp_connection_cache_destinations": "$relayhost",
        "default_destination_concurrency_limit": "1",
        "tlsproxy_tls_loglevel": "1",
    }
    with stage.host.configured(**changes):
        for number in range(10):
            stage.submit(f"reuse{number}@dest.test")
        for number in range(10):
            stage.arrives(f"reuse{number}@dest.test", "sent")
        with stage.relay.failing(Fault(step="handshake", action="cut")):
            stage.send("reusecut@dest.test", expect="deferred")
        stage.relay.certificate = stage.ca.server_context("relay.example.test", expired=True)
        stage.send("reuseexpired@dest.test", expect="deferred")
        stage.relay.certificate = stage.ca.server_context("relay.example.test")


@scene(
    "TLS session resumption, with more to say about TLS",
    "setting up TLS connection to",
    "Reusing old session",
)
def tls_loglevel(stage: Stage) -> None:
    cache = "lmdb" if stage.host.table_type != "hash" else "btree"
    changes = {
        "smtp_tls_loglevel": "2",
        "smtp_tls_session_cache_database": f"{cache}:${{data_directory}}/smtp_scache",
        "smtp_tls_security_level": "encrypt",
        "smtp_tls_note_starttls_offer": "yes",
    }
    with stage.host.configured(**changes):
        for number in range(3):
            stage.send(f"resumed{number}@dest.test", expect="sent")


@scene("STARTTLS offered and not used", "Host offered STARTTLS")
def offer_noted(stage: Stage) -> None:
    with stage.host.configured(
        smtp_tls_security_level="none", smtp_tls_note_starttls_offer="yes", smtp_sasl_auth_enable="no"
    ):
        stage.send("offer@dest.test", expect="bounced")


@scene("AUTH PLAIN only, LOGIN only, and an unsupported mechanism", "SASL authentication failed")
def mechanisms(stage: Stage) -> None:
    for mechanism in ("PLAIN", "LOGIN"):
        stage.relay.mechanisms = (mechanism,)
        stage.send(f"{mechanism.lower()}@dest.test", expect="sent")
    for offered in (("XOAUTH2",), ()):
        stage.relay.mechanisms = offered
        stage.send(f"mechanism{len(offered)}@dest.test")
        stage.clean()
    stage.relay.mechanisms = ("PLAIN", "LOGIN")


@scene("credentials remembered as wrong", "SASL [CACHED] authentication failed")
def sasl_cache(stage: Stage) -> None:
    cache = "lmdb" if stage.host.table_type != "hash" else "btree"
    changes = {"smtp_sasl_auth_cache_name": f"proxy:{cache}:${{data_directory}}/sasl_auth_cache"}
    with stage.host.configured(**changes), stage.relay.failing(Fault(step="auth", reply="535 5.7.8 No")):
        for number in range(2):
            stage.send(f"cached{number}@dest.test", expect="deferred")
            stage.clean()


@scene("no password for this relay", "status=bounced")
def no_password(stage: Stage) -> None:
    with stage.host.configured(smtp_sasl_password_maps="inline:{other.test=user:secret}"):
        stage.send("nopassword@dest.test", expect="bounced")


@dataclass(frozen=True)
class Row:
    """A fault at the relay: its name, the fault, the status it leads to, and settings for its time."""

    name: str
    fault: Fault
    status: str = "deferred"
    settings: tuple[tuple[str, str], ...] = ()


_SOFT = (("smtp_sasl_auth_soft_bounce", "no"),)
_OPEN = (("smtp_tls_security_level", "may"),)

FAULTS = (
    Row("greeting421", Fault(step="greeting", reply="421 4.7.0 Too many connections")),
    Row("greeting554", Fault(step="greeting", reply="554 5.7.1 Your address is on our list")),
    Row("greetingmany", Fault(step="greeting", reply="554-5.7.1 Not you\n554 5.7.1 See our page")),
    Row("greetingcut", Fault(step="greeting", action="cut")),
    Row("greetinghang", Fault(step="greeting", action="hang", seconds=4)),
    Row("ehlo501", Fault(step="ehlo", reply="501 5.5.4 Bad name"), "bounced"),
    Row("ehlo421", Fault(step="ehlo", reply="421 4.3.2 Closing down")),
    Row("ehlocut", Fault(step="ehlo", action="cut")),
    Row("ehlohang", Fault(step="ehlo", action="hang", seconds=4)),
    Row("starttls454", Fault(step="starttls", reply="454 4.7.0 TLS not available")),
    Row("starttls502", Fault(step="starttls", reply="502 5.5.1 Not implemented"), "bounced"),
    Row("starttlscut", Fault(step="starttls", action="cut")),
    Row("starttlshang", Fault(step="starttls", action="hang", seconds=4)),
    Row("handshakecut", Fault(step="handshake", action="cut")),
    Row("handshakehang", Fault(step="handshake", action="hang", seconds=4)),
    Row("handshakemay", Fault(step="handshake", action="cut"), settings=_OPEN),
    Row("auth535", Fault(step="auth", reply="535 5.7.8 Authentication credentials invalid")),
    Row("auth535hard", Fault(step="auth", reply="535 5.7.8 Wrong password"), "bounced", _SOFT),
    Row(
        "auth535many",
        Fault(step="auth", reply="535-5.7.8 Username and Password\n535 5.7.8 not accepted - gsmtp"),
    ),
    Row("auth534", Fault(step="auth", reply="534 5.7.9 Application-specific password required")),
    Row("auth454", Fault(step="auth", reply="454 4.7.0 Temporary authentication failure")),
    Row("auth421", Fault(step="auth", reply="421 4.7.0 Too many login attempts")),
    Row("authcut", Fault(step="auth", action="cut")),
    Row("authhang", Fault(step="auth", action="hang", seconds=4)),
    Row("mail450", Fault(step="mail", reply="450 4.1.8 Sender's domain not found")),
    Row(
        "mail550",
        Fault(step="mail", reply="550 5.7.60 Client does not have permissions to send as this sender"),
        "bounced",
    ),
    Row("mail552", Fault(step="mail", reply="552 5.3.4 Message too big"), "bounced"),
    Row("mailcut", Fault(step="mail", action="cut")),
    Row("mailhang", Fault(step="mail", action="hang", seconds=4)),
    Row("rcpt450", Fault(step="rcpt", reply="450 4.2.1 Mailbox busy")),
    Row("rcpt451", Fault(step="rcpt", reply="451 4.7.1 Greylisted, come back later")),
    Row("rcpt452", Fault(step="rcpt", reply="452 4.2.2 Over quota")),
    Row(
        "rcpt550",
        Fault(step="rcpt", reply="550 5.1.1 <rcpt550@dest.test>: Recipient address rejected"),
        "bounced",
    ),
    Row(
        "rcpt550many",
        Fault(step="rcpt", reply="550-5.1.1 No such account\n550 5.1.1 See https://example.test/?p=1"),
        "bounced",
    ),
    Row("rcpt554", Fault(step="rcpt", reply="554 5.7.1 Relay access denied"), "bounced"),
    Row("rcpt421", Fault(step="rcpt", reply="421 4.7.28 Too much mail from you")),
    Row("rcptcut", Fault(step="rcpt", action="cut")),
    Row("rcpthang", Fault(step="rcpt", action="hang", seconds=4)),
    Row(
        "rcptodd",
        Fault(step="rcpt", reply=b"550 5.7.1 \xe4\xbd\xa0\xe5\xa5\xbd \xff (nested) status=sent"),
        "bounced",
    ),
    Row("rcptempty", Fault(step="rcpt", reply="550"), "bounced"),
    Row("rcptlong", Fault(step="rcpt", reply="550 5.7.1 " + "long " * 390), "bounced"),
    Row("data451", Fault(step="data", reply="451 4.3.0 Not now")),
    Row("data554", Fault(step="data", reply="554 5.5.1 No valid recipients"), "bounced"),
    Row("datacut", Fault(step="data", action="cut")),
    Row("datahang", Fault(step="data", action="hang", seconds=4)),
    Row("bodycut", Fault(step="body", action="cut")),
    Row("end450", Fault(step="end_of_data", reply="450 4.7.0 Content under review")),
    Row("end550", Fault(step="end_of_data", reply="550 5.7.1 Message looks like spam"), "bounced"),
    Row("end552", Fault(step="end_of_data", reply="552 5.2.2 Mailbox full"), "bounced"),
    Row("end421", Fault(step="end_of_data", reply="421 4.3.0 Daily quota exceeded")),
    Row("endcut", Fault(step="end_of_data", action="cut")),
    Row("endhang", Fault(step="end_of_data", action="hang", seconds=4)),
    Row("quit500", Fault(step="quit", reply="500 5.5.2 What?"), "sent"),
    Row("quitcut", Fault(step="quit", action="cut"), "sent"),
)


def _play(row: Row) -> Play:
    def play(stage: Stage) -> None:
        with stage.relay.failing(row.fault):
            if row.settings:
                with stage.host.configured(**dict(row.settings)):
                    stage.send(f"{row.name}@dest.test", expect=row.status)
            else:
                stage.send(f"{row.name}@dest.test", expect=row.status)

    return play


SCENES.extend(
    Scene(f"fault at the relay: {row.name}", _play(row), (f"status={row.status}",)) for row in FAULTS
)


@scene("one of two recipients refused", "status=bounced", "status=sent")
def one_of_two(stage: Stage) -> None:
    with stage.relay.failing(Fault(step="rcpt", reply="550 5.1.1 Unknown", only="second@")):
        stage.send("first@dest.test", "second@dest.test")


@scene("no STARTTLS at the relay", "TLS is required, but was not offered")
def no_starttls(stage: Stage) -> None:
    stage.relay.no_starttls = True
    stage.send("nostarttls@dest.test", expect="deferred")
    stage.relay.no_starttls = False


@scene(
    "the relay refuses connections; the queue manager sets it aside",
    "Connection refused",
    "delivery temporarily suspended",
)
def refused(stage: Stage) -> None:
    stage.relay.refuse = True
    stage.send("refused@dest.test", expect="deferred")
    stage.relay.refuse = False
    with stage.relay.failing(Fault(step="greeting", action="hang", seconds=3)):
        for number in range(10):
            stage.submit(f"suspended{number}@dest.test")
        stage.says("delivery temporarily suspended")


@scene("a fallback relay that fails as well", "Connection refused")
def fallback(stage: Stage) -> None:
    with stage.host.configured(relayhost="[127.0.0.1]:9", smtp_fallback_relay="[relay.example.test]:9"):
        stage.send("fallback@dest.test", expect="deferred")


@scene(
    "certificates: expired, not yet valid, wrong name, unknown authority",
    "certificate has expired",
    "Server certificate not",
)
def certificates(stage: Stage) -> None:
    bad = {
        "expired": stage.ca.server_context("relay.example.test", expired=True),
        "early": stage.ca.server_context("relay.example.test", not_yet_valid=True),
        "name": stage.ca.server_context("relay.example.test", wrong_name=True),
        "selfsigned": stage.ca.server_context("relay.example.test", self_signed=True),
    }
    good = stage.relay.certificate
    for level in ("secure", "verify", "encrypt", "may"):
        with stage.host.configured(smtp_tls_security_level=level):
            for name, certificate in bad.items():
                stage.relay.certificate = certificate
                stage.send(f"{name}.{level}@dest.test")
                stage.clean()
    stage.relay.certificate = good


@scene(
    "the wrong authority, no authority file, fingerprint and dane levels",
    "Server certificate not",
    "cannot load Certification Authority data",
)
def authority(stage: Stage) -> None:
    stage.host.write(f"{CONFIG}/other.pem", CA().pem.decode())
    with stage.host.configured(smtp_tls_CAfile=f"{CONFIG}/other.pem"):
        stage.send("otherca@dest.test", expect="deferred")
    with stage.host.configured(smtp_tls_CAfile=f"{CONFIG}/nowhere.pem"):
        stage.send("noca@dest.test", expect="deferred")
    fingerprint = {"smtp_tls_security_level": "fingerprint", "smtp_tls_fingerprint_cert_match": "00:11:22:33"}
    with stage.host.configured(**fingerprint):
        stage.send("fingerprint@dest.test", expect="deferred")
    for level in ("dane", "dane-only"):
        with stage.host.configured(smtp_tls_security_level=level, smtp_dns_support_level="dnssec"):
            stage.send(f"{level}@dest.test")
            stage.clean()


@scene("TLS protocols and ciphers that do not meet", "Cannot start TLS: handshake failure")
def protocols(stage: Stage) -> None:
    for name, changes in {
        "cipher": {"smtp_tls_mandatory_exclude_ciphers": "ALL", "smtp_tls_mandatory_protocols": "TLSv1.2"},
        "protocol": {"smtp_tls_mandatory_protocols": "TLSv1.9"},
    }.items():
        with stage.host.configured(**changes):
            stage.send(f"{name}@dest.test", expect="deferred")
    before = stage.relay.certificate.minimum_version
    stage.relay.certificate.minimum_version = ssl.TLSVersion.TLSv1_3
    with stage.host.configured(smtp_tls_mandatory_protocols="TLSv1.2"):
        stage.send("tooold@dest.test", expect="deferred")
    stage.relay.certificate.minimum_version = before


@scene(
    "wrapper mode where STARTTLS is spoken, and the reverse",
    "wrappermode|lost connection|timed out|SSL_connect error",
)
def wrapper_mode(stage: Stage) -> None:
    with stage.host.configured(smtp_tls_wrappermode="yes"):
        stage.send("wrapped@dest.test", expect="deferred")
    with Relay(stage.ca, "relay.example.test", tls="implicit") as relay:
        to = f"[relay.example.test]:{relay.port}"
        passwords = f"inline:{{{{{to}=user:secret}}}}"
        with stage.host.configured(relayhost=to, smtp_sasl_password_maps=passwords):
            stage.send("unwrapped@dest.test", expect="deferred")
        changes = {"relayhost": to, "smtp_sasl_password_maps": passwords, "smtp_tls_wrappermode": "yes"}
        with stage.host.configured(**changes):
            stage.send("smtps@dest.test", expect="sent")
        with stage.host.configured(**{**changes, "smtp_tls_security_level": "may"}):
            stage.send("smtpsmay@dest.test")


@scene(
    "names: no such host, try again, no data, null MX, a loop, a bad MX",
    "Host not found",
    "nullMX|does not accept mail",
    "loops back to myself",
)
def lookups(stage: Stage) -> None:
    for domain in ("nowhere", "loop", "nullmx", "badmx", "nodata", "tryagain", "refused", "badport"):
        stage.submit(f"x@{domain}.test")
    with stage.host.configured(smtp_sasl_auth_enable="no", smtp_tls_security_level="none"):
        for domain in ("nowhere", "loop", "nullmx", "badmx", "nodata", "tryagain", "refused"):
            stage.submit(f"x@{domain}.test")
        for domain in ("nowhere", "loop", "nullmx", "badmx", "nodata", "tryagain", "refused"):
            stage.arrives(f"x@{domain}.test")


@scene("a relayhost that does not exist, and one that is this host", "relayhost configuration problem")
def bad_relayhost(stage: Stage) -> None:
    for number, host in enumerate(
        ("[nowhere.example.test]", "[host.example.test]:25", "nullmx.test", "[relay.example.test")
    ):
        with stage.host.configured(relayhost=host):
            stage.submit(f"badhost{number}@dest.test")
            stage.says(f"to=<badhost{number}@dest.test>" if number < 3 else "relay.example.test")
            stage.clean()
    stage.host.restart()  # the last scene may leave the smtp transport throttled for a minute


@scene("two MX hosts, of which the first refuses", "two.test|relay2.example.test", "status=sent")
def two_hosts(stage: Stage) -> None:
    changes = {"smtp_tls_security_level": "encrypt", "smtp_sasl_password_maps": "static:{user:secret}"}
    with stage.host.configured(**changes):
        stage.send("x@two.test", expect="sent")
        with stage.relay.failing(Fault(step="rcpt", reply="450 4.2.0 Later")):
            stage.send("y@two.test", expect="deferred")
        with stage.relay.failing(Fault(step="greeting", reply="421 4.2.0 Later")):
            stage.send("z@two.test", expect="deferred")
        with stage.relay.failing(Fault(step="mail", action="cut")):
            stage.send("v@two.test", expect="deferred")


@scene("a relay that greets with our own name, or is us", "with my own hostname", "loops back to myself")
def own_name(stage: Stage) -> None:
    # Postfix detects its own name on port 25 only.
    here = f"127.9.{stage.relay.port % 250 + 1}.25"
    greets = scripted(b"220 host.example.test ESMTP\r\n", {b"EHLO": b"250 host.example.test\r\n"})
    with stage.next_hop(greets, here, 25):
        stage.send("myself@dest.test")
    with stage.next_hop(scripted(_GREET, {b"EHLO": b"250 host.example.test\r\n"}), here, 25):
        stage.send("myself2@dest.test")


@scene("a relay that is not a mail server, or replies nonsense", "Protocol error", "timed out while")
def nonsense(stage: Stage) -> None:
    servers = (
        scripted(b"HTTP/1.1 400 Bad Request\r\n\r\n", {b"": b"nonsense\r\n"}),
        scripted(b"220 ****************\r\n", {b"EHLO": b"500 5.5.1 What?\r\n", b"HELO": b"250 relay\r\n"}),
        scripted(_GREET, {b"EHLO": _EHLO, b"RCPT": b"250-2.1.5 Ok\r\n350 mixed\r\n"}),
        scripted(_GREET, {b"EHLO": _EHLO, b"MAIL": b"999 odd\r\n"}),
        scripted(_GREET, {b"EHLO": _EHLO, b"MAIL": b"hello\r\n"}),
        scripted(_GREET, {b"EHLO": _EHLO, b"DATA": b"250 not 354\r\n"}),
    )
    for number, server in enumerate(servers):
        with stage.next_hop(server):
            stage.submit(f"nonsense{number}@dest.test")
            stage.says(f"to=<nonsense{number}@dest.test>")
            stage.clean()


@scene(
    "PIX workarounds, discarded EHLO keywords, a small size limit, XFORWARD refused",
    "enabling PIX workarounds",
    "discarding EHLO keywords",
    "exceeds size limit",
)
def quirks(stage: Stage) -> None:
    with stage.next_hop(
        scripted(b"220 ***************\r\n", {b"EHLO": _EHLO}),
        changes={"smtp_pix_workaround_threshold_time": "0"},
    ):
        stage.send("pix@dest.test", body="Hi.\n")
        stage.host.run("postqueue", "-f")
        pause(1)
    keywords = b"250-relay.example.test\r\n250-SIZE 100\r\n250-PIPELINING\r\n250 ETRN\r\n"
    with stage.next_hop(
        scripted(_GREET, {b"EHLO": keywords}), changes={"smtp_discard_ehlo_keywords": "pipelining"}
    ):
        stage.send("small@dest.test", expect="bounced")
    keywords = b"250-relay.example.test\r\n250 XFORWARD NAME ADDR PROTO HELO SOURCE IDENT PORT\r\n"
    with stage.next_hop(
        scripted(_GREET, {b"EHLO": keywords, b"XFORWARD": b"501 5.5.4 No\r\n"}),
        changes={"smtp_send_xforward_command": "yes"},
    ):
        stage.smtp("xforward@dest.test")
        stage.arrives("xforward@dest.test", "sent")


@scene("addresses beyond ASCII, quoted local parts, no sender", "status=bounced", "status=sent")
def addresses(stage: Stage) -> None:
    stage.send('"quoted local"@dest.test', expect="sent")
    stage.submit('"a>b, <c"@dest.test', sender="")
    stage.smtp('"odd\\"one"@dest.test', sender='"the sender"@client.example.test')
    stage.smtp("plus+tag=x@dest.test", sender="bounce+x=dest.test@client.example.test")
    stage.send("jürgen@dest.test", sender="jörg@client.example.test")
    with stage.next_hop(
        scripted(_GREET, {b"EHLO": b"250-relay.example.test\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"})
    ):
        stage.send("müller@dest.test", expect="sent")
    pause(1)


@scene("long queue ids", "status=sent")
def long_ids(stage: Stage) -> None:
    with stage.host.configured(enable_long_queue_ids="yes"):
        stage.send("longid@dest.test", expect="sent")
        with stage.relay.failing(Fault(step="rcpt", reply="550 5.1.1 Unknown")):
            stage.send("longidbounced@dest.test", expect="bounced")


@scene("a transport with a syslog_name of its own", "postfix/relay/smtp")
def named(stage: Stage) -> None:
    stage.send("x@relayed.test", expect="sent")


@scene("one delivery with smtp -v", "status=sent", verbose=True)
def verbose(stage: Stage) -> None:
    stage.send("x@loud.test", expect="sent")


@scene("what the mail asks of TLS: REQUIRETLS, and TLS features in the record", "tls=", since=(3, 11))
def requiretls(stage: Stage) -> None:
    with stage.host.configured(requiretls_enable="yes"):
        stage.smtp_tls(
            b"MAIL FROM:<app@client.example.test> REQUIRETLS",
            b"RCPT TO:<requiretls@dest.test>",
            b"DATA",
            b"Subject: x\r\n\r\nx\r\n.",
        )
        stage.arrives("requiretls@dest.test")


@scene("sender-dependent relays and a TLS policy table", "status=sent", "status=deferred")
def per_sender(stage: Stage) -> None:
    to = f"[relay.example.test]:{stage.relay.port}"
    changes = {
        "sender_dependent_relayhost_maps": f"inline:{{{{app@client.example.test={to}}}}}",
        "smtp_sender_dependent_authentication": "yes",
        "smtp_tls_policy_maps": f"inline:{{{{{to}=encrypt protocols=!SSLv2}}, {{[127.0.0.1]:9=nonsense}}}}",
    }
    with stage.host.configured(**changes):
        stage.send("persender@dest.test", expect="sent")
        stage.send("x@refused.test", expect="deferred")
    changes["smtp_tls_policy_maps"] = f"inline:{{{{{to}=encrypt match=x nonsense=y}}}}"
    with stage.host.configured(**changes):
        stage.send("badpolicy@dest.test")
