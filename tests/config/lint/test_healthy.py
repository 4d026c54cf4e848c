"""Lint is silent about configurations that are as they should be, also about the odd ones among them."""

from collections.abc import Callable

import pytest

from tests.config.lint.healthy import HEALTHY, SETTINGS, write_desired
from tests.config.lint.host import Host


@pytest.mark.parametrize("change", [row[1] for row in HEALTHY], ids=[row[0] for row in HEALTHY])
def test_a_healthy_configuration_has_no_findings(host: Host, change: Callable[[Host], Host]) -> None:
    """Not even notes."""
    change(host)

    assert host.findings() == []
    assert host.facts().unread == ()


@pytest.mark.parametrize("text", [row[1] for row in SETTINGS], ids=[row[0] for row in SETTINGS])
def test_what_postward_writes_has_no_findings(host: Host, text: str) -> None:
    """Settings and host, for each way of TLS and several relays."""
    settings = write_desired(host, text)

    assert host.findings(settings) == []
