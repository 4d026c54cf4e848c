"""`postward replay`: the order of files, the metrics, and a history that Prometheus can import."""

import gzip
import json
import lzma
import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import CollectorRegistry

from postward.agent.cli import main
from postward.agent.commands.replay import Replay
from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.exposition import History
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from tests.support.require import required
from tools.bench.lines import log_lines

PEER = "smtp.relay.test[192.0.2.9]:587"
SENT = '{postfix_instance="postfix",relay="other",status="sent"}'


def line(stamp: str, status: str = "sent") -> str:
    """Return the line of a delivery with this time stamp."""
    return (
        f"{stamp} mx1 postfix/smtp[12]: 3C0FFEE001: to=<a@example.org>, relay={PEER}, delay=1.3, "
        f"delays=0.02/0.01/0.84/0.43, dsn=2.0.0, status={status} (250 2.0.0 Ok)\n"
    )


def at(clock: str, status: str = "sent") -> str:
    """Return the line of a delivery on the day of these tests, at this time."""
    return line(f"2026-11-24T{clock}+00:00", status)


def replay(*arguments: str | Path, text: str = "") -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["replay", *map(str, arguments)], input=text)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the samples that prometheus_client reads from a text exposition."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def value(text: str, series: str) -> float:
    """Return the value of one series."""
    return next(float(row.split()[-1]) for row in text.splitlines() if row.startswith(f"{series} "))


def test_metrics_are_those_that_the_agent_serves(tmp_path: Path) -> None:
    """prometheus_client reads the same samples from the text as from the agent's collector."""
    file = tmp_path / "mail.log"
    file.write_text("".join(log_lines(2000)))
    counted = Replay(RelayNames())
    assert not counted.read((file,))
    registry = CollectorRegistry()
    registry.register(PostwardCollector(counted.tallies[""], dict))
    served = samples(generate_latest(registry).decode())

    assert samples(replay(file).stdout) == served
    assert served[("postward_log_lines_total", (("outcome", "event"),))] == 2000


def test_json_is_the_tally(tmp_path: Path) -> None:
    """Tally.from_json reads the output back, so that it can be merged with others."""
    file = tmp_path / "mail.log"
    file.write_text(at("06:00:01") * 3)

    tally = Tally.from_json(json.loads(replay("--json", file).stdout))

    assert tally.counters["postfix_deliveries_total"][("postfix", "other", "sent")] == 3


def test_relay_labels_come_from_the_settings(tmp_path: Path) -> None:
    """The label is the relay's name in the settings; a wrong setting ends the command with status 78."""
    settings, file = tmp_path / "postward.toml", tmp_path / "mail.log"
    settings.write_text(
        '[host]\nmyhostname = "mx1.example.com"\n[[relay]]\nname = "main"\nhost = "smtp.relay.test"\nport = 587\nusername = "u"\n'
        f'password_file = "{tmp_path / "secret"}"\n'
    )
    (tmp_path / "secret").write_text("s3cr3t\n")
    (tmp_path / "secret").chmod(0o600)
    file.write_text(at("06:00:01"))

    named = SENT.replace("other", "main")
    assert value(replay("--config", settings, file).stdout, f"postfix_deliveries_total{named}") == 1

    settings.write_text("nonsense = 1\n")
    assert replay("--config", settings, file).exit_code == 78


@pytest.mark.parametrize("everything", [False, True])
def test_hosts_of_a_log_are_counted_apart(tmp_path: Path, everything: bool) -> None:
    """Each host has the metrics of a log with its lines alone; the lines of no host have no label."""
    lines = "".join(log_lines(1500)).splitlines(keepends=True)
    of_host = {f"web{number}": lines[number * 500 : (number + 1) * 500] for number in range(3)}
    of_host = {host: [line.replace(" mx1 ", f" {host} ") for line in part] for host, part in of_host.items()}
    options = ["--all"] if everything else []
    file = tmp_path / "all.log"
    file.write_text("".join(chain(*zip(*of_host.values(), strict=True), ["no line of a log\n"])))

    together = samples(replay("--by-host", *options, file).stdout)
    data = json.loads(replay("--by-host", "--json", *options, file).stdout)
    history = replay("--by-host", "--openmetrics", *options, file).stdout

    for host, part in of_host.items():
        (tmp_path / host).write_text("".join(part))
        alone = samples(replay(*options, tmp_path / host).stdout)
        assert {
            (name, tuple(sorted(dict(labels, log_host=host).items()))): value
            for (name, labels), value in alone.items()
        }.items() <= together.items()
        assert data["hosts"][host] == json.loads(replay("--json", *options, tmp_path / host).stdout)
        assert f'postfix_deliveries_total{{log_host="{host}",' in history
    assert together[("postward_log_lines_total", (("outcome", "foreign"),))] == 1
    assert set(data["hosts"]) == set(of_host)


