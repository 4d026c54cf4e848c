"""Plays the drill: start the fleet, switch the faults on, see what Alertmanager would notify of, and when."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import wait_for
from tools.drill.fleet import SCENARIOS, Host, switch_on
from tools.drill.monitoring import Alertmanager, Prometheus

Told = tuple[str, str | None]  # alert and cause


@dataclass
class Played:
    """What came of a drill: for each host what was told, and how many seconds after the fault at first."""

    prometheus: Prometheus
    hosts: dict[str, Host]
    told: dict[str, dict[Told, float]] = field(default_factory=dict)

    def table(self) -> str:
        """The table that docs/alerts.md keeps."""
        rows = ["| fault | alert | cause | seconds |", "|---|---|---|---|"]
        for name, host in self.hosts.items():
            for (alert, cause), seconds in self.told.get(name, {}).items():
                rows.append(f"| {name} | `{alert}` | {cause or '–'} | {seconds:.0f} |")
            if not self.told.get(name):
                rows.append(
                    f"| {name} | {'none, as it should be' if not host.scenario.alert else 'NONE'} | – | – |"
                )
        return "\n".join(rows)

    def wrong(self) -> list[str]:
        """Hosts of which something else was told than should be."""
        return [
            f"{name}: told {sorted(map(str, self.told.get(name, {})))}, should be {host.scenario.alert or 'nothing'}"
            for name, host in self.hosts.items()
            if {(host.scenario.alert, host.scenario.cause)} - {("", None)} != set(self.told.get(name, {}))
        ]


@contextmanager
def drill(
    folder: Path,
    names: Sequence[str],
    *,
    pace: int = 1,
    interval: int = 5,
    pause: float = 10.0,
    patience: float = 900.0,
) -> Iterator[Played]:
    """Play the drill on the named hosts, until each has been told of or the patience is over."""
    with ExitStack() as stack:
        fleet = {name: Host(name, folder / name, SCENARIOS[name], pause) for name in names}
        for host in fleet.values():
            host.folder.mkdir()
        with ThreadPoolExecutor(2) as pool:
            for host in pool.map(stack.enter_context, fleet.values()):
                assert host.agent.pid
        alertmanager = stack.enter_context(Alertmanager(folder, f"{max(1, 10 // pace)}s"))
        targets = [host.target for host in fleet.values()]
        prometheus = stack.enter_context(
            Prometheus(folder, targets, alertmanager, interval=interval, pace=pace)
        )
        wait_for(
            lambda: (
                len(prometheus.query('sum by (instance) (postfix_deliveries_total{status="sent"}) > 1'))
                == len(fleet)
            ),
            timeout=180,
            what="mail to flow on all hosts",
        )
        # What is true at the start has been scraped, so that what comes is an increase.
        since = time.time()
        wait_for(
            lambda: prometheus.query(f"min(timestamp(up)) > {since + interval}"),
            timeout=60,
            what="two more scrapes",
        )
        assert alertmanager.alerts() == []
        played = Played(prometheus, fleet)
        _watch(played, alertmanager, switch_on(fleet), patience)
        yield played


def _watch(played: Played, alertmanager: Alertmanager, moments: dict[str, float], patience: float) -> None:
    expected = {name for name, host in played.hosts.items() if host.scenario.alert}
    end = time.monotonic() + patience

    def look() -> bool:
        for alert in alertmanager.alerts():
            labels = alert["labels"]
            seen = played.told.setdefault(labels["instance"], {})
            key = (labels["alertname"], labels.get("cause"))
            if key not in seen:
                seen[key] = time.monotonic() - moments[labels["instance"]]
        return expected <= set(played.told) or time.monotonic() > end

    wait_for(look, timeout=patience + 30, what="all faults to be told")
