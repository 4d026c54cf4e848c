"""The real pflogsumm and `postward report` agree where they count the same thing, on recordings of four Postfix releases."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from postward.agent.report.chunks import chunks_of
from postward.agent.report.summary import summarise
from postward.agent.report.workers import Job, count
from tests.support.require import required
from tools.bench.lines import log_lines

RELEASES = sorted((Path(__file__).parents[1] / "corpus" / "releases").glob("*.log"))

# Lines that pflogsumm 1.1.5 ignores or counts as something else; see docs/report.md.
DIFFERENT = re.compile(
    r" (?:postfix-\w+/|postfix/strict/)"  # other instances, and services of other names
    r"|/qmqpd\["
    r'|to=<[^,]*>[^,]*>,|to=<"'  # it ends an address at the first ">"
    r"|, tls=\S+,"  # a field of Postfix 3.11
    r"|status=SOFTBOUNCE"
    r"|/smtpd\[[0-9]+\]: \w+: (?:milter-\w+|proxy-reject): |/cleanup\[[0-9]+\]: \w+: milter-hold: |: milter-reject: (?!END-OF-MESSAGE)"
    r"|: proxy-reject: |: warn: |/postscreen\[.* reject: (?!RCPT)"
)
WORDS = {
    "received": "received",
    "delivered": "delivered",
    "forwarded": "forwarded",
    "deferred": "deferred_mails",
    "bounced": "bounced",
    "rejected": "rejected",
    "reject warnings": "reject_warnings",
    "held": "held",
    "discarded": "discarded",
    "bytes received": "bytes_received",
    "bytes delivered": "bytes_delivered",
}


def pflogsumm(log: Path) -> dict[str, int]:
    """Its grand totals under our names. It shows large numbers in thousands, so logs here are small."""
    program = required("pflogsumm", "pflogsumm")
    text = subprocess.run([program, str(log)], check=True, capture_output=True, text=True).stdout
    grand = text.partition("Grand Totals")[2].partition("Per-")[0]
    totals = {
        ours: int(match[1])
        for theirs, ours in WORDS.items()
        if (match := re.search(rf"^ +(\d+)\s+{theirs}\b", grand, re.MULTILINE))
    }
    deferrals = re.search(r"\((\d+)\s+deferrals\)", grand)
    return totals | {"deferrals": int(deferrals[1]) if deferrals else 0}


def ours(log: Path) -> dict[str, Any]:
    """The totals of our report."""
    totals: dict[str, Any] = summarise(count(Job(), chunks_of([log])).tally)["totals"]
    return totals


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_totals_agree_on_what_both_count(release: Path, tmp_path: Path) -> None:
    """Without the lines that docs/report.md lists as counted differently."""
    log = tmp_path / "mail.log"
    kept = [
        line
        for line in release.read_bytes().decode("utf-8", "replace").split("\n")
        if not DIFFERENT.search(line)
    ]
    log.write_text("\n".join(kept))

    theirs, mine = pflogsumm(log), ours(log)

    assert {name: mine[name] for name in theirs} == theirs


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_nothing_that_pflogsumm_counts_is_missed(release: Path) -> None:
    """Our totals of the whole recording are never smaller."""
    totals = ours(release)

    assert {name: number for name, number in pflogsumm(release).items() if totals[name] < number} == {}


def test_a_busy_host_agrees(tmp_path: Path) -> None:
    """The whole log of a relay host."""
    log = tmp_path / "mail.log"
    log.write_text("".join(log_lines(5000)))

    theirs = {name: number for name, number in pflogsumm(log).items() if not name.startswith("bytes")}
    mine = ours(log)

    assert {name: mine[name] for name in theirs} == theirs
