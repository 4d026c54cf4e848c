"""A real Prometheus and a real Alertmanager on free ports, with our rule files only.

Both are stopped at the end of the with block. Their data is in the given folder.
"""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from grafana.rule_files import alerting_rules, alertmanager_example, recording_rules
from tests.support.postfix import free_port
from tests.support.require import required
from tests.support.waiting import wait_for


def fetch(url: str) -> Any:
    """Return a JSON answer."""
    with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - loopback
        return json.load(answer)


class _Program:
    """A program with a port and a readiness endpoint."""

    port: int

    def __init__(self, command: list[str], output: Path) -> None:
        self.output = output
        with output.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file, cwd=output.parent)
        wait_for(self._is_ready, timeout=60, what=f"{command[0]} to be ready: {output.read_text()[-2000:]}")

    @property
    def process_id(self) -> int:
        """The ID of the process."""
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self.output.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)


class Alertmanager(_Program):
    """Alertmanager with the example configuration that the project ships.

    Args:
        folder: for configuration and data.
        group_wait: how long it waits for further alerts of a group.
        receiver: the URL to which it posts notifications; "": the one of the example, where nothing listens.
    """

    def __init__(self, folder: Path, group_wait: str = "10s", receiver: str = "") -> None:
        config = folder / "alertmanager.yml"
        text = alertmanager_example().replace("group_wait: 10s", f"group_wait: {group_wait}")
        config.write_text(text.replace("http://127.0.0.1:9099/alerts", receiver) if receiver else text)
        self.port = free_port()
        super().__init__(
            [
                required("prometheus-alertmanager", "prometheus-alertmanager"),
                f"--config.file={config}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--cluster.listen-address=",
            ],
            folder / "alertmanager.out",
        )

    def alerts(self) -> list[dict[str, Any]]:
        """Return the active alerts that are neither inhibited nor silenced."""
        alerts: list[dict[str, Any]] = fetch(
            f"{self.url}/api/v2/alerts?active=true&inhibited=false&silenced=false"
        )
        return alerts


class Prometheus(_Program):
    """Prometheus with our rules, on targets or on existing data.

    Args:
        folder: for configuration and data.
        targets: instance name and address, which may have a path.
        alertmanager: receives its alerts.
        interval: seconds between scrapes, and between evaluations.
        pace: divides the times of the rules.
        retention: how long data is kept, as Prometheus takes it.
    """

    def __init__(
        self,
        folder: Path,
        targets: Sequence[tuple[str, str]] = (),
        alertmanager: Alertmanager | None = None,
        *,
        interval: int = 5,
        pace: int = 1,
        retention: str = "15d",
    ) -> None:
        (folder / "records.yml").write_text(recording_rules(pace))
        (folder / "rules.yml").write_text(alerting_rules(pace))
        sd = [_discovered(name, *address.split("/", 1)) for name, address in targets]
        (folder / "targets.json").write_text(json.dumps(sd))
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": f"{interval}s",
                "scrape_timeout": f"{min(interval, 4)}s",
                "evaluation_interval": f"{interval}s",
            },
            "rule_files": [str(folder / "records.yml"), str(folder / "rules.yml")],
            "scrape_configs": [
                {"job_name": "postward", "file_sd_configs": [{"files": [str(folder / "targets.json")]}]}
            ],
        }
        if alertmanager:
            config["alerting"] = {
                "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager.port}"]}]}]
            }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.port = free_port()
        super().__init__(
            [
                required("prometheus", "prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--storage.tsdb.retention.time={retention}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--enable-feature=exemplar-storage",
            ],
            folder / "prometheus.out",
        )

    def query(self, expression: str, time: float | None = None) -> list[dict[str, Any]]:
        """Return the result of an expression. Raises AssertionError with Prometheus's message for a faulty one."""
        parameters = {"query": expression} | ({"time": str(time)} if time is not None else {})
        try:
            answer = fetch(f"{self.url}/api/v1/query?{urllib.parse.urlencode(parameters)}")
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{expression}: {error.read().decode()}") from None
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def exemplars(self, selector: str, start: float, end: float) -> list[dict[str, Any]]:
        """Return the exemplars of series."""
        parameters = urllib.parse.urlencode({"query": selector, "start": start, "end": end})
        exemplars: list[dict[str, Any]] = fetch(f"{self.url}/api/v1/query_exemplars?{parameters}")["data"]
        return exemplars

    def scrape_seconds(self) -> dict[str, float]:
        """Return the duration of the last scrape of each target."""
        return {
            row["metric"]["instance"]: float(row["value"][1]) for row in self.query("scrape_duration_seconds")
        }


def _discovered(name: str, address: str, path: str = "metrics") -> dict[str, Any]:
    """Return a target as a file of targets has it."""
    return {"targets": [address], "labels": {"instance": name, "__metrics_path__": f"/{path}"}}
