"""Measure a Prometheus that watches a fleet: series, bytes of a scrape, memory and CPU time. Nothing is asserted.

A real agent on a real Postfix gives the page, after mail and a probe. Each host of the fleet has that page with values
of its own. Prometheus has the project's rules and scrapes every 15 seconds. Run `python -m tools.fleet [--minutes M]
[HOSTS…]` as root. After half an hour each series has its first full chunk, and memory grows more slowly.
"""

import argparse
import os
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from grafana.dashboards import SHEETS, queries
from tests.grafana.showing import put_in
from tests.support.waiting import wait_for
from tools.drill.fleet import Host, Scenario
from tools.drill.monitoring import Prometheus, fetch
from tools.fleet.pages import Page, compressed
from tools.fleet.server import Pages

_INTERVAL = 15  # seconds
_MAILS = 20
_FIRING = 'ALERTS{alertstate="firing"}'
_ACCEPT = "application/openmetrics-text;version=1.0.0"
_TICKS = os.sysconf("SC_CLK_TCK")


def page_of_an_agent(folder: Path) -> Page:
    """Return the page of an agent whose host has sent mail and a probe."""
    with Host("typical", folder, Scenario("", lambda _: None), pause=0.5) as host:
        wait_for(
            lambda: (
                host.agent.value("postfix_deliveries_total", status="sent") >= _MAILS
                and host.agent.value("postward_probe_success") == 1
            ),
            timeout=120,
            what="mail and a probe",
        )
        request = urllib.request.Request(f"http://{host.target[1]}/metrics", headers={"Accept": _ACCEPT})
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return Page(answer.read().decode())


def _memory(process: int) -> tuple[float, float]:
    """Return the resident memory that is not of files, and the highest resident memory, in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    anonymous, highest = (
        int(found[1]) / 1024
        for name in ("RssAnon", "VmHWM")
        if (found := re.search(rf"{name}:\s+(\d+)", status))
    )
    return anonymous, highest


def _cpu(process: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _count(prometheus: Prometheus, expression: str) -> int:
    return len(prometheus.query(expression))


def _series(prometheus: Prometheus) -> int:
    """Return the number of series in memory, with those of the rules and of Prometheus itself."""
    return int(fetch(f"{prometheus.url}/api/v1/status/tsdb")["data"]["headStats"]["numSeries"])


def _slowest_query(prometheus: Prometheus) -> float:
    """Return the seconds of the slowest query of the fleet's dashboard, at the present time."""
    slowest = 0.0
    for _, query in queries(next(sheet for sheet in SHEETS if sheet.uid == "postward-fleet")):
        begun = time.monotonic()
        prometheus.query(put_in(query, "1m"))
        slowest = max(slowest, time.monotonic() - begun)
    return slowest


def measure(page: Page, hosts: int, minutes: float, folder: Path) -> None:
    """Let Prometheus scrape the hosts for some minutes, and print a row of the table."""
    with Pages(page) as pages, Prometheus(folder, pages.targets(hosts), interval=_INTERVAL) as prometheus:
        wait_for(lambda: pages.scrapes >= 2 * hosts, timeout=300, what="two scrapes of each host")
        begun, cpu = time.monotonic(), _cpu(prometheus.process_id)
        while (passed := time.monotonic() - begun) < minutes * 60:
            time.sleep(min(5.0, minutes * 60 - passed) + 0.01)
        cores = (_cpu(prometheus.process_id) - cpu) / (time.monotonic() - begun)
        memory, highest = _memory(prometheus.process_id)
        _say(
            f"| {hosts:,} | {_series(prometheus):,} | {pages.sent / pages.scrapes / 1000:.1f} kB | {memory:,.0f} MB "
            f"| {highest:,.0f} MB | {cores:.3f} | after {minutes:.0f} min"
        )
        _say(
            f"  {_count(prometheus, 'up == 1')} up, {_count(prometheus, _FIRING)} alerts; slowest query of the fleet's "
            f"dashboard {_slowest_query(prometheus):.2f} s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hosts", nargs="*", type=int, default=[1, 10, 100, 1000])
    parser.add_argument("--minutes", type=float, default=5.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="postward-fleet-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postfix's user must reach its queue
        page = page_of_an_agent(folder)
        text = page.of_host(0, 0.0)
        _say(
            f"a host: {page.series} series, {len(text.encode()):,} bytes, {len(compressed(text)):,} compressed"
        )
        _say("| hosts | series | scrape | memory | highest | cores |")
        for hosts in chosen.hosts:
            (folder / str(hosts)).mkdir()
            measure(page, hosts, chosen.minutes, folder / str(hosts))


if __name__ == "__main__":
    main()
