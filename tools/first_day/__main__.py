"""`python -m tools.first_day [--release NAME] [--pace N] [NAME…]`: the breakages on Debian hosts with the package.

Prints a table of seconds: until `postward status` names a breakage, until `postward why` shows it first, until
Alertmanager notifies, and until Postward's own notification (or the missing heartbeat, if no agent runs); then until
all is well after the repair. Other faults that are shown or notified meanwhile count as wrong. The relay has the user's mail
every five seconds; intervals of Postward are the defaults. Needs root and debootstrap, as `make host-test`; takes half
an hour.

Exit status 1 if a breakage was not named, or something else was blamed.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.drill.monitoring import Alertmanager, Prometheus
from tools.first_day.faults import BREAKAGES, Action, Fault, Repaired
from tools.first_day.host import FreshHost, Receiver
from tools.hosts.host import HostError
from tools.hosts.image import RELEASES
from tools.hosts.product import build

_INTERVAL: Final = 5  # seconds between two scrapes
_DEADLINE: Final = 300.0  # seconds until a breakage counts as not named, and a repair as failed
_over: Final = threading.Event()
_COLUMNS: Final = ("status", "why", "alert", "notification")


@dataclass
class Row:
    """The result of one breakage on one host.

    Attributes:
        seconds: column → seconds until it named the breakage.
        over: seconds until all was well: after the repair, or after the breakage if it ended by itself.
        wrong: everything that blamed another part, and what was missing.
    """

    name: str
    release: str
    seconds: dict[str, float] = field(default_factory=dict)
    over: float | None = None
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return the row of the table."""
        named = [f"{self.seconds[name]:.0f}" if name in self.seconds else "–" for name in _COLUMNS]
        over = "NEVER" if self.over is None else f"{self.over:.0f}"
        return f"| {' | '.join([self.name, self.release, *named, over])} | {'; '.join(self.wrong)} |"


class Day:
    """The breakages of one host, one after the other.

    Args:
        host: the host.
        prometheus: scrapes it.
    """

    def __init__(self, host: FreshHost, prometheus: Prometheus) -> None:
        self.host = host
        self._prometheus = prometheus
        self._former: set[str] = set()  # alerts of breakages that are over, which may still fire

    def run(self, name: str) -> Row:
        """Stage a breakage, watch it, and repair it."""
        row, breakage = Row(name, self.host.name), BREAKAGES[name]
        started = time.monotonic()
        self._do(breakage.switch)
        if isinstance(breakage, Fault):
            self._watch(row, breakage, started)
            started = time.monotonic()
            self._do(breakage.repair)
        else:
            self._await_repair(row, breakage, started)
        self._await_all_well(row, started)
        row.wrong += [
            f"alert {alert}"
            for alert in self.host.receiver.names(self.host.name, started, own=False)
            if alert not in {*breakage.alerts, *self._former}
        ]
        self._former.update(breakage.alerts)
        return row

    def _do(self, action: Action) -> None:
        if isinstance(action, str):
            self.host.run(action)
        else:
            action(self.host)

    # A breakage that must be named

    def _watch(self, row: Row, fault: Fault, started: float) -> None:
        end = started + _DEADLINE
        while len(row.seconds) < len(_COLUMNS) and time.monotonic() < end:
            self._look(row, fault, started)
            time.sleep(0.5)
        row.wrong += [f"{column}: silent" for column in _COLUMNS if column not in row.seconds]

    def _look(self, row: Row, fault: Fault, started: float) -> None:
        """Note what names the breakage now, and what blames something else."""
        host, receiver = self.host, self.host.receiver
        if "status" not in row.seconds and fault.words in host.ask("status")[1]:
            row.seconds["status"] = time.monotonic() - started
        if fault.symptoms:
            shown = host.open_symptoms()
            self._blame(
                row, "why", {symptom for symptom, effect in shown if effect != "note"}, fault.symptoms
            )
            is_named = shown[:1] and shown[0][0] == fault.symptoms[0]
            notified = receiver.names(host.name, started, own=True)
            self._blame(row, "notification", set(notified), fault.symptoms)
        else:
            is_named = fault.words in host.ask("why")[1]
            notified = {"": time.monotonic()} if receiver.is_overdue(host.name) else {}
        if is_named:
            row.seconds.setdefault("why", time.monotonic() - started)
        for at in [
            at for symptom, at in notified.items() if symptom in fault.symptoms[:1] or not fault.symptoms
        ]:
            row.seconds.setdefault("notification", at - started)
        alerts = receiver.names(host.name, started, own=False)
        if fault.alerts[0] in alerts:
            row.seconds.setdefault("alert", alerts[fault.alerts[0]] - started)
        self._blame(row, "alert", set(alerts), (*fault.alerts, *self._former))

    @staticmethod
    def _blame(row: Row, column: str, named: set[str], allowed: tuple[str, ...]) -> None:
        row.wrong += sorted({f"{column}: {name}" for name in named - set(allowed)} - set(row.wrong))

    # The end of a breakage

    def _await_repair(self, row: Row, breakage: Repaired, started: float) -> None:
        while time.monotonic() < started + _DEADLINE:
            if self.host.host.call("sh", "-c", breakage.is_over).returncode == 0:
                return
            time.sleep(0.2)
        row.wrong.append("not repaired")

    def _await_all_well(self, row: Row, started: float) -> None:
        """Wait until mail flows and `postward status` exits with 0, and note when."""
        while time.monotonic() < started + _DEADLINE:
            status, printed = self.host.ask("status")
            if status == 0 and self.host.mail_flows():
                row.over = time.monotonic() - started
                return
        row.wrong.append(f"not over: {printed[:300]}")


