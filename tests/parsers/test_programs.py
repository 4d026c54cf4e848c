"""The compiled scan matches what the rules' own patterns match, refuses programs that are not valid, and leaks nothing."""

import gc
import random
import re
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postward.parsers import parse
from postward.parsers.daemons import TABLE
from postward.parsers.events import Removed
from postward.parsers.programs import program_of
from postward.parsers.record import HEADER, parse_record
from postward.parsers.rules import Rule
from postward.parsers.scan import _Compiled
from tests.parsers.golden import CORPUS, read_lines
from tests.support.require import demand, required
from tools.bench.mutated import mutated

try:
    from postward.parsers import _scan
    from tools.scan import build_sanitized, differences, matcher, run_sanitized
except ImportError:
    demand("the compiled scan is missing: install a C compiler and Python's headers, then run .ci/setup")

RULES = list({rule.text: rule for daemon in TABLE for rule in TABLE[daemon]}.values())
LINES = [line for log in sorted(CORPUS.rglob("*.log")) for line in read_lines(log)]
TEXTS = sorted(
    {
        record.text
        for line in LINES
        if (record := parse_record(line)) is not None and re.fullmatch(r"[ -~]*[!-~]", record.text)
    }
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.event.__name__)
def test_every_rule_matches_as_re(rule: Rule) -> None:
    """On every text of the corpus, with the same groups. No rule is left to `re`."""
    assert program_of(rule.text) is not None
    assert differences(rule.text, TEXTS) == []


def test_mutated_texts_match_as_re() -> None:
    """Each rule on damaged texts; another seed each time is `python -m tools.scan compare`."""
    rnd = random.Random(20261130)  # noqa: S311 - the same texts each time
    texts = [text for _ in range(400) if re.fullmatch(r"[ -~]*[!-~]", text := mutated(rnd, TEXTS)[:4000])]
    for rule in RULES:
        assert differences(rule.text, texts) == [], rule.text


PARTS = (
    "a", "b", "ab", ".", "[ab]", "[^a]", "(a)", "(a|b)", "(?:ab|a)", "(?:a|ab)(?:c|bcd)", r"\d", r"\w", r"\S", "(?=a)", "(?!ab)",
    "(?:(a)|b)", "(?>a+)", "(?:(?:a|(b))c)",
)  # fmt: skip
SUFFIXES = ("", "*", "+", "?", "*+", "++", "?+", "*?", "+?", "{2}", "{1,3}", "{2,}")


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from(SUFFIXES)), min_size=1, max_size=5),
    st.lists(st.text("abcd1 ", max_size=12).map(lambda text: f"{text}a"), min_size=1, max_size=8),
)
def test_any_pattern_matches_as_re(parts: list[tuple[str, str]], texts: list[str]) -> None:
    """Patterns beyond those of the rules: nested choices, lazy and possessive repetitions, groups in loops."""
    pattern = "".join(f"(?:{part}){suffix}" for part, suffix in parts)
    if program_of(pattern) is not None:
        assert differences(pattern, texts) == []


def test_patterns_that_cannot_be_compiled_are_left_to_re() -> None:
    """Back references, look-behind, flags within a pattern, and bodies that can match nothing."""
    for pattern in (r"(a)\1", "(?<=a)b", "(?i:a)", "(?:a?)*", "(?:ab){99}", "^a"):
        assert program_of(pattern) is None, pattern


def test_a_match_that_runs_too_long_gives_up() -> None:
    """Its line is left to `parse`, as one that no rule matches."""
    program = program_of("(?:a|aa)*b")
    assert program is not None
    assert matcher(program)(["a" * 60, "aab"]) == [None, ()]


