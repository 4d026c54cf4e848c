"""A host for seeded mistakes: a private Postfix configuration, which is never started, and the system files around it.

postconf and postmap are the real ones. `Host.repair` restores everything, so one host serves many tests.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.config.lint import Finding, HostFacts, lint
from postward.config.settings import Settings
from tests.support import PostfixInstance
from tests.support.require import required

RELAY = "[smtp.relay.test]:587"
LOGIN = "relay-user:Gr33n-Fern-s3cret"
SECRETS = ("Gr33n-Fern-s3cret", "Gr33n")
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

# A correct host that sends through a relay with STARTTLS and a login.
_MAIN_CF = {
    "default_database_type": "hash",  # the type of the tables here; the default differs between releases
    "relayhost": RELAY,
    "smtp_host_lookup": "dns",
    "smtp_sasl_auth_enable": "yes",
    "smtp_sasl_password_maps": "hash:$config_directory/sasl_passwd",
    "smtp_sasl_security_options": "noanonymous",
    "smtp_sasl_tls_security_options": "noanonymous",
    "smtp_tls_security_level": "encrypt",
    "smtp_tls_loglevel": "1",
    "virtual_alias_maps": "inline:{root=ops@example.net}",  # which lint would otherwise ask for
}
_SYSTEM = {
    "etc/os-release": "ID=debian\n",
    "etc/resolv.conf": "nameserver 192.0.2.53\n",
    "etc/hosts": "127.0.0.1 localhost\n192.0.2.9 lan.relay.test\n",
    "etc/services": "smtp 25/tcp mail\nsubmission 587/tcp\n",
    "usr/lib/sasl2/libplain.so.2": "",
    "usr/lib/sasl2/liblogin.so.2": "",
}


class Host:
    """The host. Each method makes a change that an admin, a package or a how-to guide makes."""

    def __init__(self, folder: Path) -> None:
        self.instance = PostfixInstance(folder, _MAIN_CF, smtpd_port=20025)
        self.etc = self.instance.config_directory
        self.folder = self.instance.folder
        self.system = self.folder / "system"
        self.ca_file = self.folder / "ca.pem"
        for name, text in _SYSTEM.items():
            path = self.system / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.ca_file.write_text(CERTIFICATE)
        self.table("sasl_passwd", f"{RELAY} {LOGIN}\n", mode=0o600)
        self._pristine = self.folder / "pristine"
        self._parts = (self.etc, self.instance.queue_directory, self.system)
        for part in self._parts:
            shutil.copytree(part, self._pristine / part.name)

    def close(self) -> None:
        """Remove the files of the host."""
        self.instance._remove_own_folder()

    def repair(self) -> None:
        """Restore all files of the host."""
        for part in self._parts:
            shutil.rmtree(part)
            shutil.copytree(self._pristine / part.name, part)
            shutil.chown(part, "root", "root")
        shutil.chown(self.instance.data_directory, self.instance.postconf("-d", "mail_owner")["mail_owner"])

    # main.cf and master.cf

    def set(self, *lines: str) -> Self:
        """Set parameters in main.cf; each line is written as it is and replaces the lines of the same name."""
        for line in lines:
            name = line.partition("=")[0].strip()
            text = re.sub(rf"(?m)^{re.escape(name)} *=.*\n", "", self.main_cf)
            self._write("main.cf", f"{text}{line}\n")
        return self

    def unset(self, *names: str) -> Self:
        """Remove parameters from main.cf."""
        for name in names:
            self._write("main.cf", re.sub(rf"(?m)^{re.escape(name)} *=.*\n", "", self.main_cf))
        return self

    def append(self, text: str) -> Self:
        """Append text to main.cf."""
        self._write("main.cf", f"{self.main_cf}{text}\n")
        return self

    def master(self, text: str = "", *, without: str = "", chroot: bool = False) -> Self:
        """Append text to master.cf, remove a service from it, or run the service smtp chrooted."""
        lines = (self.etc / "master.cf").read_text().splitlines(keepends=True)
        kept = [line for line in lines if not (without and line.startswith(f"{without} "))]
        if chroot:
            kept = [re.sub(r"^(smtp unix - - )n", r"\1y", line) for line in kept]
        self._write("master.cf", "".join(kept) + (f"{text}\n" if text else ""))
        return self

    def option(self, option: str) -> Self:
        """Add a -o option to the service smtp."""
        text = (self.etc / "master.cf").read_text()
        self._write(
            "master.cf",
            text.replace("smtp unix - - n - - smtp\n", f"smtp unix - - n - - smtp\n  -o {option}\n"),
        )
        return self

    @property
    def main_cf(self) -> str:
        """The text of main.cf."""
        return (self.etc / "main.cf").read_text()

    def _write(self, name: str, text: str) -> None:
        (self.etc / name).write_text(text)
        self.instance.settle()

    # Tables and files

    def table(
        self, name: str, text: str, *, mode: int = 0o644, kind: str = "hash", index: bool = True
    ) -> Path:
        """Write a table and its index, and return its path."""
        path = self.etc / name
        path.write_text(text)
        path.chmod(mode)
        if index:
            program = required("postmap", "postfix")
            subprocess.run(
                [program, "-c", str(self.etc), f"{kind}:{path}"], check=True, capture_output=True, cwd="/"
            )
        return path

    def passwords(self, text: str, *, mode: int = 0o600) -> Self:
        """Replace sasl_passwd."""
        self.table("sasl_passwd", text, mode=mode)
        return self

    def earlier(self, name: str) -> Self:
        """Make a file of the configuration an hour older."""
        status = (self.etc / name).stat()
        os.utime(self.etc / name, (status.st_mtime - 3600, status.st_mtime - 3600))
        return self

    def write(self, path: str, text: str) -> Self:
        """Write a system file."""
        (self.system / path).parent.mkdir(parents=True, exist_ok=True)
        (self.system / path).write_text(text)
        return self

    def remove(self, *paths: str) -> Self:
        """Remove system files."""
        for path in paths:
            (self.system / path).unlink()
        return self

    def in_chroot(self, name: str, text: str) -> Self:
        """Write the copy of a file of /etc for chrooted services."""
        path = self.instance.queue_directory / "etc" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        return self

    def token_file(self) -> Self:
        """Log in by sasl-xoauth2, and put its files into the chroot of smtp(8)."""
        self.master(chroot=True).in_chroot("resolv.conf", "nameserver 192.0.2.53\n")
        self.write("usr/lib/sasl2/libsasl-xoauth2.so", "")
        self.write("etc/sasl-xoauth2.conf", '{"ca_bundle_file": "/etc/bundle.crt"}')
        self.in_chroot("bundle.crt", CERTIFICATE)
        self.in_chroot("tokens/app", "{}")
        self.passwords(f"{RELAY}\t app@example.com:/etc/tokens/app\n")
        return self.set("smtp_sasl_mechanism_filter = xoauth2")

    # Lint

    def facts(self, settings: Settings | None = None, settings_file: Path | None = None) -> HostFacts:
        """Return the facts of the host."""
        return read_host_facts(Postfix(self.etc), settings, settings_file, self.system)

    def findings(self, settings: Settings | None = None) -> list[Finding]:
        """Return the findings of lint on the host."""
        return lint(settings, self.facts(settings))


def ids(findings: Iterable[Finding]) -> set[str]:
    """Return the identifiers of findings."""
    return {finding.id for finding in findings}
