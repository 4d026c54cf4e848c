"""A real Postfix and relay: two local users and an SMTP client send, one of them too much; every surface names that one."""

import json
import pwd
from pathlib import Path

import pytest

from tests.support import require_postfix, wait_for
from tests.support.product import run_postward
from tools.incidents.pairs import bed, sender

FLOODER, OTHER = "bin", "daemon"
LIMIT, FLOOD = 18, 14


def test_the_user_behind_a_flood_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status, page, metrics, `why` and the report name the uid; addresses are masked without `--addresses`."""
    require_postfix()
    monkeypatch.setenv("POSTWARD_RELAY__FIRST__DAILY_LIMIT", str(LIMIT))
    uid = str(pwd.getpwnam(FLOODER).pw_uid)
    with bed(tmp_path) as made:
        for _ in range(2):
            made.postfix.sendmail("bob@dest.example.test", sender=sender(0), user=OTHER)
        made.postfix.inject(["bob@dest.example.test"] * 2, sender=sender(0))
        for number in range(FLOOD):
            made.postfix.sendmail(f"user{number}@dest.example.test", sender=sender(0), user=FLOODER)
        labels = {"via": "local", "uid": uid}
        wait_for(
            lambda: made.agent.value("postfix_messages_submitted_total", **labels) == FLOOD, 60, "the mails"
        )
        wait_for(lambda: any(row["sender"] for row in made.open().values()), 60, "the note names the sender")
        status = json.loads(made.agent.get("/api/status")[1])
        page = made.agent.get("/status")[1]
        network = made.agent.value("postfix_messages_submitted_total", via="network", uid="")
        settings = str(tmp_path / "postward.toml")
        why = run_postward("why", "--config", settings)
        in_full = run_postward("why", "--config", settings, "--addresses")
        report = run_postward("report", "--addresses", "--json", str(made.postfix.maillog))

    assert network == 2
    hour = status["senders"]["hour"]
    assert hour["messages"] == FLOOD + 4
    first = hour["sources"][0]
    assert (first["text"], first["messages"], first["at_most"]) == (f"uid {uid} ({FLOODER})", FLOOD, False)
    assert {row["text"].split("[")[0] for row in hour["sources"][1:]} <= {
        f"uid {pwd.getpwnam(OTHER).pw_uid} ({OTHER})",
        "client localhost",
    }
    assert f"uid {uid} ({FLOODER})" in page
    [note] = [row for row in status["incidents"] if row["symptom"] == "relay-limit-near"]
    assert (note["sender"]["source"], note["sender"]["user"]) == (f"uid:{uid}", FLOODER)
    assert 2 * note["sender"]["recipients"] >= note["sender"]["all_recipients"]
    assert f"uid {uid} ({FLOODER}) submitted" in why.stdout
    assert sender(0) not in why.stdout + json.dumps(status) + page
    assert f"postward queue --sender {sender(0)} --hold" in in_full.stdout.replace("\n", " ")
    senders = {row["source"]: row["messages"] for row in json.loads(report.stdout)["senders"]}
    assert senders[f"uid:{uid}"] == FLOOD
    addresses = {row["address"]: row["messages"] for row in json.loads(report.stdout)["sender_addresses"]}
    assert addresses[sender(0)] == FLOOD + 4
