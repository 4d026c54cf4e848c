"""Gauges of relays that need no conversation."""

from pathlib import Path

import pytest

from postward.agent.metrics.tally import Tally
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.monitor import RelayMonitor
from tests.config.samples import load

_END = 1798675200.0  # 2026-12-31
_PASSWORD = 'username = "app@example.com"\npassword = "s3cret-Green"'
_TOKEN = 'username = "app@example.com"\n[relay.oauth2]\ngrant = "device_code"\ntenant = "example.com"\nclient_id = "1"'


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        (f'provider = "office365"\n{_PASSWORD}', _END),
        (f'host = "smtp-legacy.office365.com"\nauth = "login"\n{_PASSWORD}', _END),
        (f'provider = "office365"\n{_TOKEN}', None),
        (f'provider = "gmail"\n{_PASSWORD}', None),
        (f'host = "relay.example.net"\n{_PASSWORD}', None),
    ],
    ids=["a password", "a password by LOGIN", "a token", "no date", "no provider"],
)
def test_the_end_of_password_logins_is_exported(lines: str, end: float | None, tmp_path: Path) -> None:
    """For a relay that uses one, at a provider that has announced a day."""
    settings = load(f'[host]\nmyhostname = "mail.example.com"\n[[relay]]\nname = "a"\n{lines}\n')

    async def flush() -> None:
        """Nothing is counted."""

    throttle = LoginThrottle(tmp_path / "logins.json", settings.relay, 6)
    gauges = RelayMonitor(settings, Tally(), throttle, flush).gauges()
    expected = {} if end is None else {("a",): end}
    assert gauges["postward_relay_passwords_end_timestamp_seconds"] == expected
