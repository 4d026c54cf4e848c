"""What parts share: a problem that lasts is logged once."""

import logging

import pytest

from postward.agent.parts import Problem


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
