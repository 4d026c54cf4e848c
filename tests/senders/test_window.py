"""Who sent in the last hour and day: by uid, login, client and address, by the stamps of the lines, over restarts."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.rows import ByRows
from postward.agent.senders.part import MAX_UIDS, SenderCounts, window_rows
from postward.agent.senders.share import share_row
from postward.agent.senders.window import Senders
from postward.parsers.scan import Scanner

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
USERS = {"33": "www-data"}.get


def mail(
    number: int,
    moment: datetime,
    arrival: str = "pickup[1]: ID: uid=33 from=<www-data>",
    *,
    sender: str = "www-data@mx.example",
    nrcpt: int = 1,
    status: str = "sent",
) -> str:
    """The lines of a mail."""
    stamp, queue_id = moment.isoformat(timespec="microseconds"), f"3C{number:05X}"
    lines = [
        arrival.replace("ID", queue_id, 1),
        f"cleanup[1]: {queue_id}: message-id=<{number}@mx.example>",
        f"qmgr[1]: {queue_id}: from=<{sender}>, size=400, nrcpt={nrcpt} (queue active)",
        f"smtp[1]: {queue_id}: to=<a@b.example>, relay=r[192.0.2.1]:587, delay=1, delays=0/0/0/1, dsn=2.0.0, status={status} (x)",
    ]
    lines += [f"qmgr[1]: {queue_id}: removed"] if status == "sent" else []
    return "".join(f"{stamp} mx postfix/{line}\n" for line in lines)


def feed(part: ByRows, text: str) -> None:
    """Give lines to the part, as the agent's pipeline does."""
    part.observe_block(Scanner(part.wanted).scan(text))


def made(tally: Tally | None = None) -> SenderCounts:
    """The part."""
    return SenderCounts(tally or Tally(), RelayNames(), lambda: NOW, NOW.timestamp)


def rows(part: Senders, window: str, kind: str = "sources") -> dict[str, tuple[int, ...]]:
    """Source or sender → messages, recipients, deferred, bounced."""
    found = window_rows(part, window, NOW.timestamp(), USERS)[kind]
    return {
        row["text"]: tuple(row[name] for name in ("messages", "recipients", "deferred", "bounced"))
        for row in found
    }


LOGIN = "smtpd[1]: ID: client=app[192.0.2.7], sasl_method=PLAIN, sasl_username=alice@example.com"
CLIENT = "smtpd[1]: ID: client=printer[192.0.2.8]"
FILTERED = "smtpd[1]: ID: client=localhost[127.0.0.1], orig_queue_id=3C00001, orig_client=printer[192.0.2.8]"


def test_each_way_in_is_a_source() -> None:
    """Local users, logins and clients; what a filter hands back is not counted twice. Names are masked."""
    part = made()
    feed(part, mail(1, NOW, nrcpt=3) + mail(2, NOW, LOGIN, sender="alice@example.com") + mail(3, NOW, CLIENT))
    feed(part, mail(4, NOW, FILTERED))
    feed(part, mail(5, NOW, "pickup[1]: ID: uid=33 from=<www-data> orig_id=3C00002"))

    assert rows(part, "hour") == {
        "uid 33 (www-data)": (1, 3, 0, 0),
        "login …@example.com": (1, 1, 0, 0),
        "client printer[192.0.2.8]": (1, 1, 0, 0),
    }
    assert rows(part, "hour", "senders") == {"…@mx.example": (2, 4, 0, 0), "…@example.com": (1, 1, 0, 0)}


def test_a_message_counts_once_and_its_failures_when_they_happen() -> None:
    """A retry activates it again; each failed attempt counts for its source."""
    part = made()
    feed(part, mail(1, NOW - timedelta(hours=2), status="deferred"))
    retry = mail(1, NOW, status="bounced").split("\n")[2:]
    feed(part, "\n".join(retry))

    assert rows(part, "day") == {"uid 33 (www-data)": (1, 1, 1, 1)}
    assert rows(part, "hour") == {"uid 33 (www-data)": (0, 0, 0, 1)}


def test_windows_are_those_of_the_stamps() -> None:
    """Lines count when they were written; those of the day before and of a wrong clock do not count."""
    part = made()
    hours = (26, 23, 5, 0.5, 0)
    feed(part, "".join(mail(n, NOW - timedelta(hours=hour)) for n, hour in enumerate(hours)))
    feed(part, mail(9, NOW + timedelta(days=3)))
    feed(part, mail(10, NOW - timedelta(days=3)))

    assert rows(part, "hour") == {"uid 33 (www-data)": (2, 2, 0, 0)}
    assert rows(part, "day") == {"uid 33 (www-data)": (4, 4, 0, 0)}


