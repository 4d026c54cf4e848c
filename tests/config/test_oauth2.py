"""Tokens in place of passwords: the presets of providers, the desired state, and the renewal of a table."""

import os
from pathlib import Path

import pytest

from postward.config.desired import DesiredState, PostfixFacts, desired_state
from postward.config.errors import SettingsError
from postward.config.neighbours import Neighbours
from postward.config.relay import Relay
from postward.config.resources import HEADER, LookupTable
from postward.config.settings import Settings
from tests.config.samples import load, toml

FACTS = PostfixFacts("/etc/postfix", "hash", frozenset({"hash"}))
TOKEN = 'username = "app@example.com"\n[relay.oauth2]\nclient_id = "1"\n'
SECOND = '[[relay]]\nname = "b"\nhost = "smtp.example.org"\nsenders = ["@b.example"]\n'


def settings(provider: str, lines: str, more: str = "") -> Settings:
    """Return settings with a relay that takes tokens."""
    head = f'[host]\nmyhostname = "mail.example.com"\n[[relay]]\nname = "a"\nprovider = "{provider}"\n'
    return load(f"{head}{TOKEN}{lines}\n{more}")


def desired(loaded: Settings, **present: str) -> DesiredState:
    """Return the desired state with a token for relay a and a password for relay b."""
    others = Neighbours(values=present)
    return desired_state(loaded, FACTS, {"a": "tok.en", "b": "p"}, others)


@pytest.mark.parametrize(
    ("provider", "lines", "endpoint", "scope"),
    [
        (
            "office365",
            'grant = "device_code"\ntenant = "example.com"',
            "https://login.microsoftonline.com/example.com/oauth2/v2.0/token",
            "https://outlook.office.com/SMTP.Send offline_access",
        ),
        (
            "office365",
            'grant = "client_credentials"\ntenant = "example.com"\nclient_secret_file = "/s"',
            "https://login.microsoftonline.com/example.com/oauth2/v2.0/token",
            "https://outlook.office365.com/.default",
        ),
        (
            "outlook",
            'grant = "device_code"',
            "https://login.microsoftonline.com/consumers/oauth2/v2.0/token",
            "https://outlook.office.com/SMTP.Send offline_access",
        ),
        (
            "gmail",
            'grant = "refresh_token"',
            "https://oauth2.googleapis.com/token",
            "https://mail.google.com/",
        ),
    ],
)
def test_a_preset_fills_in_endpoint_and_scope(provider: str, lines: str, endpoint: str, scope: str) -> None:
    """Endpoint and scope follow from provider, tenant and grant; the settings' own values win."""
    oauth2 = settings(provider, lines).relay[0].oauth2
    assert oauth2 is not None
    assert (oauth2.token_endpoint, oauth2.scope) == (endpoint, scope)
    own = settings(provider, f'{lines}\nscope = "mine"').relay[0].oauth2
    assert own is not None
    assert own.scope == "mine"


def test_only_the_mechanisms_of_tokens_are_allowed() -> None:
    """Postfix must not send the token by LOGIN; a relay with a password gets a service without that filter."""
    state = desired(settings("gmail", 'grant = "refresh_token"', f'{SECOND}username = "u"\npassword = "p"\n'))
    assert state.parameters["smtp_sasl_mechanism_filter"] == "xoauth2,oauthbearer"
    passwords = next(table for table in state.tables if table.name == "sasl_passwd")
    assert dict(passwords.entries) == {
        "[smtp.gmail.com]:587": "app@example.com:tok.en",
        "[smtp.example.org]:587": "u:p",
    }
    assert passwords.lasting == (
        ("[smtp.gmail.com]:587", "app@example.com"),
        ("[smtp.example.org]:587", "u:p"),
    )
    (service,) = state.transports
    assert ("smtp_sasl_mechanism_filter", "") in service.overrides


def test_the_filter_is_removed_with_the_last_token() -> None:
    """A filter of the admin stays, and one that tokens required goes with them."""
    password = load(toml(relay='username = "u"\npassword = "p"'))
    alone = desired_state(password, FACTS, {"a": "p"}, Neighbours(values={}))
    assert "smtp_sasl_mechanism_filter" not in alone.parameters
    former = {"smtp_sasl_mechanism_filter": "xoauth2, oauthbearer"}
    after = desired_state(password, FACTS, {"a": "p"}, Neighbours(values=former))
    assert after.parameters["smtp_sasl_mechanism_filter"] == ""
    admins = {"smtp_sasl_mechanism_filter": "plain"}
    kept = desired_state(password, FACTS, {"a": "p"}, Neighbours(values=admins))
    assert "smtp_sasl_mechanism_filter" not in kept.parameters


