"""`postward status` as text."""

from postward.agent.commands.status import screen, unknown_lines
from tests.status.sample import sample


def _text(status: dict[str, object]) -> str:
    return "\n".join("".join(text for text, _ in parts) for parts in screen(status))


def test_lines_that_are_not_understood_are_reported() -> None:
    """From a share of 5 % on, as in the alert."""
    assert "10% of Postfix's lines are not understood" in _text(sample())
    assert unknown_lines({"event": 960, "generic": 0, "unrecognised": 40, "foreign": 0}) == ""


def test_a_log_without_postfixs_lines_is_reported() -> None:
    """As long as nothing was read, nothing is wrong."""
    nothing = {"event": 0, "generic": 0, "unrecognised": 0, "foreign": 0}
    assert unknown_lines(nothing) == ""
    assert unknown_lines(nothing | {"foreign": 1234}) == "none of 1,234 is Postfix's"
