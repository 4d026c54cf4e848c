"""No secret that Postfix's debugging writes into the log is shown."""

from pathlib import Path

import pytest

from postward.parsers.scrub import SCRUBBED, scrub

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
    """Every line of the corpus comes back unchanged."""
    changed = [
        line
        for file in sorted(CORPUS.rglob("*.log"))
        for line in file.read_text(errors="replace").split("\n")
        if scrub(line) != line
    ]

    assert changed == []
