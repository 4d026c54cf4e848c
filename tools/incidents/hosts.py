"""Diagnoses of logs alone, and joined with the facts of their hosts: `python -m tools.incidents.hosts` prints both.

`tests/corpus/traps/hosts.txt` has the configuration that each host had when its log was written. It is written to
disk as that of a real Postfix, and read as `postward why` reads a host.
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from postward.agent.incidents.catalog.symptom import Offer
from postward.agent.incidents.diagnosis import Diagnosis, diagnose, proofs_of
from postward.agent.incidents.model import Certainty, Incident
from postward.agent.incidents.replay import read_logs
from postward.agent.metrics.labels import RelayNames
from tests.config.lint.host import Host
from tests.support import require_postfix
from tools.incidents.traps import NOW, TRAPS, path_of, truths

_DEFAULTS = (
    "inet_interfaces = loopback-only",
    "inet_protocols = ipv4",
    "relayhost = [smtp.relay.test]:587",
    "smtp_tls_CAfile = {ca}",
    "smtp_tls_security_level = encrypt",
)
_DEFAULT_LOGIN = "[smtp.relay.test]:587 relayuser:s3cret"
_DEFAULT_OFFER = "STARTTLS AUTH LOGIN PLAIN"


class Joined(NamedTuple):
    """The diagnoses of a log.

    Attributes:
        log: name of the log.
        verdict: certain, likely or ambiguous if the diagnosis is right; else wrong.
        alone: the diagnosis of the log alone.
        joined: the diagnosis with the facts of its host and the offer of its relay.
    """

    log: str
    verdict: str
    alone: Diagnosis
    joined: Diagnosis


class Trap(NamedTuple):
    """The host of a log, and the certainty of the joined diagnosis."""

    verdict: str
    lines: list[str]


def hosts() -> dict[str, Trap]:
    """Return the host of each log."""
    traps: dict[str, Trap] = {}
    for line in (TRAPS / "hosts.txt").read_text().splitlines():
        if line.startswith("=== "):
            _, log, verdict = line.split()
            traps[log] = Trap(verdict, [])
        elif not line.startswith("#"):
            traps[list(traps)[-1]].lines.append(line)
    return traps


def lay_out(host: Host, lines: list[str]) -> Offer:
    """Write this configuration to the host, and return what its relay offers after EHLO."""
    host.repair()
    (host.etc / "capath").mkdir()
    host.unset("smtp_sasl_tls_security_options", "smtp_host_lookup")
    host.set(*(line.format(ca=host.ca_file) for line in _DEFAULTS))
    logins, offer = [], _DEFAULT_OFFER
    for line in lines:
        kind, _, value = line.partition(": ") if ": " in line else line.partition(":")
        if kind == "login":
            logins.append(value)
        elif kind == "offer":
            offer = value
        elif kind == "without":
            host.remove(f"usr/lib/sasl2/lib{value}.so.2")
        elif line == "chroot":
            host.master(chroot=True)
        elif line.endswith("="):
            host.unset(line.removesuffix("=").strip())
        else:
            host.set(line.replace("{etc}", str(host.etc)).replace("{ca}", str(host.ca_file)))
    host.passwords("".join(f"{login}\n" for login in logins or [_DEFAULT_LOGIN]))
    return parse_offer(offer)


def parse_offer(text: str) -> Offer:
    """Return the offer of an EHLO reply in one line."""
    _, auth, mechanisms = text.partition("AUTH")
    return Offer(frozenset(mechanisms.split()) if auth else None)


def join(host: Host, log: str, lines: list[str]) -> Joined:
    """Diagnose a log alone, and with its host."""
    offer = lay_out(host, lines)
    facts = host.facts()
    (worst, *_) = incidents_of(log)
    joined = diagnose(worst, facts, proofs_of(None, facts), offer=offer)
    named, truth = {cause.id for cause in joined.causes}, truths()[log]
    wrong = not named & truth or (joined.certainty is not Certainty.AMBIGUOUS and not named <= truth)
    verdict = "wrong" if wrong else joined.certainty.value
    return Joined(log, verdict, diagnose(worst), joined)


def incidents_of(log: str) -> list[Incident]:
    """Return the incidents of a log, worst first. The last line is dated now, because the host is read now."""
    tracker = read_logs([path_of(log)], RelayNames(), NOW)
    incidents = [*tracker.open, *tracker.closed]
    for incident in incidents:
        incident.last = time.time()
    return incidents


def main() -> None:
    """Print the table and the sums."""
    require_postfix(sasl=False)
    rows: list[Joined] = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        host = Host(Path(folder) / "host")
        for log, trap in hosts().items():
            rows.append(join(host, log, trap.lines))
            before = " | ".join(cause.id for cause in rows[-1].alone.causes)
            after = " | ".join(cause.id for cause in rows[-1].joined.causes)
            sys.stdout.write(f"{rows[-1].verdict:12} {log:38} {before}  →  {after}\n")
            sys.stdout.flush()
        host.close()
    sums: Mapping[str, int] = Counter(row.verdict for row in rows)
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sums.items())
    sys.stdout.write(f"{len(rows)} logs that are ambiguous alone; with their hosts: {counts}\n")


if __name__ == "__main__":
    main()
