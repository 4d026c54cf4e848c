"""The dashboards' files are what the tables say, fit the SDK's model, and name only what exists."""

import json
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.__main__ import FOLDER
from grafana.dashboards import ANNOTATIONS, SHEETS, Sheet, queries
from postward.agent.metrics.catalog import BY_NAME
from tests.grafana.promql_names import faults_of

QUERIES = [(sheet.uid, *pair) for sheet in SHEETS for pair in queries(sheet)]
QUERIES += [("annotations", name, query) for name, query, _ in ANNOTATIONS]


def panels_of(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels that are not rows."""
    return [panel for panel in content["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize(("sheet", "panel", "query"), QUERIES, ids=lambda value: str(value)[:60])
def test_queries_name_what_the_table_has(sheet: str, panel: str, query: str) -> None:
    """Renaming a metric, a label or a cause breaks this test, not a panel."""
    assert list(faults_of(query)) == []


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.uid)
def test_the_file_fits_the_model_of_grafana(sheet: Sheet) -> None:
    """Read by the SDK's model and written again, it is the same: no key is unknown, no type is wrong."""
    content = json.loads((FOLDER / "dashboards" / f"{sheet.uid}.json").read_text())
    again = json.loads(JSONEncoder(sort_keys=True, indent=2).encode(Dashboard.from_json(content)))

    assert again == content
    assert len(panels_of(content)) == sum(len(row.panels) for row in sheet.rows)


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.uid)
def test_no_panel_is_outside_or_nameless(sheet: Sheet) -> None:
    """Panels stay within the width, none lies on another, each has a title, a data source and a query."""
    content = json.loads((FOLDER / "dashboards" / f"{sheet.uid}.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in panels_of(content):
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["expr"] for target in panel["targets"])


def test_variables_are_there() -> None:
    """Data source and job everywhere; instance and relay where one host is looked at."""
    names = {}
    for sheet in SHEETS:
        content = json.loads((FOLDER / "dashboards" / f"{sheet.uid}.json").read_text())
        names[sheet.uid] = [variable["name"] for variable in content["templating"]["list"]]

    assert names == {
        "postward-host": ["datasource", "job", "instance", "relay"],
        "postward-fleet": ["datasource", "job"],
    }


def test_no_metric_of_the_log_is_forgotten() -> None:
    """What Postfix's own client side counts is on a panel or in an alert; servers' counts are for hosts that accept mail."""
    text = " ".join(query for _, _, query in QUERIES)
    servers = ("postfix_smtpd_", "postfix_postscreen_", "postfix_dnsbl_")
    names = {name for name in BY_NAME if name.startswith("postfix_") and not name.startswith(servers)}
    forgotten = {name for name in names if name not in text}

    assert forgotten == {
        "postfix_daemon_problems_total", "postfix_delivery_last_failure_timestamp_seconds", "postfix_message_recipients",
        "postfix_messages_refused_total", "postfix_notifications_total", "postfix_process_limits_total",
        "postfix_submission_failures_total",
    }  # fmt: skip
