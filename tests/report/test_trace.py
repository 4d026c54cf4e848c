"""`postward trace`: the lines of one mail across queue IDs, and of no other mail."""

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from postward.agent.commands.trace import command

# A client's mail, returned by a content filter, forwarded and bounced; and mail of others.
LOG = """\
Nov 24 06:00:00 mx1 postfix/smtpd[1]: AAAAA1: client=app[192.0.2.7]
Nov 24 06:00:00 mx1 postfix/cleanup[2]: AAAAA1: message-id=<one@app.example>
Nov 24 06:00:00 mx1 postfix/qmgr[3]: AAAAA1: from=<app@app.example>, size=100, nrcpt=1 (queue active)
Nov 24 06:00:01 mx1 postfix/smtp[4]: AAAAA1: to=<info@local.test>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as BBBBB2)
Nov 24 06:00:01 mx1 postfix/qmgr[3]: AAAAA1: removed
Nov 24 06:00:01 mx1 postfix/cleanup[2]: 99999F: message-id=<two@app.example>
Nov 24 06:00:01 mx1 postfix/smtp[4]: 99999F: to=<x@y.example>, relay=smtp.example.net[192.0.2.1]:587, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as BBBBB2)
Nov 24 06:00:02 mx1 postfix/local[5]: BBBBB2: to=<info@local.test>, relay=local, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (forwarded as CCCCC3)
Nov 24 06:00:03 mx1 postfix/smtp[4]: CCCCC3: to=<boss@far.example>, orig_to=<info@local.test>, relay=smtp.example.net[192.0.2.1]:587, delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced (host smtp.example.net[192.0.2.1] said: 550 no)
Nov 24 06:00:03 mx1 postfix/bounce[6]: CCCCC3: sender non-delivery notification: DDDDD4
"""  # noqa: E501
ROTATED = """\
Nov 24 06:00:04 mx1 postfix/cleanup[2]: DDDDD4: message-id=<notice@mx1.example>
Nov 24 06:00:04 mx1 postfix/qmgr[3]: DDDDD4: from=<>, size=100, nrcpt=1 (queue active)
Nov 24 06:00:05 mx1 postfix/pickup[3]: EEEEE5: uid=0 from=<> orig_id=DDDDD4
Nov 24 06:00:06 mx1 postfix/cleanup[2]: EEEEE5: message-id=<notice@mx1.example>
Nov 24 06:00:07 mx2 postfix/smtp[4]: AAAAA1: to=<else@y.example>, relay=smtp.example.net[192.0.2.1]:587, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)
"""  # noqa: E501


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    """The logs, newer one first: their stamps give the order."""
    newer, older = tmp_path / "mail.log", tmp_path / "mail.log.1.gz"
    newer.write_text(ROTATED)
    older.write_bytes(gzip.compress(LOG.encode()))
    return [newer, older]


def trace(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def ids(result: Result) -> list[str]:
    """The queue IDs of a timeline, each once, in order."""
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    return list(dict.fromkeys(row["queue_id"] for row in rows))


@pytest.mark.parametrize(
    "name", ["BBBBB2", "<one@app.example>", "one@app.example", "boss@far.example", "EEEEE5"]
)
def test_whole_life_is_found_from_any_name(name: str, logs: list[Path]) -> None:
    """Filter, forward, bounce and requeue are followed in both directions; a remote server's queue ID is not."""
    result = trace("--json", name, *logs)

    assert result.exit_code == 0
    assert ids(result) == ["AAAAA1", "BBBBB2", "CCCCC3", "DDDDD4", "EEEEE5"]


def test_timeline_is_in_order_of_time(logs: list[Path]) -> None:
    """Each line has its queue ID and the queue ID that it leads to."""
    lines = trace("CCCCC3", *logs).stdout.splitlines()

    assert len(lines) == 12
    assert lines[0].startswith("Nov 24 06:00:00  AAAAA1")
    assert lines[7].endswith("sender non-delivery notification: DDDDD4  → DDDDD4")


def test_other_host_can_have_the_same_queue_id(logs: list[Path]) -> None:
    """A queue ID can name mails of two hosts; a mail's other queue IDs are on its host."""
    assert "else@y.example" in trace("AAAAA1", *logs).stdout
    assert "else@y.example" not in trace("BBBBB2", *logs).stdout


def test_unknown_mail_fails(logs: list[Path]) -> None:
    """Exit status 1, and the logs that were read."""
    result = trace("FFFFF9", *logs)

    assert result.exit_code == 1
    assert f"no line is about FFFFF9 in {logs[1]}, {logs[0]}" in result.stderr


def test_standard_input_cannot_be_read_twice() -> None:
    """It is a usage error that says what to do."""
    result = trace("FFFFF9", "-")

    assert result.exit_code == 2
    assert "write it to a file first" in result.stderr


def test_default_is_the_log_of_the_settings(logs: list[Path], tmp_path: Path) -> None:
    """Without files it reads log.source and its rotated files."""
    settings = tmp_path / "postward.toml"
    sample = (Path(__file__).parents[2] / "tools" / "demo" / "sample.toml").read_text()
    settings.write_text(sample + f'\n[log]\nsource = "{logs[0]}"\n')

    result = trace("--json", "--config", settings, "BBBBB2")

    assert result.exit_code == 0, result.output
    assert ids(result) == ["AAAAA1", "BBBBB2", "CCCCC3", "DDDDD4", "EEEEE5"]