def main() -> int:
    """Stage the breakages on a host of each release, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.first_day")
    parser.add_argument(
        "names", nargs="*", default=list(BREAKAGES), metavar="NAME", help="breakages; default: all"
    )
    parser.add_argument(
        "--release", choices=RELEASES, action="append", help="a release of Debian; default: all"
    )
    parser.add_argument(
        "--pace",
        type=int,
        default=4,
        help="divides the times of the alerts' rules (default: 4; 1: as shipped)",
    )
    options = parser.parse_args()
    # SIGTERM, and Ctrl-C where a shell ignores it, end the hosts after their present breakage.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _over.set())
    say(f"| breakage | host | {' | '.join(_COLUMNS)} | over | wrong |\n|{'---|' * (len(_COLUMNS) + 4)}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postward-first-day-")))
        deb = Path(os.environ["POSTWARD_DEB"]) if "POSTWARD_DEB" in os.environ else build(folder)
        receiver = stack.enter_context(Receiver())
        hosts = [stack.enter_context(FreshHost(name, deb, receiver)) for name in options.release or RELEASES]
        alertmanager = stack.enter_context(Alertmanager(folder, "1s", f"{receiver.url}/alerts"))
        targets = [host.target for host in hosts]
        prometheus = stack.enter_context(
            Prometheus(folder, targets, alertmanager, interval=_INTERVAL, pace=options.pace)
        )
        time.sleep(3 * _INTERVAL)  # scrapes of the healthy hosts
        with ThreadPoolExecutor(len(hosts)) as pool:
            rows = [
                row
                for rows in pool.map(lambda host: _day(host, prometheus, options.names), hosts)
                for row in rows
            ]
    return int(any(row.wrong for row in rows))


def _day(host: FreshHost, prometheus: Prometheus, names: list[str]) -> list[Row]:
    """Stage the breakages on one host, and print each row as soon as it is known."""
    day, rows = Day(host, prometheus), []
    for name in names:
        if _over.is_set():
            break
        if BREAKAGES[name].only in {"", host.name}:
            try:
                row = day.run(name)
            except (AssertionError, HostError) as error:
                row = Row(name, host.name, wrong=[" ".join(f"{error}".split())[:500]])
            say(row.line())
            rows.append(row)
    return rows


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
