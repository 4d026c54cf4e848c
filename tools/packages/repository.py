"""Signed repositories for tests: systemd/package/repository with a key of their own."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.require import required
from tools.packages.__main__ import ROOT

SCRIPT = ROOT / "systemd/package/repository"


def environment(keys: Path) -> dict[str, str]:
    """Return an environment in which gpg uses the keys of a folder. The test is skipped if a program is missing."""
    for program, package in (
        ("apt-ftparchive", "apt-utils"),
        ("createrepo_c", "createrepo-c"),
        ("gpg", "gnupg"),
        ("rpmsign", "rpm"),
    ):
        required(program, package)
    keys.mkdir(mode=0o700, exist_ok=True)
    return {**os.environ, "GNUPGHOME": str(keys), "LC_ALL": "C.UTF-8"}


def make_key(keys: dict[str, str]) -> None:
    """Make a key that signs, in an environment as above."""
    name = "Releases of Postward <releases@example.test>"
    command = [
        "gpg",
        "--batch",
        "--quiet",
        "--passphrase",
        "",
        "--quick-generate-key",
        name,
        "rsa3072",
        "sign",
        "never",
    ]
    subprocess.run(command, env=keys, check=True, capture_output=True)


def end_agent(keys: dict[str, str]) -> None:
    """End the agent that gpg has started."""
    subprocess.run(["gpgconf", "--kill", "all"], env=keys, check=True)


def repository_of(package: Path, folder: Path, url: str, scratch: Path) -> Path:
    """Make the repositories of one package in a folder, with a key in another, and return the folder."""
    keys = environment(scratch / "keys")
    (scratch / "dist").mkdir()
    shutil.copy(package, scratch / "dist")
    make_key(keys)
    subprocess.run([SCRIPT, scratch / "dist", folder, url], env=keys, check=True, capture_output=True)
    end_agent(keys)
    return folder
