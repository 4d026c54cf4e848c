"""Requirements of tests: programs and rights that this machine may lack.

On a developer's machine the test is skipped, with a reason that names the missing package. In CI (the environment
variable CI is set) it fails, so that no test is skipped unnoticed.
"""

import os
import shutil
from pathlib import Path

import pytest

ADMIN_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_SASL_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


def missing_for_postfix(*, sasl: bool = True) -> str | None:
    """Return what a private Postfix needs and is missing; None if it can run."""
    if os.geteuid() != 0:
        return "only root can start a private Postfix: run the tests as root (in a container, for instance)"
    if shutil.which("postconf", path=ADMIN_PATH) is None:
        return "Postfix is missing: install the package postfix"
    if sasl and not any(plugin for folder in _SASL_FOLDERS for plugin in _plain_plugins(Path(folder))):
        return "the SASL mechanism PLAIN is missing: install the package libsasl2-modules (cyrus-sasl-plain elsewhere)"
    return None


def _plain_plugins(folder: Path) -> list[Path]:
    return [*folder.glob("sasl2/libplain.so*"), *folder.glob("*/sasl2/libplain.so*")]


def require_postfix(*, sasl: bool = True) -> None:
    """Skip the test, or fail it in CI, if a private Postfix cannot run here."""
    demand(missing_for_postfix(sasl=sasl))


def required(program: str, package: str) -> str:
    """Return the path of a program. Without it the test is skipped, in CI it fails."""
    path = shutil.which(program, path=ADMIN_PATH)
    demand(None if path else f"{program} is missing: install the package {package}")
    return path or ""


def demand(reason: str | None) -> None:
    """Skip the calling test outside CI, fail it in CI, if `reason` says why it cannot run here.

    `POSTWARD_TESTS=fast` (`make test-fast`) skips every test that asks.
    """
    if os.environ.get("POSTWARD_TESTS") == "fast":
        pytest.skip("needs more than Python: make test-fast leaves it out")
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{reason}. In CI this is a failure, not a reason to skip", pytrace=False)
    pytest.skip(reason)
