"""Every command of the README from the installed package: as root and as an ordinary user, without settings and with them.

The table of statuses and messages is printed. Then the commands in the documents' shell blocks run as they stand.
"""

import gzip
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import pytest

from tests.support.documents import DOCUMENTS, blocks_of
from tests.support.postfix import free_port
from tests.support.waiting import wait_for
from tools.bench.lines import log_lines
from tools.hosts.product import Installed

_BIG = 50_000_000  # bytes; a report of them needs several processes
_USERS = {"root": "", "www-data": "setpriv --reuid www-data --regid www-data --clear-groups "}
_FOLDER = "/var/tmp/commands"  # noqa: S108 - on the host
# A recipient in the generated logs.
_ADDRESS = next(line for line in log_lines(1000) if " to=<" in line).partition(" to=<")[2].partition(">")[0]

# Call → statuses: without settings for root and for an ordinary user, then with settings for both.
CALLS = {
    "init --yes": (2, 1, 1, 1),
    "adopt --dry-run": (0, 1, 0, 1),
    "login m365": (78, 78, 1, 1),
    "doctor --no-relay": (78, 78, 3, 3),  # 0 where the clock is synchronised
    "check": (78, 78, 0, 0),
    "plan": (78, 78, 0, 1),
    "apply": (78, 1, 0, 1),
    "rollback 99": (78, 1, 1, 1),
    "generations": (78, 1, 0, 1),
    "run": (78, 78, 1, 1),
    "enforce --once": (78, 1, 0, 1),
    "probe": (78, 78, 0, 1),
    "relay": (78, 78, 0, 0),
    "sink --key-file /none": (1, 1, 1, 1),
    "why": (78, 78, 0, 0),
    "why LOG": (0, 0, 0, 0),
    "why SECRET": (4, 1, 4, 1),
    "status": (78, 78, 0, 0),
    "queue": (78, 78, 0, 0),
    "parse LOG": (0, 0, 0, 0),
    "parse SECRET": (0, 1, 0, 1),
    "replay LOG": (0, 0, 0, 0),
    "replay SECRET": (0, 1, 0, 1),
    "report BIG": (0, 0, 0, 0),
    "report SECRET": (4, 1, 4, 1),
    "report --html /none/page.html LOG": (1, 1, 1, 1),
    "trace MAIL LOG": (0, 0, 0, 0),
    "trace MAIL SECRET": (4, 1, 4, 1),
    "export --parquet USER.parquet LOG": (1, 1, 1, 1),
    "files USER": (0, 0, 0, 0),
}


