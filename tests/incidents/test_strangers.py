"""Text that strangers write opens no incident and proves no cause, whatever complaint of Postfix it imitates.

`tests/corpus/strangers.txt` has the places where Postfix repeats it. Every kind of complaint in the corpus goes into each.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

import pytest

from postward.agent.incidents.catalog.table import of_line
from postward.agent.incidents.diagnosis import diagnose
from postward.agent.incidents.model import Certainty, Incident
from postward.agent.incidents.tracker import IncidentTracker
from postward.agent.metrics.labels import RelayNames
from postward.parsers import Cause, parse
from postward.parsers.events import Delivery
from tests.parsers.golden import CORPUS, read_lines

NOW = datetime(2026, 11, 24, 7, tzinfo=UTC)
HEADER = "Nov 24 06:05:01 mx1 postfix/{}[123]: {}"
PLACES = [
    tuple(line.split(": ", 1))
    for line in read_lines(CORPUS / "strangers.txt")
    if line and not line.startswith("#")
]
# A server may refuse mail with a text of Postfix's, and for the reason that it says.
SAID_BY_SERVERS = frozenset(
    {
        Cause.LOOP,
        Cause.SIZE,
        Cause.RECIPIENT_REJECTED,
        Cause.CONTENT,
        Cause.QUOTA,
        Cause.RATE_LIMIT,
        Cause.RELAY_DENIED,
    }
)


def opened(daemon: str, *texts: str) -> list[Incident]:
    """Return the incidents that lines of one process open."""
    tracker = IncidentTracker(RelayNames(), lambda: NOW)
    for text in texts:
        record, event = parse(HEADER.format(daemon, text))
        if record is not None and event is not None:
            tracker.observe(record, event)
    return tracker.open


def _complaints() -> Iterator[tuple[object, str]]:
    """Yield the lines of the corpus that a row of the catalogue knows, and their row."""
    for path in sorted(CORPUS.rglob("*.log")):
        for line in read_lines(path):
            record, event = parse(line)
            if record is None or event is None or isinstance(event, Delivery):
                continue
            label = "" if record.severity == "info" else f"{record.severity}: "
            row = of_line(record.daemon, record.severity, record.text)
            if row is not None:
                yield (row.id, record.daemon, record.severity), record.text
                yield (row.id, record.daemon, record.severity, "labelled"), f"{label}{record.text}"
            elif record.severity != "info" and "said: " not in record.text:
                yield type(event), record.text


@cache
def complaints() -> tuple[str, ...]:
    """One text for each row, daemon and severity."""
    return tuple(dict.fromkeys(dict(_complaints()).values()))


@pytest.mark.parametrize(("daemon", "place"), PLACES)
def test_text_of_strangers_opens_no_incident(daemon: str, place: str) -> None:
    """The line shows what it shows with any harmless text in the place."""
    harmless = [(one.symptom, one.effect) for one in opened(daemon, place.replace("{}", "hello"))]
    others = {}
    for text in complaints():
        incidents = opened(daemon, place.replace("{}", text))
        shown = [(one.symptom, one.effect) for one in incidents]
        by_server = "said: " in place and all(Cause(one.cause or "") in SAID_BY_SERVERS for one in incidents)
        if shown != harmless and not by_server and shown:
            others[text] = shown

    assert others == {}


@pytest.mark.parametrize(("daemon", "place"), PLACES)
def test_text_of_strangers_makes_no_cause_certain(daemon: str, place: str) -> None:
    """A line of strangers that is evidence proves no more than with any harmless text."""
    certain = {
        diagnose(one).causes[0].id for one in opened(daemon, place.replace("{}", "hello")) if is_certain(one)
    }
    others = {
        text
        for text in (complaints() if opened(daemon, place.replace("{}", "hello")) else ())
        for one in opened(daemon, place.replace("{}", text))
        if is_certain(one) and diagnose(one).causes[0].id not in certain
    }

    assert others == set()


def is_certain(incident: Incident) -> bool:
    """Return whether the lines alone prove a cause."""
    return diagnose(incident).certainty is Certainty.CERTAIN


@pytest.mark.parametrize(("daemon", "place"), [place for place in PLACES if place[0] == "smtp"])
def test_text_of_strangers_before_a_delivery_changes_no_symptom(daemon: str, place: str) -> None:
    """A delivery that fails for another reason has the symptom that it has without the line."""
    if "to=<" in place:
        return
    failed = (
        "4C0FFEE002: to=<b@example.org>, relay=relay.example[192.0.2.9]:587, delay=1, delays=0/0/0/1, dsn=4.7.5, "
        "status=deferred (Server certificate not trusted)"
    )
    wanted = [one.symptom for one in opened(daemon, place.replace("{}", "hello"), failed)]
    others = {
        text
        for text in complaints()
        if [one.symptom for one in opened(daemon, place.replace("{}", text), failed)] != wanted
    }

    assert others == set()
