"""`postward status` as text."""

import re

from postward.agent.commands.status import screen, unknown_lines
from tests.status.sample import sample


def _text(status: dict[str, object]) -> str:
    return "\n".join("".join(text for text, _ in parts) for parts in screen(status))


def test_lines_that_are_not_understood_are_reported() -> None:
    """From a share of 5 % on, as in the alert."""
    assert "10% of Postfix's lines are not understood" in _text(sample())
    assert unknown_lines({"event": 960, "generic": 0, "unrecognised": 40, "foreign": 0}) == ""


def test_a_part_that_does_not_work_is_not_reported_as_well() -> None:
    """An enforcer that is silent, a log that has stopped, and a queue that cannot be listed."""
    status = sample()
    status["config"] = {
        "in_sync": None,
        "drift": [],
        "enforcer_works": False,
        "checked": status["now"] - 9000,
    }
    status["log"]["test_line_arrives"] = False
    status["queue"]["readable"] = False
    text = _text(status)

    assert "the enforcer does not work" in text
    assert "as the settings say" not in text
    assert "has stopped, last line" in text
    assert "cannot be listed" in text


def test_the_age_of_a_probe_is_shown() -> None:
    """A probe that was accepted stays so until the next one."""
    status = sample()
    status["relays"][0] |= {"probe_accepted": True, "probe_last_success": status["now"] - 300}
    assert re.search(r"probe accepted \d\d", _text(status))


def test_a_log_without_postfixs_lines_is_reported() -> None:
    """As long as nothing was read, nothing is wrong."""
    nothing = {"event": 0, "generic": 0, "unrecognised": 0, "foreign": 0}
    assert unknown_lines(nothing) == ""
    assert unknown_lines(nothing | {"foreign": 1234}) == "none of 1,234 is Postfix's"
    assert unknown_lines(nothing | {"event": 9, "a later kind": "?"}) == ""  # type: ignore[arg-type]
