"""`python -m tools.watchers [NAME…]`: each fault of Postward on a host of its own, and what is said of it.

Prints a table: seconds until `postward status` names the fault, and what `status`, `why` and `doctor` print, with their
exit statuses. Beside them are metrics, and the alerts of a real Prometheus, with the rules four times faster. Takes ten
minutes. Exit status 1 if `status` does not name a fault.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.support.mounts import private_mounts
from tests.support.product import run_postward
from tools.drill.monitoring import Alertmanager, Prometheus
from tools.watchers.fleet import FAULTS, Watched

_PACE: Final = 4
_SECONDS: Final = 200.0  # from the last fault until the alerts are read
_METRICS: Final = re.compile(
    r"^(postward_(?:config_in_sync|enforcer_up|settings_in_force|log_readable|log_test_line_success) .*|"
    r"postward_config_conflict\{.*|postward_incident_open\{.*)$",
    re.MULTILINE,
)


def main() -> int:
    """Stage the faults, and print the table."""
    names = sys.argv[1:] or list(FAULTS)
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="postward-watchers-", ignore_cleanup_errors=True)
            )
        )
        folder.chmod(0o755)
        stack.enter_context(private_mounts())
        hosts = [_host(stack, folder / name.replace(" ", "-").replace("'", ""), name) for name in names]
        alertmanager = stack.enter_context(Alertmanager(folder, "1s"))
        targets = [host.target for host in hosts]
        prometheus = stack.enter_context(Prometheus(folder, targets, alertmanager, interval=5, pace=_PACE))
        time.sleep(15.0)  # two scrapes of the healthy hosts
        since = {}
        for host in hosts:
            host.fault.switch(host)
            since[host.name] = time.monotonic()
        seconds = _watch(hosts, since)
        say("| fault | seconds | status | why | doctor | metrics | alerts |\n|---|---|---|---|---|---|---|")
        for host in hosts:
            say(
                f"| {host.name} | {seconds.get(host.name, 'NEVER')} | {' | '.join(_said(host, prometheus))} |"
            )
        return int(len(seconds) < len(hosts))


def say(line: str) -> None:
    """Print a line of the table."""
    sys.stdout.write(f"{line}\n")


def _host(stack: ExitStack, folder: Path, name: str) -> Watched:
    folder.mkdir()
    sys.stderr.write(f"starting the host of: {name}\n")
    return stack.enter_context(Watched(name, folder, FAULTS[name]))


def _watch(hosts: list[Watched], since: dict[str, float]) -> dict[str, str]:
    """Return for each host the seconds until `postward status` printed the words of its fault."""
    seconds: dict[str, str] = {}
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        for host in hosts:
            if host.name not in seconds and host.fault.words in _squeezed(_run(host, "status").stdout):
                seconds[host.name] = f"{time.monotonic() - since[host.name]:.0f}"
        time.sleep(1.0)
    return seconds


def _run(host: Watched, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_postward(*arguments, "--config", str(host.settings), env={"COLUMNS": "1000"})


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _said(host: Watched, prometheus: Prometheus) -> list[str]:
    """Return the cells of a host."""
    status, why = _run(host, "status"), _run(host, "why")
    doctor = _run(host, "doctor", "--json", "--no-relay")
    findings = json.loads(doctor.stdout)["findings"] if doctor.stdout else []
    ids = [row["id"] for row in findings if row["severity"] != "note"]
    try:
        metrics = sorted(set(_METRICS.findall(host.agent.get("/metrics")[1])))
    except OSError as error:
        metrics = [type(error).__name__]
    alerts = prometheus.query(f'ALERTS{{alertstate="firing",instance="{host.name}"}}')
    return [
        f"{status.returncode}: {_squeezed(status.stdout)[:400]}",
        f"{why.returncode}: {_squeezed(why.stdout + why.stderr)[:250]}",
        f"{doctor.returncode}: {', '.join(dict.fromkeys(ids)) or doctor.stderr[:100]}",
        ", ".join(metric.removeprefix("postward_") for metric in metrics),
        ", ".join(sorted({row["metric"]["alertname"] for row in alerts})),
    ]


if __name__ == "__main__":
    sys.exit(main())
