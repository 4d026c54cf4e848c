"""Run a soak: `python -m tools.soak log --rounds 300 --seed 1`. Prints a summary, or seed and steps of a failure."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tools.soak.edit_soak import EditSoak
from tools.soak.log_soak import LogSoak
from tools.soak.relay_soak import RelaySoak
from tools.soak.rsyslog_soak import RsyslogSoak


def main() -> int:
    """Run the rounds and return the exit status: 1 if a check failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak")
    parser.add_argument(
        "what",
        choices=("log", "rsyslog", "edits", "relay"),
        help="the part with faults: the mail log, the mail log of rsyslogd and logrotate, the configuration (edits), "
        "or the relay with Postfix and the agent",
    )
    parser.add_argument("--rounds", type=int, default=300, help="number of rounds (default: 300)")
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(1 << 32),
        help="seed of the random steps (default: a random one)",
    )
    parser.add_argument(
        "--burst", type=int, default=20_000, help="max. lines written to the log at once (default: 20000)"
    )
    options = parser.parse_args()
    say(f"seed {options.seed}, {options.rounds} rounds")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        soak: LogSoak | EditSoak | RelaySoak
        match options.what:
            case "log":
                soak = LogSoak(folder, options.seed, options.burst)
            case "rsyslog":
                soak = RsyslogSoak(folder, options.seed, options.burst)
            case "edits":
                soak = EditSoak(folder, options.seed)
            case _:
                soak = RelaySoak(folder, options.seed)
        try:
            for number in range(1, options.rounds + 1):
                soak.round()
                if number % 10 == 0:
                    say(f"round {number}: {soak.summary()}")
        except AssertionError as error:
            say(f"seed {options.seed}, round {number}: {error}\nsteps: {' '.join(soak.steps)}")
            return 1
        finally:
            soak.close()
    say(f"{options.rounds} rounds: {soak.summary()}, {time.monotonic() - started:.0f} s")
    return 0


def say(text: str) -> None:
    """Print a line and flush it, so that an interrupted run shows its progress."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
