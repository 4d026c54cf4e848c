"""Hatchling's hook: the compiled scan of logs, and the revision of the source as the file REVISION (`postward_build_info`).

A wheel has the scan where a C compiler and Python's headers are at hand; else it is a wheel for every platform.
POSTWARD_PURE=1 makes such a one in any case.

The revision is git's, or that of the sdist from which a wheel is built. Without both, the distribution lacks the file.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# A build backend does not look for modules in the checkout.
sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.packages import scan_build


class BuildHook(BuildHookInterface[Any]):
    """Adds the files to a distribution."""

    PLUGIN_NAME = "custom"

    @property
    def _built(self) -> Path:
        return Path(self.directory, "hook")

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files and include them; an editable installation does not have them."""
        if version == "editable":
            return
        root, included = Path(self.root), build_data["force_include"]
        if (revision := self._revision(root)) is not None:
            place = "REVISION" if self.target_name == "sdist" else "postward/REVISION"
            included[str(revision)] = place
        if self.target_name == "wheel" and not os.environ.get("POSTWARD_PURE"):
            library = scan_build.compile_scan(root, self._built)
            if library is not None:
                included[str(library)] = f"postward/parsers/{library.name}"
                build_data["pure_python"] = False
                build_data["tag"] = scan_build.TAG

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the files, which are in the distribution now."""
        shutil.rmtree(self._built, ignore_errors=True)

    def _revision(self, root: Path) -> Path | None:
        path = root / "REVISION"
        if path.exists():
            return path
        found = _git_revision(root)
        if found is None:
            return None
        self._built.mkdir(parents=True, exist_ok=True)
        path = self._built / "REVISION"
        path.write_text(found)
        return path


def _git_revision(root: Path) -> str | None:
    """Return the revision of a checkout; None without git, or in a mere copy."""
    if shutil.which("git") is None or not (root / ".git").exists():
        return None
    git = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return found.stdout if found.returncode == 0 else None
