"""The wheel: its import names collide with nothing, and it carries the files that are not Python."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = (
    "postward/files/alerts/postward.rules.yml",
    "postward/files/dashboards/postward-host.json",
    "postward/files/runbooks/PostfixDown.md",
    "postward/files/runbooks/causes/timeout.md",
    "postward/files/sasl/oauth2.c",
    "postward/files/systemd/postward.service",
    "postward/files/systemd/postward-token.service",
    "postward/files/systemd/postward.sysusers",
    "postward/files/zabbix/postward.yaml",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from its sdist, as `python -m build` and package indexes do."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    [sdist] = folder.glob("postward-*.tar.gz")
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(sdist)], check=True
    )
    return next(folder.glob("postward-*.whl"))


def test_the_wheel_has_one_top_level_name(wheel: Path) -> None:
    """Everything is under `postward/`, data files included."""
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"postward"}
    assert set(DATA) <= set(names)


def test_a_distribution_named_config_stays_usable(wheel: Path, tmp_path: Path) -> None:
    """Another distribution's `config` and Postward's are imported side by side."""
    site = tmp_path / "site"
    (site / "config").mkdir(parents=True)
    (site / "config" / "__init__.py").write_text("OWNER = 'another distribution'\n")
    zipfile.ZipFile(wheel).extractall(site)
    program = (
        "import config, postward.config.settings, postward.agent.cli;"
        "print(config.OWNER, postward.config.settings.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split("another distribution ")[1].startswith(str(site / "postward"))


def test_files_are_written_out_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """`postward files DIRECTORY` writes rules, dashboards, runbooks, units and the manual page."""
    site, target = tmp_path / "site", tmp_path / "files"
    zipfile.ZipFile(wheel).extractall(site)
    subprocess.run(
        [sys.executable, "-c", "from postward.agent.cli import main; main()", "files", str(target)],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    written = {f"postward/files/{path.relative_to(target)}" for path in target.rglob("*") if path.is_file()}

    assert set(DATA) <= written
    assert (target / "man" / "postward.1").read_text().startswith(".")
