"""The monitoring mixin, compiled by jsonnet: it has the rules and dashboards of the generated files, and no others."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from grafana.__main__ import FOLDER
from grafana.alerts import ALERTS, RUNBOOKS
from tests.support.require import required

_OTHER = "_config+:: { postwardSelector: 'job=\"mail\"', runbookUrl: 'https://mail.example.com/runbooks' }"


def compiled(field: str, change: str = "") -> Any:
    """Return a field of the mixin; `change` stands in the object that is added to it."""
    jsonnet = required("jsonnet", "jsonnet")
    source = f"((import 'mixin.libsonnet') + {{ {change} }}).{field}"
    done = subprocess.run([jsonnet, "-e", source], capture_output=True, text=True, check=False, cwd=FOLDER)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_rules_are_those_of_the_files(tmp_path: Path) -> None:
    """Alerts and recording rules are equal to the files, and promtool accepts them."""
    alerts, records = compiled("prometheusAlerts"), compiled("prometheusRules")
    assert alerts == yaml.safe_load((FOLDER / "alerts/postward.rules.yml").read_text())
    assert records == yaml.safe_load((FOLDER / "alerts/postward.records.yml").read_text())
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": records["groups"] + alerts["groups"]}))
    promtool = required("promtool", "prometheus")
    done = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS) + len(records['groups'][0]['rules'])} rules found" in done.stdout


def test_dashboards_are_those_of_the_folder() -> None:
    """Each is there under the name of its file."""
    files = {path.name: json.loads(path.read_text()) for path in (FOLDER / "dashboards").iterdir()}
    assert compiled("grafanaDashboards") == files


def test_job_and_runbooks_can_be_set() -> None:
    """`_config` changes the scrape job of the alert on agents, and where all runbooks are."""
    text = json.dumps(compiled("prometheusAlerts", _OTHER))
    assert 'up{job=\\"mail\\"} == 0' in text
    assert 'job=\\"postward\\"' not in text
    assert text.count("https://mail.example.com/runbooks/") == len(ALERTS)
    assert RUNBOOKS not in text
    assert RUNBOOKS in (FOLDER / "mixin.libsonnet").read_text()
