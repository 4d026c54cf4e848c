"""The routes that settings change, read from a real configuration."""

from pathlib import Path

from tests.enforce.enforcing import PASSWORD, enforcer, settings
from tests.support import PostfixInstance, require_postfix


def test_a_plan_shows_the_routes_that_change(tmp_path: Path) -> None:
    """The relay that mail leaves by is shown as it was and as it will be, and its password is not."""
    require_postfix()
    instance = PostfixInstance(tmp_path, {"relayhost": "[old.example.test]", "relay_domains": "lan.test"})
    changes = enforcer(instance, settings(instance, tmp_path)).route_changes()

    texts = [change.text for change in changes]

    was, will_be = (
        "relayed by [old.example.test], TLS none",
        "relayed by [127.0.0.1]:2525 with login user, TLS encrypt",
    )
    assert any(f"to other domains: {was} → {will_be}" in text for text in texts)
    # lan.test is no longer in relay_domains, and so its mail takes another transport.
    assert any(f"to someone@lan.test: {was} by relay → {will_be}" in text for text in texts)
    assert PASSWORD not in f"{texts} {changes}"


def test_settings_in_force_change_no_route(tmp_path: Path) -> None:
    """After the settings came into force, no route changes, so the prediction was right."""
    require_postfix()
    instance = PostfixInstance(tmp_path)
    subject = enforcer(instance, settings(instance, tmp_path, relay_port=4650))

    subject.converge()

    assert subject.route_changes() == []
