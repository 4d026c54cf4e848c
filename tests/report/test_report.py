"""`postward report`: the same bytes from one process, from all cores and for any cut; and its content."""

import bz2
import gzip
import json
import os
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from postward.agent.commands.report import command
from postward.agent.report import chunks
from postward.agent.report.chunks import Chunk, blocks_of, chunks_of
from postward.agent.report.summary import summarise
from postward.agent.report.tally import Limits
from postward.agent.report.text import as_text
from postward.agent.report.workers import Job, count, count_on_all_cores
from postward.agent.text import local_now
from tests.support.browser import browser
from tools.bench.lines import log_lines

OUTAGE = "".join(
    f"Nov 24 {hour:02}:{minute:02}:00 mx1 postfix/smtp[1]: {hour:02}{minute:02}A: to=<a@b.example>, relay=smtp.example.net[192.0.2.1]:587,"
    f" delay=1, delays=0/0/0/1, dsn=4.7.8, status=deferred (SASL authentication failed; server smtp.example.net[192.0.2.1] said:"
    f" 535 5.7.8 bad for a@b.example)\n"
    for hour in (1, 2, 9)
    for minute in (10, 50)
)


def run(*arguments: object) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    """Two plain files and two packed ones."""
    lines = list(log_lines(4000))
    paths = [tmp_path / name for name in ("mail.log", "mail.log.1", "mail.log.2.gz", "mail.log.3.bz2")]
    pieces = ["".join(lines[start::4]).encode() for start in range(4)]
    paths[0].write_bytes(pieces[0].removesuffix(b"\n"))  # being written
    paths[1].write_bytes(pieces[1])
    paths[2].write_bytes(gzip.compress(pieces[2]))
    paths[3].write_bytes(bz2.compress(pieces[3]))
    for path in paths:
        os.utime(path, (1_795_000_000, 1_795_000_000))
    return paths


def test_the_report_does_not_depend_on_how_it_is_counted(logs: list[Path]) -> None:
    """Cut into small pieces, in another order, in two processes: the bytes are equal."""
    whole = run("--json", "--jobs", 1, *logs)
    assert whole.exit_code == 0
    assert run("--json", "--jobs", 1, "--chunk", 10_007, *reversed(logs)).stdout == whole.stdout
    pieces = chunks_of(logs, 30_011)
    done: list[int] = []
    counted = count_on_all_cores(Job(), pieces, 2, done.append, min_bytes=0)
    assert json.dumps(summarise(counted.tally), ensure_ascii=False) + "\n" == whole.stdout
    assert sum(done) == sum(piece.size for piece in pieces)


def test_a_file_that_cannot_be_read_is_named(logs: list[Path], tmp_path: Path) -> None:
    """The others are counted, and the status is 1."""
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(logs[2].read_bytes()[:-2000])

    result = run("--json", logs[1], damaged, tmp_path / "absent.log")

    assert result.exit_code == 1
    assert f"postward: {damaged}: its compressed data stop too early" in result.stderr
    assert f"postward: {tmp_path / 'absent.log'}: No such file or directory" in result.stderr
    assert json.loads(result.stdout)["totals"]["received"] > 100


def test_a_process_that_ends_is_an_error(logs: list[Path]) -> None:
    """A worker that dies raises an error; the report is not silently smaller."""
    chunks = [chunk._replace(written=_Deadly()) for chunk in chunks_of(logs)]  # type: ignore[arg-type]

    with pytest.raises(ChildProcessError, match="--jobs 1"):
        count_on_all_cores(Job(), chunks, 2, min_bytes=0)


class _Deadly:
    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (9,)


def test_incidents_of_a_log(tmp_path: Path) -> None:
    """Two outages hours apart are two incidents, with the catalogue's diagnosis and without addresses."""
    log = tmp_path / "mail.log"
    log.write_text(OUTAGE)

    report = json.loads(run("--json", log).stdout)

    incidents = [
        (row["first"][11:16], row["last"][11:16], row["attempts"], row["cause"])
        for row in report["incidents"]
    ]
    assert incidents == [("01:10", "02:50", 4, "auth_rejected"), ("09:10", "09:50", 2, "auth_rejected")]
    assert report["incidents"][0]["certainty"] != "certain"
    assert "relay.password_file" in report["incidents"][0]["causes"][0]["setting"]
    assert "a@b.example" not in json.dumps(report)


def test_masked(logs: list[Path], tmp_path: Path) -> None:
    """No form of the report shows a domain of a sender or recipient."""
    page = tmp_path / "report.html"

    assert "example.com" in run(*logs).stdout
    assert "example.com" not in run("--mask", *logs).stdout
    assert "example.com" not in run("--mask", "--json", *logs).stdout
    run("--mask", "--html", page, *logs)
    assert "example.com" not in page.read_text()


