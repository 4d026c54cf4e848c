"""`make drill`: all faults at once, each on a host of its own, with the rules as shipped. Takes 15 minutes.

Prints the table of seconds to alert and what each dashboard panel shows meanwhile, and writes the table into
docs/alerts.md. Exit status 1 if a host has other alerts than expected.
"""

import signal
import sys
import tempfile
from pathlib import Path

from tests.grafana.showing import shown_by
from tests.support.require import missing_for_postfix
from tools.drill.drill import drill
from tools.drill.fleet import SCENARIOS

DOCS = Path(__file__).parents[2] / "docs" / "alerts.md"
_BEGIN, _END = "<!-- drill: begin -->", "<!-- drill: end -->"


def main() -> int:
    """Run the drill, print the results, and keep the table."""
    if reason := missing_for_postfix():
        sys.stderr.write(f"{reason}\n")
        return 1
    # Ctrl-C and SIGTERM end every process of the drill, also if a shell ignores SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="postward-drill-") as folder:
        Path(folder).chmod(0o755)  # Postfix's user must reach its queues
        with drill(Path(folder), list(SCENARIOS)) as result:
            seconds = result.prometheus.scrape_seconds()
            series = result.prometheus.query("max(scrape_samples_scraped)")[0]["value"][1]
            table = f"{result.table()}\n\nMost series of a host: {series}. Longest scrape: {max(seconds.values()) * 1000:.0f} ms."
            sys.stdout.write(f"{table}\n")
            for shown in shown_by(result.prometheus):
                sys.stdout.write(f"{shown}\n")
            for line in result.wrong():
                sys.stdout.write(f"WRONG {line}\n")
            if not result.wrong():
                keep(table)
            return int(bool(result.wrong()))


def keep(table: str) -> None:
    """Write the table into the docs."""
    before, _, rest = DOCS.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    DOCS.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{after}")


if __name__ == "__main__":
    sys.exit(main())
