"""The Ansible role on Debian hosts, as it is run on each host by itself, with the release's own Ansible.

Postward comes from a signed repository of this checkout's package. The settings are those of a fleet and of a host.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.ca import CA
from tests.support.postfix import free_port
from tests.support.relay import Relay
from tests.support.require import required
from tests.support.waiting import wait_for
from tools.hosts.host import Host
from tools.hosts.image import RELEASES
from tools.hosts.product import PASSWORD, RECIPIENT, ROOT, SERVICES, USER, Installed, next_release
from tools.packages.repository import repository_of

ANSIBLE = ROOT / "systemd/ansible"
_REPOSITORY, _PLAYBOOK = "/srv/postward", "/root/ansible/site.yml"
_FLEET = f"""\
[probe]
recipient = "{RECIPIENT}"
interval_seconds = 5

[[relay]]
name = "main"
host = "127.0.0.1"
"""
_HOST = """\
[host]
profile = "send-only"
myhostname = "host.example.test"

[web]
listen = "127.0.0.1:{port}"

[[relay]]
name = "main"
port = {relay}
allow_unusual_port = true
tls = "starttls"
username = "{user}"
password_file = "/etc/postward/passwords/main"
"""
_RECAP = re.compile(r"(?m)^localhost\s.*\bok=(\d+)\s+changed=(\d+)\s.*failed=(\d+)")


class Managed(Installed):
    """A host that the role manages. `variables` are those of the inventory."""

    def __init__(self, host: Host, relay: Relay) -> None:
        super().__init__(host, relay, free_port())
        self.variables: dict[str, Any] = {
            "postward_repository": _REPOSITORY,
            "postward_fleet_settings": _FLEET,
            "postward_host_settings": _HOST.format(port=self.port, relay=relay.port, user=USER),
            "postward_passwords": {"main": PASSWORD},
            "postward_allow": ["end-inbound"],
        }

    def prepare(self, deb: Path, scratch: Path) -> None:
        """Make the repository, install Ansible, and copy role and playbook."""
        there = self.host.root / _REPOSITORY.lstrip("/")
        repository_of(deb, there, f"file://{_REPOSITORY}", scratch)
        packages = "ansible-core python3-apt"
        self.host.shell(
            f"apt-get -qq update && apt-get -qq install --no-install-recommends {packages} >/dev/null 2>&1"
        )
        shutil.copytree(ANSIBLE, self.host.root / Path(_PLAYBOOK).parent.relative_to("/"))
        self.host.put_text("[mail]\nlocalhost ansible_connection=local\n", "/root/inventory")

    def play(self, *options: str, status: int = 0) -> str:
        """Run the playbook and return its output, in which no secret stands."""
        file = self.host.root / "root/variables.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(self.variables))
        command = [
            "ansible-playbook",
            "-i",
            "/root/inventory",
            "-e",
            "@/root/variables.json",
            *options,
            _PLAYBOOK,
        ]
        printed = self.host.run("sh", "-c", '"$@" 2>&1', "sh", *command, status=status)
        for secret in self.variables["postward_passwords"].values():
            assert secret not in printed
        return printed

    def changed(self, *options: str) -> list[str]:
        """Run the playbook and return the names of the tasks that changed something."""
        return changed_tasks(self.play(*options))

    def state(self) -> str:
        """Return what a run could change: files of settings and of Postfix, and the processes of the services."""
        files = "find /etc -type f -exec sha256sum {} + | sort -k 2; find /etc /run/postward* -printf '%p %m %u\\n' | sort"
        return self.host.shell(files, status=None) + "".join(
            self.show(unit, "MainPID")[0] for unit in SERVICES
        )


def changed_tasks(printed: str) -> list[str]:
    """Return the names of the tasks that changed something, by the output of ansible-playbook."""
    name, found = "", []
    for line in printed.splitlines():
        if match := re.match(r"(?:TASK|RUNNING HANDLER) \[(?:postward : )?(.*?)\]", line):
            name = match[1]
        elif line.startswith("changed: ") and name not in found:
            found.append(name)
    recap = _RECAP.search(printed)
    assert recap, printed
    assert bool(int(recap[2])) == bool(found), printed
    return found


@pytest.mark.parametrize("release", ["bookworm"])  # in the name of the test, as HOSTS= chooses by it
def test_the_role_is_clean(release: str) -> None:
    """ansible-lint has no complaint, with the rules for production."""
    done = subprocess.run(
        [
            required("ansible-lint", "ansible-lint"),
            "--offline",
            "--nocolor",
            "--profile",
            "production",
            ANSIBLE / "site.yml",
            ANSIBLE / "roles/postward",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    print(done.stdout + done.stderr)  # noqa: T201 - the linter's own words
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("release", RELEASES)
def test_the_role(release: str, deb: Path, tmp_path: Path) -> None:
    """A first run delivers a probe; a second changes nothing; check mode is the plan; a secret changes what it must."""
    with Host(release) as host, Relay(CA(), users={USER: PASSWORD}) as relay:
        site = Managed(host, relay)
        site.prepare(deb, tmp_path)
        print(host.run("ansible", "--version").splitlines()[0])  # noqa: T201 - the release's
        _check_mode_on_a_new_host(site)
        _two_runs(site)
        _check_mode_is_the_plan(site)
        _a_rotated_password(site)
        _bad_settings_are_not_written(site)
        _a_package_upgrades(site, deb)
        _without_the_enforcer(site)


def _check_mode_on_a_new_host(site: Managed) -> None:
    before = site.state()
    assert "check mode shows no plan" in site.play("--check")
    assert site.state() == before


def _two_runs(site: Managed) -> None:
    first = site.play()
    print(first)  # noqa: T201 - what an admin sees
    site.await_metric(1, "postward_probes_total", "outcome=accepted")
    assert site.host.run("systemctl", "is-enabled", *SERVICES) == "enabled\nenabled\n"
    modes = "stat -c '%a %U %n' /etc/postward/passwords/main /etc/postward/postward.toml.d/*"
    assert site.host.shell(modes).splitlines() == [
        "600 root /etc/postward/passwords/main",
        "644 root /etc/postward/postward.toml.d/10-fleet.toml",
        "644 root /etc/postward/postward.toml.d/20-host.toml",
    ]
    before = site.state()
    second = site.play()
    print(second)  # noqa: T201 - as above
    assert changed_tasks(second) == []
    assert site.state() == before


def _check_mode_is_the_plan(site: Managed) -> None:
    before, variables = site.state(), dict(site.variables)
    site.variables["postward_host_settings"] = variables["postward_host_settings"].replace(
        "host.example", "web1.example"
    )
    printed = site.play("--check", "--diff")
    assert "myhostname = web1.example.test" in printed
    assert changed_tasks(printed) == ["Write the settings", "Reload the services"]
    assert site.state() == before
    assert site.changed() == [
        "Write the settings",
        "Apply the settings, and confirm them by a probe",
        "Reload the services",
    ]
    assert site.host.run("postconf", "-h", "myhostname") == "web1.example.test\n"
    assert site.changed() == []


def _a_rotated_password(site: Managed) -> None:
    site.relay.users[USER] = "n3w#word"
    site.variables["postward_passwords"] = {"main": "n3w#word"}
    before = site.state()
    printed = site.play("--check")
    assert "sasl_passwd" in printed
    assert site.state() == before
    (enforcer,) = site.show("postward-enforce.service", "MainPID")
    assert set(site.changed()) <= {
        "Write the secrets",
        "Apply the settings, and confirm them by a probe",
        "Restart the agent",
    }
    differ = {
        line.split()[1]
        for line in set(site.state().splitlines()) ^ set(before.splitlines())
        if len(line.split()) == 2
    }
    assert {path for path in differ if "/etc/" in path} == {
        "/etc/postward/passwords/main",
        "/etc/postfix/sasl_passwd",
        "/etc/postfix/sasl_passwd.db",
    }
    assert site.show("postward-enforce.service", "MainPID") == [enforcer]
    site.await_metric(1, "postward_relay_auth_accepted")
    wait_for(lambda: site.relay.auth_attempts[-1].accepted, 40, "a login with the new password")
    assert site.changed() == []


def _bad_settings_are_not_written(site: Managed) -> None:
    before, variables = site.state(), dict(site.variables)
    site.variables["postward_fleet_settings"] = _FLEET.replace(
        "interval_seconds = 5", 'interval_seconds = "often"'
    )
    assert "probe.interval_seconds" in site.play(status=2)
    assert site.state() == before
    site.variables = variables


def _a_package_upgrades(site: Managed, deb: Path) -> None:
    site.variables["postward_package"] = site.host.put(next_release(deb), "/root")
    assert site.changed() == ["Copy the package", "Install the package of apt"]
    assert site.host.run("dpkg-query", "-W", "-f", "${Version}", "postward").endswith("-2")
    assert site.changed() == []


def _without_the_enforcer(site: Managed) -> None:
    site.variables["postward_enforce"] = False
    assert site.changed() == ["Run the enforcer"]
    assert site.host.run("systemctl", "is-active", *SERVICES, status=None) == "active\ninactive\n"
    assert site.changed() == []