def test_the_page_stands_alone(logs: list[Path], tmp_path: Path) -> None:
    """One file with charts; nothing is fetched, and text of the log is escaped."""
    evil, page = tmp_path / "evil.log", tmp_path / "report.html"
    evil.write_text(OUTAGE.replace("bad for", "<script>alert(1)</script>"))

    assert run("--html", page, *logs, evil).exit_code == 0

    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "<svg" in text
    assert "&lt;script&gt;alert(1)" in text
    for word in ("<script", "<link", "src=", 'href="http', "@import", "url("):
        assert word not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_is_accessible(width: int, scheme: str, logs: list[Path], tmp_path: Path) -> None:
    """Wide and narrow, light and dark."""
    page, outage = tmp_path / "report.html", tmp_path / "outage.log"
    outage.write_text(OUTAGE)
    run("--html", page, *logs, outage)
    with browser(tmp_path) as view:
        view.show(page, width=width, scheme=scheme)
        view.unfold()

        assert view.accessibility_faults() == []


def test_the_text_is_as_wide_as_a_terminal(tmp_path: Path) -> None:
    """Names and causes are whole. Only lines of the log and remedies, which can be commands, are wider."""
    log = tmp_path / "mail.log"
    log.write_text(OUTAGE.replace("smtp.example.net", "email-smtp.us-east-1.amazonaws.com"))

    lines = run(log).stdout.splitlines()

    assert "email-smtp.us-east-1.amazonaws.com auth_rejected" in lines
    examples = [line for line in lines if "SASL authentication failed" in line]
    assert [line for line in lines if len(line) > 100 and line not in examples and "→" not in line] == []


def test_estimates_are_marked(logs: list[Path]) -> None:
    """With more mails than the sample holds, its numbers are marked with ~; counts of lines are not."""
    assert "~" not in run(*logs).stdout

    text = as_text(summarise(count(Job(limits=Limits(mails=64)), chunks_of(logs)).tally))

    rows = [line.split(None, 1) for line in text.partition("Totals")[2].splitlines()[1:12]]
    totals = {title: number for number, title in rows}
    assert totals["mails deferred"].startswith("~")
    assert not totals["deferrals"].startswith("~")


def test_without_files_settings_are_required(tmp_path: Path) -> None:
    """They name the log of this host; without them the status is 78."""
    result = run("--config", tmp_path / "none.toml")

    assert result.exit_code == 78
    assert "none.toml: No such file or directory" in result.stderr


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from((b"", b"a", b"bc\n", b"\n", b"\r\n", b"long" * 9, b"0123456789\n")), max_size=12
    ),
    st.integers(1, 20),
)
def test_every_line_is_in_one_chunk(parts: list[bytes], size: int) -> None:
    """For any cuts, the lines of all chunks are the lines of the file, in order."""
    data = b"".join(parts)

    def open_file() -> BytesIO:
        return BytesIO(data)

    pieces = chunks.cut("name", open_file, len(data), local_now(), size)

    assert b"".join(b"".join(blocks_of(chunk, open_file)) for chunk in pieces) == data


def test_a_line_without_end_is_cut_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than the limit is cut at the same byte, wherever chunks begin."""
    monkeypatch.setattr(chunks, "MAX_LINE", 1000)
    monkeypatch.setattr(chunks, "BLOCK", 300)
    data = b"one\n" + b"x" * 5000 + b"\ntwo\n" + b"y" * 999 + b"\n" + b"z" * 3000

    def lines(size: int) -> bytes:
        pieces = chunks.cut("name", lambda: BytesIO(data), len(data), local_now(), size)
        return b"".join(b"".join(blocks_of(chunk, lambda: BytesIO(data))) for chunk in pieces)

    expected = b"one\n" + b"x" * 1000 + b"\ntwo\n" + b"y" * 999 + b"\n" + b"z" * 1000
    assert {lines(size).removesuffix(b"\n") for size in (7, 500, 1001, 4096, 100_000)} == {expected}


def test_memory_is_that_of_a_block(tmp_path: Path) -> None:
    """A chunk is read in blocks, never whole."""
    log = tmp_path / "mail.log"
    log.write_bytes(b"a line\n" * (3 << 17))
    [chunk] = chunks_of([log])

    assert max(len(block) for block in blocks_of(chunk)) < 2 << 20
    assert count(Job(), [chunk]).tally.lines["foreign"] == 3 << 17
    assert isinstance(chunk, Chunk)
