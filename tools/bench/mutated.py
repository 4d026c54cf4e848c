"""Parse mutated lines of the corpus and report the slowest. An exception ends the run.

Lines are cut, doubled, and spliced with other lines and with texts that imitate Postfix, up to twice the length at which
Postfix cuts its lines. Times are CPU times of one thread; a slow line is measured again and its minimum counts. The same
seed gives the same lines for any number of processes. Nothing is asserted. Run `python -m tools.bench.mutated [lines]` in
the repository's root.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from postward.parsers import cause_of, parse, relay_host_of, step_of
from tests.parsers.golden import CORPUS, read_lines

_MAX_LENGTH = 4000  # characters
_SUSPECT = 0.002  # seconds; measured again
_BATCH = 50_000
_FRAGMENTS = (
    ">",
    "<",
    '"',
    "\\",
    ", ",
    "; ",
    ": ",
    "(",
    ")",
    "[",
    "]",
    "=",
    " ",
    "\0",
    "\r",
    "\x85",
    "\u2028",
    "\ufffd",
    "é",
    "\U0001f4a3",
    ">, relay=",
    ">, orig_to=<",
    "; from=<",
    "> to=<",
    ", status=sent (250 ok)",
    ", dsn=2.0.0",
    ", delay=",
    "delays=1/2/3/4",
    "warning: ",
    "fatal: ",
    "connect to x[1.2.3.4]:25: ",
    " said: 535 5.7.8 ",
    " (in reply to RCPT TO command)",
    "message repeated 9 times: [ ",
    "delivery temporarily suspended: ",
    " postfix/smtp[1]: ",
    "[ID 1 mail.info] ",
    '{"MESSAGE": "',
    "2026-11-24T06:05:01.5+01:00 ",
    "<22>1 ",
)
_Mutation = Callable[[random.Random, str, list[str]], str]


def _cut(rnd: random.Random, line: str, _corpus: list[str]) -> str:
    start, end = sorted((rnd.randrange(len(line) + 1), rnd.randrange(len(line) + 1)))
    return line[:start] + line[end:]


def _repeat(rnd: random.Random, line: str, _corpus: list[str]) -> str:
    start = rnd.randrange(len(line) + 1)
    part = line[start : start + rnd.choice((1, 2, 5, 20, 80))]
    return line[:start] + part * rnd.choice((2, 3, 10, 100, 1000)) + line[start:]


def _insert(rnd: random.Random, line: str, _corpus: list[str]) -> str:
    at = rnd.randrange(len(line) + 1)
    return line[:at] + rnd.choice(_FRAGMENTS) * rnd.choice((1, 1, 1, 2, 50)) + line[at:]


def _splice(rnd: random.Random, line: str, corpus: list[str]) -> str:
    other = rnd.choice(corpus)
    return line[: rnd.randrange(len(line) + 1)] + other[rnd.randrange(len(other) + 1) :]


def _change(rnd: random.Random, line: str, _corpus: list[str]) -> str:
    at = rnd.randrange(len(line) + 1)
    return line[:at] + chr(rnd.randrange(32, 127)) + line[at + 1 :]


_MUTATIONS: tuple[_Mutation, ...] = (_cut, _repeat, _insert, _insert, _splice, _change)


def mutated(rnd: random.Random, corpus: list[str]) -> str:
    """Return a random line, mutated one to four times."""
    line = rnd.choice(corpus)
    for _ in range(rnd.randint(1, 4)):
        line = rnd.choice(_MUTATIONS)(rnd, line, corpus)
    return line[:_MAX_LENGTH]


def seconds_of(line: str) -> float:
    """Return the CPU seconds for header, event, cause, step and next hop of a line."""
    start = time.thread_time()
    _, event = parse(line)
    if event is not None:
        cause_of(event), step_of(event), relay_host_of(event)
    return time.thread_time() - start


def _batch(seed: int) -> tuple[float, str]:
    """Return the slowest time of a batch, and its line."""
    rnd = random.Random(seed)  # noqa: S311 - the same lines each time
    corpus = [line for log in sorted(CORPUS.rglob("*.log")) for line in read_lines(log)]
    slowest, its_line = 0.0, ""
    for _ in range(_BATCH):
        line = mutated(rnd, corpus)
        seconds = seconds_of(line)
        if seconds > max(slowest, _SUSPECT):
            seconds = min(seconds, *(seconds_of(line) for _ in range(4)))
        if seconds > slowest:
            slowest, its_line = seconds, line
    return slowest, its_line


def main(lines: int) -> None:
    """Mutate, parse and print."""
    out = sys.stdout.write
    batches = max(1, lines // _BATCH)
    start = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        slowest, line = max(pool.map(_batch, range(batches)))
    out(f"{batches * _BATCH:,} mutated lines in {time.perf_counter() - start:.0f} s, none raised\n")
    out(f"slowest: {slowest * 1e3:.2f} ms, {len(line)} characters: {line[:160]!r}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
