"""Tests of the dashboards: the files fit the SDK's model, and all names in queries exist."""

import json
import re
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.__main__ import FOLDER
from grafana.dashboards import ANNOTATIONS, INPUTS, REQUIRES, SCHEMA, SHEETS, Sheet, queries
from postward.agent.metrics.catalog import BY_NAME
from tests.grafana.promql_names import faults_of

QUERIES = [(sheet.uid, *pair) for sheet in SHEETS for pair in queries(sheet)]
QUERIES += [("annotations", name, query) for name, query, _ in ANNOTATIONS]


def panels_of(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that are not rows."""
    return [panel for panel in content["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize(("sheet", "panel", "query"), QUERIES, ids=lambda value: str(value)[:60])
def test_all_names_in_a_query_exist(sheet: str, panel: str, query: str) -> None:
    """A query contains only existing metrics, labels, causes and recording rules."""
    assert list(faults_of(query)) == []


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.uid)
def test_the_file_fits_the_model_of_grafana(sheet: Sheet) -> None:
    """A file that the SDK's model reads and writes again is unchanged: all keys and types are known."""
    content = json.loads((FOLDER / "dashboards" / f"{sheet.uid}.json").read_text())
    again = json.loads(JSONEncoder(sort_keys=True, indent=2).encode(Dashboard.from_json(content)))

    assert content.pop("__inputs") == INPUTS
    assert content.pop("__requires") == REQUIRES
    assert again == content
    assert content["editable"] is True
    assert content["schemaVersion"] == SCHEMA
    assert len(panels_of(content)) == sum(len(row.panels) for row in sheet.rows)


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.uid)
def test_panels_are_placed_and_complete(sheet: Sheet) -> None:
    """Panels do not exceed the width or overlap; each has a title, the data source and a query."""
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


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.uid)
def test_an_import_asks_for_the_data_source(sheet: Sheet) -> None:
    """The variable of all panels begins with the chosen one, and each name in `${DS_…}` is asked for."""
    text = (FOLDER / "dashboards" / f"{sheet.uid}.json").read_text()
    (variable,) = (one for one in json.loads(text)["templating"]["list"] if one["name"] == "datasource")
    assert variable["current"]["value"] == "${DS_PROMETHEUS}"
    assert set(re.findall(r"\$\{(DS_\w+)\}", text)) == {one["name"] for one in INPUTS}


def test_dashboards_have_their_variables() -> None:
    """Both have data source and job; the dashboard of a host also has instance and relay."""
    names = {}
    for sheet in SHEETS:
        content = json.loads((FOLDER / "dashboards" / f"{sheet.uid}.json").read_text())
        names[sheet.uid] = [variable["name"] for variable in content["templating"]["list"]]

    assert names == {
        "postward-host": ["datasource", "job", "instance", "multi_instance", "log_host", "relay"],
        "postward-fleet": ["datasource", "job"],
    }


def test_metrics_without_a_panel_are_listed() -> None:
    """Each metric of Postfix has a panel, except those of servers, for hosts that accept mail, and a few others."""
    text = " ".join(query for _, _, query in QUERIES)
    servers = ("postfix_smtpd_", "postfix_postscreen_", "postfix_dnsbl_")
    names = {name for name in BY_NAME if name.startswith("postfix_") and not name.startswith(servers)}
    missing = {name for name in names if name not in text}

    assert missing == {
        "postfix_daemon_problems_total",
        "postfix_delivery_last_failure_timestamp_seconds",
        "postfix_direct_deliveries_total",
        "postfix_direct_delivery_failures_total",
        "postfix_message_recipients",
        "postfix_messages_refused_total",
        "postfix_notifications_total",
        "postfix_process_limits_total",
        "postfix_submission_failures_total",
    }
