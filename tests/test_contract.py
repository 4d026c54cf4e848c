"""Names of release 1 stay: settings, metrics, alerts, commands, options, symptoms, JSON keys."""

import copy
import json

from tools.contract import FILE, broken, contract

RECORDED = json.loads(FILE.read_text(encoding="utf-8"))


def test_nothing_of_the_contract_is_missing_or_means_something_else() -> None:
    """New names are free; `python -m tools.contract` records them when a release is made."""
    assert broken(RECORDED, contract()) == []


def test_a_broken_contract_is_seen() -> None:
    """A setting that is gone, another default, other labels of a metric."""
    present = copy.deepcopy(RECORDED)
    del present["settings"]["[[relay]] host"]
    present["settings"]["[enforce] mode"] = "observe"
    present["metrics"]["postfix_up"] = ["gauge", ["relay"]]
    found = broken(RECORDED, present)

    assert "settings: [[relay]] host: is missing" in found
    assert "settings: [enforce] mode: enforce became observe" in found
    assert any(line.startswith("metrics: postfix_up: ") for line in found)
    assert len(found) == 3
