"""Generated hosts are adopted, or refused with a reason."""

import subprocess
import sys

from tests.support.require import require_postfix


def test_generated_hosts_are_adopted_without_a_fault() -> None:
    """No file of Postfix changes, no password is shown or readable, and the plan is as was said."""
    require_postfix(sasl=False)
    command = [sys.executable, "-m", "tools.adoption", "--cases", "8", "--seed", "11"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "adopted, plan empty" in done.stdout
