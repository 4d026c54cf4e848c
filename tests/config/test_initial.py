"""The settings that `postward init` writes."""

import tomllib

import pytest

from postward.config.initial import Answers, initial_settings
from postward.config.oauth2 import grants_of
from postward.config.providers import PROVIDERS
from postward.config.settings import parse_settings


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_gives_valid_settings(provider: str) -> None:
    """A login and a host name are sufficient."""
    region = "eu-west-1" if "{region}" in PROVIDERS[provider].host else ""
    answers = Answers(
        myhostname="mail.example.com",
        provider=provider,
        region=region,
        username=PROVIDERS[provider].username or "me@example.com",
        recipient="probe@example.com",
    )
    settings = parse_settings(tomllib.loads(initial_settings(answers)), "postward.toml")
    assert settings.relay[0].name == provider
    assert settings.relay[0].password_file == f"/etc/postward/passwords/{provider}"


def test_settings_without_an_answer_are_left_out() -> None:
    """Only the answers are written; quotes and backslashes are escaped as in TOML."""
    answers = Answers(
        myhostname="mail.example.com", host="relay.example.com", username='a"b\\c', ipv4_only=True
    )
    assert initial_settings(answers) == (
        "# Settings of Postward. To see every setting, run: postward check --example\n"
        "\n[host]\n"
        'profile = "send-only"\n'
        'myhostname = "mail.example.com"\n'
        'inet_protocols = "ipv4"\n'
        "\n[[relay]]\n"
        'name = "relay"\n'
        'host = "relay.example.com"\n'
        'username = "a\\"b\\\\c"\n'
        'password_file = "/etc/postward/passwords/relay"\n'
    )


def test_a_relay_without_a_login() -> None:
    """The relay has neither username nor password."""
    answers = Answers(myhostname="mail.example.com", host="10.0.0.1", port=2526, tls="opportunistic")
    settings = parse_settings(tomllib.loads(initial_settings(answers)), "postward.toml")
    assert (settings.relay[0].port, settings.relay[0].username) == (2526, "")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_without_a_login(provider: str) -> None:
    """The relay has no login, even if the provider supplies a username."""
    answers = Answers(myhostname="mail.example.com", provider=provider, region="eu-west-1")
    settings = parse_settings(tomllib.loads(initial_settings(answers)), "postward.toml")
    assert settings.relay[0].username == ""


def test_one_sender_for_all_mail_is_written() -> None:
    """For a provider that bounces mail of other senders."""
    answers = Answers(
        myhostname="mail.example.com", provider="qq", username="me@qq.com", rewrite_sender="me@qq.com"
    )
    settings = parse_settings(tomllib.loads(initial_settings(answers)), "postward.toml")
    assert settings.host.rewrite_sender == "me@qq.com"


@pytest.mark.parametrize(
    ("provider", "grant"),
    [
        (name, grant)
        for name, preset in PROVIDERS.items()
        if preset.identity
        for grant in grants_of(preset.identity)
    ],
)
def test_every_grant_of_a_provider_gives_valid_settings(provider: str, grant: str) -> None:
    """Mailbox, application and directory are sufficient, and no password file is named."""
    answers = Answers(
        myhostname="mail.example.com",
        provider=provider,
        username="me@example.com",
        grant=grant,
        client_id="" if grant == "service_account" else "1111",
        tenant="example.onmicrosoft.com" if provider == "office365" else "",
        secret_expires="2027-05-01" if grant == "client_credentials" else "",
    )
    (relay,) = parse_settings(tomllib.loads(initial_settings(answers)), "postward.toml").relay
    assert relay.oauth2 is not None
    assert (relay.oauth2.grant, relay.password_file) == (grant, "")
    assert relay.oauth2.secret_files == ((str(answers.secret_file),) if answers.secret_file else ())
