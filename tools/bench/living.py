"""Measure the CPU time of a running agent, and of prometheus-postfix-exporter if it is installed, on the same lines.

Both follow a file of their own. First comes a backlog of each kind of log, in ten parts, the healthy one twice. Healthy
lines at several rates follow, then single lines, after each of which the page is asked for. Printed are CPU seconds per
million lines, and those of the last part over the first's. Of a rate it is the per cent of a core, and the wake-ups. The
milliseconds until a page shows a line, memory, and the exporter's CPU time over ours follow. Nothing is asserted. Run
`python -m tools.bench.living [lines of backlog]` in the repository's root.
"""

import contextlib
import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.postfix import PostfixInstance, free_port
from tests.support.product import AgentProcess, write_reading_settings
from tests.support.waiting import wait_for
from tools.bench.lines import KINDS, log_lines

_SECONDS = 20  # of each rate
_RATES = ((0, 1), (1, 1), (100, 1), (1000, 10))  # lines a second, lines a write
_TICKS = os.sysconf("SC_CLK_TCK")
_OF_PROCESS = 2  # CPUCLOCK_SCHED, as in the IDs of clock_getcpuclockid(3)
_PARTS = 10  # of a backlog
_LINES = 100  # single ones
_EXPORTER = "prometheus-postfix-exporter"


@dataclass(frozen=True)
class Reader:
    """A process that follows a log and serves metrics.

    Attributes:
        removed: pattern of the series that counts the messages removed from the queue.
    """

    name: str
    pid: int
    log: Path
    page: str
    removed: str

    def cpu(self) -> float:
        """Return the CPU seconds used so far, by the process and by its children that have ended."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        own = time.clock_gettime((~self.pid << 3) | _OF_PROCESS)
        return own + (int(fields[13]) + int(fields[14])) / _TICKS

    def wakeups(self) -> int:
        """Return how often its threads have waited so far."""
        texts = [status.read_text() for status in Path(f"/proc/{self.pid}/task").glob("*/status")]
        return sum(
            int(number)
            for text in texts
            for number in re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", text, re.MULTILINE)
        )

    def memory(self) -> float:
        """Return the resident memory in MB."""
        return int(Path(f"/proc/{self.pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024

    def counted(self) -> float:
        """Return the number of messages that it counted as removed."""
        try:
            with urllib.request.urlopen(self.page, timeout=30) as answer:  # noqa: S310 - the page of our own child
                text = answer.read().decode()
        except OSError:  # the agent answers 503 while it catches up
            return -1
        return sum(float(value) for value in re.findall(rf"^{self.removed}\S* (\S+)$", text, re.MULTILINE))


@contextlib.contextmanager
def _agent(folder: Path) -> Iterator[Reader]:
    (settings := folder / "etc").mkdir()  # another folder than the log's, as on hosts: it is watched
    postfix = PostfixInstance(folder / "postfix")
    log = folder / "ours.log"
    log.touch()
    agent = AgentProcess(write_reading_settings(settings, postfix, source=str(log)))
    agent.ready_timeout = 120.0  # a busy machine may be slow
    with postfix, agent:
        host, port = agent.address
        page = f"http://{host}:{port}/metrics"
        yield Reader("postward run", agent.pid, log, page, "postfix_messages_removed_total")


@contextlib.contextmanager
def _exporter(folder: Path) -> Iterator[Reader]:
    log, port = folder / "theirs.log", free_port()
    log.touch()
    options = (f"--postfix.logfile_path={log}", "--postfix.showq_path=/nonexistent")
    command = [_EXPORTER, *options, f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        reader = Reader(
            _EXPORTER,
            child.pid,
            log,
            f"http://127.0.0.1:{port}/metrics",
            "postfix_qmgr_messages_removed_total",
        )
        try:
            wait_for(lambda: reader.counted() >= 0, 30)
            yield reader
        finally:
            child.terminate()


def backlog(reader: Reader, lines: Sequence[str]) -> float:
    """Return the CPU seconds for one block of lines."""
    end = reader.counted() + sum(line.endswith(": removed\n") for line in lines)
    started = reader.cpu()
    with reader.log.open("a") as file:
        file.writelines(lines)
    while reader.counted() < end:
        time.sleep(1)  # each look costs the reader a page
    return reader.cpu() - started


def delays(reader: Reader, lines: Iterator[str]) -> list[float]:
    """Write single lines. Return the milliseconds until a page that is asked for at once has the line, the least first."""
    found = []
    for line in itertools.islice((line for line in lines if line.endswith(": removed\n")), _LINES):
        end = reader.counted() + 1
        with reader.log.open("a") as file:
            file.write(line)
        written = time.perf_counter()
        while reader.counted() < end:
            pass
        found.append((time.perf_counter() - written) * 1000)
        time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - at any moment between two looks
    return sorted(found)


def at_rate(
    readers: Sequence[Reader], lines: Iterator[str], rate: int, block: int
) -> list[tuple[float, float]]:
    """Write lines at a rate to all logs. Return the per cent of a core and the wake-ups a second of each reader."""
    started, before = time.monotonic(), [(reader.cpu(), reader.wakeups()) for reader in readers]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(reader.log.open("a", buffering=1 << 16)) for reader in readers]
        for number in itertools.count(1):
            due = started + (number * block / rate if rate else _SECONDS)
            time.sleep(max(0.0, min(due, started + _SECONDS) - time.monotonic()))
            if time.monotonic() >= started + _SECONDS:
                break
            text = "".join(itertools.islice(lines, block))
            for file in files:
                file.write(text)
                file.flush()
    seconds = time.monotonic() - started
    return [
        ((reader.cpu() - cpu) / seconds * 100, (reader.wakeups() - woken) / seconds)
        for reader, (cpu, woken) in zip(readers, before, strict=True)
    ]


def _row(title: str, unit: str, values: Sequence[float], note: str) -> None:
    figures = "".join(f"{value:14.2f}" for value in values)
    ratio = f"{values[1] / values[0]:9.2f}" if len(values) == 2 and values[0] else f"{'':9}"
    sys.stdout.write(f"{title:24}{unit:18}{figures}{ratio}  {note}\n")
    sys.stdout.flush()


def main(number: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="living-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        readers = [stack.enter_context(_agent(folder))]
        if shutil.which(_EXPORTER):
            readers.append(stack.enter_context(_exporter(folder)))
        names = "".join(f"{reader.name[-13:]:>14}" for reader in readers)
        sys.stdout.write(f"{'':42}{names}{'ratio':>9}\n")
        for kind in (*KINDS, "healthy"):
            block = list(log_lines(number, kind))
            size = number // _PARTS
            parts = [
                [backlog(reader, block[start : start + size]) for reader in readers]
                for start in range(0, size * _PARTS, size)
            ]
            values = [sum(part) / (size * _PARTS) * 1e6 for part in zip(*parts, strict=True)]
            _row(
                f"backlog, {kind}",
                "CPU s / 1M lines",
                values,
                f"last part / first {parts[-1][0] / parts[0][0]:.2f}",
            )
        lines = itertools.cycle(block)
        for rate, size in _RATES:
            cores, wakeups = zip(*at_rate(readers, lines, rate, size), strict=True)
            woken = ", ".join(f"{value:.1f}" for value in wakeups)
            _row(f"{rate} lines/s", "% of a core", cores, f"wake-ups/s {woken}")
        shown = [delays(reader, lines) for reader in readers]
        _row("line to page, median", "ms", [found[_LINES // 2] for found in shown], "")
        _row("line to page, p99", "ms", [found[-2] for found in shown], "")
        _row("memory", "MB", [reader.memory() for reader in readers], "")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
