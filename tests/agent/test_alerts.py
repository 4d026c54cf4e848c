"""Alert rules: every name in them exists, they fire when they should and keep silent when they should."""

import re
import subprocess
from pathlib import Path

import pytest

from agent.metrics import BY_NAME
from parsers import Cause
from tests.bed.require import required
from tests.test_architecture import ROOT

RULES = ROOT / "grafana" / "alerts" / "postward.rules.yml"
TESTS = Path(__file__).with_name("alerts_test.yml")
EXPRESSIONS = re.findall(r"expr: (.+)", RULES.read_text())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_name_what_the_table_has(expression: str) -> None:
    """Renaming a metric, a label or a cause breaks this test, not an alert."""
    for name, selector in re.findall(r"(post(?:fix|ward)_\w+)(?:\{([^}]*)\})?", expression):
        metric = BY_NAME[name]
        for label, value in re.findall(r'(\w+)="([^"]*)"', selector):
            assert label in metric.labels
            assert label != "cause" or value in set(Cause)


def test_every_alert_has_a_runbook() -> None:
    """The link leads to a heading that exists."""
    headings = {
        heading.lower()
        for heading in re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)
    }
    text = RULES.read_text()

    alerts = {alert.lower() for alert in re.findall(r"- alert: (\w+)", text)}
    assert alerts == set(re.findall(r"runbook_url: docs/runbooks\.md#(\w+)", text)) == headings


def test_rules_fire_and_keep_silent() -> None:
    """Promtool plays hours of an idle host, of healthy load, and of each fault."""
    promtool = required("promtool", "prometheus")
    done = subprocess.run(
        [promtool, "test", "rules", str(TESTS)], capture_output=True, text=True, check=False, cwd=TESTS.parent
    )

    assert done.returncode == 0, done.stdout + done.stderr
