"""`postward queue` on a real Postfix whose mails wait for two relays, for two causes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from postward.agent.commands.queue import command
from postward.agent.status.queue import AGES, Choice, Groups, Waiting
from postward.agent.text import parse_duration
from tests.support import CA, Fault, PostfixInstance, Relay, free_port, require_postfix, wait_for
from tests.support.dialogue import Dialogue
from tests.support.product import POSTWARD, run_postward

_SETTINGS = """\
[host]
profile = "send-only"
myhostname = "mail.example.test"

[[relay]]
name = "closed"
host = "localhost"
port = {closed}
tls = "none"
allow_unusual_port = true

[[relay]]
name = "slow"
host = "127.0.0.1"
port = {slow}
tls = "none"
allow_unusual_port = true
senders = ["slow@example.test"]

[postfix]
config_directory = "{config_directory}"
"""


class Host(NamedTuple):
    """A Postfix with mails that wait: two for the relay `closed`, one for `slow`."""

    postfix: PostfixInstance
    relay: Relay
    config: tuple[str, str]

    def queues(self) -> dict[str, int]:
        """Return queue → number of mails."""
        names = [mail["queue_name"] for mail in self.postfix.queue()]
        return {name: names.count(name) for name in set(names)}

    def run(self, *options: str) -> tuple[int, str]:
        """Run the command. Return status and output."""
        done = run_postward("queue", *self.config, *options)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """The host."""
    require_postfix()
    closed = free_port()
    with Relay(CA(), tls="none", auth_required=False) as relay:
        relay.fault = Fault(step="rcpt", reply="450 4.7.1 Greylisted, try again")
        routes = {
            "relayhost": f"[localhost]:{closed}",
            "sender_dependent_relayhost_maps": f"inline:{{ {{ slow@example.test = [127.0.0.1]:{relay.port} }} }}",
            "minimal_backoff_time": "1h",
            "queue_run_delay": "1h",
            "inet_protocols": "ipv4",
        }
        with PostfixInstance(tmp_path, routes) as postfix:
            settings = postfix.folder / "postward.toml"
            settings.write_text(
                _SETTINGS.format(closed=closed, slow=relay.port, config_directory=postfix.config_directory)
            )
            made = Host(postfix, relay, ("--config", str(settings)))
            for sender in ("one@example.test", "two@example.test", "slow@example.test"):
                postfix.sendmail("bob@dest.example.test", sender=sender)
            wait_for(lambda: made.queues() == {"deferred": 3}, 30, "three deferred mails")
            yield made


def test_mails_are_shown_by_cause_and_relay(host: Host) -> None:
    """As text and as JSON, without addresses; a choice counts what it chooses."""
    code, text = host.run()
    rows = json.loads(host.run("--json")[1])
    chosen = json.loads(host.run("--json", "--cause", "refused", "--relay", "closed")[1])

    assert code == 0
    assert "3 mails" in text
    assert "2 refused, 1 greylisted" in text
    assert "2 closed, 1 slow" in text
    assert "@" not in text
    assert rows["by"]["queue"] == {"deferred": 3}
    assert rows["by"]["cause"] == {"refused": 2, "greylisted": 1}
    assert (chosen["mails"], chosen["by"]["relay"]) == (2, {"closed": 2})
    assert json.loads(host.run("--json", "--older", "1h")[1])["mails"] == 0


def test_hold_release_and_delete_take_the_chosen_mails_alone(host: Host) -> None:
    """By cause, relay and queue; each says how many it reached."""
    held = host.run("--cause", "refused", "--hold", "--yes")
    after_hold = host.queues()
    released = host.run("--in", "hold", "--release", "--yes")
    wait_for(lambda: host.queues().get("deferred") == 3, 30, "the released mails to be deferred again")
    deleted = host.run("--relay", "closed", "--delete", "--yes")
    after_delete = host.postfix.queue()

    assert held[0] == 0
    assert "2 mails on hold" in held[1]
    assert after_hold == {"hold": 2, "deferred": 1}
    assert "2 mails released" in released[1]
    assert "2 mails deleted" in deleted[1]
    assert [mail["sender"] for mail in after_delete] == ["slow@example.test"]


def test_the_mail_of_a_sender_is_held(host: Host) -> None:
    """An address or a domain, in any case; the mail of others waits on."""
    status, text = host.run("--sender", "Slow@Example.test", "--hold", "--yes")
    assert (status, host.queues()) == (0, {"deferred": 2, "hold": 1}), text
    assert host.run("--sender", "@example.test", "--release", "--yes")[0] == 0
    assert "no mail waits" in host.run("--sender", "<>")[1]


def test_flush_delivers_the_chosen_mails(host: Host) -> None:
    """The relay takes its mail; the others are not tried."""
    host.relay.fault = None
    refused = host.postfix.maillog.read_text().count("Connection refused")
    status, text = host.run("--relay", "slow", "--flush", "--yes")
    wait_for(lambda: host.relay.messages, 30, "the mail")
    wait_for(lambda: len(host.postfix.queue()) == 2, 30, "the mail to leave the queue")

    assert status == 0
    assert "Postfix tries to deliver 1 mail now" in text
    assert host.postfix.maillog.read_text().count("Connection refused") == refused


def test_nothing_happens_without_an_answer(host: Host) -> None:
    """Without a terminal, `--yes` is required; on one, the question's default is no, and yes acts."""
    without = host.run("--all", "--delete")
    refused = Dialogue([POSTWARD, "queue", *host.config, "--all", "--delete"], {})
    refused.answer("Delete 3 mails? They are lost, and their senders are not notified.", "")
    refused_status = refused.end()
    before = host.queues()
    agreed = Dialogue([POSTWARD, "queue", *host.config, "--all", "--delete"], {})
    agreed.answer("Delete 3 mails?", "y")

    assert without[0] == 1
    assert "nothing was changed: without a terminal, --delete needs --yes" in without[1]
    assert refused_status == 1
    assert before == {"deferred": 3}
    assert agreed.end() == 0
    assert "3 mails deleted" in agreed.text
    assert host.queues() == {}
    assert "no mail waits" in host.run()[1]


