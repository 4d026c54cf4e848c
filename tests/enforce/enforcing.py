"""Settings for one relay, and an enforcer with a clock of its own."""

from pathlib import Path

from postward.agent.enforce.enforcer import Enforcer
from postward.agent.postfix.commands import Postfix
from postward.config.settings import Settings, parse_settings
from tests.support import PostfixInstance

PASSWORD = "s3cret"


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


def settings(
    instance: PostfixInstance,
    tmp_path: Path,
    *,
    password: str = PASSWORD,
    password_file: str = "",
    relay_port: int = 2525,
    mode: str = "enforce",
    **main_cf: str,
) -> Settings:
    """Settings for one relay."""
    secret = {"password_file": password_file} if password_file else {"password": password}
    raw = {
        "host": {"profile": "send-only", "myhostname": "mail.example.test", "inet_protocols": "ipv4"},
        "relay": [{"name": "demo", "host": "127.0.0.1", "port": relay_port, "username": "user", **secret}],
        "main_cf": main_cf,
        "postfix": {"config_directory": str(instance.config_directory)},
        "enforce": {
            "directory": str(tmp_path / "enforce"),
            "max_repairs_per_hour": 3,
            "mode": mode,
            "preflight": False,
        },
    }
    return parse_settings(raw, "test")


def enforcer(instance: PostfixInstance, settings: Settings, clock: Clock | None = None) -> Enforcer:
    """An enforcer for the instance."""
    return Enforcer(settings, Postfix(instance.config_directory), clock or Clock())
