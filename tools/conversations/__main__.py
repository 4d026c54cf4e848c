"""`python -m tools.conversations`: hold all sessions of `postward init` and print their table. Takes four minutes, as root.

Exit status 1 if a session ends otherwise than it should.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.commands.sessions import DELIVERED, SESSIONS, faults_of, hold, network
from tests.support.require import missing_for_postfix


def main(names: list[str]) -> int:
    """Hold the sessions with these texts in their names, or all."""
    if reason := missing_for_postfix():
        sys.stderr.write(f"{reason}\n")
        return 1
    chosen = [session for session in SESSIONS if not names or any(name in session.name for name in names)]
    wrong, delivered = 0, []
    with tempfile.TemporaryDirectory(prefix="postward-sessions-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postfix's user must reach its queues
        with network(folder) as relays:
            for number, session in enumerate(chosen, 1):
                try:
                    outcome = hold(session, relays, folder / str(number))
                except AssertionError as error:
                    sys.stdout.write(f"{number:2} {session.name}: {error}\n")
                    wrong += 1
                    continue
                faults = faults_of(session, outcome)
                end = "first probe delivered" if session.end == DELIVERED else session.end
                sys.stdout.write(
                    f"{number:2} {session.name:60} {outcome.seconds:6.1f} s  {'; '.join(faults) or end}\n"
                )
                sys.stdout.flush()
                if faults:
                    wrong += 1
                    sys.stdout.write(f"{outcome.text}\n")
                elif session.end == DELIVERED:
                    delivered.append(outcome.seconds)
    if delivered:
        sys.stdout.write(
            f"{len(delivered)} with a delivered probe: median {median(delivered):.1f} s, longest {max(delivered):.1f} s\n"
        )
    sys.stdout.write(f"{len(chosen)} sessions, {wrong} wrong\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
