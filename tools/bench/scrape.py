"""Measure scrapes with many series, and with a very long queue.

A real agent monitors a real Postfix whose deferred queue holds many hard links to one message. Nothing is asserted. Run
`python -m tools.bench.scrape [mails]` as root in the repository's root. The agent spends a tenth of its time listing a long
queue, so a million mails take ten minutes.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.postfix import PostfixInstance, free_port
from tests.support.product import AgentProcess
from tests.support.waiting import wait_for

_RELAY = """\
[[relay]]
name = "relay{number}"
host = "{host}"
port = {port}
allow_unusual_port = true
username = "user"
password = "not used"
senders = [{senders}]
"""
_REST = """\
[host]
myhostname = "mail.example.test"
[postfix]
config_directory = "{config_directory}"
[probe]
relay_check_interval_seconds = 3600
[log]
test_interval_seconds = 0
[web]
listen = "127.0.0.1:{port}"
[state]
directory = "{state}"
"""
_RELAYS = 24
_SCRAPES = 60
_PAUSE = 0.5  # seconds; longer than the agent caches a page of this size
_MAX_LINKS = 60_000  # hard links of one file; the limit of ext4 is 65,000


def write_settings(folder: Path, postfix: PostfixInstance) -> Path:
    """Write settings with enough relays for two thousand series; no relay is contacted."""
    relays = "\n".join(
        _RELAY.format(
            number=number,
            host="127.0.0.1",
            port=1000 + number,
            senders="" if number == 0 else f'"app{number}@example.test"',
        )
        for number in range(_RELAYS)
    )
    rest = _REST.format(config_directory=postfix.config_directory, port=free_port(), state=folder / "state")
    path = folder / "postward.toml"
    path.write_text(f"{rest}\n{relays}")
    path.chmod(0o600)
    return path


def fill(postfix: PostfixInstance, mails: int) -> None:
    """Make this number of hard links to the deferred message, in the folders that Postfix would use."""
    [source] = [path for path in (postfix.queue_directory / "deferred").rglob("*") if path.is_file()]
    deferred = postfix.queue_directory / "deferred"
    data, owner = source.read_bytes(), source.stat()
    for number in range(mails):
        name = f"{number % 16:X}{number:011X}"
        folder = deferred / name[0]
        if number < 16:
            folder.mkdir(exist_ok=True)
            os.chown(folder, owner.st_uid, owner.st_gid)
        target = folder / name
        if number % _MAX_LINKS == 0:
            target.write_bytes(data)
            target.chmod(0o700)
            os.chown(target, owner.st_uid, owner.st_gid)
            first = target
        else:
            os.link(first, target)


def scrapes(agent: AgentProcess, *, until: Callable[[str], bool] | None = None) -> Iterator[float]:
    """Yield the milliseconds of each scrape, until a page satisfies `until` or `_SCRAPES` times."""
    number = 0
    while True:
        started = time.perf_counter()
        page = agent.get("/metrics")[1]
        yield (time.perf_counter() - started) * 1000
        number += 1
        if until(page) if until is not None else number == _SCRAPES:
            return
        time.sleep(_PAUSE)


def peak(agent: AgentProcess) -> float:
    """Return the peak of the resident memory in MB."""
    return int(Path(f"/proc/{agent.pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def _say(title: str, times: list[float]) -> None:
    times = sorted(times)
    middle, late = times[len(times) // 2], times[int(len(times) * 0.99)]
    sys.stdout.write(
        f"{title:44} p50 {middle:6.1f}  p99 {late:6.1f}  max {times[-1]:6.1f} ms  ({len(times)})\n"
    )
    sys.stdout.flush()


def _listed(page: str) -> float:
    rows = [
        row
        for row in page.splitlines()
        if row.startswith("postfix_queue_messages{") and 'queue="deferred"' in row
    ]
    return sum(float(row.rpartition(" ")[2]) for row in rows)


def main(mails: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="scrape-") as name:
        folder = Path(name)
        with PostfixInstance(folder) as postfix:
            postfix.set(
                relayhost="[127.0.0.1]:9",
                minimal_backoff_time="1d",
                maximal_backoff_time="1d",
                queue_run_delay="1d",
            )
            postfix.restart()
            postfix.inject(["someone@example.test"])
            wait_for(lambda: any(mail["queue_name"] == "deferred" for mail in postfix.queue()), 60)
            with AgentProcess(write_settings(folder, postfix)) as agent:
                page = agent.get("/metrics")[1]
                series = sum(1 for row in page.splitlines() if row and not row.startswith("#"))
                _say(f"scrapes of {series:,} series", list(scrapes(agent)))
                before = peak(agent)
                fill(postfix, mails)
                started = time.perf_counter()
                times = list(scrapes(agent, until=lambda page: _listed(page) >= mails))
                _say(f"while {mails:,} mails are listed", times)
                sys.stdout.write(
                    f"listed after {time.perf_counter() - started:.0f} s; peak memory {before:.1f} MB before, {peak(agent):.1f} MB after;"
                    f" load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