def test_a_login_is_left_to_postfix() -> None:
    """With auth = gssapi the table has a username alone; the relay's client certificate is presented."""
    loaded = load(
        toml(relay='username = "u"\nauth = "GSSAPI"\nclient_certificate = "/c.pem"\nclient_key = "/k.pem"')
    )
    assert loaded.relay[0].read_password() == ""
    state = desired_state(loaded, FACTS, {"a": ""})
    assert state.parameters["smtp_sasl_mechanism_filter"] == "gssapi"
    assert state.parameters["smtp_tls_chain_files"] == "/k.pem,/c.pem"
    assert state.tables[0].entries == (("[smtp.example.net]:587", "u:"),)


def test_beside_other_hops_a_relay_with_tokens_gets_a_service() -> None:
    """The filter must not hold for other hops."""
    values = {
        "smtp_sasl_password_maps": "",
        "sender_dependent_relayhost_maps": "",
        "sender_dependent_default_transport_maps": "",
        "smtp_tls_policy_maps": "",
        "default_transport": "smtp",
    }
    loaded = settings("gmail", 'grant = "refresh_token"')
    state = desired_state(loaded, FACTS, {"a": "tok.en"}, Neighbours(("a filter",), values))
    assert "smtp_sasl_mechanism_filter" not in state.parameters
    assert ("smtp_sasl_mechanism_filter", "xoauth2,oauthbearer") in state.transports[0].overrides


def test_only_tokens_are_renewed_in_a_table() -> None:
    """Other entries stay as they are on disk, and so does a table that is not Postward's."""
    table = LookupTable(
        "sasl_passwd", "hash", (("a", "u:new"), ("b", "v:p")), secret=True, renewed=frozenset({"a"})
    )
    text = f"{HEADER}a u:old\nb v:other\nc w:x\n"
    renewed = table.renewal_of(text)
    assert renewed is not None
    assert renewed.entries == (("a", "u:new"), ("b", "v:other"), ("c", "w:x"))
    assert table.renewal_of(renewed.text) is None
    assert table.renewal_of(f"{HEADER}a another:old\n") is None
    assert table.renewal_of("a u:old\n") is None


# --- the token on disk


def relay_with_tokens(directory: Path) -> Relay:
    """Return a relay whose tokens are in a directory."""
    return settings("gmail", f'grant = "refresh_token"\ndirectory = "{directory}"').relay[0]


def test_only_a_token_is_read(tmp_path: Path) -> None:
    """Root reads a file that an unprivileged user writes: links and other content are refused."""
    relay, path = relay_with_tokens(tmp_path), tmp_path / "a.token"
    with pytest.raises(SettingsError, match=r"the relay has no token yet; run: postward login a"):
        relay.read_password()
    path.write_text("ya29.a0-_~+/x==")
    assert relay.read_password() == "ya29.a0-_~+/x=="
    for content in ("root:x:0\nb", "", "a b", "a\n", "x" * 16385, "\x01", "ü"):
        path.write_text(content)
        with pytest.raises(SettingsError, match="must hold a token"):
            relay.read_password()
    path.unlink()
    (tmp_path / "secret").write_text("not.a.link")
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(SettingsError, match="must be a file that only postward-token writes"):
        relay.read_password()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SettingsError, match="must hold a token"):
        relay.read_password()


def test_the_environment_sets_the_grant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable for each key, and the message for a wrong one names it."""
    monkeypatch.setenv("POSTWARD_RELAY__A__OAUTH2__CLIENT_ID", "from the environment")
    oauth2 = settings("gmail", 'grant = "refresh_token"').relay[0].oauth2
    assert oauth2 is not None
    assert oauth2.client_id == "from the environment"
    monkeypatch.setenv("POSTWARD_RELAY__A__OAUTH2__GRANT", "x")
    with pytest.raises(SettingsError, match="environment: POSTWARD_RELAY__A__OAUTH2__GRANT: must be "):
        settings("gmail", 'grant = "refresh_token"')
