"""Hosts on which smtp(8) sends to other hops beside the relay: the relay's wishes hold for the relay alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postward.agent.enforce.apply import roll_back
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.postfix.commands import Postfix
from postward.config.settings import Settings, parse_settings
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for

USERS = {"user": "secret", "anna": "hers"}


@pytest.fixture
def inner() -> Iterator[Relay]:
    """A mail server in the LAN: neither TLS nor a login."""
    with Relay(CA(), tls="none", auth_required=False) as relay:
        yield relay


@pytest.fixture(params=["starttls", "implicit"])
def relay(request: pytest.FixtureRequest) -> Iterator[Relay]:
    """The relay of the settings."""
    require_postfix()
    with Relay(CA(), users=USERS, tls=request.param) as relay:
        yield relay


def settings_for(instance: PostfixInstance, tmp_path: Path, relay: Relay, **more: Any) -> Settings:
    """Return settings that name the host and one relay with a login."""
    raw = {
        "host": {"myhostname": "client.example.test"},
        "relay": [
            {
                "name": "demo",
                "host": "127.0.0.1",
                "port": relay.port,
                "tls": relay.tls,
                "allow_unusual_port": True,
                "username": "user",
                "password": "secret",
                **more,
            }
        ],
        "postfix": {"config_directory": str(instance.config_directory)},
        "enforce": {"directory": str(tmp_path / "enforce"), "preflight": False},
    }
    return parse_settings(raw, "test")


def write_table(instance: PostfixInstance, name: str, text: str) -> str:
    """Write a table of the admin, and return its reference."""
    path = instance.config_directory / name
    path.write_text(text)
    instance.build_table(path)
    return f"hash:{path}"


def arrives(
    instance: PostfixInstance, at: Relay, recipient: str, sender: str = "bob@client.example.test"
) -> Any:
    """Send a mail and return it as it arrived."""
    message_id = instance.sendmail(recipient, sender)
    return wait_for(
        lambda: next((mail for mail in at.messages if mail.message_id == message_id), None),
        what=f"the mail to {recipient}",
    )


def unchanged_lines(instance: PostfixInstance, before: str) -> set[str]:
    """Return the names of the parameters whose lines in main.cf are not as before."""
    now = (instance.config_directory / "main.cf").read_text().splitlines()
    return {line.partition(" ")[0] for line in set(before.splitlines()) ^ set(now)}


def test_a_gateway_still_reaches_its_inner_server(tmp_path: Path, relay: Relay, inner: Relay) -> None:
    """The inner hop has no TLS. Outbound mail takes the relay, encrypted and with its login, before a roll-back too."""
    main_cf = {
        "relay_domains": "inner.test",
        "relay_transport": f"smtp:[127.0.0.1]:{inner.port}",
        "smtp_tls_security_level": "may",
        "smtp_tls_policy_maps": "inline:{[127.0.0.1]:9=none}",
    }
    with PostfixInstance(tmp_path / "postfix", main_cf) as instance:
        before = (instance.config_directory / "main.cf").read_text()
        postfix = Postfix(instance.config_directory)
        enforcer = Enforcer(settings_for(instance, tmp_path, relay), postfix)
        assert arrives(instance, inner, "anna@inner.test")
        assert enforcer.converge()
        assert enforcer.state.in_sync
        assert not enforcer.look()[0]
        assert not arrives(instance, inner, "anna@inner.test").tls
        mail = arrives(instance, relay, "someone@relay.test")
        assert (mail.tls, mail.username) == (True, "user")
        changed = unchanged_lines(instance, before)
        assert not changed & {
            "smtp_tls_security_level",
            "smtp_tls_wrappermode",
            "relay_transport",
            "mynetworks",
        }

        instance.set(smtp_sasl_password_maps="", default_transport="smtp", relayhost="")
        assert enforcer.look()[0]
        enforcer.converge()
        assert arrives(instance, relay, "someone@relay.test").username == "user"
        roll_back(postfix, tmp_path / "enforce")
        assert arrives(instance, inner, "anna@inner.test")


def test_a_relay_by_recipient_keeps_its_login(tmp_path: Path, relay: Relay) -> None:
    """transport_maps leads to it, and its login stands in the admin's sasl_passwd, which stays byte for byte."""
    with (
        Relay(CA(), users={"other": "theirs"}) as other,
        PostfixInstance(tmp_path / "postfix") as instance,
    ):
        login = f"[127.0.0.1]:{other.port} other:theirs\n[old.test]:587 x:y\n"
        instance.set(
            transport_maps=write_table(instance, "transport", f"other.test smtp:[127.0.0.1]:{other.port}\n"),
            smtp_sasl_password_maps=write_table(instance, "sasl_passwd", login),
            smtp_sasl_auth_enable="yes",
            smtp_sasl_security_options="noanonymous",
            smtp_tls_security_level="encrypt",
        )
        instance.reload()
        enforcer = Enforcer(settings_for(instance, tmp_path, relay), Postfix(instance.config_directory))
        assert enforcer.converge()
        assert arrives(instance, other, "anna@other.test").username == "other"
        assert arrives(instance, relay, "someone@relay.test").username == "user"
        assert (instance.config_directory / "sasl_passwd").read_text() == login
        assert not enforcer.look()[0]


