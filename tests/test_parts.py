"""Parts: a problem that lasts is logged once, and a failure in one part does not end the others."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from postward.agent.parts import Failures, Gauges, Part, Problem


def test_a_problem_is_logged_when_it_begins_changes_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Repeated notes add nothing, and each change is reported to the caller."""
    caplog.set_level(logging.INFO)
    problem = Problem(logging.getLogger("postward"), "queue", "queue: can be listed again")
    notes = (None, "no such file", "no such file", "permission denied", None, None)

    changes = [problem.note(text) for text in notes]

    assert changes == [False, True, False, True, True, False]
    assert problem.text is None
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "queue: no such file"),
        ("ERROR", "queue: permission denied"),
        ("INFO", "queue: can be listed again"),
    ]


class Failing(Part):
    """A part whose looks and task fail a few times."""

    name = "failing"

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.ran = 0

    def gauges(self) -> Gauges:
        """Fail as if no descriptor was left."""
        raise OSError(24, "Too many open files", "/proc")

    def restore(self, state: Mapping[str, Any]) -> None:
        """Expect a value."""
        self.left = state["left"]

    async def run(self) -> None:
        """Fail, then end."""
        self.ran += 1
        if self.left:
            self.left -= 1
            raise ExceptionGroup("tasks", [ValueError("odd")])


def test_a_failure_in_a_part_is_counted_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others run on; the metric has the part's name."""
    monkeypatch.setattr("postward.agent.parts._FIRST_PAUSE", 0.001)
    failures, part = Failures(), Failing(2)

    asyncio.run(failures.keep_running(part))
    assert failures.gauges_of(part) == {}
    failures.restore_part(part, {"other": 1})
    failures.restore_part(part, [])

    assert part.ran == 3
    assert failures.gauges() == {"postward_part_failures_total": {("Failing",): 5.0}}
