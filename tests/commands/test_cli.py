"""The command line: help, errors and exit status."""

import subprocess
import sys
from pathlib import Path

import pytest

from postward.agent.cli import COMMANDS
from postward.config.example import example
from tests.support.product import run_postward

PASSWORD = "s3cret-Gr33n-Fern"


def test_help_imports_no_command() -> None:
    """`postward --help` imports no settings, metrics or event loop, so that it answers at once."""
    program = (
        "import sys; from postward.agent.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'asyncio', 'prometheus_client', 'rich', 'watchdog', 'h11', 'jinja2', 'postward.parsers', 'postward.config'}\n"
        "sys.stderr.write(','.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stderr == ""
    for command in COMMANDS:
        assert f"  {command}" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    """With its usage, without errors."""
    done = run_postward(command, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: postward {command}" in done.stdout


def test_an_unknown_command_is_a_usage_error() -> None:
    """Exit status 2, and an error with its name."""
    done = run_postward("aply")

    assert done.returncode == 2
    assert "aply" in done.stderr


def test_the_example_is_a_settings_file(tmp_path: Path) -> None:
    """The output of `check --example` passes `check`, and is made from the models."""
    shown = run_postward("check", "--example")
    (tmp_path / "postward.toml").write_text(shown.stdout)
    checked = run_postward("check", "--no-host", "--config", str(tmp_path / "postward.toml"))

    assert example() == shown.stdout
    assert checked.returncode == 0, checked.stderr
    assert "relay.sendcloud.host = smtp587.sendcloud.net" in checked.stdout


def test_bad_settings_end_with_78_and_all_problems(tmp_path: Path) -> None:
    """Every problem is a line with file, key and remedy."""
    path = tmp_path / "postward.toml"
    path.write_text(
        f'[host]\nmyhostname = "mail"\n[[relay]]\nname = "demo"\nhost = "[r.test]:587"\nusername = "u"\npasword = "{PASSWORD}"\n'
    )
    for command in ("check", "plan", "run", "probe"):
        done = run_postward(command, "--config", str(path))
        lines = done.stderr.splitlines()

        assert done.returncode == 78
        assert len(lines) == 4
        assert all(line.startswith(f"{path}: ") for line in lines)
        assert PASSWORD not in done.stdout + done.stderr


def test_a_missing_settings_file_is_named(tmp_path: Path) -> None:
    """With a remedy."""
    done = run_postward("check", "--config", str(tmp_path / "no.toml"))

    assert (78, f"{tmp_path}/no.toml: No such file or directory; name the settings file with --config\n") == (
        done.returncode,
        done.stderr,
    )


def test_a_monitoring_plugin_that_cannot_probe_is_unknown(tmp_path: Path) -> None:
    """Not a warning (1), and not a status that monitoring does not know (78)."""
    done = run_postward("probe", "--format", "check", "--config", str(tmp_path / "no.toml"))

    assert (done.returncode, done.stdout) == (3, "PROBE UNKNOWN - no probe was sent; see standard error\n")
    assert "No such file or directory" in done.stderr


def test_a_configuration_directory_without_postfix_is_an_error(tmp_path: Path) -> None:
    """Commands that need Postfix name the missing file, and exit with 1."""
    path = tmp_path / "postward.toml"
    path.write_text(
        '[host]\nmyhostname = "mail.example.test"\n[[relay]]\nname = "demo"\nhost = "r.test"\n'
        f'[postfix]\nconfig_directory = "{tmp_path}/none"\n[state]\ndirectory = "{tmp_path}/state"\n'
        '[log]\nsource = "/nonexistent/mail.log"\n'
    )
    for command in ("plan", "run"):
        done = run_postward(command, "--config", str(path))

        assert done.returncode == 1, done.stderr
        assert f"{tmp_path}/none" in done.stderr
        assert "Traceback" not in done.stderr
