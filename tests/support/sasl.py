"""The SASL plug-in of this checkout, in a Postfix of its own: the machine's plug-ins stay as they are."""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.require import demand

_ROOT = Path(__file__).parents[2]
_HEADER = Path("/usr/include/sasl/saslplug.h")


def require_compiler() -> None:
    """Skip the test, or fail it in CI, if the plug-in cannot be built here."""
    present = shutil.which("gcc") and _HEADER.exists()
    demand(None if present else "gcc or libsasl2's headers are missing: install gcc and libsasl2-dev")


@functools.cache
def plugin_path() -> str:
    """Build the plug-in once, and return a SASL_PATH with it and the machine's plug-ins."""
    require_compiler()
    folder = Path(tempfile.mkdtemp(prefix="sasl-"))
    folder.chmod(0o755)
    subprocess.run([_ROOT / "systemd/sasl/build", folder / "libpostward-oauth2.so"], check=True)
    return f"{folder}:{machine_path()}"


def machine_path() -> str:
    """Return a SASL_PATH with the machine's plug-ins alone."""
    forms = ("lib/sasl2", "lib/*/sasl2", "lib64/sasl2")
    return ":".join(str(path) for form in forms for path in Path("/usr").glob(form))


def with_plugin() -> dict[str, str]:
    """Return the parameters of a Postfix that loads the plug-in."""
    return _loading(plugin_path())


def without_plugin() -> dict[str, str]:
    """Return the parameters of a Postfix that differs from one `with_plugin` by the plug-in alone."""
    return _loading(machine_path())


def _loading(path: str) -> dict[str, str]:
    return {"import_environment": f"MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C SASL_PATH={path}"}
