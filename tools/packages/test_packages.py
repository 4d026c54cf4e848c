"""The packages in dist/, which `make package` has built: linted, complete, and built again with the same bytes."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.support.require import required
from tools.packages.__main__ import ROOT

DIST = ROOT / "dist"


@pytest.fixture(scope="module")
def deb() -> Path:
    """The package for Debian."""
    (path,) = DIST.glob("postward_*.deb")
    return path


@pytest.fixture(scope="module")
def rpm() -> Path:
    """The package for RHEL."""
    (path,) = DIST.glob("postward-*.rpm")
    return path


def _printed(*command: str | Path, status: int = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_lintian_finds_nothing(deb: Path) -> None:
    """Neither errors nor warnings; systemd/package/overrides gives a reason for each exception, and all are in use."""
    lintian = required("lintian", "lintian")
    assert _printed(lintian, "--allow-root", "--fail-on", "error,warning", deb) == ""
    assert "unused-override" not in _printed(
        lintian, "--allow-root", "--display-info", "--tags", "unused-override", deb
    )


def test_rpmlint_finds_nothing(rpm: Path) -> None:
    """Neither errors nor warnings; systemd/package/rpmlint.toml gives a reason for each exception."""
    rpmlint = required("rpmlint", "rpmlint")
    printed = _printed(rpmlint, "--config", ROOT / "systemd/package/rpmlint.toml", rpm)
    assert "0 errors, 0 warnings" in printed, printed


@pytest.mark.parametrize(
    "path",
    [
        "/etc/logrotate.d/postward",
        "/usr/share/doc/postward/README.md",
        "/usr/share/doc/postward/docs/install.md",
        "/usr/share/doc/postward/docs/images/status.png",
        "/usr/share/doc/postward/docs/zh-CN/quick-start.md",
        "/usr/share/doc/postward/sbom.cdx.json",
        "/usr/share/man/man1/postward.1.gz",
        "/usr/share/man/man5/postward.toml.5.gz",
        "/usr/share/man/man8/postward-agent.8.gz",
        "/usr/share/postward/alerts/postward.rules.yml",
        "/usr/share/postward/dashboards/postward-host.json",
        "/usr/share/postward/runbooks/PostfixDown.md",
        "/usr/lib/systemd/system/postward.service",
    ],
)
def test_both_packages_contain(deb: Path, rpm: Path, path: str) -> None:
    """Documents, runbooks, manual pages, alert rules, dashboards and units."""
    assert path in _printed("rpm", "-qpl", rpm).splitlines()
    listed = _printed("dpkg-deb", "--contents", deb).splitlines()
    assert f".{path}" in [line.split()[5] for line in listed]


def test_checksums_match() -> None:
    """SHA256SUMS names the packages and the SBOM."""
    lines = (DIST / "SHA256SUMS").read_text().splitlines()
    sums = {name: value for value, name in (line.split() for line in lines)}
    assert {name.rpartition(".")[2] for name in sums} >= {"deb", "rpm", "json"}
    for name, value in sums.items():
        assert hashlib.sha256((DIST / name).read_bytes()).hexdigest() == value


def test_a_second_build_has_the_same_bytes(deb: Path, rpm: Path, tmp_path: Path) -> None:
    """The same checkout gives the same packages and the same SBOM."""
    _printed(ROOT / "systemd/package/build", tmp_path, "1", "deb", "rpm")
    (materials,) = DIST.glob("postward-*.cdx.json")
    for path in (materials, deb, rpm):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_package_for_another_processor_has_libraries_for_it(tmp_path: Path) -> None:
    """Built here for arm64: the libraries' own wheels, and two files in C by a cross compiler. It is not run."""
    required("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
    _printed("env", "MACHINE=aarch64", ROOT / "systemd/package/build", tmp_path, "1", "deb")
    (package,) = tmp_path.glob("postward_*_arm64.deb")
    _printed("dpkg-deb", "--extract", package, tmp_path / "tree")
    libraries = [path for path in (tmp_path / "tree").rglob("*.so*") if path.is_file()]

    assert {path.name for path in libraries} >= {"_scan.abi3.so", "libpostward-oauth2.so"}
    assert "aarch64-linux-gnu/sasl2" in _printed("dpkg-deb", "--contents", package)
    for path in libraries:
        assert "ARM aarch64" in _printed("file", "--brief", path), path
