"""The wheel: its import names collide with nothing, and it carries the files that are not Python."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
DATA = (
    "postward/files/alerts/postward.rules.yml",
    "postward/files/dashboards/postward-host.json",
    "postward/files/runbooks/PostfixDown.md",
    "postward/files/runbooks/causes/timeout.md",
    "postward/files/sasl/oauth2.c",
    "postward/files/systemd/postward.service",
    "postward/files/systemd/postward-report.service",
    "postward/files/systemd/postward-report.timer",
    "postward/files/systemd/postward-token.service",
    "postward/files/systemd/postward.sysusers",
    "postward/files/systemd/postward.logrotate",
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


def test_a_checkout_has_the_files_of_the_wheel() -> None:
    """The folder .import-path has a link for each file and folder that the wheel takes from elsewhere."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for source, target in build["force-include"].items():
        assert (ROOT / ".import-path" / target).resolve() == (ROOT / source).resolve(), target


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


def test_the_wheel_alone_is_enough(wheel: Path, tmp_path: Path) -> None:
    """In an environment without the checkout, `postward files DIRECTORY` writes rules, dashboards, runbooks, units, manuals."""
    environment, target = tmp_path / "environment", tmp_path / "files"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "--quiet"]
    subprocess.run(
        [*pip, "--disable-pip-version-check", "install", "--no-deps", "--no-index", str(wheel)], check=True
    )
    [site] = environment.glob("lib/python*/site-packages")
    # The libraries, without the .pth file beside them that leads to the checkout.
    (site / "libraries.pth").write_text(f"{Path(click.__file__).parents[1]}\n")
    program = environment / "bin/postward"
    found = subprocess.run(
        [str(environment / "bin/python"), "-c", "import postward.agent.cli as cli; print(cli.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith(str(site))
    subprocess.run([str(program), "files", str(target)], cwd=tmp_path, capture_output=True, check=True)
    written = {f"postward/files/{path.relative_to(target)}" for path in target.rglob("*") if path.is_file()}

    assert set(DATA) <= written
    for page in ("postward.1", "postward.toml.5", "postward-agent.8"):
        assert (target / "man" / page).read_text().startswith(".TH POSTWARD")


def test_the_wheel_has_its_revision(wheel: Path) -> None:
    """Git's, which reaches the wheel through the sdist; in a copy without git there is none."""
    git = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    archive = zipfile.ZipFile(wheel)
    found = "postward/REVISION" in archive.namelist() and archive.read("postward/REVISION").decode()
    assert found == (git.stdout if git.returncode == 0 else False)


def test_the_metadata_is_complete(wheel: Path) -> None:
    """As an index shows it: a summary of one line, the README, a contact, a licence file, and links in https."""
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = message_from_bytes(archive.read(name))
    assert len(metadata["Summary"]) < 200
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert "@" in metadata["Author-email"]
    urls = dict(value.split(", ") for value in metadata.get_all("Project-URL", []))
    assert set(urls) == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert all(url.startswith("https://") for url in urls.values())
    readme = str(metadata.get_payload())
    assert "# Postward" in readme
    targets = re.findall(r"\]\(([^)\s]+)\)", readme)
    assert len(targets) > 20
    assert [target for target in targets if not target.startswith("https://")] == []
    assert f"({urls['Source']}/raw/main/docs/images/status.png)" in readme
    assert f"({urls['Source']}/blob/main/docs/index.md)" in readme
