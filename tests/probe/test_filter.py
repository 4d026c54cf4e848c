"""Probes stay out of the counts of user mail, for any order of lines and across restarts."""

import itertools
import json

from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.probe.filter import ProbeFilter
from postward.agent.text import local_now
from postward.parsers import parse

PROBE = "<18f.0123456789abcdef.postward-probe@mx.test>"
RELAY = "r.test[192.0.2.1]:587"


def mail(queue_id: str, message_id: str) -> list[str]:
    """Return the lines of a message that is deferred, bounced and removed, and of its bounce."""
    delivery = f"{queue_id}: to=<p@x.test>, relay={RELAY}, delay=1, delays=0/0/1/0, "
    return [
        f"pickup[3]: {queue_id}: uid=0 from=<root@mx>",
        f"cleanup[4]: {queue_id}: message-id={message_id}",
        f"qmgr[5]: {queue_id}: from=<root@mx>, size=500, nrcpt=1 (queue active)",
        f"smtp[7]: {delivery}dsn=4.0.0, status=deferred (host {RELAY[:17]} said: 451 later)",
        f"smtp[7]: {delivery}dsn=5.0.0, status=bounced (host {RELAY[:17]} said: 550 no)",
        f"cleanup[4]: {queue_id}B: message-id=<20261124.{queue_id}B@mx.test>",
        f"bounce[8]: {queue_id}: sender non-delivery notification: {queue_id}B",
        f"smtp[7]: {queue_id}B: to=<root@mx>, relay={RELAY}, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (250 ok)",
        f"qmgr[5]: {queue_id}: removed",
        f"qmgr[5]: {queue_id}B: removed",
    ]


def counting() -> ProbeFilter:
    """Return a filter that knows the relay."""
    return ProbeFilter(Tally(), RelayNames([("r.test", 587, "demo")]), local_now)


def feed(counting: ProbeFilter, lines: list[str]) -> None:
    """Count the lines."""
    for line in lines:
        counting.take_line(*parse(f"Nov 24 09:00:00 mx postfix/{line}"))


def users(counting: ProbeFilter) -> dict[str, float]:
    """Return the counts of user mail."""
    names = (
        "deliveries_total",
        "delivery_failures_total",
        "messages_received_total",
        "messages_removed_total",
    )
    return {name: sum(counting.tally.counters[f"postfix_{name}"].values()) for name in names}


def test_a_probe_and_its_bounce_count_as_lines_and_not_as_mail() -> None:
    """Deliveries, failures, arrivals and removals of a probe and of its bounce are not counted."""
    with_probe, empty = counting(), counting()
    lines = mail("4F2A91C0B3", PROBE)
    feed(with_probe, lines)

    assert users(with_probe) == users(empty)
    assert with_probe.tally.counters["postward_log_lines_total"][("event",)] == len(lines)


def test_user_mail_beside_a_probe_counts_as_without_it() -> None:
    """User mail whose lines alternate with those of a probe has the same counts as alone."""
    alone, beside = counting(), counting()
    user, probe = mail("4F2A91C0B4", "<1@user.test>"), mail("4F2A91C0B3", PROBE)
    feed(alone, user)
    feed(beside, [line for pair in zip(probe, user, strict=True) for line in pair])

    assert users(beside) == users(alone)
    assert users(alone)["deliveries_total"] == 3


def test_a_restart_between_any_two_lines_changes_nothing() -> None:
    """Counts and state that are saved at any line and restored give the same counts."""
    lines = list(
        itertools.chain(*zip(mail("4F2A91C0B3", PROBE), mail("4F2A91C0B4", "<1@user.test>"), strict=True))
    )
    whole = counting()
    feed(whole, lines)
    for cut in range(len(lines)):
        first = counting()
        feed(first, lines[:cut])
        saved = json.loads(json.dumps([first.tally.as_json(), first.state()]))
        second = ProbeFilter(Tally.from_json(saved[0]), RelayNames([("r.test", 587, "demo")]), local_now)
        second.restore(saved[1])
        feed(second, lines[cut:])
        assert users(second) == users(whole), cut


def test_a_queue_id_that_is_reused_is_another_message() -> None:
    """Postfix reuses short queue IDs: the next message with the queue ID of a probe is user mail."""
    counted = counting()
    feed(counted, mail("4F2A91C0B3", PROBE)[:3])
    feed(counted, mail("4F2A91C0B3", "<1@user.test>")[:4])

    assert users(counted)["messages_received_total"] == 1
    assert users(counted)["delivery_failures_total"] == 1


def test_held_arrivals_are_bounded() -> None:
    """Without a Message-ID, the oldest arrivals beyond 4096 count as user mail."""
    counted = counting()
    feed(counted, [f"pickup[3]: {number:X}AAAAA: uid=0 from=<a>" for number in range(6000)])

    assert len(counted.state()["held"]) <= 4096
    assert users(counted)["messages_received_total"] == 6000 - len(counted.state()["held"])
