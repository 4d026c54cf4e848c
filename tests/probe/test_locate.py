"""A probe that the log does not show, judged by the queue."""

import asyncio
from pathlib import Path
from typing import Any

from postward.agent.enforce.confirm import Decision, decide
from postward.agent.probe.locate import judged_by_queue
from postward.agent.probe.once import probe_once
from postward.agent.probe.result import ProbeResult
from postward.config.settings import load_settings
from postward.parsers import Cause
from tests.support import CA, PostfixInstance, Relay, require_postfix
from tests.support.product import write_settings

_LATE = ProbeResult("demo", "late", "pickup", Cause.LOCAL_CONFIG, "…", (), None, "postward@mx.test", 100.0)


def mail(queue: str, reason: str = "") -> dict[str, Any]:
    """A mail as `postqueue -j` lists it."""
    recipient = {"address": "probe@relay.test"} | ({"delay_reason": reason} if reason else {})
    return {"queue_name": queue, "arrival_time": 100, "recipients": [recipient]}


def test_the_queue_shows_where_the_probe_waits() -> None:
    """In maildrop it waits for Postfix, with a reason for the relay; two mails like it show nothing."""
    refused = judged_by_queue(
        _LATE, [mail("deferred", "connect to relay.test[192.0.2.1]:25: Connection refused")]
    )
    active = judged_by_queue(_LATE, [mail("active")])

    assert judged_by_queue(_LATE, [mail("maildrop")]) == _LATE
    assert judged_by_queue(_LATE, [mail("active"), mail("active")]) == _LATE
    assert (refused.step, refused.cause) == ("delivery", Cause.REFUSED)
    assert (active.step, active.cause) == ("delivery", None)
    assert "the log does not show it" in active.detail


def test_a_probe_that_has_left_the_queue_decides_nothing() -> None:
    """Whether the relay accepted it is not known: new settings are neither kept nor rolled back."""
    gone = judged_by_queue(_LATE, [])

    assert (gone.step, gone.cause, gone.conclusive) == ("log", None, False)
    assert "the log has stopped" in gone.detail
    assert decide(0.0, [gone]) is Decision.WAIT


def test_a_probe_while_the_log_is_silent(tmp_path: Path) -> None:
    """With a real Postfix that logs elsewhere: the relay gets the probe, and Postfix is not blamed."""
    require_postfix()
    with (
        Relay(CA(), tls="none", auth_required=False) as relay,
        PostfixInstance(tmp_path / "p", {"relayhost": f"[127.0.0.1]:{relay.port}"}) as postfix,
    ):
        file = write_settings(tmp_path, relay, postfix, password="secret")
        silent = tmp_path / "silent.log"
        silent.touch()
        text = file.read_text().replace("timeout_seconds = 10", "timeout_seconds = 3")
        text = text.replace("allow_unusual_port", "allow_cleartext_password = true\nallow_unusual_port")
        file.write_text(f'{text}\n[log]\nsource = "{silent}"\n')
        result = asyncio.run(probe_once(load_settings(file)))

    assert (result.outcome, result.step) == ("late", "log")
    assert len(relay.messages) == 1
