"""Adopt generated configurations: `python -m tools.adoption --cases 200 --seed 1`. Prints faults and counts.

Half of the cases are hosts as people configure them, the other half routes of every kind. For each one the adoption
must end with settings or a reason. The settings are written, read again, and planned: the plan must be as was said.
No file of Postfix may change, and no password may be shown or be readable.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from postward.agent.commands.adopt import command
from postward.agent.commands.exit_status import DRIFT, FAILED
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.postfix.commands import Postfix as Instance
from postward.config.settings import load_settings
from tools.adoption.field import Field
from tools.oracle.generate import Case, Generator, parameters
from tools.oracle.real import Postfix, write_tables


def main() -> int:
    """Run the adoptions and return the exit status: 1 if there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tools.adoption")
    parser.add_argument("--cases", type=int, default=200, help="number of configurations (default: 200)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="seed")
    parser.add_argument("--show", action="store_true", help="print each result")
    options = parser.parse_args()
    started, counts, faults = time.monotonic(), Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="adoption-") as name:
        Path(name).chmod(0o755)
        postfix = Postfix(Path(name))
        os.environ["POSTWARD_ENFORCE__DIRECTORY"] = str(Path(name) / "enforce")
        types = postfix.config.facts().map_types
        field, generator = Field(options.seed, types), Generator(options.seed, types)
        for number in range(options.cases):
            in_field = number % 2 == 0
            case = field.case() if in_field else generator.cases(1, 1)[0]
            secrets = field.secrets if in_field else ["secret"]
            for fault in _faults(
                case, postfix, secrets, counts, "field" if in_field else "oracle", options.show
            ):
                faults += 1
                _say(f"case {number}: {fault}")
    for name, count in sorted(counts.items()):
        _say(f"{count:5}  {name}")
    _say(
        f"seed {options.seed}, {options.cases} configurations, {faults} faults; {time.monotonic() - started:.0f} s"
    )
    return int(faults > 0)


def _faults(
    case: Case, postfix: Postfix, secrets: list[str], counts: Counter[str], kind: str, show: bool
) -> Iterator[str]:
    etc = postfix.config.config_directory
    postfix.write({}, Case())  # postmap(1) reads main.cf, and the former case's names its own tables
    tables = write_tables(case, etc)
    values = {name: value.replace("proxy:", "") for name, value in parameters(case, str(tables)).items()}
    postfix.write(values, case)
    before = _digest(etc)
    folder = postfix.folder / "settings"
    shutil.rmtree(folder, ignore_errors=True)
    file = folder / "postward.toml"
    try:
        status, shown = _adopt(file, etc)
    except Exception:
        yield traceback.format_exc()
        return
    if show:
        _say(f"---- {status}\n{case}\n{shown}")
    if _digest(etc) != before:
        yield "Postfix's files changed"
    texts = shown + (file.read_text() if file.exists() else "")
    yield from (f"{secret} is shown" for secret in secrets if _is_in(secret, texts))
    if status == FAILED:
        counts[f"{kind}: not adopted: {_reason(shown)}"] += 1
        if file.exists():
            yield "settings were written in spite of a failure"
        return
    result = json.loads(shown[shown.index("{") :])
    readable = [
        path for path in folder.rglob("*") if path.is_file() and path != file and path.stat().st_mode & 0o077
    ]
    yield from (f"{path} is readable" for path in readable)
    settings = load_settings(file)
    planned = [drift.name for drift in Enforcer(settings, Instance(etc)).look()[0].drifts]
    if planned != result["changes"]:
        yield f"the plan is {planned}, not {result['changes']}"
    if status != (DRIFT if planned else 0):
        yield f"status {status} with the plan {planned}"
    counts[f"{kind}: adopted, plan {'says ' + ', '.join(planned) if planned else 'empty'}"] += 1
    counts[f"{kind}: relays adopted"] += len(settings.relay)
    counts[f"{kind}: routes by sender left unmanaged"] += sum(
        one["what"].startswith("mail ") for one in result["unmanaged"]
    )


def _adopt(file: Path, etc: Path) -> tuple[int, str]:
    """Return the exit status and all that was printed."""
    out = io.StringIO()
    status: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            arguments = ["--config", str(file), "--postfix", str(etc), "--from", "postfix", "--yes", "--json"]
            command.main(arguments, standalone_mode=False)
        except SystemExit as error:
            status = error.code
    return int(str(status or 0)), out.getvalue()


def _reason(shown: str) -> str:
    text = shown.strip().rpartition("\n")[2].removeprefix("postward: nothing to adopt: ")
    return text if len(text) < 150 else f"{text[:150]}…"


def _is_in(secret: str, text: str) -> bool:
    return secret in text or json.dumps(secret)[1:-1] in text


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path}{path.stat().st_mode}".encode() + path.read_bytes())
    return digest.hexdigest()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
