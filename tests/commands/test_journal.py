"""`trace`, `why` and `report` on a host whose only log is the journal; a fake journalctl prints a recording."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.postfix import PostfixInstance
from tests.support.product import run_postward, write_reading_settings

# Prints the recording since the requested time, then a message to standard error; exits 1 if the message is an error.
_JOURNALCTL = f"""#!{sys.executable}
import json, pathlib, sys

folder = pathlib.Path(__file__).parent

since = next((float(word.removeprefix("--since=@")) for word in sys.argv if word.startswith("--since=@")), 0)
assert "SYSLOG_FACILITY=2" in sys.argv
for line in (folder / "recording").read_text().splitlines():
    if int(json.loads(line)["__REALTIME_TIMESTAMP"]) / 1e6 >= since:
        print(line)

message = (folder / "message").read_text()
sys.stderr.write(message)
sys.exit(message.startswith("Failed"))
"""
_NOON = 1_795_521_600  # 2026-11-24 12:00 UTC
_REFUSED = (
    "A1B2C3D4E5: to=<bob@dest.example>, relay=smtp.example.net[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=4.7.8, "
    "status=deferred (SASL authentication failed; server smtp.example.net[192.0.2.1] said: 535 5.7.8 no)"
)
_LATER = _REFUSED.replace("A1B2C3D4E5", "B1B2C3D4E5").replace("535 5.7.8 no", "535 5.7.8 caf\u00e9")


def entry(seconds: int, tag: str, message: object) -> str:
    """Return a line of `journalctl --output=json`."""
    return json.dumps(
        {
            "__REALTIME_TIMESTAMP": str((_NOON + seconds) * 1_000_000),
            "SYSLOG_FACILITY": "2",
            "SYSLOG_IDENTIFIER": f"postfix/{tag}",
            "SYSLOG_PID": "77",
            "_HOSTNAME": "mail",
            "MESSAGE": message,
        },
        separators=(",", ":"),
    )


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a fake journalctl, with two messages that are deferred an hour apart.

    The second delivery line is not UTF-8; journalctl prints it as a list of bytes.
    """
    program = tmp_path / "journalctl"
    program.write_text(_JOURNALCTL)
    program.chmod(0o755)
    lines = [
        entry(0, "cleanup", "A1B2C3D4E5: message-id=<one@app.example>"),
        entry(1, "smtp", _REFUSED),
        entry(3600, "cleanup", "B1B2C3D4E5: message-id=<two@app.example>"),
        entry(3601, "smtp", list(_LATER.encode("latin-1"))),
    ]
    (tmp_path / "recording").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "message").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("TZ", "UTC")
    return tmp_path


def test_trace_finds_a_message_in_the_journal(journal: Path) -> None:
    """A Message-ID finds the lines, with ISO 8601 time stamps; a line need not be UTF-8."""
    first = run_postward("trace", "one@app.example", "journal")
    second = run_postward("trace", "<two@app.example>", "journal", "--json")
    rows = [json.loads(line) for line in second.stdout.splitlines()]

    assert first.stdout.startswith("2026-11-24T12:00:00+00:00  A1B2C3D4E5"), first
    assert "535 5.7.8 no" in first.stdout
    assert "B1B2C3D4E5" not in first.stdout
    assert [row["event"] for row in rows] == ["MessageId", "Delivery"]


def test_trace_reads_the_source_of_the_settings(journal: Path) -> None:
    """With log.source = "journal", the command needs no file argument."""
    (journal / "etc").mkdir()
    settings = write_reading_settings(journal, PostfixInstance(journal / "etc"), source="journal")
    found = run_postward("trace", "A1B2C3D4E5", "--config", str(settings))

    assert found.returncode == 0, found
    assert "status=deferred" in found.stdout


def test_why_reads_the_journal_since_a_time(journal: Path) -> None:
    """The default is the whole journal; --since limits it."""
    everything = run_postward("why", "journal", "--json")
    later = run_postward("why", "journal", "--json", "--since", "2026-11-24 12:30+00:00")
    incidents = [json.loads(run.stdout)["incidents"] for run in (everything, later)]

    assert [[row["symptom"] for row in rows] for rows in incidents] == [["login-refused"], ["login-refused"]]
    assert [rows[0]["attempts"] for rows in incidents] == [2, 1]
    assert incidents[0][0]["evidence"][0].startswith(
        "2026-11-24T12:00:01+00:00 mail postfix/smtp[77]: A1B2C3D4E5"
    )


def test_report_reads_the_journal(journal: Path) -> None:
    """The report counts the deliveries in the journal."""
    run = run_postward("report", "journal", "--json")

    assert run.returncode == 0, run
    [row] = json.loads(run.stdout)["relays"]
    assert row["deferred"] == 2


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Failed to open", "the journal: journalctl ended with status 1: Failed to open"),
        (
            "Hint: You are currently not seeing messages from other users and the system.",
            "the journal: this user sees only a part of it; run the command with sudo, or as a member of the group systemd-journal",
        ),
    ],
)
def test_an_unreadable_journal_is_an_error(journal: Path, message: str, error: str) -> None:
    """An unreadable journal is not treated as an empty one."""
    (journal / "message").write_text(message)
    for command in (("why", "journal"), ("trace", "A1B2C3D4E5", "journal")):
        done = run_postward(*command)

        assert done.returncode == 1, done
        assert error in done.stderr


def test_without_journalctl(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the alternative."""
    monkeypatch.setenv("PATH", str(journal / "nowhere"))
    done = run_postward("why", "journal")

    assert done.returncode == 1
    assert "journalctl cannot be run (No such file or directory); name log files instead" in done.stderr
