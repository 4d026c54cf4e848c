"""What `postward why` says mends a fault does: run in a shell as it is printed, on a real Postfix. All faults: `remedies.py`."""

import subprocess

import pytest

from postward.agent.incidents.catalog.table import ROWS
from tests.support import require_postfix
from tests.support.require import demand, required
from tools.incidents.remedies import FAULTS, Outcome, outcomes, shown

# Those that smtp(8) does not die of: after that master(8) would wait for a minute.
QUICK = (
    "wrapper mode on 587", "465 without wrapper mode", "TLS off", "CA file gone", "login off", "key without port", "index gone",
    "postmap forgotten", "PLAIN forbidden", "mechanisms filtered", "mail kept back", "relays by sender, index gone",
)  # fmt: skip


@pytest.fixture(scope="module")
def found() -> dict[str, Outcome]:
    """All of them on one stage."""
    require_postfix()
    for program, package in (("unshare", "util-linux"), ("ip", "iproute2"), ("prlimit", "util-linux")):
        required(program, package)
    allowed = subprocess.run(["unshare", "--net", "--mount", "true"], check=False, capture_output=True)
    demand(
        None
        if allowed.returncode == 0
        else "namespaces may not be made: run as root, in a container as --privileged"
    )
    rows = outcomes(list(QUICK))
    print(f"\n{shown(rows)}")  # noqa: T201
    return {row.name: row for row in rows}


@pytest.mark.parametrize("name", QUICK)
def test_the_remedy_mends_the_fault(found: dict[str, Outcome], name: str) -> None:
    """The cause is sure and right, the setting is the one that was wrong, and mail goes out after the remedy alone."""
    row = found[name]

    assert (row.cause, row.setting) == ("right", "right"), row
    assert row.fix == ("person" if name == "key without port" else "right"), row


def test_every_fault_is_in_the_catalogue() -> None:
    """A misspelt truth would be found wrong only when somebody runs all of them."""
    known = {candidate.id for row in ROWS for candidate in row.candidates}
    assert {fault.truth for fault in FAULTS.values()} <= known
    assert set(QUICK) <= set(FAULTS)
