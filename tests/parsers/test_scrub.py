"""No secret that Postfix's debugging writes into the log is shown."""

import base64
from pathlib import Path

import pytest

from postward.parsers import parse
from postward.parsers.events import Verbose
from postward.parsers.scrub import MASK, SCRUBBED, hidden, hide, mask_addresses, scrub

CORPUS = Path(__file__).parents[1] / "corpus"
SECRET = "tr0ub4dor&3 ' = `x"
BASE64 = "AHVzZXIAdHIwdWI0ZG9y"
PEER = "smtp.relay.test[192.0.2.9]:587"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"smtp_sasl_passwd_lookup: host `smtp.relay.test' user `me' pass `{SECRET}'", "user `me' pass `"),
        (f"xsasl_cyrus_client_get_passwd: {SECRET}", "xsasl_cyrus_client_get_passwd: "),
        (f"xsasl_cyrus_client_first: uncoded initial reply: \0me\0{SECRET}", "uncoded initial reply: "),
        (f"xsasl_cyrus_client_next: uncoded client response {SECRET}", "uncoded client response "),
        (f"xsasl_cyrus_client_next: decoded challenge: {SECRET}", "decoded challenge: "),
        (f"xsasl_cyrus_server_next: decoded response: {SECRET}", "decoded response: "),
        (f"xsasl_cyrus_server_first: decoded initial response {SECRET}", "decoded initial response "),
        (
            f"xsasl_cyrus_server_first: sasl_method PLAIN, init_response {BASE64}",
            "sasl_method PLAIN, init_response ",
        ),
        (f"xsasl_dovecot_handle_reply: auth reply: OK\t1\tuser={SECRET}", "auth reply: "),
        (f"SASL authentication pass: {SECRET}", "SASL authentication pass: "),
        (
            f"maps_find: smtp_sasl_password_maps: hash:/etc/postfix/sasl_passwd(0,lock|fold_fix): [smtp.relay.test]:587 = me:{SECRET}",
            "[smtp.relay.test]:587 = ",
        ),
        (f"send attr value = me:{SECRET}", "send attr value = "),
        (f"private/proxymap socket: input attribute value: me:{SECRET}", "input attribute value: "),
        (f"> {PEER}: AUTH PLAIN {BASE64}", "AUTH PLAIN "),
        (f"< client.test[192.0.2.7]: auth login {BASE64}=", "auth login "),
        (f"< [192.0.2.7]:40001: AUTH PLAIN {BASE64}==", "AUTH PLAIN "),
        (f"> {PEER}: {BASE64}", f"> {PEER}: "),
        (f"< client.test[192.0.2.7]: {BASE64}==", "< client.test[192.0.2.7]: "),
        (
            f"improper command pipelining after EHLO from x[192.0.2.7]: AUTH PLAIN {BASE64}\\r\\n",
            "AUTH PLAIN ",
        ),
    ],
)
@pytest.mark.parametrize("header", ["", "Nov 24 06:05:01 mx1 postfix/smtp[12]: "])
def test_a_secret_goes_and_its_label_stays(header: str, text: str, kept: str) -> None:
    """In a message, and in a whole line with its header."""
    shown = scrub(header + text)

    assert SECRET not in shown
    assert "tr0ub4dor" not in shown
    assert BASE64 not in shown
    assert shown.startswith(header)
    assert f"{kept}{SCRUBBED}" in shown


@pytest.mark.parametrize(
    "text",
    [
        f"> {PEER}: EHLO mx1.example.com",
        f"> {PEER}: STARTTLS",
        f"> {PEER}: quit",
        f"< {PEER}: 334 UGFzc3dvcmQ6",
        f"< {PEER}: 250-AUTH PLAIN LOGIN XOAUTH2 extra",
        "xsasl_cyrus_server_create: SASL service=smtp, realm=(null)",
        "xsasl_dovecot_server_connect: Connecting",
        "warning: AUTH command rate limit exceeded: 5 from x[192.0.2.7] for service smtp",
        "SASL authentication failed; server x[192.0.2.9] said: 535 5.7.8 Error: AUTH LOGIN not possible now",
        "private/proxymap socket: input attribute value: (end)",
        "send attr request = lookup",
    ],
)
def test_what_holds_no_secret_stays(text: str) -> None:
    """Dialogue, mechanisms and replies are what debugging is for."""
    assert scrub(text) == text


