"""`postward parse`: its output, the secrets that it hides, and its exit status."""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from postward.agent.cli import main
from postward.parsers.scrub import SCRUBBED

HEAD = "2026-11-24T06:05:01+00:00 mx1 postfix"
PEER = "smtp.relay.test[192.0.2.9]:587"
SENT = (
    f"{HEAD}/smtp[12]: 3C0FFEE001: to=<a@example.org>, relay={PEER}, delay=1.3, delays=0.02/0.01/0.84/0.43, "
    "dsn=2.0.0, status=sent (250 2.0.0 Ok)"
)
REFUSED = (
    f"{HEAD}/smtp[12]: 3C0FFEE002: to=<b@example.org>, relay={PEER}, delay=0.7, delays=0.02/0/0.68/0, dsn=5.7.8, "
    f"status=deferred (SASL authentication failed; server {PEER[:-4]} said: 535 5.7.8 no)"
)
UNKNOWN = f"{HEAD}/smtp[12]: what no rule knows"
FOREIGN = "2026-11-24T06:05:01+00:00 mx1 sshd[7]: hello"
REMOVED = f"{HEAD}/qmgr[9]: 3C0FFEE001: removed"
LOG = "\n".join([SENT, REFUSED, UNKNOWN, FOREIGN, REMOVED, ""])


def parse(*arguments: str, text: str | bytes = LOG) -> Result:
    """Run the command; it reads `text` from standard input unless the arguments name files."""
    return CliRunner().invoke(main, ["parse", *arguments], input=text)


def shown(*arguments: str, text: str | bytes = LOG) -> str:
    """Return the command's standard output."""
    return parse(*arguments, text=text).stdout


def objects(*arguments: str, text: str = LOG) -> list[dict[str, Any]]:
    """Return the objects that --json prints."""
    return [json.loads(line) for line in shown("--json", *arguments, text=text).split("\n") if line]


def test_json_has_the_header_the_event_and_its_fields() -> None:
    """The output has one object a line, with the keys that other programs rely on."""
    sent, refused, unknown, foreign, removed = objects()

    assert sent == {
        "stamp": "2026-11-24T06:05:01+00:00",
        "host": "mx1",
        "instance": "postfix",
        "daemon": "smtp",
        "pid": 12,
        "severity": "info",
        "queue_id": "3C0FFEE001",
        "event": "Delivery",
        "to": "a@example.org",
        "relay": PEER,
        "relay_host": "smtp.relay.test",
        "relay_addr": "192.0.2.9",
        "relay_port": 587,
        "delay": 1.3,
        "delays": [0.02, 0.01, 0.84, 0.43],
        "dsn": "2.0.0",
        "status": "sent",
        "reason": "250 2.0.0 Ok",
    }
    assert refused["cause"] == "auth_rejected"
    assert (unknown["event"], unknown["outcome"], unknown["text"]) == (
        None,
        "unrecognised",
        "what no rule knows",
    )
    assert (foreign["event"], foreign["outcome"], foreign["text"]) == (None, "foreign", FOREIGN)
    assert removed["event"] == "Removed"


@pytest.mark.parametrize(
    ("filters", "lines"),
    [
        (["--only", "event"], [SENT, REFUSED, REMOVED]),
        (["--only", "unrecognised", "--only", "foreign"], [UNKNOWN, FOREIGN]),
        (["--cause", "auth_rejected"], [REFUSED]),
        (["--status", "sent", "--status", "deferred"], [SENT, REFUSED]),
        (["--daemon", "qmgr"], [REMOVED]),
        (["--queue-id", "3C0FFEE001"], [SENT, REMOVED]),
        (["--queue-id", "3C0FFEE001", "--daemon", "smtp"], [SENT]),
        (["--cause", "auth_rejected", "--status", "sent"], []),
    ],
)
def test_filters_combine(filters: list[str], lines: list[str]) -> None:
    """Several values of one filter are alternatives; a line must pass each filter."""
    assert objects(*filters) == objects(text="".join(f"{line}\n" for line in lines))


def test_rows_are_plain_when_piped() -> None:
    """Rows have no colours, and show `relay` without its parts."""
    rows = shown().splitlines()

    assert rows[4] == "2026-11-24T06:05:01+00:00 qmgr Removed queue_id=3C0FFEE001"
    assert rows[0].endswith(
        f"relay={PEER} delay=1.3 delays=0.02/0.01/0.84/0.43 dsn=2.0.0 status=sent reason=250 2.0.0 Ok"
    )
    assert "\x1b" not in "".join(rows)


def test_the_summary_is_on_standard_error() -> None:
    """It counts lines by outcome, then events by daemon and type; standard output holds log lines only."""
    done = parse("--only", "foreign", text=LOG)

    assert len(done.stdout.splitlines()) == 1
    summary = done.stderr.splitlines()
    assert summary[0] == "5 lines: 3 event, 0 generic, 1 unrecognised, 1 foreign; 1 shown"
    assert summary[1].split() == ["2", "smtp", "Delivery"]
    assert parse("-q").stderr == ""


