"""The remedies of `postward why`, run in a shell as they are printed, on a real Postfix.

`python -m tools.incidents.remedies` tries all faults.
"""

import subprocess

import pytest

from postward.agent.incidents.catalog.table import ROWS
from tests.support import require_postfix
from tests.support.require import demand, required
from tools.incidents.remedies import FAULTS, Outcome, outcomes, report

# Faults that do not make smtp(8) exit: master(8) would throttle it for a minute.
QUICK = (
    "wrapper mode on 587",
    "465 without wrapper mode",
    "TLS off",
    "CA file gone",
    "login off",
    "key without port",
    "index gone",
    "postmap forgotten",
    "PLAIN forbidden",
    "mechanisms filtered",
    "mail kept back",
    "relays by sender, index gone",
)


@pytest.fixture(scope="module")
def results() -> dict[str, Outcome]:
    """The outcome of each fault, all on one stage."""
    require_postfix()
    for program, package in (("unshare", "util-linux"), ("ip", "iproute2"), ("prlimit", "util-linux")):
        required(program, package)
    allowed = subprocess.run(["unshare", "--net", "--mount", "true"], check=False, capture_output=True)
    demand(
        None
        if allowed.returncode == 0
        else "namespaces are not permitted: run as root, in a container with --privileged"
    )
    rows = outcomes(list(QUICK))
    print(f"\n{report(rows)}")  # noqa: T201
    return {row.name: row for row in rows}


@pytest.mark.parametrize("name", QUICK)
def test_remedy_repairs_the_fault(results: dict[str, Outcome], name: str) -> None:
    """The cause is certain and right, the setting is the wrong one, and mail goes out after the remedy alone."""
    row = results[name]

    assert (row.cause, row.setting) == ("right", "right"), row
    assert row.remedy_works == ("manual" if name == "key without port" else "yes"), row


def test_every_fault_is_in_the_catalogue() -> None:
    """A misspelt candidate would show only when all faults are run."""
    known = {candidate.id for row in ROWS for candidate in row.candidates}
    assert {fault.truth for fault in FAULTS.values()} <= known
    assert set(QUICK) <= set(FAULTS)
