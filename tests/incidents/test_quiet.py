"""Reports of an incident that comes and goes."""

from postward.agent.incidents.model import Change, Effect, Incident
from postward.agent.incidents.quiet import Quiet


def change(kind: str, opened: int) -> Change:
    """A change of the one incident; `opened` is how often it has opened."""
    incident = Incident(
        "login-refused", "postfix", "demo", "demo", "smtp", None, Effect.DELAYED, 0.0, 0.0, opened=opened
    )
    return Change("opened" if kind == "opened" else "closed", incident)


def kinds(changes: list[Change]) -> list[str]:
    """The kinds of changes."""
    return [change.kind for change in changes]


def test_opening_and_end_are_reported_at_once_and_then_held_back() -> None:
    """Each is reported once in ten minutes, however often the incident comes back."""
    quiet = Quiet()
    reported = [
        kinds(quiet.due([change("opened", number), change("closed", number)], 10.0 * number))
        for number in range(1, 50)
    ]

    assert reported == [["opened", "closed"]] + [[]] * 48


def test_last_report_is_corrected_after_ten_minutes() -> None:
    """It reopened while held back, and stayed open: one report follows when the time is over."""
    quiet = Quiet()
    quiet.due([change("opened", 1)], 0.0)
    quiet.due([change("closed", 1)], 10.0)
    assert quiet.due([change("opened", 2)], 20.0) == []
    assert quiet.due([], 599.0) == []

    assert kinds(quiet.due([], 600.0)) == ["opened"]
    assert quiet.due([], 2000.0) == []


def test_last_report_that_holds_again_is_not_repeated() -> None:
    """It reopened and closed while held back: the last report, closed, still holds."""
    quiet = Quiet()
    quiet.due([change("opened", 1), change("closed", 1)], 0.0)
    quiet.due([change("opened", 2), change("closed", 2)], 20.0)

    assert quiet.due([], 700.0) == []


def test_later_period_is_reported_at_once() -> None:
    """An incident that returns after ten minutes is news."""
    quiet = Quiet()
    quiet.due([change("opened", 1), change("closed", 1)], 0.0)

    assert kinds(quiet.due([change("opened", 2)], 601.0)) == ["opened"]
