"""Tests of the alert rules and runbooks: all names exist, and alerts fire for their faults only."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.models.alerting import Rule as RuleModel

from grafana.__main__ import FILES, FOLDER
from grafana.alerts import ALERTS, RECORDS, RUNBOOKS
from postward.agent.metrics.catalog import BY_NAME
from postward.agent.metrics.collector import MULTI_INSTANCE
from postward.agent.metrics.exposition import HOST_LABEL
from postward.parsers import Cause
from tests.grafana.alert_cases import FAULTS, SILENT, series_of
from tests.grafana.promql_names import faults_of
from tests.support.require import required
from tests.test_architecture import ROOT

EXPRESSIONS = {alert.name: alert.expr for alert in ALERTS} | {record.name: record.expr for record in RECORDS}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_all_names_in_an_expression_exist(name: str) -> None:
    """An expression contains only existing metrics, labels, causes and recording rules."""
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
    """The check finds an unknown metric, label, cause, group label and recording rule."""
    assert fault in list(faults_of(expression))


@pytest.mark.parametrize("name", FILES)
def test_files_are_up_to_date(name: str) -> None:
    """Each file is equal to the output of `make docs`."""
    assert (FOLDER / name).read_text() == FILES[name]()


def test_alerts_follow_the_conventions_of_mixins() -> None:
    """Names have one of two prefixes, summaries are sentences without values, descriptions name the host."""
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


def test_each_alert_has_a_case() -> None:
    """Each alert fires for at least one host with a fault, and three hosts have no alert."""
    assert set().union(*(host.fires for host in FAULTS.values())) == {alert.name for alert in ALERTS}
    assert {"idle", "busy", "restarted"} == set(SILENT)


def test_rules_fire_for_their_faults_only(tmp_path: Path) -> None:
    """In eight hours of an idle, a busy and a restarted host and of each fault, exactly the listed alerts fire."""
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
                    # Mail first fails for one cause, then for another: only the second alert is left.
                    {
                        "expr": 'count by (cause) (ALERTS{alertstate="firing",instance="first-dns-then-timeout"})',
                        "eval_time": "480m",
                        "exp_samples": [{"labels": '{cause="timeout"}', "value": 1}],
                    },
                    # Minutes around the restart at minute 200.
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


@pytest.mark.parametrize("label", [MULTI_INSTANCE, HOST_LABEL])
def test_what_one_agent_watches_hides_no_fault_of_another(label: str, tmp_path: Path) -> None:
    """Beside an instance or host whose mail goes out through a relay of the same name, a fault fires, for its own one."""
    promtool = required("promtool", "prometheus")
    busy = SILENT["busy"]
    # Alerts that compare with other series of the host or of the relay.
    compared = {
        "PostfixRelayTlsBroken",
        "PostfixRelayNoSuccess",
        "PostwardTestLineLost",
        "PostfixQueueOldMail",
    }
    faults = {name: host for name, host in FAULTS.items() if host.fires & compared}
    assert set().union(*(host.fires for host in faults.values())) >= compared
    samples = [
        {"labels": f'{{alertname="{alert}", instance="{name}", {label}="failing"}}', "value": 1}
        for name, host in faults.items()
        for alert in host.fires - {"PostwardDown"}
    ]
    series = [
        {"series": key, "values": values}
        for name, host in faults.items()
        for each, value in ((host, "failing"), (busy, "busy"))
        for key, values in series_of(name, each, f'{label}="{value}"').items()
    ]
    fired = f'max by (alertname, instance, {label}) (ALERTS{{alertstate="firing",alertname!="PostwardDown"}})'
    tests = {
        "rule_files": [str(FOLDER / "alerts" / f"postward.{kind}.yml") for kind in ("records", "rules")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "promql_expr_test": [{"expr": fired, "eval_time": "480m", "exp_samples": samples}],
            }
        ],
    }
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump(tests, sort_keys=False, width=1000))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def pages() -> dict[str, str]:
    """Return path → text of each runbook."""
    folder = ROOT / "docs" / "runbooks"
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.md"))}


def test_every_alert_and_every_cause_has_a_runbook() -> None:
    """There is a page for each alert and each cause, and no other page."""
    expected = {f"{alert.name}.md" for alert in ALERTS} | {f"causes/{cause.value}.md" for cause in Cause}

    assert set(pages()) - {"README.md"} == expected


def test_runbook_urls_lead_to_pages() -> None:
    """Each is a URL of the project, and the path in it is that of a page; a cause's name takes the place of the label."""
    source = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"]
    assert f"{source}/blob/main/docs/runbooks" == RUNBOOKS
    for alert in ALERTS:
        path = alert.runbook.removeprefix(f"{RUNBOOKS}/").replace("{{ $labels.cause }}", "timeout")
        assert path in pages(), alert.name


def test_kubernetes_gets_the_same_rules() -> None:
    """One PrometheusRule with the groups of both files."""
    rule = yaml.safe_load(FILES["alerts/postward.prometheusrule.yaml"]())
    both = [yaml.safe_load(FILES[f"alerts/postward.{kind}.yml"]())["groups"] for kind in ("records", "rules")]
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert re.fullmatch(r"[a-z0-9-]+", rule["metadata"]["name"])
    assert rule["spec"]["groups"] == both[0] + both[1]


@pytest.mark.parametrize("page", pages())
def test_a_runbook_has_all_sections(page: str) -> None:
    """A page has the meaning, checks with sample output, a fix and the proof of it; all its metrics exist."""
    text = pages()[page]
    if page == "README.md":
        return
    for heading in ("Meaning", "Check", "Fix", "Fixed when"):
        assert f"\n## {heading}\n" in text, heading
    assert "```" in text.partition("## Check")[2].partition("## Fix")[0]
    assert not list(faults_of(" ".join(re.findall(r"`((?:postfix|postward)_[^`]*)`", text))))


def test_grafanas_own_rules_are_the_same_alerts() -> None:
    """Each rule fits the SDK's model, has an existing condition, and has the expression of Prometheus's rule."""
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
