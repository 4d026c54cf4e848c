"""Writes the files made from the tables of this folder: rules, dashboards, Zabbix's template. `make docs` runs it."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from grafana.dashboards import SHEETS, dashboard_json
from grafana.rule_files import (
    alerting_rules,
    alertmanager_example,
    grafana_rules,
    kubernetes_rules,
    recording_rules,
)
from grafana.zabbix import template

FOLDER = Path(__file__).parent
FILES: Mapping[str, Callable[[], str]] = {
    "alerts/postward.rules.yml": alerting_rules,
    "alerts/postward.records.yml": recording_rules,
    "alerts/postward.prometheusrule.yaml": kubernetes_rules,
    "alerts/alertmanager.yml": alertmanager_example,
    "provisioning/alerting/postward.yml": grafana_rules,
    "zabbix/postward.yaml": template,
    **{f"dashboards/{sheet.uid}.json": partial(dashboard_json, sheet) for sheet in SHEETS},
}


def main() -> None:
    """Write all files."""
    for name, make in FILES.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make())


if __name__ == "__main__":
    main()
