"""Passwords from their sources: the settings file, a file of their own, or a systemd credential.

systemd can pass a file that only root may read to an unprivileged service (LoadCredential=). It copies the content when
the service starts; after a change of the file the copy is outdated, and is not used.

Promises: a password is read only when it is needed. No message repeats a password or any content of a password file.
"""

import os
from pathlib import Path

from postward.config.errors import SettingsError


def password_fault(password: str) -> str | None:
    """Return why a line of sasl_passwd cannot carry this password; None if it can.

    postmap(1) cuts at line ends and trims blanks. It keeps `#`, `:`, quotes, inner blanks and UTF-8.
    """
    if not password:
        return "must not be empty; write the password"
    if password != password.strip(" \t"):
        return "must not begin or end with a blank: postmap drops it; write the password without"
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in password):
        return "must be a single line without control characters"
    return None


def password_from_file(path: Path, key: str) -> str:
    """Return the password in a file: all of its content, without a final line end.

    Args:
        path: the file.
        key: the setting that names the file.

    Raises:
        SettingsError: the file cannot be read, or sasl_passwd cannot carry its content.
    """
    password = secret_text(path, key).rstrip("\r\n")
    if fault := password_fault(password):
        raise SettingsError([f"{path}: {key}: {fault}"])
    return password


def secret_text(path: Path, key: str) -> str:
    """Return the content of a file with secrets, or of systemd's copy of it.

    Raises:
        SettingsError: the file cannot be read.
    """
    try:
        return (credential_of(path) or path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError([f"{path}: {key}: {_unreadable(error)}"]) from None


def credential_of(path: Path) -> Path | None:
    """Return systemd's copy of an unreadable file; None if the file is readable, or the copy is missing or older.

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


def is_newer_than_service(path: Path) -> bool:
    """Return whether an unreadable file was made or changed since systemd passed its credentials to this service."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory or os.access(path, os.R_OK) or credential_of(path):
        return False
    try:
        return path.stat().st_ctime > Path(directory).stat().st_ctime
    except OSError:
        return False


def _unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}; the file must hold the password and be readable by root"
    return "must be text in UTF-8; write only the password into it"


def password_from_credential(name: str, key: str) -> str:
    """Return the password in a systemd credential of this process (systemd.exec(5), "Credentials").

    Raises:
        SettingsError: as `password_from_file`, and if systemd passed no credentials.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SettingsError(
            [
                (
                    f"environment: {key}: CREDENTIALS_DIRECTORY is not set: systemd passed no credentials to this process; "
                    f"add LoadCredential={name}:FILE to the service"
                )
            ]
        )
    return password_from_file(Path(directory) / name, key)
