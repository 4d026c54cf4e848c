"""A renewed token goes into the table at once: it is neither drift, nor another configuration, nor a repair."""

from pathlib import Path

from postward.agent.enforce.enforcer import Enforcer
from postward.agent.oauth2.store import TokenStore
from postward.agent.postfix.commands import Postfix
from postward.config.settings import Settings, parse_settings
from tests.enforce.enforcing import Clock
from tests.support import PostfixInstance


def settings(instance: PostfixInstance, tmp_path: Path, mode: str = "enforce") -> Settings:
    """Settings with a relay that takes tokens."""
    oauth2 = {
        "grant": "refresh_token",
        "client_id": "1",
        "token_endpoint": "https://localhost/token",
        "directory": str(tmp_path / "tokens"),
    }
    relay = {
        "name": "m365",
        "host": "127.0.0.1",
        "port": 2525,
        "username": "app@example.com",
        "oauth2": oauth2,
    }
    raw = {
        "host": {"profile": "send-only", "myhostname": "mail.example.test", "inet_protocols": "ipv4"},
        "relay": [relay],
        "postfix": {"config_directory": str(instance.config_directory)},
        "enforce": {"directory": str(tmp_path / "enforce"), "preflight": False, "mode": mode},
    }
    return parse_settings(raw, "test")


def publish(wanted: Settings, token: str) -> None:
    """Publish a token as the token service does."""
    store = TokenStore(wanted.relay[0])
    with store.locked():
        store.write_token(token)


def login(postfix: Postfix) -> str | None:
    """Return the login that Postfix finds in the table."""
    path = postfix.config_directory / "sasl_passwd"
    return postfix.look_up("hash", path, ["[127.0.0.1]:2525"]).get("[127.0.0.1]:2525")


def test_a_renewed_token_reaches_postfix(instance: PostfixInstance, tmp_path: Path) -> None:
    """One generation, one change, no repair; the table has the token of 3000 bytes, readable by root only."""
    wanted, clock = settings(instance, tmp_path), Clock()
    postfix = Postfix(instance.config_directory)
    tried = Enforcer(wanted, postfix, clock)
    assert not tried.converge()
    assert tried.state.problem is not None
    assert "the relay has no token yet; run: postward login m365" in tried.state.problem
    publish(wanted, "a" * 3000)
    assert tried.converge()
    kept = sorted(path.name for path in (tmp_path / "enforce").iterdir())
    for number in range(20):
        publish(wanted, f"{number}" * 3000)
        assert not tried.converge()
        assert login(postfix) == f"app@example.com:{f'{number}' * 3000}"
    assert tried.state.in_sync
    assert not tried.state.conflicts
    assert (tried.state.applies.get("applied"), dict(tried.state.repaired_at)) == (1, {})
    assert sorted(path.name for path in (tmp_path / "enforce").iterdir()) == kept
    assert (instance.config_directory / "sasl_passwd").stat().st_mode & 0o777 == 0o600
    assert postfix.parameters(["smtp_sasl_tls_security_options"]) == {"smtp_sasl_tls_security_options": ""}


def test_tokens_are_renewed_while_settings_are_refused(instance: PostfixInstance, tmp_path: Path) -> None:
    """The configuration in force keeps working, whatever else is not applied."""
    wanted = settings(instance, tmp_path)
    postfix = Postfix(instance.config_directory)
    publish(wanted, "former.token")
    Enforcer(wanted, postfix, Clock()).converge()
    publish(wanted, "renewed.token")
    changed = wanted.model_copy(update={"main_cf": {"inet_interfaces": "no-such-host.invalid"}})
    tried = Enforcer(changed, postfix, Clock())
    tried.converge()
    assert not tried.state.in_sync
    assert login(postfix) == "app@example.com:renewed.token"


def test_observing_changes_no_table(instance: PostfixInstance, tmp_path: Path) -> None:
    """In mode observe, Postward writes nothing, tokens included."""
    wanted = settings(instance, tmp_path)
    publish(wanted, "former.token")
    Enforcer(wanted, Postfix(instance.config_directory), Clock()).converge()
    publish(wanted, "renewed.token")
    observing = settings(instance, tmp_path, "observe")
    Enforcer(observing, Postfix(instance.config_directory), Clock()).converge()
    assert login(Postfix(instance.config_directory)) == "app@example.com:former.token"
