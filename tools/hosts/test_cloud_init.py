"""The example for cloud-init: valid by cloud-init's own schema, and its commands end with a delivered probe.

cloud-init itself does not boot here: the files are written and the packages installed in its order, from a signed
repository of this checkout. Then each line of `runcmd` runs as it stands. Names lead to the test's relay.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from postward.config.providers import PROVIDERS
from tests.support.ca import CA
from tests.support.name_server import name_server
from tests.support.postfix import free_port
from tests.support.waiting import wait_for
from tools.hosts.host import Host
from tools.hosts.image import RELEASES
from tools.hosts.product import ROOT, SERVICES
from tools.hosts.test_quick_start import NAMES, RELAYS, nameserver, relays
from tools.packages.repository import repository_of

_USER, _KEY = "the-api-user", "the-api-key"
EXAMPLE = ROOT / "systemd/cloud-init/user-data.yaml"


def _write(host: Host, files: list[dict[str, Any]]) -> None:
    """Write files as cloud-init's module write_files does."""
    for file in files:
        there = host.root / file["path"].lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.touch(mode=0o600)
        there.write_text(file["content"])
        there.chmod(int(file.get("permissions", "0644"), 8))


@pytest.mark.parametrize("release", RELEASES)
def test_the_example_ends_with_a_delivered_probe(release: str, deb: Path, tmp_path: Path) -> None:
    """The release's cloud-init accepts the file. After its commands both services run, and the relay has the probe."""
    example = yaml.safe_load(EXAMPLE.read_text())
    provider, authority = PROVIDERS["sendcloud"], CA()
    records = {(provider.host, "A"): [RELAYS]}
    with (
        Host(release) as host,
        relays(authority, [provider.host]) as running,
        name_server(records, at=(NAMES, 53), behind=nameserver()),
    ):
        host.shell(
            "apt-get -qq update && apt-get -qq install --no-install-recommends cloud-init >/dev/null 2>&1"
        )
        host.put(EXAMPLE, "/root")
        print(host.shell("cloud-init --version 2>&1; cloud-init schema --config-file /root/user-data.yaml"))  # noqa: T201
        host.put_text(f"nameserver {NAMES}\n", "/etc/resolv.conf")
        host.put_text(authority.pem.decode(), "/usr/local/share/ca-certificates/test.crt")
        host.run("update-ca-certificates")
        host.run("systemctl", "restart", "postfix")  # copies resolv.conf into its chroot
        repository = repository_of(deb, host.root / "srv/postward", "file:///srv/postward", tmp_path)
        for one in running.values():
            one.users = {_USER: _KEY}

        _write(host, [file for file in example["write_files"] if not file.get("defer")])
        shutil.copy(repository / "apt/postward.sources", host.root / "etc/apt/sources.list.d")
        packages = " ".join(example["packages"])
        host.shell(f"apt-get -qq update && apt-get -qq install {packages} >/dev/null 2>&1")
        _write(host, [file for file in example["write_files"] if file.get("defer")])
        # Hosts share the machine's network, and its port 19787.
        port = f'[web]\nlisten = "127.0.0.1:{free_port()}"\n'
        host.put_text(port, "/etc/postward/postward.toml.d/99-port.toml")
        printed = host.shell(f"set -e; exec 2>&1; {'; '.join(example['runcmd'])}")
        print(printed[printed.index("note ") :])  # noqa: T201 - the end of cloud-init-output.log

        assert "mail goes out" in printed
        assert _KEY not in printed
        assert host.run("systemctl", "is-active", *SERVICES) == "active\nactive\n"
        relay = running[provider.starttls or 0]
        wait_for(lambda: relay.messages_to("probe@example.com"), 40, "the probe")
        assert {message.username for message in relay.messages} == {_USER}
