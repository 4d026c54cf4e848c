"""The golden corpus: log lines and the expected result of parsing each, in one pair of files for each daemon.

``python -m tests.parsers.golden`` regenerates the expected results. Review the diff line by line before you
commit it.
"""

import json
import sys
from pathlib import Path

from postward.agent.logs.lines import lines_of
from postward.parsers import as_fields, cause_of, parse, relay_host_of, step_of

CORPUS = Path(__file__).parent.parent / "corpus"


def read_lines(path: Path) -> list[str]:
    """Return a log's lines, split as the agent splits them."""
    return [line.removesuffix("\r") for line in lines_of(path.read_bytes())]


def meaning(line: str) -> dict[str, object]:
    """Return the complete result of parsing a line, as JSON values."""
    record, event = parse(line)
    if record is None:
        return {"outcome": "foreign"}
    header = {**record._asdict()}
    text = header.pop("text")
    if event is None:
        return {**header, "event": None, "text": text}
    cause = cause_of(event)
    said: dict[str, object] = {**header, "event": type(event).__name__, "fields": as_fields(event)}
    if cause is not None:
        host = relay_host_of(event)
        said |= {"cause": cause.value, "step": step_of(event), "relay_host": list(host) if host else None}
    return said


def logs() -> list[Path]:
    """Return the logs of the daemons, in a fixed order."""
    return sorted(CORPUS.glob("*.log"))


def main() -> None:
    """Regenerate the expected results."""
    for path in logs():
        rows = [json.dumps(meaning(line), ensure_ascii=False) for line in read_lines(path)]
        path.with_suffix(".jsonl").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        sys.stdout.write(f"{path.name}: {len(rows)} lines\n")


if __name__ == "__main__":
    main()
