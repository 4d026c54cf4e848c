"""Compare the compiled scan with `re`, and fuzz it.

`python -m tools.scan compare --lines 10000000` scans mutated lines of the corpus by both and prints the number of lines that
differ. `python -m tools.scan hostile --seconds 60` gives it random programs and lines. `--sanitized` does either with the
sanitizers of gcc. Exit status 1 if anything differs or faults.
"""

import argparse
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from postward.parsers import _scan
from postward.parsers.programs import program_of
from postward.parsers.record import HEADER
from postward.parsers.scan import FREQUENT, Block, Scanner
from tests.parsers.golden import CORPUS, read_lines
from tools.bench.mutated import mutated
from tools.scan import build_sanitized, random_program, run_sanitized

_BATCH = 20_000
_KINDS = dict.fromkeys(kind for kinds in FREQUENT.values() for kind in kinds)


def corpus() -> list[str]:
    """Return the lines of the corpus."""
    return [line for log in sorted(CORPUS.rglob("*.log")) for line in read_lines(log)]


def differing(seed: int) -> list[str]:
    """Return the mutated lines that the two scans take for something else."""
    rnd, known = random.Random(seed), corpus()  # noqa: S311 - the same lines each time
    wanted = {kind: kind._fields for kind in _KINDS}
    scanners = [Scanner(wanted, excerpts=True, compiled=compiled) for compiled in (True, False)]
    texts = [mutated(rnd, known).replace("\n", " ") for _ in range(_BATCH)]
    block = "".join(f"{text}\n" for text in texts)
    lines = (scanner.scan(block).all_lines for scanner in scanners)
    odd = [one.text for one, two in zip(*lines, strict=True) if one != two]
    for text in texts[:500]:
        fast, slow = (scanner.scan(f"{text}\n") for scanner in scanners)
        if fast.frequent and slow.frequent and _rows(fast) != _rows(slow):
            odd.append(text)
    return odd


def _rows(block: Block) -> list[list[tuple[object, ...]]]:
    return [block.rows(kind, "stamp", "host", "instance", *kind._fields) for kind in _KINDS]


def compare(lines: int, seed: int) -> int:
    """Print how many lines differ, and the first of them."""
    batches, odd, started = max(1, lines // _BATCH), 0, time.monotonic()
    with ProcessPoolExecutor() as pool:
        for number, found in enumerate(pool.map(differing, range(seed, seed + batches)), 1):
            odd += len(found)
            for text in found[:3]:
                sys.stdout.write(f"differs: {text!r}\n")
            if number % 50 == 0 or number == batches:
                seconds = time.monotonic() - started
                sys.stdout.write(f"{number * _BATCH:,} lines, {odd} differ, {seconds:.0f} s\n")
                sys.stdout.flush()
    return int(odd > 0)


def hostile(seconds: float, seed: int) -> int:
    """Give the scan random programs and mutated lines, and print how many it took."""
    rnd, known, header = random.Random(seed), corpus(), program_of(HEADER)  # noqa: S311
    assert header is not None
    end, programs, refused, lines = time.monotonic() + seconds, 0, 0, 0
    while time.monotonic() < end:
        scanner = _scan.Scanner(header, (3,), _rules, frozenset({"INFO"}))
        for _ in range(2):
            try:
                scanner.add(random_program(rnd), (1, 0), (-1, -5, 1), rnd.choice((-1, 0)))
                programs += 1
            except ValueError:
                refused += 1
        texts = [mutated(rnd, known) for _ in range(50)]
        scanner.scan("\n".join(texts))
        lines += len(texts)
    sys.stdout.write(f"{programs:,} programs taken, {refused:,} refused, {lines:,} lines\n")
    return 0


def _rules(_tag: str, severity: int) -> tuple[str, str, tuple[int, ...]]:
    return "postfix", "x", (0,) if severity else (0, 1)


def main() -> int:
    """Run one of them, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.scan")
    parser.add_argument("what", choices=("compare", "hostile"))
    parser.add_argument(
        "--lines", type=int, default=1_000_000, help="mutated lines to compare (default: 1,000,000)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="duration of hostile (default: 60)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31), help="seed")
    parser.add_argument("--sanitized", action="store_true", help="with the sanitizers of gcc")
    options = parser.parse_args()
    if options.sanitized:
        with tempfile.TemporaryDirectory(prefix="scan-") as name:
            rest = [argument for argument in sys.argv[1:] if argument != "--sanitized"]
            done = run_sanitized(build_sanitized(Path(name)), *rest)
            sys.stdout.write(done.stdout + done.stderr)
            return done.returncode
    sys.stdout.write(f"seed {options.seed}\n")
    if options.what == "compare":
        return compare(options.lines, options.seed)
    return hostile(options.seconds, options.seed)


if __name__ == "__main__":
    sys.exit(main())