def test_counts_survive_a_restart() -> None:
    """A message that arrived before and is queued after the restart is counted, too."""
    part = made()
    whole = mail(1, NOW) + mail(2, NOW - timedelta(hours=3))
    lines = (whole + mail(3, NOW)).splitlines(keepends=True)
    cut = len(whole.splitlines()) + 1  # behind the arrival of the third
    feed(part, "".join(lines[:cut]))
    again = made()
    again.restore(json.loads(json.dumps(part.state())))
    feed(again, "".join(lines[cut:]))

    assert rows(again, "hour") == {"uid 33 (www-data)": (2, 2, 0, 0)}
    assert rows(again, "day") == {"uid 33 (www-data)": (3, 3, 0, 0)}


def test_the_source_of_most_mail_is_named() -> None:
    """One source with at least half of the recipients, and the first of its senders."""
    part = made()
    flood = "".join(mail(n, NOW, sender="cron@mx.example") for n in range(96))
    others = "".join(mail(n, NOW, LOGIN) for n in range(96, 100))
    feed(part, others + flood)
    share = part.share(("hour", "day"), NOW.timestamp())

    assert share is not None
    end = datetime.fromtimestamp(NOW.timestamp()).astimezone()
    row = share_row(share, USERS)
    assert row["what"] == (
        f"uid 33 (www-data) submitted 96 of 100 messages of the hour until {end:%d %b %H:%M} (96 %), "
        "to 96 of 100 recipients; first sender cron@mx.example"
    )
    assert row["find"].startswith("ps -fu 33; crontab -l -u www-data")
    assert row["hold"] == "postward queue --sender cron@mx.example --hold"
    assert share_row(share.masked())["hold"] == "postward queue --sender ADDRESS --hold"


def test_no_source_stands_out_among_equals_or_few() -> None:
    """Three sources with a third each, and nine messages."""
    part = made()
    arrivals = ("pickup[1]: ID: uid=1 from=<a>", LOGIN, CLIENT)
    feed(part, "".join(mail(n, NOW, arrivals[n % 3]) for n in range(60)))
    few = made()
    feed(few, "".join(mail(n, NOW) for n in range(9)))

    assert part.share(("hour", "day"), NOW.timestamp()) is None
    assert few.share(("hour", "day"), NOW.timestamp()) is None


def test_addresses_that_a_shell_would_run_are_not_in_commands() -> None:
    """A stranger chooses the sender."""
    part = made()
    feed(part, "".join(mail(n, NOW, sender="$(reboot)@x.example") for n in range(20)))
    share = part.share(("hour",), NOW.timestamp())

    assert share is not None
    assert share_row(share)["hold"] == "postward queue --sender ADDRESS --hold"


def values(tally: Tally, metric: str) -> dict[tuple[str, ...], float]:
    """The series of a counter that are not zero."""
    return {labels: value for labels, value in tally.counters[metric].items() if value}


def test_counters_are_by_uid_and_way_in() -> None:
    """No name or address of the log is a label."""
    tally = Tally()
    feed(made(tally), mail(1, NOW, nrcpt=3) + mail(2, NOW, LOGIN) + mail(3, NOW, CLIENT))

    assert values(tally, "postfix_messages_submitted_total") == {
        ("postfix", "local", "33"): 1,
        ("postfix", "authenticated", ""): 1,
        ("postfix", "network", ""): 1,
    }
    assert values(tally, "postfix_recipients_submitted_total")["postfix", "local", "33"] == 3


def test_uids_beyond_the_limit_are_counted_together() -> None:
    """A hosting server has thousands of users: series stay bounded, and known ones go on."""
    tally = Tally()
    part = made(tally)
    for uid in (*range(1000, 1000 + MAX_UIDS + 7), 1000, 10**12):
        feed(part, mail(uid % 100_000, NOW, f"pickup[1]: ID: uid={uid} from=<x>"))
    found: Any = {
        labels[2]: number for labels, number in values(tally, "postfix_messages_submitted_total").items()
    }

    assert len(found) == MAX_UIDS + 1
    assert found["other"] == 8
    assert found["1000"] == 2
