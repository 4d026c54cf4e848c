"""Play the scenes on each release and print the lines that the parser does not recognise."""

import argparse
import os
import re
import sys
import time
from collections import defaultdict
from pathlib import Path

from postward.parsers import parse, parse_record
from postward.parsers.events import Problem
from tools.releases import scenes_config, scenes_local, scenes_relay, scenes_server
from tools.releases.recording import CORPUS, distinct, neutral, shape
from tools.releases.stage import SCENES, Scene, Stage, stage
from tools.releases.tree import RELEASES, default_cache

_PLAYED = (scenes_relay, scenes_server, scenes_local, scenes_config)
_out = sys.stdout.write


def _play(scene: Scene, on: Stage) -> list[str]:
    """Play one scene; return its faults: an error, or texts that its log does not show."""
    on.begin()
    started, wrong = time.monotonic(), []
    try:
        scene.play(on)
        on.clean()
    except Exception as error:  # the other scenes still run
        wrong.append(f"{type(error).__name__}: {error}")
        on.recover()
    log = on.since("")
    wrong += [f"its log does not show {text!r}" for text in scene.shows if not any(_shown(text, log))]
    _out(
        f"  {'FAILED' if wrong else 'ok':6} {time.monotonic() - started:5.1f} s {len(log):5} lines  {scene.title}\n"
    )
    for text in wrong:
        _out(f"         {text}\n")
    sys.stdout.flush()
    return wrong


def _process(line: str) -> tuple[str, int | None]:
    record = parse_record(line)
    return ("", None) if record is None else (record.daemon, record.pid)


def _foreign(line: str) -> bool:
    """Return whether another program, such as su, wrote the line to the system log."""
    return parse_record(line) is None and re.match(r"\S+ [ \d]\d \S+ \S+ postfix", line) is None


def _shown(text: str, log: list[str]) -> list[bool]:
    return [any(part in line for part in text.split("|")) for line in log]


def _report(title: str, lines: list[str]) -> None:
    """Print lines grouped by daemon and shape, with the size of each group."""
    groups: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        groups[shape(line)].append(line)
    _out(f"{title}: {len(lines)} lines, {len(groups)} shapes\n")
    for same in sorted(groups.values(), key=lambda same: shape(same[0])):
        _out(f"  {len(same):5} x {same[0]}\n")


def run(release: str, cache: Path, options: argparse.Namespace) -> bool:
    """Play all scenes on one release; return whether all succeeded and every line was recognised."""
    failed: list[str] = []
    quiet: list[str] = []
    verbose: list[str] = []
    with stage(release, cache, options.mails) as on:
        _out(f"{release}: Postfix {on.host.version}\n")
        quiet += on.since("")
        for scene in SCENES:
            if options.only and options.only not in scene.title:
                continue
            if reason := scene.cannot(on.host.release):
                _out(f"  cannot            {scene.title}: {reason}\n")
                continue
            failed += _play(scene, on)
            (verbose if scene.verbose else quiet).extend(on.since(""))
        on.begin()
        on.host.stop()
        quiet += on.since("")
        version = on.host.version
    # A verbose process stays verbose after its scene.
    loud = {_process(line) for line in verbose if parse(line)[1] is None}
    verbose += [line for line in quiet if _process(line) in loud]
    lines = [neutral(line) for line in quiet if _process(line) not in loud and not _foreign(line)]
    parsed = [(line, *parse(line)) for line in lines]
    unknown = [line for line, _, event in parsed if event is None]
    _report(f"{release}: unrecognised", unknown)
    if options.problems:
        _report("labelled lines without a rule of their own", [s for s, _, e in parsed if type(e) is Problem])
    unknown_verbose = sum(parse(line)[1] is None for line in verbose)
    _out(
        f"{release}: Postfix {version}: {len(lines)} lines, {len(unknown)} unrecognised, {len(failed)} faults in scenes; "
    )
    _out(f"verbose scenes: {len(verbose)} lines, {unknown_verbose} unrecognised\n")
    if options.save:
        CORPUS.mkdir(parents=True, exist_ok=True)
        kept = distinct(lines)
        (CORPUS / f"{version}.log").write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        _out(f"kept {len(kept)} lines of distinct shape\n")
    if options.raw:
        (options.raw / f"{release}.log").write_text("".join(f"{line}\n" for line in quiet + verbose))
    return not unknown and not failed


def main() -> int:
    """Run; return exit status 1 if a scene failed or a line was not recognised."""
    reader = argparse.ArgumentParser(prog="python -m tools.releases", description=__doc__)
    reader.add_argument(
        "--release", default=",".join(RELEASES), help="comma-separated releases (default: %(default)s)"
    )
    reader.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        help="directory of the releases' trees (default: %(default)s)",
    )
    reader.add_argument(
        "--mails", type=int, default=200, help="number of ordinary mails (default: %(default)s)"
    )
    reader.add_argument(
        "--save", action="store_true", help="write the distinct lines to tests/corpus/releases"
    )
    reader.add_argument("--only", help="play only scenes whose title contains this text")
    reader.add_argument(
        "--problems", action="store_true", help="also list labelled lines without a rule of their own"
    )
    reader.add_argument("--raw", type=Path, help="directory for the complete logs")
    options = reader.parse_args()
    if os.geteuid() != 0:
        reader.error("only root may run another release's Postfix")
    releases = options.release.split(",")
    if wrong := [name for name in releases if name not in RELEASES]:
        reader.error(f"--release: {', '.join(wrong)}: unknown; of {', '.join(RELEASES)}")
    verdicts = [
        run(release, options.cache, options) for release in releases
    ]  # also after a release that failed
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
