"""Output that cannot be written: full disks, missing folders, readers that leave. And input that cannot be read."""

import os
import subprocess
from pathlib import Path

import pytest

from postward.agent.output import output_file
from tests.support.product import POSTWARD, run_postward
from tools.bench.lines import log_lines


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "mail.log"
    path.write_text("".join(log_lines(5000)))
    return path


@pytest.mark.parametrize("command", ["--help", "check --example", "parse LOG", "replay LOG", "report LOG"])
def test_a_full_disk_ends_the_command(command: str, log: Path) -> None:
    """Exit status 1, and one sentence."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [POSTWARD, *command.replace("LOG", str(log)).split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stderr) == (1, "postward: standard output: No space left on device\n")


@pytest.mark.parametrize(
    ("command", "status"), [("parse LOG", 0), ("report LOG", 0), ("check --no-host --config SETTINGS", 3)]
)
def test_a_reader_that_leaves_changes_no_status(command: str, status: int, log: Path, tmp_path: Path) -> None:
    """As with `| head`: no error is printed, and the status is that of the command."""
    settings = tmp_path / "postward.toml"
    settings.write_text(
        '[host]\nmyhostname = "mail.example.test"\n[[relay]]\nname = "demo"\nhost = "smtp.office365.com"\nport = 465\ntls = "implicit"\n'
    )
    reading, writing = os.pipe()
    os.close(reading)
    words = command.replace("LOG", str(log)).replace("SETTINGS", str(settings)).split()
    done = subprocess.run(
        [POSTWARD, *words], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writing)

    assert done.returncode == status
    assert "Broken pipe" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["report --html", "export --parquet"])
def test_a_folder_that_is_missing_is_named(command: str, log: Path, tmp_path: Path) -> None:
    """Before the log is read."""
    done = run_postward(*command.split(), f"{tmp_path}/none/file", str(log))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"postward: {tmp_path}/none/file: No such file or directory\n"


@pytest.mark.parametrize("command", ["report", "report --html OUT", "replay", "export --parquet OUT"])
def test_nothing_is_written_if_nothing_can_be_read(command: str, tmp_path: Path) -> None:
    """The error is not followed by an empty result."""
    out = tmp_path / "out"
    done = run_postward(*command.replace("OUT", str(out)).split(), str(tmp_path / "none.log"))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"postward: {tmp_path}/none.log: No such file or directory\n"
    assert not out.exists()


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    """An exception leaves the former file; a link stays a link; a device stays a device."""
    file, link = tmp_path / "page.html", tmp_path / "link"
    file.write_text("old")
    link.symlink_to(file)
    with pytest.raises(ZeroDivisionError), output_file(file) as part:
        part.write_text(str(1 / 0))
    assert file.read_text() == "old"
    with output_file(link) as part:
        part.write_text("new")
    assert (file.read_text(), link.is_symlink()) == ("new", True)
    with output_file(Path("/dev/null")) as part:
        part.write_text("gone")
    assert Path("/dev/null").is_char_device()
    assert sorted(tmp_path.iterdir()) == [link, file]


def test_a_page_can_go_to_standard_output(log: Path) -> None:
    """`--html -` writes no file of that name."""
    done = run_postward("report", "--html", "-", str(log))

    assert done.returncode == 0
    assert done.stdout.startswith("<!doctype html>")
