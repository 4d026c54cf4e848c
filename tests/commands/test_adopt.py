"""`postward adopt` on a private Postfix: what it writes, shows and refuses."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.support import PostfixInstance
from tests.support.product import POSTWARD, run_postward
from tests.support.require import require_postfix

_PASSWORD = "s3cret:pass#word"
_TABLE = "[relay.example.net]:587 user@example.net:" + _PASSWORD + "\n"


@pytest.fixture(autouse=True)
def _needs_postfix() -> None:
    require_postfix(sasl=False)


def _host(folder: Path, **more: str) -> PostfixInstance:
    """Return a Postfix, not running, that logs in at a relay by a table of its own."""
    main_cf = {
        "myhostname": "mail.example.test",
        "relayhost": "[relay.example.net]:587",
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": "texthash:$config_directory/logins",
        "smtp_sasl_security_options": "noanonymous",
        "smtp_tls_security_level": "encrypt",
        **more,
    }
    instance = PostfixInstance(folder / "p", main_cf)
    (instance.config_directory / "logins").write_text(_TABLE)
    (instance.config_directory / "logins").chmod(0o600)
    return instance


def _adopt(instance: PostfixInstance, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run_postward(
        "adopt",
        *("--config", str(folder / "etc" / "postward.toml"), "--postfix", str(instance.config_directory)),
        *options,
        env={"POSTWARD_ENFORCE__DIRECTORY": str(folder / "enforce")},
    )


def test_settings_and_password_file_are_written(tmp_path: Path) -> None:
    """The plan is empty, the password is in a file for root alone, and nothing shows it."""
    host = _host(tmp_path, smtp_generic_maps="inline:{a@x=b@y}")
    done = _adopt(host, tmp_path, "--yes", "--recipient", "probe@example.net")
    password = tmp_path / "etc" / "passwords" / "example"
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "etc" / "postward.toml").read_text()
    assert (
        'host = "relay.example.net"\nport = 587\ntls = "starttls"\nusername = "user@example.net"\n'
        in done.stdout
    )
    assert "plan: empty; Postfix does already as these settings say" in done.stderr
    assert "unmanaged: smtp_generic_maps: addresses stay rewritten by these tables" in done.stderr
    assert (password.read_text(), password.stat().st_mode & 0o777) == (f"{_PASSWORD}\n", 0o600)
    assert _PASSWORD not in done.stdout + done.stderr
    planned = run_postward(
        "plan",
        *("--config", str(tmp_path / "etc" / "postward.toml")),
        env={"POSTWARD_ENFORCE__DIRECTORY": str(tmp_path / "enforce")},
    )
    assert (planned.returncode, planned.stdout) == (
        0,
        "in sync: Postfix's configuration matches the settings\n",
    )


def test_a_login_by_ticket_is_adopted_without_a_password(tmp_path: Path) -> None:
    """The mechanism is in the settings, and no password file is written."""
    host = _host(tmp_path, smtp_sasl_mechanism_filter="gssapi")
    (host.config_directory / "logins").write_text("[relay.example.net]:587 client:\n")
    done = _adopt(host, tmp_path, "--yes")
    assert done.returncode == 0, done.stderr
    assert 'username = "client"\nauth = "gssapi"\n' in done.stdout
    assert "plan: empty" in done.stderr
    assert not list((tmp_path / "etc").rglob("passwords/*"))


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """It prints the settings, and as JSON what else there is to say."""
    done = _adopt(_host(tmp_path), tmp_path, "--dry-run", "--json")
    shown = json.loads(done.stdout)
    assert done.returncode == 0
    assert shown["settings"].count("[[relay]]") == 1
    assert (shown["changes"], shown["written"], shown["exposed"]) == ([], False, [])
    assert _PASSWORD not in done.stdout + done.stderr
    assert not (tmp_path / "etc").exists()


def test_logins_that_every_user_can_read_are_named(tmp_path: Path) -> None:
    """Adopting changes no mode of a file; it names the command."""
    host = _host(tmp_path)
    table = host.config_directory / "logins"
    table.chmod(0o644)
    done = _adopt(host, tmp_path, "--yes")
    assert f"every user can read the logins in {table}: chmod 0600 {table}" in done.stderr
    assert table.stat().st_mode & 0o777 == 0o644


def test_no_file_is_replaced(tmp_path: Path) -> None:
    """Settings and a password that are there stay, and nothing is written."""
    host = _host(tmp_path)
    password = tmp_path / "etc" / "passwords" / "example"
    password.parent.mkdir(parents=True)
    password.write_text("another\n")
    done = _adopt(host, tmp_path, "--yes")
    assert (done.returncode, password.read_text()) == (1, "another\n")
    assert f"nothing was written: {password} exists already, with another password" in done.stderr
    settings = tmp_path / "etc" / "postward.toml"
    settings.write_text("mine")
    done = _adopt(host, tmp_path, "--yes")
    assert (done.returncode, settings.read_text()) == (1, "mine")
    assert "exists already, and is not replaced" in done.stderr


def test_nothing_is_written_before_yes(tmp_path: Path) -> None:
    """Without a terminal, --yes is required; on one, the answer no leaves everything as it is."""
    host = _host(tmp_path)
    assert "add --yes or --dry-run" in _adopt(host, tmp_path).stderr
    terminal, child = pty.openpty()
    command = [POSTWARD, "adopt", "--config", str(tmp_path / "etc" / "postward.toml")]
    process = subprocess.Popen(
        [*command, "--postfix", str(host.config_directory)],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**os.environ, "POSTWARD_ENFORCE__DIRECTORY": str(tmp_path / "enforce")},
    )
    os.close(child)
    os.write(terminal, b"n\n")
    shown = b""
    while b"Write these files? [Y/n]: " not in shown:
        shown += os.read(terminal, 65536)
    assert process.wait(30) == 0
    os.close(terminal)
    assert _PASSWORD.encode() not in shown
    assert not (tmp_path / "etc").exists()


def test_a_long_inline_table_of_logins_is_adopted(tmp_path: Path) -> None:
    """Its text is longer than a file name may be. No message shows it."""
    others = ", ".join(f"{{ [other{number}.example.net]:587 = user:{_PASSWORD} }}" for number in range(12))
    logins = f"inline:{{ {{ [relay.example.net]:587 = user:{_PASSWORD} }}, {others} }}"
    done = _adopt(_host(tmp_path, smtp_sasl_password_maps=logins), tmp_path, "--yes")
    assert (done.returncode, done.stderr.count("plan: empty")) == (0, 1), done.stderr
    assert (tmp_path / "etc" / "passwords" / "example").read_text() == f"{_PASSWORD}\n"
    assert _PASSWORD not in done.stdout + done.stderr


def test_the_option_for_a_full_name_is_named(tmp_path: Path) -> None:
    """With it, the settings are proposed, and the plan has the name alone."""
    host = _host(tmp_path, myhostname="localhost.localdomain")
    done = _adopt(host, tmp_path, "--yes")
    assert done.returncode == 1
    assert 'must be a full host name, not "localhost.localdomain"' in done.stderr
    assert done.stderr.endswith("; add --myhostname NAME\n")
    done = _adopt(host, tmp_path, "--yes", "--json", "--myhostname", "mail.example.test")
    assert (done.returncode, json.loads(done.stdout)["changes"]) == (3, ["myhostname"])


def test_a_plan_that_is_not_empty_is_shown(tmp_path: Path) -> None:
    """A login that Postfix's options forbid would come into force: that is said, with status 3."""
    done = _adopt(_host(tmp_path, smtp_sasl_security_options="noplaintext"), tmp_path, "--yes", "--json")
    assert done.returncode == 3
    changed = set(json.loads(done.stdout)["changes"])
    assert changed & {"smtp_sasl_security_options", "smtp_sasl_tls_security_options"}


def test_a_relay_that_the_settings_would_not_decide_is_refused(tmp_path: Path) -> None:
    """Where a wildcard in transport_maps leads all mail, relayhost would have no effect."""
    host = _host(tmp_path, transport_maps="static:smtp:[other.example.net]:25")
    done = _adopt(host, tmp_path, "--yes")
    assert done.returncode == 1
    assert done.stderr.startswith("postward: nothing to adopt: transport_maps static:")
    assert done.stderr.endswith("decides, whatever the settings say\n")
