"""The report and `why` on a log of another host in which one program uses the daily amount up."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from postward.agent.report.chunks import chunks_of
from postward.agent.report.html import as_page
from postward.agent.report.summary import summarise
from postward.agent.report.text import as_text
from postward.agent.report.workers import Job, count
from tests.senders.test_window import LOGIN, mail
from tests.support.product import run_postward

START = datetime(2026, 11, 24, 6, tzinfo=UTC)
QUOTA = "bounced (host r[192.0.2.1] said: 550 5.4.5 Daily user sending limit exceeded (in reply to MAIL FROM command))"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """90 mails of uid 33, of which the last ten are refused, and ten of a login."""
    path = tmp_path / "mail.log"
    path.write_text("".join(_lines()))
    return path


def _lines() -> Iterator[str]:
    for number in range(100):
        moment = START + timedelta(seconds=20 * number)
        if number % 10 == 5:
            yield mail(number, moment, LOGIN, sender="alice@example.com", nrcpt=2)
        else:
            lines = mail(number, moment)
            yield (
                lines.replace("dsn=2.0.0, status=sent (x)", f"dsn=5.4.5, status={QUOTA}")
                if number >= 89
                else lines
            )


def test_why_names_the_uid_and_not_a_user_of_this_host(log: Path) -> None:
    """The uid is a fact of that log; whose it is there is not known here. The remedy deletes nothing."""
    masked, shown = run_postward("why", str(log)), run_postward("why", "--json", "--addresses", str(log))
    [row] = json.loads(shown.stdout)["incidents"]

    assert "uid 33 submitted" in masked.stdout
    assert "www-data" not in masked.stdout
    assert row["cause"] == "quota"
    assert (row["sender"]["source"], row["sender"]["user"], row["sender"]["window"]) == (
        "uid:33",
        None,
        "day",
    )
    assert row["sender"]["hold"] == "postward queue --sender www-data@mx.example --hold"
    assert "delete" not in json.dumps(row["sender"])


def test_the_report_lists_sources(log: Path) -> None:
    """In text and JSON: messages, recipients and failures of each; logins are masked."""
    report = json.loads(run_postward("report", "--json", str(log)).stdout)
    text = run_postward("report", str(log)).stdout

    names = ("source", "user", "messages", "recipients", "bounced")
    assert [tuple(row[name] for name in names) for row in report["senders"]] == [
        ("uid:33", None, 90, 90, 10),
        ("login:…@example.com", None, 10, 20, 0),
    ]
    assert (report["sender_addresses"], report["recipient_addresses"]) == (None, None)
    assert "90  by sendmail(1), 10 by a login, 0 by other clients" in text
    assert "alice@" not in text + json.dumps(report)


def test_addresses_are_listed_on_request(log: Path) -> None:
    """Senders and recipients, in text, JSON and HTML."""
    counted = count(Job(addresses=True), chunks_of([log]))
    report = summarise(counted.tally)
    texts = (as_text(report), as_page(report, [str(log)], "1"), json.dumps(report))

    assert all("alice@example.com" in text and "a@b.example" in text for text in texts)
    assert report["recipient_addresses"] == [
        {"address": "a@b.example", "messages": 100, "sent": 90, "deferred": 0, "bounced": 10}
    ]


def test_a_masked_report_names_neither_clients_nor_logins(log: Path) -> None:
    """`--mask` numbers them; a uid stays."""
    report = json.loads(run_postward("report", "--json", "--mask", str(log)).stdout)

    assert [row["source"] for row in report["senders"]] == ["uid:33", "login:2"]


def test_uids_of_several_hosts_are_kept_apart(log: Path) -> None:
    """The same uid is another user on another host."""
    with log.open("a") as file:
        file.write("".join(mail(n + 500, START).replace(" mx postfix/", " web2 postfix/") for n in range(3)))
    rows = json.loads(run_postward("report", "--json", str(log)).stdout)["senders"]

    assert [(row["source"], row["host"]) for row in rows] == [
        ("uid:33", "mx"),
        ("login:…@example.com", None),
        ("uid:33", "web2"),
    ]
