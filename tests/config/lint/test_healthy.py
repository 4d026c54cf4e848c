"""Lint is silent about correct configurations, including unusual ones."""

from collections.abc import Callable

import pytest

from tests.config.lint.healthy import HEALTHY, SETTINGS, write_desired
from tests.config.lint.host import Host


@pytest.mark.parametrize("change", [row[1] for row in HEALTHY], ids=[row[0] for row in HEALTHY])
def test_a_healthy_configuration_has_no_findings(host: Host, change: Callable[[Host], Host]) -> None:
    """Lint reports no finding of any severity."""
    change(host)

    assert host.findings() == []
    assert host.facts().unread == ()


@pytest.mark.parametrize("text", [row[1] for row in SETTINGS], ids=[row[0] for row in SETTINGS])
def test_the_configuration_that_postward_writes_has_no_findings(host: Host, text: str) -> None:
    """Lint is silent about the settings and the host, for each TLS mode and for several relays."""
    settings = write_desired(host, text)

    assert host.findings(settings) == []