def test_ordinary_lines_stay_as_they_are() -> None:
    """Every line of the corpus that is not a debug message comes back unchanged."""
    changed = [
        line
        for file in sorted(CORPUS.rglob("*.log"))
        for line in file.read_text(errors="replace").split("\n")
        if scrub(line) != line and not isinstance(parse(line)[1], Verbose)
    ]

    assert changed == []


LOGIN = f"me:{SECRET}"
# The severity and the text of lines by which Postfix, its tables and SASL libraries print a login.
LEAKS = [
    ("info", f"maps_find: smtp_sasl_password_maps: static:{LOGIN}(0,lock|fold_fix): [h]:587 = {LOGIN}"),
    ("info", f"maps_find: smtp_sasl_password_maps: proxy:hash:/etc/postfix/p(0,lock): [h]:587 = {LOGIN}"),
    (
        "info",
        f"maps_find: smtp_sasl_password_maps: inline:{{ {{ [h]:587 = {LOGIN} }} }}(0): [h]:587 = {LOGIN}",
    ),
    ("info", f"hash:/etc/postfix/passwd: [h]:587 = {LOGIN}"),
    ("info", f'hash:/etc/postfix/passwd lookup: "[h]:587" = "{LOGIN}"'),
    ("info", f"debug:lmdb:/etc/postfix/passwd: lookup [h]:587 -> {LOGIN}"),
    ("info", f"dict_open: static:{LOGIN}"),
    ("info", f"dict_register: static:{LOGIN} 1"),
    ("info", f"dict_proxy_lookup: table=static:{LOGIN} flags=lock key=[h]:587 -> status=0 result={LOGIN}"),
    ("info", f"mail_addr_find: [h]:587 -> {LOGIN}"),
    ("info", f"mail_addr_crunch: {LOGIN}"),
    ("info", f"auth_request: SCRAM-SHA-256 c=biws,r=nonce,p={SECRET}"),
    ("info", f"http_header: Authorization: Bearer {SECRET}"),
    ("info", f"vstream_popen: mysql -p{SECRET}"),
    ("info", f"dict_ldap_connect: Binding to server h with dn cn=me, bind_pw={SECRET}"),
    ("info", f"cfg_get_str: /etc/postfix/mysql.cf: password = {SECRET}"),
    ("info", f"> {PEER}: AUTH X-NEW {SECRET}"),
    ("info", f"< {PEER}: 334 {SECRET}"),
    ("info", f"< {PEER}: 235 2.0.0 v={SECRET}"),
    ("info", f"> {PEER}: {SECRET}"),
    ("info", f"send attr sasl_password = {SECRET}"),
    ("info", f"input attribute value: {LOGIN}"),
    ("info", f"loaded {SECRET}"),
    ("info", f"request: {SECRET}"),
    ("fatal", f"unsupported dictionary type: static:{LOGIN}"),
    ("fatal", f'open dictionary: expecting "type:name" form instead of "inline:{{{LOGIN}}}"'),
    ("warning", f'open "static:{LOGIN}": Invalid argument'),
    ("warning", f'static:{LOGIN} lookup error for "[h]:587"'),
    ("warning", f"static:{LOGIN} is unavailable. unsupported dictionary type: static"),
    ("error", f'pipemap:{{static:{LOGIN}}} lookup error for "x"'),
    ("warning", f"4C0FFEE001: smtp_sasl_password_maps: static:{LOGIN} map lookup problem for [h]:587"),
    ("warning", f"ldap: bind_pw={SECRET}"),
    ("warning", f"mysql query failed: Access denied (password = {SECRET})"),
    ("warning", f"request for token failed: client_secret={SECRET}&grant_type=refresh_token"),
    (
        "info",
        f"[sasl-xoauth2]   2026-11-29 10:00:00: TokenStore::Read: refresh={SECRET}, access={SECRET}, user=",
    ),
    ("info", f"[sasl-xoauth2]   ReadPrompt: found id 16388 with value [{SECRET}]"),
    (
        "info",
        f"[sasl-xoauth2] TokenStore::Refresh: request: client_id=a&client_secret={SECRET}&refresh_token={SECRET}",
    ),
    ("info", f"[sasl-xoauth2] Client::SendToken: response: user=a\1auth=Bearer {SECRET}\1\1"),
    ("info", f'[sasl-xoauth2] TokenStore::Refresh: code=200, response={{"access_token":"{SECRET}"}}'),
    ("warning", f'answer: {{"access_token": "{SECRET}"}}'),
    ("warning", f"header: Authorization: Bearer {SECRET}"),
]


