"""A host that also receives: apply leaves its receiving side alone, and the plan of a settled host is empty."""

from pathlib import Path

from postward.agent.enforce.enforcer import Enforcer
from postward.agent.postfix.commands import Postfix
from postward.config.settings import Settings, parse_settings
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for

RECEIVING = {
    "myhostname": "example.com",
    "myorigin": "example.com",
    "mydestination": "localhost",
    "mynetworks": "127.0.0.0/8, 10.0.0.0/8",
    "virtual_alias_domains": "example.com",
    "virtual_alias_maps": "inline:{anna@example.com=archive@relay.test}",
    "smtp_fallback_relay": "$fallback_relay",
}


def relay_settings(instance: PostfixInstance, tmp_path: Path, relay: Relay, **host: str) -> Settings:
    """Return settings with a relay, the host's name and these further keys of `[host]`."""
    raw = {
        "host": {"myhostname": "example.com"} | host,
        "relay": [
            {
                "name": "demo",
                "host": "127.0.0.1",
                "port": relay.port,
                "username": "user",
                "password": "secret",
            }
        ],
        "postfix": {"config_directory": str(instance.config_directory)},
        "enforce": {"directory": str(tmp_path / "enforce"), "preflight": False},
    }
    return parse_settings(raw, "test")


def test_a_mail_server_still_receives_after_apply(tmp_path: Path) -> None:
    """Listeners, domains and networks are the same bytes in main.cf; mail from outside is taken, and leaves by the relay."""
    require_postfix()
    with (
        Relay(CA(), users={"user": "secret"}) as relay,
        PostfixInstance(tmp_path / "postfix", RECEIVING) as postfix,
    ):
        main_cf = postfix.config_directory / "main.cf"
        before = main_cf.read_text().splitlines()
        master = postfix.master_pid()
        enforcer = Enforcer(relay_settings(postfix, tmp_path, relay), Postfix(postfix.config_directory))
        assert enforcer.converge()
        assert [line for line in before if line not in main_cf.read_text().splitlines()] == []
        assert postfix.master_pid() == master
        postfix.inject(["anna@example.com"], sender="someone@elsewhere.test")
        wait_for(lambda: relay.messages_to("archive@relay.test"), what="the mail from outside")
        assert not enforcer.look()[0]


def test_the_plan_of_a_settled_host_is_empty(tmp_path: Path) -> None:
    """Values with the same meaning stay as the admin wrote them, after apply too."""
    require_postfix()
    written = {
        "myhostname": "mail.example.com",
        "inet_interfaces": "localhost",
        "mydestination": "localhost, localhost.example.com, mail.example.com",
        "mynetworks": "127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128",
        "myorigin": "example.com",
        "inet_protocols": "ipv4",
    }
    instance = PostfixInstance(tmp_path / "postfix", written)
    with Relay(CA(), users={"user": "secret"}) as relay:
        host = {"profile": "send-only", "myhostname": "mail.example.com", "inet_protocols": "ipv4"}
        settings = relay_settings(instance, tmp_path, relay, **host)
        enforcer = Enforcer(settings, Postfix(instance.config_directory))
        planned, _ = enforcer.look()
        assert not written.keys() & {drift.name for drift in planned.drifts}
        enforcer.converge()
        assert not enforcer.look()[0]
