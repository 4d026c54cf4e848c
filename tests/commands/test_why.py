"""`postward why` over logs of any host, also compressed or through a pipe."""

import gzip
import json
import subprocess
from pathlib import Path

from tests.support.product import POSTWARD, run_postward

TRAPS = Path(__file__).parents[1] / "corpus" / "traps"


def test_log_is_explained(tmp_path: Path) -> None:
    """Effect, cause with its certainty, setting, remedy and evidence; exit status 3, because mail waits."""
    done = run_postward("why", str(TRAPS / "cred-missing-db.log"))

    assert done.returncode == 3
    assert done.stdout.startswith("MAIL WAITS    the index of the password table does not exist\n")
    assert "cause:   the index was never built, or main.cf names another file (certain)" in done.stdout
    assert (
        "setting: relay.password_file   Postfix: the password table (smtp_sasl_password_maps)" in done.stdout
    )
    assert "remedy:  postmap hash:/etc/postfix/sasl_passwd" in done.stdout
    assert "/etc/postfix/sasl_passwd.db: No such file or directory" in done.stdout
    assert done.stderr == "1 incident\n"


def test_addresses_are_masked_by_default() -> None:
    """The domain stays; `--addresses` shows the rest."""
    log = str(TRAPS / "sender-553-notowned.log")

    assert "<…@client.test>" in run_postward("why", log).stdout
    assert "app@" not in run_postward("why", log).stdout
    assert "<app@client.test>" in run_postward("why", log, "--addresses").stdout


def test_compressed_and_piped_logs_are_read_in_order(tmp_path: Path) -> None:
    """A success in a later log closes the incident of an earlier one."""
    packed = tmp_path / "mail.log.1.gz"
    packed.write_bytes(gzip.compress((TRAPS / "cred-wrong-password.log").read_bytes()))
    after = (
        (TRAPS / "tls-wrapper587-fixed.log")
        .read_bytes()
        .replace(b"smtp587.sendcloud.net", b"smtp.relay.test")
    )
    done = subprocess.run(
        [POSTWARD, "why", str(packed), "-", "--json"],
        input=after,
        capture_output=True,
        check=False,
        timeout=60,
    )
    (row,) = json.loads(done.stdout)["incidents"]

    assert done.returncode == 0
    assert row["symptom"] == "login-refused"
    assert row["closed"] >= row["first"]
    assert "was sent by smtp.relay.test:20587" in row["closed_by"]


def test_since_leaves_old_lines_out() -> None:
    """The stamps of the lines decide."""
    log = str(TRAPS / "cred-wrong-password.log")

    assert "login" in run_postward("why", log, "--since", "2000-01-01").stdout
    done = run_postward("why", log, "--since", "2999-01-01")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "nothing keeps mail back\n"


def test_bad_arguments_are_errors() -> None:
    """A missing file; an invalid time."""
    missing = run_postward("why", "/nowhere/mail.log")
    assert (missing.returncode, missing.stderr) == (
        1,
        "postward: /nowhere/mail.log: No such file or directory\n",
    )
    odd = run_postward("why", str(TRAPS / "net-refused.log"), "--since", "yesterday")
    assert odd.returncode == 2
    assert 'yesterday is not a time; write 30m, 2h, 3d, or "2026-11-24 09:00"' in odd.stderr
