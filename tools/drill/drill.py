"""Runs the drill: start the fleet, switch the faults on, and record each notification of Alertmanager."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import wait_for
from tools.drill.fleet import SCENARIOS, Host, switch_on
from tools.drill.monitoring import Alertmanager, Prometheus

Alert = tuple[str, str | None]  # name and cause


@dataclass
class DrillResult:
    """The result of a drill.

    Attributes:
        prometheus: the Prometheus that scraped the hosts.
        hosts: the fleet, by name.
        alerts: host → alert → seconds from the fault to the first notification.
    """

    prometheus: Prometheus
    hosts: dict[str, Host]
    alerts: dict[str, dict[Alert, float]] = field(default_factory=dict)

    def table(self) -> str:
        """Return the table for docs/alerts.md."""
        rows = ["| fault | alert | cause | seconds |", "|---|---|---|---|"]
        for name, host in self.hosts.items():
            for (alert, cause), seconds in self.alerts.get(name, {}).items():
                rows.append(f"| {name} | `{alert}` | {cause or '–'} | {seconds:.0f} |")
            if not self.alerts.get(name):
                rows.append(
                    f"| {name} | {'none, as it should be' if not host.scenario.alert else 'NONE'} | – | – |"
                )
        return "\n".join(rows)

    def wrong(self) -> list[str]:
        """Return the hosts with other alerts than expected, each as a sentence."""
        return [
            f"{name}: alerts {sorted(map(str, self.alerts.get(name, {})))}, expected {host.scenario.alert or 'none'}"
            for name, host in self.hosts.items()
            if {(host.scenario.alert, host.scenario.cause)} - {("", None)} != set(self.alerts.get(name, {}))
        ]


@contextmanager
def drill(
    folder: Path,
    names: Sequence[str],
    *,
    pace: int = 1,
    interval: int = 5,
    pause: float = 10.0,
    timeout: float = 900.0,
) -> Iterator[DrillResult]:
    """Run the drill on the named hosts until each has an alert.

    Args:
        folder: an empty folder for all of it.
        names: the scenarios.
        pace: divides the times of the rules.
        interval: seconds between scrapes.
        pause: seconds between two mails of a host.
        timeout: seconds until the drill ends without the alerts.
    """
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
        # The values before the faults have been scraped, so that the faults show as increases.
        since = time.time()
        wait_for(
            lambda: prometheus.query(f"min(timestamp(up)) > {since + interval}"),
            timeout=60,
            what="two more scrapes",
        )
        assert alertmanager.alerts() == []
        result = DrillResult(prometheus, fleet)
        _watch(result, alertmanager, switch_on(fleet), timeout)
        yield result


def _watch(
    result: DrillResult, alertmanager: Alertmanager, moments: dict[str, float], timeout: float
) -> None:
    expected = {name for name, host in result.hosts.items() if host.scenario.alert}
    end = time.monotonic() + timeout

    def poll() -> bool:
        for alert in alertmanager.alerts():
            labels = alert["labels"]
            alerts = result.alerts.setdefault(labels["instance"], {})
            key = (labels["alertname"], labels.get("cause"))
            if key not in alerts:
                alerts[key] = time.monotonic() - moments[labels["instance"]]
        return expected <= set(result.alerts) or time.monotonic() > end

    wait_for(poll, timeout=timeout + 30, what="an alert for each fault")