def test_files_are_read_in_the_order_of_their_time_stamps(tmp_path: Path) -> None:
    """Rotated and compressed files are read by age, not by name, and the order is printed."""
    newest, middle, oldest, empty = (tmp_path / name for name in ("c.log", "b.gz", "a.xz", "zero"))
    newest.write_text(at("08:00:00"))
    middle.write_bytes(gzip.compress(at("07:00:00").encode()))
    oldest.write_bytes(lzma.compress(f"no stamp\n{at('06:00:00')}".encode()))
    empty.touch()

    done = replay(empty, newest, middle, oldest)

    order = [row.split()[0] for row in done.stderr.splitlines()[1:]]
    assert order == [str(oldest), str(middle), str(newest), str(empty)]
    assert value(done.stdout, f"postfix_deliveries_total{SENT}") == 3
    assert value(done.stdout, 'postward_log_lines_total{outcome="foreign"}') == 1


def test_a_time_stamp_without_a_year_has_the_year_of_its_file(tmp_path: Path) -> None:
    """The last modification of an old file gives the year of its lines."""
    file = tmp_path / "mail.log"
    file.write_text(line("Mar  5 06:00:00"))
    written = datetime(2021, 3, 5, 7).astimezone().timestamp()
    os.utime(file, (written, written))

    last = value(replay(file).stdout, "postward_log_last_line_timestamp_seconds")

    assert last == written - 3600


def test_all_adds_the_metrics_that_the_default_leaves_out(tmp_path: Path) -> None:
    """Queue activations are counted with --all only."""
    file = tmp_path / "mail.log"
    file.write_text("".join(log_lines(500)))
    series = 'postfix_queue_activations_total{postfix_instance="postfix"}'

    assert value(replay("--all", file).stdout, series) > 50
    assert series not in replay(file).stdout


def test_deliveries_are_printed_on_standard_error() -> None:
    """Standard output remains a valid exposition."""
    done = replay("--deliveries", "-", text=at("06:00:01"))

    assert "06:00:01  sent" in done.stderr
    assert samples(done.stdout)


def test_a_bad_file_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    """Lines before the damage are counted too."""
    good, cut = tmp_path / "good.log", tmp_path / "cut.gz"
    good.write_text(at("06:00:00"))
    cut.write_bytes(gzip.compress("".join(log_lines(50_000)).encode())[:-5000])

    done = replay(good, cut, tmp_path / "none")

    assert done.exit_code == 1
    assert f"postward: {cut}: its compressed data stop too early" in done.stderr
    assert f"postward: {tmp_path / 'none'}: No such file or directory" in done.stderr
    assert value(done.stdout, 'postward_log_lines_total{outcome="event"}') > 10_000


# --- history


def history(*lines: str, interval: int = 60) -> str:
    """Return the OpenMetrics text of a log."""
    done = replay("--openmetrics", "--interval", str(interval), "-", text="".join(lines))
    assert done.exit_code == 0, done.output
    return done.stdout


def points(text: str, series: str) -> list[tuple[str, float]]:
    """Return the samples of a series: time of day and value."""
    rows = [row.rsplit(" ", 2) for row in text.splitlines() if row.startswith(f"{series} ")]
    return [(f"{datetime.fromtimestamp(int(when), UTC):%H:%M:%S}", float(number)) for _, number, when in rows]


def test_there_is_a_sample_for_each_interval() -> None:
    """A zero comes before the first count, and an interval without log lines has a sample too."""
    text = history(at("06:00:10"), at("06:00:59"), at("06:01:00"), at("06:03:30"))

    assert points(text, f"postfix_deliveries_total{SENT}") == [
        ("06:00:00", 0),
        ("06:01:00", 2),
        ("06:02:00", 3),
        ("06:03:00", 3),
        ("06:04:00", 4),
    ]


def test_lines_behind_a_prefix_have_samples_too() -> None:
    """The first characters of such a line are not its time."""
    lines = (f"postfix_1  | {at(time)}" for time in ("06:00:10", "06:01:00", "06:03:30"))

    assert points(history(*lines), f"postfix_deliveries_total{SENT}") == [
        ("06:00:00", 0),
        ("06:01:00", 1),
        ("06:02:00", 2),
        ("06:03:00", 2),
        ("06:04:00", 3),
    ]


