"""The page of supported systems agrees with the classifiers, the packages, the recordings and the checks of the host."""

import re
import tomllib

from postward.agent.doctor.rules import MIN_POSTFIX, MIN_SYSTEMD
from tests.support.documents import ROOT
from tools.hosts.image import RELEASES

PAGE = (ROOT / "docs/support.md").read_text(encoding="utf-8")
_DEBIAN = {"bookworm": "Debian 12", "trixie": "Debian 13"}


def test_versions_of_python() -> None:
    """Those of the classifiers are tested; the page names those that the packages support."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    declared = [match[1] for text in classifiers if (match := re.search(r"Python :: (3\.\d+)$", text))]
    section = PAGE.partition("\n## Python\n")[2].partition("\n## ")[0]
    assert re.findall(r"(?m)^\| (3\.\d+) \| tested \|", section) == declared
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert [version for version in declared if f'"{version}"' not in workflow] == []
    pythons = (ROOT / "systemd/package/pythons").read_text()
    packaged = re.search(r'PYTHONS="(.*)"', pythons)
    assert packaged
    assert [version for version in declared if version not in packaged[1].split()] == re.findall(
        r"(?m)^\| (3\.\d+) .*packages do not support it", section
    )


def test_releases_of_postfix() -> None:
    """Each recording is named, and so is the release below which `postward doctor` warns."""
    recorded = [path.stem for path in (ROOT / "tests/corpus/releases").glob("*.log")]
    assert len(recorded) > 3
    assert [release for release in recorded if release not in PAGE] == []
    major, minor = MIN_POSTFIX
    assert f"| {major}.{minor - 1} | expected, for reading its log | `postward doctor` says" in PAGE
    assert f"systemd {MIN_SYSTEMD} or later" in PAGE


def test_distributions() -> None:
    """Debian's releases that are tested on hosts are the ones that the page calls so."""
    assert re.findall(r"(?m)^\| (Debian \d+) \| tested \|", PAGE) == [_DEBIAN[name] for name in RELEASES]
