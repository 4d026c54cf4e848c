"""The tests on hosts call every command."""

import re

from tools.hosts.product import ROOT
from tools.hosts.test_commands import CALLS


def test_every_command_of_the_readme_is_called_on_hosts() -> None:
    """As root and as another user, with settings and without."""
    rows = re.findall(r"(?m)^\| (`.*?`) \|", (ROOT / "README.md").read_text())
    named = {name for row in rows for name in re.findall(r"`(?:postward )?([a-z]+)`", row)}
    assert named == {call.split()[0] for call in CALLS}
