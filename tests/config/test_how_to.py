"""The relay settings that Postfix how-tos teach: correct values, and refusal of their mistakes."""

from pathlib import Path

import pytest

from postward.config.desired import PostfixFacts, desired_state
from postward.config.errors import SettingsError
from tests.config.samples import load

FACTS = PostfixFacts("/etc/postfix", "hash", frozenset({"hash", "btree", "texthash", "static", "regexp"}))

# relayhost = [smtp587.sendcloud.net]:587 with SASL, on a host that only sends.
HOW_TO = """
[host]
profile = "send-only"
myhostname = "mail.example.com"
mydomain = "example.com"
myorigin = "$mydomain"
inet_interfaces = "localhost"
inet_protocols = "ipv4"
mydestination = "$myhostname, localhost.$mydomain, localhost"

[[relay]]
name = "sendcloud"
host = "smtp587.sendcloud.net"
port = 587
tls = "starttls"
username = "API_USER"
password = "API_KEY"
"""


def test_the_how_to_gives_a_correct_configuration() -> None:
    """Each main.cf value, and the line of sasl_passwd, without the mistake of the how-to."""
    state = desired_state(load(HOW_TO), FACTS, {"sendcloud": "API_KEY"})
    assert state.parameters == {
        "myhostname": "mail.example.com",
        "mydomain": "example.com",
        "myorigin": "$mydomain",
        "inet_interfaces": "localhost",
        "inet_protocols": "ipv4",
        "mydestination": "$myhostname, localhost.$mydomain, localhost",
        "mynetworks": "127.0.0.0/8, [::1]/128",
        "relay_domains": "",
        "relayhost": "[smtp587.sendcloud.net]:587",
        "sender_dependent_relayhost_maps": "",
        "sender_dependent_default_transport_maps": "",
        "smtp_fallback_relay": "",
        "transport_maps": "",
        "smtp_tls_security_level": "encrypt",
        "smtp_tls_wrappermode": "no",
        "smtp_tls_policy_maps": "",
        "smtp_tls_loglevel": "1",
        "default_transport": "smtp",
        "defer_transports": "",
        "soft_bounce": "no",
        "smtp_sasl_type": "cyrus",
        "smtp_sasl_mechanism_filter": "",
        "smtp_sasl_auth_soft_bounce": "yes",
        "smtp_sender_dependent_authentication": "no",
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": "hash:/etc/postfix/sasl_passwd",
        "smtp_sasl_security_options": "noanonymous",
        "smtp_sasl_tls_security_options": "noanonymous",
    }
    (passwords,) = state.tables
    assert (passwords.name, passwords.index_name, passwords.mode) == ("sasl_passwd", "sasl_passwd.db", 0o600)
    assert passwords.text == (
        "# Written by Postward from its settings. Changes made here are overwritten.\n"
        "[smtp587.sendcloud.net]:587 API_USER:API_KEY\n"
    )


WRAPPER_ON_587 = (
    'postward.toml: relay.sendcloud.tls: is "implicit" (TLS from the first byte, smtp_tls_wrappermode = yes) on port 587, '
    'where relays greet in clear text and offer STARTTLS: no mail would leave. Write tls = "starttls", or port = 465 if the '
    "relay offers it. If the relay expects TLS from the first byte on port 587, add allow_unusual_port = true"
)
WRAPPER_BY_HAND = (
    'postward.toml: main_cf.smtp_tls_wrappermode: is derived from relay.tls ("implicit" means yes, on port 465; with yes on a '
    "STARTTLS port such as 587 no mail leaves); set it there and remove it here"
)
DECORATED_HOST = (
    'postward.toml: relay.sendcloud.host: must be a host name without brackets and port, not "[smtp587.sendcloud.net]:587"; '
    'write host = "smtp587.sendcloud.net" and port = 587'
)


@pytest.mark.parametrize(
    ("mistake", "explanation"),
    [
        (HOW_TO.replace('"starttls"', '"implicit"'), WRAPPER_ON_587),
        (HOW_TO + '[main_cf]\nsmtp_tls_wrappermode = "yes"\n', WRAPPER_BY_HAND),
        (HOW_TO.replace('"smtp587.sendcloud.net"', '"[smtp587.sendcloud.net]:587"'), DECORATED_HOST),
    ],
    ids=["implicit on 587", "wrapper mode by hand", "relayhost as host"],
)
def test_the_mistakes_of_the_how_to_are_refused_with_a_remedy(mistake: str, explanation: str) -> None:
    """For wrapper mode on a STARTTLS port, and for Postfix's own notation, the message shows the correct form."""
    with pytest.raises(SettingsError) as refusal:
        load(mistake)
    assert refusal.value.problems == (explanation,)


def test_the_readme_quotes_the_message() -> None:
    """The quotation in README.md is the beginning of the message that is printed."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    _, begin, rest = readme.partition("postward.toml: relay.sendcloud.tls: ")
    quotation = " ".join((begin + rest.partition(" …")[0]).split())
    assert len(quotation) > 200
    assert WRAPPER_ON_587.startswith(quotation)


def test_implicit_tls_on_587_can_be_allowed() -> None:
    """allow_unusual_port gives wrapper mode with a mandatory TLS level; otherwise Postfix does not connect."""
    text = HOW_TO.replace('"starttls"', '"implicit"\nallow_unusual_port = true')
    parameters = desired_state(load(text), FACTS, {"sendcloud": "API_KEY"}).parameters
    assert parameters["smtp_tls_wrappermode"] == "yes"
    assert parameters["smtp_tls_security_level"] == "encrypt"
