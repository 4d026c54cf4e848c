"""A real Prometheus and a real Alertmanager on free ports, with our rule files and nothing of the machine's own.

Both are stopped, and their data removed with the folder, at the end of the with block.
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
    """A JSON answer."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - loopback
        return json.load(answer)


class _Program:
    """A program with a port, which is ready once it says so."""

    port: int

    def __init__(self, command: list[str], output: Path) -> None:
        self.output = output
        with output.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file, cwd=output.parent)
        wait_for(self._is_ready, timeout=60, what=f"{command[0]} to be ready: {output.read_text()[-2000:]}")

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
    """Alertmanager with the example configuration that the project ships."""

    def __init__(self, folder: Path, group_wait: str = "10s") -> None:
        config = folder / "alertmanager.yml"
        config.write_text(alertmanager_example().replace("group_wait: 10s", f"group_wait: {group_wait}"))
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
        """What would be notified now: neither inhibited nor silenced."""
        found: list[dict[str, Any]] = fetch(
            f"{self.url}/api/v2/alerts?active=true&inhibited=false&silenced=false"
        )
        return found


class Prometheus(_Program):
    """Prometheus with our rules, on targets or on data that is there already.

    Args:
        folder: where everything goes.
        targets: instance name and address.
        alertmanager: whom it tells.
        interval: seconds between scrapes, and between evaluations.
        pace: by which factor the times of the rules are shorter.
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
        sd = [{"targets": [address], "labels": {"instance": name}} for name, address in targets]
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
        """The result of an expression; a fault in it is an AssertionError with Prometheus's words."""
        parameters = {"query": expression} | ({"time": str(time)} if time is not None else {})
        try:
            answer = fetch(f"{self.url}/api/v1/query?{urllib.parse.urlencode(parameters)}")
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{expression}: {error.read().decode()}") from None
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def exemplars(self, selector: str, start: float, end: float) -> list[dict[str, Any]]:
        """Exemplars of series."""
        parameters = urllib.parse.urlencode({"query": selector, "start": start, "end": end})
        found: list[dict[str, Any]] = fetch(f"{self.url}/api/v1/query_exemplars?{parameters}")["data"]
        return found

    def scrape_seconds(self) -> dict[str, float]:
        """How long the last scrape of each target took."""
        return {
            row["metric"]["instance"]: float(row["value"][1]) for row in self.query("scrape_duration_seconds")
        }
