"""The delivery history of a day."""

import json
from datetime import UTC, datetime

from postward.agent.incidents.history import BUCKETS, DeliveryHistory
from postward.parsers import parse

_NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_history_is_bounded_and_survives_a_restart() -> None:
    """It keeps 144 buckets, whatever the stamps say, with sent mails, delays and causes."""
    history = DeliveryHistory(lambda: _NOW)
    delivery = "to=<bob@dest.test>, relay=smtp.relay.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=4.0.0"
    refused = "SASL authentication failed; server smtp.relay.test[192.0.2.1] said: 535 5.7.8 no"
    for number in range(400):
        stamp = datetime.fromtimestamp(_NOW.timestamp() - 600 * number, UTC).isoformat(timespec="seconds")
        for outcome in ("status=sent (250 ok)", f"status=deferred ({refused})"):
            record, event = parse(f"{stamp} mail postfix/smtp[7]: A1B2C3D4E5: {delivery}, {outcome}")
            assert record is not None
            assert event is not None
            history.observe(record, event)
    restored = DeliveryHistory(lambda: _NOW)
    restored.restore(json.loads(json.dumps(history.state())))
    buckets = restored.buckets(_NOW.timestamp())

    assert len(history.state()) <= BUCKETS + 1
    assert len(buckets) == BUCKETS
    assert sum(bucket.status["sent"] for bucket in buckets) == BUCKETS
    assert buckets[-1].causes == {"auth_rejected": 1}
    assert buckets[-1].delays == [1, 0, 0, 0, 0, 0]
