"""Recorded days of each release: the parser recognises every line of Postfix.

`python -m tools.releases --save` makes the logs.
"""

from pathlib import Path

import pytest

from postward.parsers import parse
from postward.parsers.events import Problem
from tools.releases.recording import CORPUS
from tools.releases.tree import RELEASES

_LOGS = sorted(CORPUS.glob("*.log"))

# Events of a day on every release. A recording with fewer was cut short, or the parser recognises less.
_EXPECTED = """
Attempt BadDestination BadParameter CertificateNotVerified ClientAccepted ClientConnected
ClientDisconnected ClientLimit ClientLost ClientMisbehaved ClientSaslFailed ClientVerdict
CompatibilityNotice ConfigurationProblem ConnectFailed ContentAction Delivery DnsListed Expired
HostnameMismatch LookupFailed LoopDetected MailSystem MasterReloaded MasterStarted MasterStopped

MessageId MessageRefused MilterProblem NameLookupProblem Notification PickedUp ProcessExited
ProxyConnection QueueAction QueueActionTotal QueueActive QueueFileCorrupt RelayhostProblem Removed
ResourceProblem SaslFailed Screened ServerReply ServiceUnavailable SessionNote StartTlsOffered
Statistics SubmissionFailed TableChanged TableOutdated TableProblem TableUnavailable Throttled

TlsAcceptFailed TlsDisabled TlsEstablished TlsFailed TlsLibraryProblem TlsNote TransportFailed
TransportUnavailable WrapperModeNeeded
"""


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_every_release_has_its_recording() -> None:
    """Each release has a recording, named after the version of Postfix."""
    assert {".".join(path.stem.split(".")[:2]) for path in _LOGS} == set(RELEASES.values())


@pytest.mark.parametrize("path", _LOGS, ids=lambda path: path.stem)
def test_every_line_of_a_recorded_day_is_known(path: Path) -> None:
    """Every line is Postfix's and has an event; unlabelled lines have one other than Problem."""
    unknown = []
    for line in _lines(path):
        record, event = parse(line)
        if record is None or event is None or (record.severity == "info" and isinstance(event, Problem)):
            unknown.append(line)
    assert unknown == []


@pytest.mark.parametrize("path", _LOGS, ids=lambda path: path.stem)
def test_a_recorded_day_has_all_expected_events(path: Path) -> None:
    """Every expected kind of event occurs in the recording."""
    seen = {type(event).__name__ for _, event in map(parse, _lines(path)) if event is not None}
    assert seen >= set(_EXPECTED.split())
