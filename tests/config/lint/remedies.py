"""Carries out remedies that are commands, as an admin would who copies them from the screen."""

import re
import subprocess

from tests.config.lint.host import Host
from tests.support.require import ADMIN_PATH

_RUN = ("postconf", "postmap", "postalias", "rm", "chmod", "chown", "install", "echo", "mkdir", "cp")
# What a Postfix that never runs cannot do, and what the machine has no business with.
_LEFT_OUT = ("postfix", "systemctl", "rc-service", "postqueue")


def commands(remedy: str) -> list[str] | None:
    """The commands of a remedy; None if it is for a person."""
    parts = [part.strip() for part in re.split(r"&&|;", remedy)]
    # The files of a chroot are copied from the machine's own /etc, and those of the tests are elsewhere.
    if not all(part.split(" ")[0] in _RUN + _LEFT_OUT for part in parts) or " /etc/" in remedy:
        return None
    return [part for part in parts if part.split(" ")[0] in _RUN]


def carry_out(host: Host, todo: list[str]) -> None:
    """Run them in a shell."""
    for command in todo:
        subprocess.run(
            ["/bin/sh", "-c", command], check=True, capture_output=True, env={"PATH": ADMIN_PATH}, cwd="/"
        )
    host.instance.settle()
