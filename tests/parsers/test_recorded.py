"""The recorded days of each release: not one line of Postfix's that the parser does not know.

The logs are made by ``python -m tools.releases --save``.
"""

from pathlib import Path

import pytest

from postward.parsers import parse
from postward.parsers.events import Problem
from tools.releases.recording import CORPUS
from tools.releases.tree import RELEASES

_LOGS = sorted(CORPUS.glob("*.log"))

# What a day holds on every release; a recording with less was cut short, or the parser sees less in it.
_EXPECTED = frozenset({
    "Attempt", "BadDestination", "BadParameter", "CertificateNotVerified", "ClientAccepted",
    "ClientConnected", "ClientDisconnected", "ClientLimit", "ClientLost", "ClientMisbehaved",
    "ClientSaslFailed", "ClientVerdict", "CompatibilityNotice", "ConfigurationProblem", "ConnectFailed",
    "ContentAction", "Delivery", "DnsListed", "Expired", "HostnameMismatch", "LookupFailed",
    "LoopDetected", "MailSystem", "MasterReloaded", "MasterStarted", "MasterStopped", "MessageId",
    "MessageRefused", "MilterProblem", "NameLookupProblem", "Notification", "PickedUp", "ProcessExited",
    "ProxyConnection", "QueueAction", "QueueActionTotal", "QueueActive", "QueueFileCorrupt",
    "RelayhostProblem", "Removed", "ResourceProblem", "SaslFailed", "Screened", "ServerReply",
    "ServiceUnavailable", "SessionNote", "StartTlsOffered", "Statistics", "SubmissionFailed",
    "TableChanged", "TableOutdated", "TableProblem", "TableUnavailable", "Throttled", "TlsAcceptFailed",
    "TlsDisabled", "TlsEstablished", "TlsFailed", "TlsLibraryProblem", "TlsNote", "TransportFailed",
    "TransportUnavailable", "WrapperModeNeeded",
})  # fmt: skip


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_every_release_has_its_recording() -> None:
    """A recording is named after Postfix's version; none is missing."""
    assert {".".join(path.stem.split(".")[:2]) for path in _LOGS} == set(RELEASES.values())


@pytest.mark.parametrize("path", _LOGS, ids=lambda path: path.stem)
def test_every_line_of_a_recorded_day_is_known(path: Path) -> None:
    """Each line is Postfix's and has an event; an unlabelled one has better than the catch-all."""
    unknown = []
    for line in _lines(path):
        record, event = parse(line)
        if record is None or event is None or (record.severity == "info" and isinstance(event, Problem)):
            unknown.append(line)
    assert unknown == []


@pytest.mark.parametrize("path", _LOGS, ids=lambda path: path.stem)
def test_a_recorded_day_is_rich(path: Path) -> None:
    """All the kinds of event that every release's day holds were seen."""
    seen = {type(event).__name__ for _, event in map(parse, _lines(path)) if event is not None}
    assert seen >= _EXPECTED
