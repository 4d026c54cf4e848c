"""Alert rules: every name in them exists, they fire when they should and keep silent when they should."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.models.alerting import Rule as RuleModel

from grafana.__main__ import FILES, FOLDER
from grafana.alerts_table import ALERTS, RECORDS
from postward.agent.metrics.catalog import BY_NAME
from postward.parsers import Cause
from tests.grafana.alert_cases import FAULTS, SILENT, series_of
from tests.grafana.promql_names import faults_of
from tests.support.require import required
from tests.test_architecture import ROOT

EXPRESSIONS = {alert.name: alert.expr for alert in ALERTS} | {record.name: record.expr for record in RECORDS}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions_name_what_the_table_has(name: str) -> None:
    """Renaming a metric, a label or a cause breaks this test, not an alert."""
    assert list(faults_of(EXPRESSIONS[name])) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("postfix_uq == 0", "metric postfix_uq"),
        ('postfix_queue_messages{queues="x"}', "label queues of postfix_queue_messages"),
        ('postfix_delivery_failures_total{cause="auth"}', "cause auth"),
        ("sum by (relais) (postfix_deliveries_total)", "group label relais"),
        ("relay:postfix_nothing:sum > 0", "record relay:postfix_nothing:sum"),
    ],
)
def test_the_check_of_names_finds_faults(expression: str, fault: str) -> None:
    """A check that finds nothing would prove nothing."""
    assert fault in list(faults_of(expression))


@pytest.mark.parametrize("name", FILES)
def test_files_are_made_from_the_table(name: str) -> None:
    """`make docs` writes them."""
    assert (FOLDER / name).read_text() == FILES[name]()


def test_alerts_are_told_as_monitoring_mixins_do() -> None:
    """One first word of two, a summary that is a sentence without numbers, a description that names the host."""
    for alert in ALERTS:
        assert alert.name.startswith(("Postfix", "Postward"))
        assert alert.summary.endswith(".")
        assert "{{" not in alert.summary
        assert "$labels.instance" in alert.description
        known = {"instance"}.union(*(BY_NAME[name].labels for name in BY_NAME if name in alert.expr))
        known |= {"relay"} if "relay:" in alert.expr else set()
        for label in re.findall(r"\$labels\.(\w+)", alert.description + alert.runbook):
            assert label in known, (alert.name, label)
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


def test_no_alert_lacks_a_case() -> None:
    """Each alert fires on a host, and three hosts keep silent."""
    assert set().union(*(host.fires for host in FAULTS.values())) == {alert.name for alert in ALERTS}
    assert {"idle", "busy", "restarted"} == set(SILENT)


def test_rules_fire_and_keep_silent(tmp_path: Path) -> None:
    """Promtool plays eight hours of idle hosts, healthy load, a restart, and each fault: exactly the alerts named fire."""
    promtool = required("promtool", "prometheus")
    hosts = SILENT | FAULTS
    everything = 'max by (alertname, instance) (ALERTS{alertstate="firing"})'
    samples = [
        {"labels": f'{{alertname="{alert}", instance="{name}"}}', "value": 1}
        for name, host in hosts.items()
        for alert in host.fires
    ]
    tests = {
        "rule_files": [str(FOLDER / "alerts" / f"postward.{kind}.yml") for kind in ("records", "rules")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": series, "values": values}
                    for name, host in hosts.items()
                    for series, values in series_of(name, host).items()
                ],
                "promql_expr_test": [
                    {"expr": everything, "eval_time": "4m", "exp_samples": []},
                    {"expr": everything, "eval_time": "480m", "exp_samples": samples},
                    # The minutes around the restart, at minute 200.
                    *(
                        {
                            "expr": 'ALERTS{alertstate="firing",instance=~"idle|busy|restarted"}',
                            "eval_time": f"{minute}m",
                            "exp_samples": [],
                        }
                        for minute in (60, 201, 203, 206, 215, 260, 480)
                    ),
                ],
            }
        ],
    }
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump(tests, sort_keys=False, width=1000))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def pages() -> dict[str, str]:
    """The runbooks by their path."""
    folder = ROOT / "docs" / "runbooks"
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.md"))}


def test_every_alert_and_every_cause_has_a_runbook() -> None:
    """One page for each that is not told by its cause, one for each cause, and no page of nothing."""
    expected = {f"{alert.name}.md" for alert in ALERTS} | {f"causes/{cause.value}.md" for cause in Cause}

    assert set(pages()) - {"README.md"} == expected


@pytest.mark.parametrize("page", pages())
def test_a_runbook_says_what_to_do(page: str) -> None:
    """What it means, how to see it with what is shown then, how to remedy it, and how to know that it is mended."""
    text = pages()[page]
    if page == "README.md":
        return
    for heading in ("Means", "See", "Mend", "Mended when"):
        assert f"\n## {heading}\n" in text, heading
    assert "```" in text.partition("## See")[2].partition("## Mend")[0]
    assert not list(faults_of(" ".join(re.findall(r"`((?:postfix|postward)_[^`]*)`", text))))


@pytest.mark.parametrize("page", pages())
def test_links_of_runbooks_lead_somewhere(page: str) -> None:
    """To a page that exists, and to a heading in it."""
    here = ROOT / "docs" / "runbooks" / page
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", here.read_text()):
        if target and "://" not in target:
            assert (here.parent / target).exists(), target


def test_grafanas_own_rules_are_the_same_alerts() -> None:
    """Each reads with the SDK's model, has one condition that exists, and asks what Prometheus's rule asks."""
    groups = yaml.safe_load((FOLDER / "provisioning/alerting/postward.yml").read_text())["groups"]
    rules = {rule["title"]: rule for group in groups for rule in group["rules"]}

    assert {alert.name: alert.expr for alert in ALERTS} == {
        name: rule["data"][0]["model"]["expr"] for name, rule in rules.items()
    }
    for rule in rules.values():
        assert RuleModel.from_json(rule).title == rule["title"]
        assert rule["condition"] in {query["refId"] for query in rule["data"]}
        assert len(rule["uid"]) <= 40
    assert len({rule["uid"] for rule in rules.values()}) == len(rules)
