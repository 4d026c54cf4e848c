"""`postward export`: DuckDB finds the same totals in the Parquet file as `postward report` in the logs."""

from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from postward.agent.commands.export import command
from postward.agent.export.parquet import SCHEMA
from postward.agent.report.chunks import chunks_of
from postward.agent.report.summary import summarise
from postward.agent.report.workers import Job, count
from tools.bench.lines import log_lines

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "tests" / "corpus" / "releases" / "3.7.11.log"
TOTALS = {
    "received": "event in ('ClientAccepted', 'PickedUp')",
    "delivered": "status = 'sent' and not starts_with(reason, 'forwarded as ')",
    "forwarded": "status = 'sent' and starts_with(reason, 'forwarded as ')",
    "deferrals": "event = 'Delivery' and status in ('deferred', 'SOFTBOUNCE')",
    "bounced": "event = 'Delivery' and status = 'bounced'",
    "removed": "event = 'Removed'",
    "expired": "event = 'Expired'",
}


@pytest.fixture
def made_log(tmp_path: Path) -> Path:
    """The log of a busy host."""
    log = tmp_path / "mail.log"
    log.write_text("".join(log_lines(4000)))
    return log


def export(*arguments: object) -> Path:
    """Run the command and return the written file."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return Path(str(arguments[-1]))


def test_duckdb_gives_the_same_totals(made_log: Path, tmp_path: Path) -> None:
    """The totals by status, and by relay and cause, agree for a generated log and for a recording of Postfix."""
    for log in (made_log, RELEASE):
        report = summarise(count(Job(), chunks_of([log])).tally)
        file = export(log, "--parquet", tmp_path / "events.parquet")
        with duckdb.connect() as database:
            for total, condition in TOTALS.items():
                [(number,)] = database.execute(
                    f"select coalesce(sum(repeat), 0) from read_parquet(?) where {condition}",  # noqa: S608 -- from the table above
                    [str(file)],
                ).fetchall()
                assert (total, number) == (total, report["totals"][total])
            rows = database.execute(
                "select relay_name, cause, sum(repeat) from read_parquet(?) where event = 'Delivery' and cause is not null"
                " and status in ('deferred', 'SOFTBOUNCE', 'bounced') group by all",
                [str(file)],
            ).fetchall()
        failures: dict[tuple[str, str], int] = {}
        for row in report["failures"]:
            key = (row["relay"], row["cause"])
            failures[key] = failures.get(key, 0) + row["attempts"]
        assert {(relay, cause): number for relay, cause, number in rows} == failures


def test_mask_removes_local_parts(made_log: Path, tmp_path: Path) -> None:
    """The file contains the domains of addresses without their local parts."""
    file = export(made_log, "--mask", "--parquet", tmp_path / "events.parquet")

    with duckdb.connect() as database:
        [(recipients, domains, senders)] = database.execute(
            'select count(distinct "to"), count(distinct split_part("to", \'@\', 2)),'
            " count(*) filter (where \"from\" like '%app@%' or fields like '%app@%') from read_parquet(?)",
            [str(file)],
        ).fetchall()
    assert recipients == domains
    assert senders == 0


def test_the_schema_is_documented() -> None:
    """docs/report.md names every column."""
    page = (ROOT / "docs" / "report.md").read_text()

    assert [name for name in SCHEMA.names if f"`{name}`" not in page] == []