def test_programs_that_are_not_valid_are_refused() -> None:
    """Steps out of range, an end without a match, parts of steps, too many groups."""
    header = program_of(HEADER)
    assert header is not None
    scanner = _scan.Scanner(header, (1,), lambda _tag, _severity: None, frozenset())
    steps, sets, strings, groups = header
    bad = (
        (b"", sets, strings, groups),
        (steps[:-1], sets, strings, groups),
        (steps[:-16], sets, strings, groups),  # without the last step
        (b"\xff" + steps[1:], sets, strings, groups),
        (steps, b"", strings, groups),
        (steps, sets, b"", groups),
        (steps, sets, strings, 2),
        (steps, sets, strings, 64),
    )
    for program in bad:
        with pytest.raises(ValueError, match="program"):
            scanner.add(program, (), (), -1)
    with pytest.raises(ValueError, match="columns"):
        scanner.add(header, (), (), 0)
    with pytest.raises(ValueError, match="columns"):
        scanner.add(header, (), (1,), 1)
    with pytest.raises(ValueError, match="group"):
        scanner.add(header, (7,), (), -1)
    with pytest.raises(ValueError, match="group"):
        scanner.add(header, (), (-6,), 0)
    with pytest.raises(ValueError, match="six groups"):
        _scan.Scanner(program_of("a") or header, (), lambda _tag, _severity: None, frozenset())


@pytest.mark.parametrize("answer", [1, (1, 2), ("postfix", "x", [0]), ("postfix", "x", (), ())])
def test_a_wrong_answer_about_a_tag_is_an_error(answer: object) -> None:
    """And an exception of the function passes through."""
    header = program_of(HEADER)
    assert header is not None
    scanner = _scan.Scanner(header, (), lambda _tag, _severity: answer, frozenset())  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="find must return"):
        scanner.scan("Nov 24 06:05:01 mx1 postfix/x[1]: text\n")

    def fail(tag: str, _severity: int) -> None:
        raise LookupError(tag)

    with pytest.raises(LookupError, match="postfix/x"):
        _scan.Scanner(header, (), fail, frozenset()).scan("Nov 24 06:05:01 mx1 postfix/x[1]: text\n")


def test_scans_leak_nothing() -> None:
    """Memory is the same after many scans and scanners, those that end in an exception too."""
    header = program_of(HEADER)
    assert header is not None
    lines = [
        f"Nov 24 06:05:01 mx{number} postfix/{number:03}[1]: {'é' * (number % 2)}a" for number in range(300)
    ]
    text = "\n".join(lines)

    def entry(tag: str, _severity: int) -> tuple[str, str, tuple[int, ...]]:
        if tag == "postfix/200":
            raise LookupError(tag)
        return "postfix", tag, (0,)

    def once() -> None:
        scanner = _scan.Scanner(header, (2,), entry, frozenset({"mx5"}))
        scanner.add(program_of("(a)(b)?") or header, (1, 2), (1, -1), 0)
        with pytest.raises(LookupError):
            scanner.scan(text)
        scanner.scan("\n".join(lines[:200]))

    for _ in range(5):
        once()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0], sys.getrefcount(None)
        for _ in range(50):
            once()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0], sys.getrefcount(None)
    finally:
        tracemalloc.stop()
    assert after[0] - before[0] < 20_000
    assert abs(after[1] - before[1]) < 100


def test_any_number_of_instances_has_one_set_of_rules() -> None:
    """A syslog_name with a counter adds nothing after the first line of a daemon."""
    lines = [f"Nov 24 06:05:01 mx1 out-{number}/qmgr[1]: 3C0: removed\n" for number in range(2000)]
    compiled = _Compiled({}, parse)
    compiled(lines[0])
    rules = len(compiled._rules)
    found, _ = compiled("".join(lines))

    assert len(found[Removed]["instance"]) == 2000
    assert len(compiled._rules) == rules


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scan, built with the sanitizers of gcc."""
    required("gcc", "gcc")
    return build_sanitized(tmp_path_factory.mktemp("sanitized"))


@pytest.mark.parametrize(
    "arguments",
    [("hostile", "--seconds", "5", "--seed", "1"), ("compare", "--lines", "20000", "--seed", "1")],
)
def test_the_sanitizers_find_nothing(sanitized: Path, arguments: tuple[str, ...]) -> None:
    """Random programs and mutated lines under gcc's sanitizers: no access out of bounds, no undefined operation."""
    done = run_sanitized(sanitized, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
