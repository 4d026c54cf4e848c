"""Passwords, from where the settings say they are: the settings file, a file of their own, or a systemd credential.

A file that only root may read can be a credential as well (LoadCredential=): an unprivileged service gets its password so, until
the file changes. Systemd hands over what a file held when the service started.

Read only when needed, by who may read them. No message repeats a password, nor anything of a file that should hold one.
"""

import os
from pathlib import Path

from postward.config.errors import SettingsError


def password_fault(password: str) -> str | None:
    """Why a line of sasl_passwd cannot carry this password; None if it can.

    postmap(1) cuts at line ends and trims blanks; `#`, `:`, quotes, blanks inside and UTF-8 arrive as they are.
    """
    if not password:
        return "is empty; write the password"
    if password != password.strip(" \t"):
        return "begins or ends with a blank, which postmap drops; write it without"
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in password):
        return "has a line end or control character; write the password alone on one line"
    return None


def password_from_file(path: Path, key: str) -> str:
    """The password that is all of a file's content; a line end behind it does not count.

    Raises:
        SettingsError: the file cannot be read or holds no password; `key` is the setting that named it.
    """
    try:
        password = (_credential_of(path) or path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise SettingsError([f"{path}: {key}: {_unreadable(error)}"]) from None
    if fault := password_fault(password):
        raise SettingsError([f"{path}: {key}: {fault}"])
    return password


def _credential_of(path: Path) -> Path | None:
    """Systemd's copy of a file that is not for us to read; None without one, or if it is older than the file.

    `LoadCredential=passwords:FOLDER` names copies passwords_FILE (systemd.exec(5)).
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory or os.access(path, os.R_OK):
        return None
    for name in (f"{path.parent.name}_{path.name}", path.name):
        copy = Path(directory) / name
        try:
            if copy.stat().st_mtime >= path.stat().st_mtime:
                return copy
        except OSError:
            continue
    return None


def _unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}; it must hold the password and be readable by root"
    return "is not text in UTF-8; write the password alone into it"


def password_from_credential(name: str, key: str) -> str:
    """The password that systemd handed to this process (systemd.exec(5), "Credentials").

    Raises:
        SettingsError: as `password_from_file`, and where systemd handed over nothing.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SettingsError(
            [
                (
                    f"environment: {key}: CREDENTIALS_DIRECTORY is not set, so this process was handed no credentials; "
                    f"add LoadCredential={name}:FILE to the service"
                )
            ]
        )
    return password_from_file(Path(directory) / name, key)
