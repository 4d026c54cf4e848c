"""`postward report --lost`: every mail that never arrived, with sender and recipient from its other lines."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from postward.agent.commands.report import command

FAILED = "to=<{0}>, relay=r.test[192.0.2.1]:587, delay=9, delays=0/0/0/9, dsn={1}, status={2} ({3})"
TIMED_OUT = "connect to r.test[192.0.2.1]:587: Connection timed out"
NO_USER = "host r.test[192.0.2.1] said: 550 5.1.1 <bob@b.example> unknown"
LINES = (
    ("09:00:00", "pickup", "3C01: uid=0 from=<root>"),
    ("09:00:00", "qmgr", "3C01: from=<root@a.example>, size=400, nrcpt=2 (queue active)"),
    ("09:00:01", "smtp", "3C01: " + FAILED.format("bob@b.example", "5.1.1", "bounced", NO_USER)),
    ("09:00:01", "smtp", "3C01: " + FAILED.format("eve@b.example", "2.0.0", "sent", "250 ok")),
    ("09:00:01", "qmgr", "3C01: removed"),
    ("09:01:00", "qmgr", "3C02: from=<cron@a.example>, size=400, nrcpt=2 (queue active)"),
    ("09:01:01", "smtp", "3C02: " + FAILED.format("late@c.example", "4.4.1", "deferred", TIMED_OUT)),
    ("09:01:01", "smtp", "3C02: " + FAILED.format("fast@c.example", "2.0.0", "sent", "250 ok")),
    ("09:30:00", "qmgr", "3C02: from=<cron@a.example>, status=expired, returned to sender"),
    ("09:30:00", "qmgr", "3C02: removed"),
    ("09:31:00", "qmgr", "3C03: from=<cron@a.example>, size=400, nrcpt=1 (queue active)"),
    ("09:31:01", "smtp", "3C03: " + FAILED.format("gone@c.example", "4.4.1", "deferred", TIMED_OUT)),
    ("09:32:00", "postsuper", "3C03: removed"),
    ("09:32:00", "postsuper", "Deleted: 1 message"),
    ("09:33:00", "cleanup", "3C04: discard: header Subject: x from local; from=<web@a.example> to=<spam@d.example>: no thanks"),
    ("09:34:00", "discard", "3C05: to=<=1@d.example>, relay=none, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (silently)"),
    ("09:35:00", "qmgr", "3C06: removed"),
)  # fmt: skip
TEXT = "".join(f"2026-11-24T{stamp}+01:00 mx1 postfix/{daemon}[1]: {text}\n" for stamp, daemon, text in LINES)
EXPECTED = [
    ("09:00:01", "3C01", "bounced", "root@a.example", "bob@b.example", "recipient_rejected"),
    ("09:30:00", "3C02", "expired", "cron@a.example", "late@c.example", "timeout"),
    ("09:32:00", "3C03", "deleted", "cron@a.example", "gone@c.example", "timeout"),
    ("09:33:00", "3C04", "discarded", "web@a.example", "spam@d.example", ""),
    ("09:34:00", "3C05", "discarded", "", "=1@d.example", ""),
]


def run(*arguments: object) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(command, ["--lost", *map(str, arguments)])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with each way in which a mail is lost."""
    path = tmp_path / "mail.log"
    path.write_text(TEXT)
    return path


def rows(*arguments: object) -> list[dict[str, Any]]:
    """The rows as JSON."""
    found: list[dict[str, Any]] = json.loads(run("--json", *arguments).stdout)["lost"]
    return found


def shown(found: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return the columns of the expectations."""
    names = ("queue_id", "fate", "sender", "recipient", "cause")
    return [(row["time"][11:], *(row[name] for name in names)) for row in found]


def test_each_way_in_which_a_mail_is_lost(log: Path) -> None:
    """Bounced, expired, deleted and discarded recipients; not those that were reached."""
    assert shown(rows("--addresses", log)) == EXPECTED


def test_files_in_any_order_and_cut(log: Path, tmp_path: Path) -> None:
    """Sender and last attempt stand in another file than the end."""
    older = tmp_path / "older.log"
    lines = TEXT.splitlines(keepends=True)
    older.write_text("".join(lines[:8]))
    log.write_text("".join(lines[8:]))

    assert shown(rows("--addresses", log, older)) == EXPECTED


def test_a_queue_id_that_is_used_again(log: Path) -> None:
    """The sender is that of its own mail."""
    log.write_text(TEXT + TEXT.replace("T09:", "T10:").replace("root@", "other@"))

    assert [row["sender"] for row in rows("--addresses", log) if row["fate"] == "bounced"] == [
        "root@a.example",
        "other@a.example",
    ]


def test_addresses_are_masked(log: Path) -> None:
    """Domains stay, unless --mask leaves out those as well."""
    for form in ("--json", "--csv", "--mask"):
        text = run(form, log).stdout
        assert "bob@" not in text
        assert "root@" not in text
    assert "…@b.example" in run(log).stdout
    assert "b.example" not in run("--mask", log).stdout


def test_csv_is_safe_in_a_spreadsheet(log: Path) -> None:
    """Columns have names, and no value begins as a formula."""
    table = list(csv.DictReader(io.StringIO(run("--csv", "--addresses", log).stdout)))

    assert [row["recipient"] for row in table][-1] == "'=1@d.example"
    assert table[0]["text"] == NO_USER
    assert not any(value[:1] in set("=+-@") for row in table for value in row.values() if value)


def test_text_ends_in_numbers(log: Path) -> None:
    """The number of recipients by fate; a period leaves out the others."""
    lines = run(log).stdout.splitlines()

    assert lines[0].startswith(
        "2026-11-24 09:00:01  bounced    mx1 3C01: …@a.example → …@b.example at r.test (recipient_rejected)"
    )
    assert lines[-1] == "5 recipients not reached: 1 bounced, 1 expired, 2 discarded, 1 deleted"
    since = ("--since", "2026-11-24 09:32", "--until", "2026-11-24 09:33")
    assert run(*since, log).stdout.splitlines()[-1] == "1 recipient not reached: 1 deleted"
    assert run("--since", "2026-11-25", log).stdout == "No mail was lost\n"


def test_exit_status(tmp_path: Path) -> None:
    """4 if no line is Postfix's, 1 if a file cannot be read."""
    other = tmp_path / "other.log"
    other.write_text("a line\n")

    assert run(other).exit_code == 4
    assert run(tmp_path / "none.log").exit_code == 1
