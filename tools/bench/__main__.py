"""`make bench`: every benchmark of this folder in turn, each in its own process. They print figures and assert nothing."""

import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Run them."""
    for script in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        print(f"\n== {script.stem}", flush=True)  # noqa: T201 - figures are for the terminal
        subprocess.run([sys.executable, "-m", f"tools.bench.{script.stem}"], check=True)


if __name__ == "__main__":
    main()
