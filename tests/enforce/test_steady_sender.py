"""Mail is sent all the time while settings are applied and rolled back: none lacks a login, and none is lost."""

from functools import partial
from pathlib import Path

import pytest

from postward.agent.enforce.apply import apply, exclusively, read_actual, roll_back
from postward.agent.enforce.history import forget_generation
from postward.agent.postfix.commands import Postfix
from postward.config.drift import drift
from postward.config.plan import plan
from tests.enforce.killing import desired_for
from tests.enforce.test_kill import sending
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for

PASSWORD = "s3cret"


def test_no_mail_goes_to_the_relay_without_its_login(tmp_path: Path) -> None:
    """From a relay in the LAN to one that requires TLS and a login, and back, again and again.

    A roll-back has no login, and mail that is still routed to the relay must have it: the answer would be 530, a bounce.
    """
    require_postfix()
    ca = CA()
    with Relay(ca, users={"user": PASSWORD}) as relay, Relay(ca, tls="none", auth_required=False) as lan:
        # With these listeners no change needs a restart, during which a client could not connect.
        first = {"relayhost": f"[127.0.0.1]:{lan.port}", "inet_interfaces": "loopback-only"}
        with PostfixInstance(tmp_path / "postfix", first) as instance:
            postfix, state = Postfix(instance.config_directory), tmp_path / "state"
            desired = desired_for(postfix, relay.port, PASSWORD)
            before = postfix.main_cf.read_bytes()
            with sending(instance) as accepted, exclusively(state):
                for number in (1, 2):
                    apply(plan(drift(desired, read_actual(postfix, desired))), postfix, state, keep=True)
                    instance.sendmail(f"turn{number}@dest.test")
                    accepted[f"turn{number}@dest.test"] += 1
                    wait_for(partial(relay.messages_to, f"turn{number}@dest.test"), what="mail at the relay")
                    roll_back(postfix, state, 0)
                    assert postfix.main_cf.read_bytes() == before
                    forget_generation(state, 0)
            instance.sendmail("last@dest.test")
            accepted["last@dest.test"] += 1
            instance.flush()

            def arrived() -> int:
                return len(relay.messages) + len(lan.messages)

            wait_for(lambda: arrived() >= accepted.total(), what="all mail")
            assert arrived() == accepted.total()
            for fault in ("status=bounced", " 530 ", "SASL"):
                assert instance.log_lines(fault) == []


def test_a_login_is_loaded_before_its_route_and_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An smtp(8) of the former configuration would send mail of the new route without login."""
    require_postfix()
    names = ("relayhost", "smtp_sasl_auth_enable", "smtp_tls_security_level")
    loaded: list[tuple[str, ...]] = []
    reload = Postfix.reload

    def noted(postfix: Postfix) -> None:
        values = postfix.meanings(names)
        loaded.append(tuple(values[name] for name in names))
        reload(postfix)

    monkeypatch.setattr(Postfix, "reload", noted)
    first = {"relayhost": "[127.0.0.1]:9", "inet_interfaces": "loopback-only"}
    with PostfixInstance(tmp_path / "postfix", first) as instance:
        postfix, state = Postfix(instance.config_directory), tmp_path / "state"
        desired = desired_for(postfix, 587, PASSWORD)
        with exclusively(state):
            apply(plan(drift(desired, read_actual(postfix, desired))), postfix, state, keep=True)
            roll_back(postfix, state, 0)

    assert loaded == [
        ("[127.0.0.1]:9", "yes", "encrypt"),
        ("[127.0.0.1]:587", "yes", "encrypt"),
        ("[127.0.0.1]:9", "yes", "encrypt"),
        ("[127.0.0.1]:9", "no", ""),
    ]