class _Result(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def logs(fresh: Installed) -> Installed:
    """A host with logs: one of 50 MB, a short one, and one that only root may read."""
    folder = fresh.host.root / _FOLDER.lstrip("/")
    folder.mkdir(mode=0o1777)
    folder.chmod(0o1777)
    short = "".join(log_lines(3000))
    (folder / "short.log").write_text(short)
    with (folder / "big.log").open("w") as big:
        lines = log_lines(1 << 30)
        while big.tell() < _BIG:
            big.writelines(islice(lines, 100_000))
    (folder / "secret.log").write_text("Nov 22 00:00:00 mx1 cron[1]: not a line of Postfix\n")
    (folder / "secret.log").chmod(0o600)
    return fresh


def _run_all(host: Installed, user: str) -> dict[str, _Result]:
    """Run all calls, one after the other, and return their results."""
    names = {"LOG": "short.log", "BIG": "big.log", "SECRET": "secret.log", "MAIL": _ADDRESS, "USER": user}
    folder = host.host.root / _FOLDER.lstrip("/")
    results = {}
    for call in CALLS:
        words = re.sub("|".join(names), lambda name: names[name[0]], call)
        status = host.host.shell(
            f"cd {_FOLDER}; {_USERS[user]}postward {words} </dev/null >{user}.out 2>{user}.err; echo $?"
        )
        out, err = ((folder / f"{user}.{kind}").read_text(errors="replace") for kind in ("out", "err"))
        results[call] = _Result(int(status), out, err)
    return results


def _check_all(host: Installed, *, settings: bool) -> None:
    """Run all calls for both users at once, print the table, and compare it with the expected one."""
    with ThreadPoolExecutor() as pool:
        results = dict(zip(_USERS, pool.map(lambda user: _run_all(host, user), _USERS), strict=True))
    faults = []
    print(f"\n{host.host.release}, {'with' if settings else 'without'} settings")  # noqa: T201
    for call, statuses in CALLS.items():
        for user, expected in zip(_USERS, statuses[2:] if settings else statuses[:2], strict=True):
            result = results[user][call]
            said = result.err.splitlines()[-1:] if result.status else []
            shown = next((line for line in said + result.out.splitlines() if line), "")
            print(f"{call:42} {user:8} {result.status:3}  {shown[:150]}")  # noqa: T201
            fault = _fault(call, result, expected, is_missing=not settings)
            faults += (
                [f"{call} as {user}: {fault}\n{result.out[-500:]}\n{result.err[-1500:]}"] if fault else []
            )
    assert not faults, "\n".join(faults)


def _fault(call: str, result: _Result, expected: int, *, is_missing: bool) -> str:
    """Return what is wrong with a result; "" if nothing is."""
    if result.status != expected and not (call.startswith("doctor") and {result.status, expected} == {0, 3}):
        return f"status {result.status}, not {expected}"
    said = result.out + result.err if call.startswith("doctor") else result.err
    if "Traceback" in said:
        return "a traceback"
    if result.status in {1, 2, 78} and not call.startswith("doctor") and result.out:
        return "a result below an error"
    if is_missing and result.status == 78 and "postward init" not in said:
        return "the way to settings is not named"
    if "Permission denied" in said and not re.search("sudo|must be readable", said):
        return "the way to more rights is not named"
    return ""


def test_without_settings(logs: Installed) -> None:
    """Commands that need settings name `postward init`; the others do their work."""
    _check_all(logs, settings=False)


def test_the_documented_setup_without_questions(fresh: Installed) -> None:
    """The relay cannot be reached from here, so nothing is written."""
    (call,) = (line for line in _lines_of("docs/install.md") if line.startswith("postward init --yes"))
    printed = fresh.host.shell(f"cd {_FOLDER}; echo secret >key; {call} 2>&1", status=1)
    assert "nothing was written" in printed
    assert not (fresh.host.root / "etc/postward/postward.toml").exists()


def test_with_settings(logs: Installed, installed: Installed) -> None:
    """Commands do their work, or name what the user lacks."""
    installed.await_metric(1, "postward_probes_total", "outcome=accepted")
    _check_all(logs, settings=True)


def test_the_sink_of_the_package_receives(installed: Installed) -> None:
    """The package contains what it needs, and the Dask client. It is the call of the documents, but for the ports."""
    installed.host.run("/usr/lib/postward/bin/python", "-I", "-c", "import distributed, fsspec")
    call = next(line for line in _lines_of("docs/probes.md") if line.startswith("postward sink"))
    port = free_port()
    call = call.replace("0.0.0.0:25", f"127.0.0.1:{free_port()}").replace("0.0.0.0:9788", f"127.0.0.1:{port}")
    key = next(line for line in _lines_of("docs/probes.md") if line.startswith("openssl"))
    installed.host.shell(f"{key}\nsystemd-run --quiet --unit=sink {call}")

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_for(answers, 40, "the sink")
    installed.host.shell("systemctl stop sink; rm /etc/postward/probe.key")


# Beginning of a call in the documents → why it does not run here.
NOT_RUN = {
    "postward report --dask": "needs a cluster; tests/report/test_dask.py has one",
    "postward init": "asks on a terminal (tests/commands/test_conversation.py), or is in test_quick_start.py",
    "postward adopt": "asks on a terminal (tests/commands/test_adopt.py), but for --dry-run",
    "postward doctor": "is in the table above",
    "postward sink": "has a test of its own above",
    "postward plan --config": "needs a second instance of Postfix (tests/test_instances.py)",
    "postward apply --config": "needs a second instance of Postfix (tests/test_instances.py)",
    "postward queue --config": "needs a second instance of Postfix (tests/test_instances.py)",
}


def calls_of_documents() -> list[str]:
    """Return the calls in the shell blocks of the README and of docs/, but for those of `NOT_RUN`."""
    return [
        line
        for document in DOCUMENTS
        if document.name == "README.md" or document.parent.name == "docs"
        for line in _lines_of(str(document))
        if re.match(r"postward \w|sed -i", line)
        and (line.startswith("postward adopt --dry-run") or not line.startswith(tuple(NOT_RUN)))
    ]


def test_the_commands_of_the_documents_work(installed: Installed) -> None:
    """In a folder with logs, main.cf and dashboards.

    Status 3 is mail that waits, 1 of trace: no such mail, 4 of a report on days before: a log of today alone.
    """
    host = installed.host
    folder = host.root / "root/documents"
    folder.mkdir()
    text = "".join(log_lines(3000))
    (folder / "mail.log").write_text(text)
    (folder / "mail.log.1.gz").write_bytes(gzip.compress(text.encode()))
    if not (host.root / "var/log/mail.log").exists():
        (host.root / "var/log/mail.log.1").write_text(text)
    host.shell(
        "cd /root/documents; cp /etc/postfix/main.cf /etc/postfix/master.cf .; postward files x; cp x/alerts/*.yml ."
    )
    for call in calls_of_documents():
        *_, status = host.shell(f"cd /root/documents; {call} >out 2>err; echo $?").split()
        expected = {"0", "1"} if call.startswith("postward trace") else {"0", "3"}
        expected |= {"4"} if re.search("--(yesterday|last-week)", call) else set()
        assert status in expected, call + host.shell("cat /root/documents/err")
    host.shell("rm -r /root/documents; rm -f /var/log/mail.log.1")


# A minimal Debian lacks free(1).
_REJECTED = "(?<!free: )command not found|[Nn]o such option|[Ii]nvalid option|Usage: postward"


def test_the_commands_of_the_runbooks_exist(installed: Installed) -> None:
    """Each line after a prompt runs as root: no program is missing, and none rejects its options."""
    calls = {
        line: block
        for document in DOCUMENTS
        if document.parts[:2] == ("docs", "runbooks")
        for block in blocks_of(document)
        if block.language == "console"
        for line in re.findall(r"(?m)^[$#] (.*)", block.text)
    }
    assert len(calls) > 60
    faults = []
    for call, block in calls.items():
        printed = installed.host.run("timeout", "60", "bash", "-c", f"exec 2>&1; {call}", status=None)
        if fault := re.search(f".*(?:{_REJECTED}).*", printed):
            faults.append(f"{block}: {call}: {fault[0]}")
    assert faults == []


def _lines_of(document: str) -> list[str]:
    """Return the lines of a document's shell blocks and of its blocks without a language, without comments."""
    return [line for block in blocks_of(document) if block.language in {"sh", ""} for line in block.commands]