@pytest.mark.parametrize("form", [["--json"], []])
@pytest.mark.parametrize(
    "line",
    [
        f"{HEAD}/smtp[12]: smtp_sasl_passwd_lookup: host `relay.test' user `me' pass `tr0ub4dor'",
        f"{HEAD}/smtp[12]: > {PEER}: AUTH PLAIN AHVzZXIAdHIwdWI0ZG9y",
        f"{HEAD}/smtp[12]: > {PEER}: dHIwdWI0ZG9y",
        f"{HEAD}/smtp[12]: xsasl_cyrus_client_first: uncoded initial reply: me tr0ub4dor",
        "mx1 unknown-header: smtp_sasl_passwd_lookup: host `relay.test' user `me' pass `tr0ub4dor'",
    ],
)
def test_no_secret_is_shown(line: str, form: list[str]) -> None:
    """Secrets are removed from Postfix's lines and from lines with an unknown header."""
    rows = shown(*form, text=f"{line}\n")

    assert SCRUBBED in rows
    assert "tr0ub4dor" not in rows
    assert "dHIwdWI0ZG9y" not in rows


@pytest.mark.parametrize("form", [["--json"], []])
def test_control_characters_are_escaped(form: list[str]) -> None:
    """A remote server cannot send control sequences or bidirectional marks to the terminal."""
    rows = shown(*form, text=SENT.replace("Ok", "\x1b[2J\x9b2J\x7f\u202e") + "\n")

    assert rows.removesuffix("\n").isprintable()
    if form:
        assert json.loads(rows)["reason"] == "250 2.0.0 \x1b[2J\x9b2J\x7f\u202e"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_compression_is_recognised_by_the_first_bytes(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """The name of the file does not matter."""
    file = tmp_path / "mail.log.1"
    file.write_bytes(pack(LOG.encode()))

    assert len(shown("--json", str(file)).splitlines()) == 5


def test_zstd_is_read_or_the_error_names_the_missing_package(tmp_path: Path) -> None:
    """Without backports.zstd a .zst file is an error that names this package."""
    file = tmp_path / "mail.log.zst"
    try:
        from backports import zstd
    except ImportError:
        file.write_bytes(b"\x28\xb5\x2f\xfd rest")
        assert "backports.zstd" in parse(str(file)).output
    else:
        file.write_bytes(zstd.compress(LOG.encode()))
        assert len(shown("--json", str(file)).splitlines()) == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (gzip.compress(LOG.encode(), mtime=0)[:60], "stop too early"),
        (gzip.compress(os.urandom(5000))[:3000] + bytes(3000), "damaged"),
        (lzma.compress(LOG.encode())[:-40] + bytes(40), "damaged"),
        (b"BZh9" + bytes(500), "damaged"),
    ],
)
def test_a_bad_file_is_named_and_the_others_are_read(
    content: bytes | None, words: str, tmp_path: Path
) -> None:
    """The exit status is 1, the error names the file, and all lines of the other file are printed."""
    bad, good = tmp_path / "bad", tmp_path / "good"
    if content is not None:
        bad.write_bytes(content)
    good.write_text(LOG)

    done = parse("--json", "-q", str(bad), str(good))

    assert done.exit_code == 1
    assert f"postward: {bad}: " in done.stderr
    assert words in done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()][-5:] == objects()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """The error asks for the names of the log files."""
    done = parse("-q", str(tmp_path))

    assert (done.exit_code, done.stderr) == (
        1,
        f"postward: {tmp_path}: this is a folder; name the log files in it\n",
    )


def test_standard_input_is_followed() -> None:
    """With `tail -f LOG | postward parse`, each line is printed as soon as it arrives."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.commands.postward", "parse", "-q"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for line in (SENT, REMOVED):
            child.stdin.write(f"{line}\n".encode())
            child.stdin.flush()
            assert child.stdout.readline().startswith(b"2026-11-24T06:05:01+00:00 ")
        child.stdin.close()
        assert child.wait() == 0


def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    """`postward parse LOG | head -1` ends without an error message, with status 0."""
    file = tmp_path / "mail.log"
    file.write_text(LOG * 20_000)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.commands.postward", "parse", "-q", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait() == 0


def test_only_a_line_feed_ends_a_line() -> None:
    """Other separators of str.splitlines, which a remote server can send, stay; invalid UTF-8 is replaced."""
    data = SENT.replace("Ok", "a\u2028b\x0cc\x85d").encode() + b"\xff\r\n" + REMOVED.encode()

    rows = [json.loads(line) for line in shown("--json", text=data).split("\n") if line]

    assert [row["event"] for row in rows] == ["Delivery", "Removed"]
    assert rows[0]["reason"].startswith("250 2.0.0 a\u2028b\x0cc\x85d")
