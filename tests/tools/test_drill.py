"""Each fault raises exactly its alert at Alertmanager, and the healthy host none. `make drill` runs all faults."""

import sys
import time
from pathlib import Path

from tests.grafana.showing import rules_of, shown_by
from tests.support import require_postfix
from tools.drill.drill import drill
from tools.drill.fleet import SCENARIOS, SHORT


def test_the_short_drill(tmp_path: Path) -> None:
    """Four faults and a healthy host, with the times of the rules twenty times shorter.

    A failure leads to a queue ID, every dashboard panel has data, and every rule can be evaluated.
    """
    require_postfix()
    with drill(tmp_path, SHORT, pace=20, interval=1, pause=1.0, timeout=90) as result:
        sys.stdout.write(f"\n{result.table()}\n")
        assert result.wrong() == []
        down = result.prometheus.query("sum by (instance) (postfix_up == 0)")
        assert [row["metric"]["instance"] for row in down] == ["stopped"]
        now = time.time()
        exemplars = result.prometheus.exemplars(
            'postfix_delivery_failures_total{instance="password"}', now - 600, now
        )
        assert all(exemplar["labels"]["queue_id"] for series in exemplars for exemplar in series["exemplars"])
        assert exemplars
        shown = shown_by(result.prometheus)
        sys.stdout.write("".join(f"{one}\n" for one in shown))
        assert [str(one) for one in shown if one.empty] == []
        assert {
            rule["name"]: rule.get("lastError")
            for rule in rules_of(result.prometheus)
            if rule["health"] != "ok"
        } == {}


def test_the_drill_has_fourteen_faults() -> None:
    """At least fourteen faults, of every group."""
    assert len(SCENARIOS) - 1 >= 14