def test_a_series_that_appears_later_begins_at_zero() -> None:
    """Without the zero, Prometheus would see no increase at the first failure."""
    text = history(at("06:00:10"), at("06:05:10", "bounced"))

    bounced = points(text, f"postfix_deliveries_total{SENT.replace('sent', 'bounced')}")
    assert bounced == [("06:05:00", 0), ("06:06:00", 1)]


def test_a_long_pause_in_the_log_is_a_gap() -> None:
    """A pause of a year does not produce a year of samples."""
    text = history(at("06:00:10"), at("06:00:20").replace("2026", "2027"))

    assert len(points(text, f"postfix_deliveries_total{SENT}")) == 3


def test_lines_with_an_earlier_time_count_in_the_current_interval() -> None:
    """The time of samples never decreases."""
    text = history(at("06:02:10"), at("06:00:10"), at("06:02:20"))

    assert points(text, f"postfix_deliveries_total{SENT}") == [("06:02:00", 0), ("06:03:00", 3)]


def test_the_history_is_openmetrics(tmp_path: Path) -> None:
    """The strict parser of prometheus_client accepts the text, except for the histograms.

    At the second sample of a histogram, the parser takes all buckets but the first for duplicates, and then reports
    them as missing. A test below checks histograms with promtool.
    """
    file = tmp_path / "mail.log"
    file.write_text("".join(log_lines(20_000)))

    text = replay("--openmetrics", file).stdout

    plain = "".join(f"{row}\n" for row in text.splitlines() if "delay_seconds" not in row)
    families = {family.name: family for family in parse_openmetrics(plain)}  # type: ignore[no-untyped-call]
    assert families["postfix_deliveries"].type == "counter"
    assert "# TYPE postfix_delivery_delay_seconds histogram\n" in text
    assert text.endswith("# EOF\n")


def test_rows_that_do_not_fit_into_memory_keep_their_order() -> None:
    """A temporary file holds them."""
    tally = Tally()
    text: list[str] = []
    with closing(History(lambda: {"": tally}, 60)) as kept:
        for minute in range(1000):
            tally.add("postfix_deliveries_total", ("postfix", "other", "sent"), 2)
            kept.sample(minute * 60 + 60)
        kept.write(text.append)

    rows = [row.split() for row in text if row.startswith("postfix_deliveries_total")]
    assert [int(row[-1]) for row in rows] == [minute * 60 for minute in range(1001)]
    assert [int(row[-2]) for row in rows] == [minute * 2 for minute in range(1001)]


@pytest.fixture
def promtool() -> str:
    """Return the path of promtool, which makes blocks for Prometheus."""
    return required("promtool", "prometheus")


def test_prometheus_can_import_the_history(promtool: str, tmp_path: Path) -> None:
    """`promtool tsdb create-blocks-from openmetrics` makes blocks with the right values."""
    text, blocks = tmp_path / "history.txt", tmp_path / "blocks"
    text.write_text(history(*(at(f"{hour:02}:30:10") * (hour + 1) for hour in range(5))))

    made = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", text, blocks],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    listed = subprocess.run([promtool, "tsdb", "list", blocks], capture_output=True, text=True, check=True)
    (blocks / "wal").mkdir()  # `dump` refuses a folder without a write-ahead log
    dumped = subprocess.run([promtool, "tsdb", "dump", blocks], capture_output=True, text=True, check=True)

    assert len(listed.stdout.splitlines()) > 2
    values = [
        (int(row.split()[-1]), float(row.split()[-2]))
        for row in dumped.stdout.splitlines()
        if '"postfix_deliveries_total"' in row and 'status="sent"' in row
    ]
    buckets = [row for row in dumped.stdout.splitlines() if 'le="+Inf"' in row and "delivery_delay" in row]
    assert len(buckets) == len(values)
    assert min(values)[1] == 0
    assert max(values) == (int(datetime(2026, 11, 24, 4, 31, tzinfo=UTC).timestamp() * 1000), 15)


@pytest.mark.parametrize("output", ["--metrics", "--openmetrics"])
def test_memory_does_not_grow_with_the_log(output: str, tmp_path: Path) -> None:
    """200 000 lines need less than 60 MB, the interpreter included."""
    file = tmp_path / "mail.log"
    with file.open("w") as log:
        log.writelines(log_lines(200_000))
    # A process in between, because the peak of a process includes the memory that it had before exec().
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-m", "tests.commands.postward", "replay", output, str(file)]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)

    assert int(done.stdout) * 1024 < 60 << 20
