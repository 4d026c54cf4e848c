"""The files of the plug-in sasl-xoauth2, as smtp(8) sees them: its token files, and the authorities of its requests.

The password of a login names a token file. The plug-in opens both after smtp(8) has entered its chroot. Nothing here
keeps a name of a file, because a password of another relay can also begin with a slash.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from postward.agent.postfix.host_files import HostFiles
from postward.config.lint.file_facts import FileFacts
from postward.config.lint.table_facts import Table, holds_logins

PLUGIN = "sasl-xoauth2"
_CONFIGURATION = "etc/sasl-xoauth2.conf"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # of libcurl in Debian


def read_token_files(reader: HostFiles, tables: tuple[Table, ...], root: Path) -> dict[str, FileFacts]:
    """Return key of a login → the file that its password names, below the root directory of smtp(8)."""
    found = {}
    for table in tables:
        if table.entries is not None and holds_logins(table.parameters):
            text = reader.text(Path(table.reference.path)) or ""
            found.update({key: reader.file(root / name.lstrip("/")) for key, name in parse_file_names(text)})
    return found


def parse_file_names(text: str) -> Iterator[tuple[str, str]]:
    """Yield (key, file) for each login whose password is an absolute path."""
    for line in text.split("\n"):
        key, login = [*line.split(None, 1), "", ""][:2]
        name = login.strip().partition(":")[2]
        if name.startswith("/") and not key.startswith("#"):
            yield key, name


def read_authorities(reader: HostFiles, root: Path) -> tuple[str, FileFacts] | None:
    """Return the bundle of authorities that the plug-in loads, and its status there; None if it is not known."""
    try:
        configured = json.loads(reader.text(reader.system / _CONFIGURATION) or "{}")
    except ValueError:
        return None
    if not isinstance(configured, dict) or configured.get("ca_certs_dir"):
        return None
    path = str(configured.get("ca_bundle_file", ""))
    if not path and reader.file(reader.system / _BUNDLE.lstrip("/")).exists:
        path = _BUNDLE
    if not path:
        return None
    return path, reader.file(root / path.lstrip("/"), certificates=True)