def test_accounts_by_sender_stay(tmp_path: Path, relay: Relay) -> None:
    """Anna's mail keeps her login at the same relay; all other mail has the login of the settings."""
    with PostfixInstance(tmp_path / "postfix") as instance:
        login = f"anna@client.example.test anna:hers\n[127.0.0.1]:{relay.port} wrong:wrong\n"
        instance.set(
            smtp_sender_dependent_authentication="yes",
            smtp_sasl_password_maps=write_table(instance, "sasl_passwd", login),
            smtp_sasl_auth_enable="yes",
            smtp_sasl_security_options="noanonymous",
        )
        instance.reload()
        enforcer = Enforcer(settings_for(instance, tmp_path, relay), Postfix(instance.config_directory))
        assert enforcer.converge()
        mail = arrives(instance, relay, "someone@relay.test", "anna@client.example.test")
        assert mail.username == "anna"
        assert arrives(instance, relay, "someone@relay.test").username == "user"


def test_routes_by_sender_are_kept_or_nothing_is_changed(tmp_path: Path, relay: Relay, inner: Relay) -> None:
    """With STARTTLS they stay. A service for implicit TLS would take their mail over, so it is refused, with a remedy."""
    with PostfixInstance(tmp_path / "postfix") as instance:
        senders = write_table(instance, "sender_relay", f"@b.test [127.0.0.1]:{inner.port}\n")
        instance.set(sender_dependent_relayhost_maps=senders)
        instance.reload()
        before = (instance.config_directory / "main.cf").read_bytes()
        enforcer = Enforcer(settings_for(instance, tmp_path, relay), Postfix(instance.config_directory))
        enforcer.converge()
        if relay.tls == "implicit":
            assert (instance.config_directory / "main.cf").read_bytes() == before
            assert str(enforcer.state.problem).startswith("sender_dependent_relayhost_maps = hash:")
            assert "; use tls =" in str(enforcer.state.problem)
        else:
            assert arrives(instance, relay, "someone@relay.test").username == "user"
        assert not arrives(instance, inner, "someone@relay.test", "x@b.test").tls


def test_other_hops_that_end_leave_a_plain_configuration(tmp_path: Path, relay: Relay, inner: Relay) -> None:
    """Without them, the relay's parameters go to main.cf, and no service that is removed is still named."""
    with PostfixInstance(
        tmp_path / "postfix", {"transport_maps": "inline:{inner.test=smtp:[127.0.0.1]}"}
    ) as instance:
        enforcer = Enforcer(settings_for(instance, tmp_path, relay), Postfix(instance.config_directory))
        enforcer.converge()
        instance.set(transport_maps="")
        enforcer.converge()
        assert not enforcer.look()[0]
        assert arrives(instance, relay, "someone@relay.test").username == "user"
        assert "postward-" not in (instance.config_directory / "master.cf").read_text()