@pytest.mark.parametrize("action", ["--flush", "--hold", "--release", "--delete"])
def test_an_action_needs_a_choice(action: str) -> None:
    """All mails are not the default."""
    done = CliRunner().invoke(command, [action, "--yes"])

    assert done.exit_code == 2
    assert f"{action} needs --cause, --relay, --sender, --in, --older, or --all." in done.output


def test_a_relay_that_is_not_in_the_settings_is_refused(tmp_path: Path) -> None:
    """A typing error must not choose nothing."""
    settings = tmp_path / "postward.toml"
    settings.write_text(
        '[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "r.test"\ntls = "starttls"\n'
    )
    done = CliRunner().invoke(command, ["--config", str(settings), "--relay", "dem"])

    assert done.exit_code == 2
    assert "no relay of the settings is called dem." in done.output


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("3d", 259200)])
def test_durations(text: str, seconds: int) -> None:
    """A number and a unit."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "3", "h", "-1h", "1.5h", "1w", "९h", "1h "])
def test_bad_durations(text: str) -> None:
    """They are none; the command names the right form."""
    assert parse_duration(text) is None
    done = CliRunner().invoke(command, ["--older", text or "x"])

    assert done.exit_code == 2
    assert "as in 30m" in done.output


def test_choice_and_groups() -> None:
    """An empty set chooses all; ages have bounds."""
    mails = [
        Waiting("deferred", "A", 0, 100, "timeout", "main", 59.0),
        Waiting("deferred", "B", 0, 100, "refused", "main", 3600.0),
        Waiting("hold", "C", 0, 100, "none", "none", 90000.0),
    ]
    groups = Groups()
    for mail in mails:
        groups.add(mail)

    assert groups.by["age"] == {"< 1 min": 1, "< 1 day": 1, "1 day or more": 1}
    assert set(groups.by["age"]) <= {name for _, name in AGES}
    assert (groups.mails, groups.size, groups.oldest) == (3, 300, 90000.0)
    assert [mail.queue_id for mail in mails if mail in Choice(older=3600)] == ["B", "C"]
    assert [mail.queue_id for mail in mails if mail in Choice(causes=frozenset({"refused", "none"}))] == [
        "B",
        "C",
    ]
    assert [mail.queue_id for mail in mails if mail in Choice(relays=frozenset({"main"}), older=60)] == ["B"]
    assert mails[0] in Choice()
