"""The hosts that the other tests use: boot, reboot and removal."""

import pytest

from tools.hosts.host import Host
from tools.hosts.image import RELEASES


@pytest.mark.parametrize("release", RELEASES)
def test_a_host_boots_keeps_its_files_and_leaves_nothing(release: str) -> None:
    """PID 1 is systemd, no unit has failed and Postfix runs. A reboot keeps files; the end deletes the folder."""
    with Host(release) as host:
        assert host.run("cat", "/proc/1/comm") == "systemd\n"
        assert host.run("systemctl", "--failed", "--no-legend") == ""
        host.shell("postfix status && echo kept > /var/lib/kept")
        host.reboot()
        assert host.run("cat", "/var/lib/kept") == "kept\n"
        folder = host.root
    assert not folder.exists()