@pytest.mark.parametrize(("severity", "text"), LEAKS)
def test_debugging_and_tables_show_no_login(severity: str, text: str) -> None:
    """Of these lines only the known-harmless is shown, also without knowing the password."""
    assert "tr0ub4dor" not in scrub(text, severity)


def test_a_table_keeps_why_it_cannot_be_used() -> None:
    """The content goes; the known words of Postfix after it stay."""
    text = f"static:{LOGIN} is unavailable. unsupported dictionary type: static"

    assert scrub(text, "warning") == f"static:{SCRUBBED} is unavailable. unsupported dictionary type: static"


@pytest.mark.parametrize(
    "text",
    [
        "hash:/etc/postfix/sasl_passwd is unavailable. open database /etc/postfix/sasl_passwd.db: No such file",
        "mail_queue_enter: create file maildrop/1.2: No space left on device",
        "bad numerical configuration: smtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd",
        "SASL authentication failure: Password verification failed",
    ],
)
def test_complaints_without_a_secret_stay(text: str) -> None:
    """A warning that begins like a debug message is none."""
    assert scrub(text, "warning") == text


@pytest.fixture(autouse=True)
def _forget_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process know no logins, before and after the test: other tests' are words of these lines."""
    monkeypatch.setattr("postward.parsers.scrub._logins", {})
    monkeypatch.setattr("postward.parsers.scrub._hidden", [])
    monkeypatch.setattr("postward.parsers.scrub._hidden_words", None)


def test_known_logins_are_masked_in_every_form() -> None:
    """Wherever they stand, also as AUTH PLAIN and AUTH LOGIN print them."""
    hide([("me", "s3cret/pass"), ("me", "sent")])

    assert (
        scrub("host said: 550 what does s3cret/pass mean", "info") == f"host said: 550 what does {MASK} mean"
    )
    for text in ("s3cret/pass", "\0me\0s3cret/pass", "me\0me\0s3cret/pass"):
        encoded = base64.b64encode(text.encode()).decode()
        assert encoded.rstrip("=") not in hidden(f"odd line {encoded}")
    assert hidden("status=sent, resent") == f"status={MASK}, resent"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to=<user@[192.0.2.1]>", "to=<…@[192.0.2.1]>"),
        ("to user@[IPv6:2001:db8::1] now", "to …@[IPv6:2001:db8::1] now"),
        (
            "client=a[1.2.3.4], sasl_method=PLAIN, sasl_username=joe",
            "client=a[1.2.3.4], sasl_method=PLAIN, sasl_username=…",
        ),
        ("sasl_username=<joe> x", "sasl_username=<…> x"),
        ('status=bounced (unknown user: "joe")', 'status=bounced (unknown user: "…")'),
        ("relay=h[192.0.2.1]:25", "relay=h[192.0.2.1]:25"),
    ],
)
def test_persons_are_masked_where_the_field_says_so(text: str, shown: str) -> None:
    """Addresses with a literal, and names of users."""
    assert mask_addresses(text) == shown
