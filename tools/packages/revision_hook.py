"""Hatchling's hook: the revision of the source, as the file REVISION in sdist and wheel (`postward_build_info`).

It is git's, or that of the sdist from which a wheel is built. Without both, the distribution lacks the file.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RevisionHook(BuildHookInterface[Any]):
    """Adds the file to a distribution."""

    PLUGIN_NAME = "custom"

    @property
    def _written(self) -> Path:
        return Path(self.directory, "REVISION")

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file and include it; an editable installation lacks it."""
        if version == "editable":
            return
        root = Path(self.root)
        path = root / "REVISION"
        if not path.exists():
            found = _git_revision(root)
            if found is None:
                return
            path = self._written
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(found)
        build_data["force_include"][str(path)] = (
            "REVISION" if self.target_name == "sdist" else "postward/REVISION"
        )

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the file, which is in the distribution now."""
        self._written.unlink(missing_ok=True)


def _git_revision(root: Path) -> str | None:
    """Return the revision of a checkout; None without git, or in a mere copy."""
    if shutil.which("git") is None or not (root / ".git").exists():
        return None
    git = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return found.stdout if found.returncode == 0 else None
