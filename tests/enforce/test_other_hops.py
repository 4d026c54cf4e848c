"""Other hops beside a relay with implicit TLS, which gets a service of its own. `test_living_hosts` has whole hosts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture
def relay() -> Iterator[Relay]:
    """The relay of the settings."""
    require_postfix()
    with Relay(CA(), users=USERS, tls="implicit") as relay:
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


def test_a_login_by_host_name_stays_with_its_hop(tmp_path: Path, relay: Relay) -> None:
    """Postfix finds the host name before the next hop: the relay at the same host has a service of its own."""
    with (
        Relay(CA(), users={"other": "theirs"}) as other,
        PostfixInstance(tmp_path / "postfix") as instance,
    ):
        instance.set(
            transport_maps=write_table(instance, "transport", f"other.test smtp:[127.0.0.1]:{other.port}\n"),
            smtp_sasl_password_maps=write_table(instance, "logins", "127.0.0.1 other:theirs\n"),
            smtp_sasl_auth_enable="yes",
            smtp_sasl_security_options="noanonymous",
            smtp_tls_security_level="encrypt",
        )
        instance.reload()
        enforcer = Enforcer(settings_for(instance, tmp_path, relay), Postfix(instance.config_directory))
        enforcer.converge()
        assert arrives(instance, other, "anna@other.test").username == "other"
        assert arrives(instance, relay, "someone@relay.test").username == "user"


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


def test_a_service_that_would_take_routes_by_sender_over_is_refused(
    tmp_path: Path, relay: Relay, inner: Relay
) -> None:
    """Nothing is changed, and the message has a remedy."""
    with PostfixInstance(tmp_path / "postfix") as instance:
        senders = write_table(instance, "sender_relay", f"@b.test [127.0.0.1]:{inner.port}\n")
        instance.set(sender_dependent_relayhost_maps=senders)
        instance.reload()
        before = (instance.config_directory / "main.cf").read_bytes()
        enforcer = Enforcer(settings_for(instance, tmp_path, relay), Postfix(instance.config_directory))
        enforcer.converge()
        assert (instance.config_directory / "main.cf").read_bytes() == before
        assert str(enforcer.state.problem).startswith("sender_dependent_relayhost_maps = hash:")
        assert "; use tls =" in str(enforcer.state.problem)
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
