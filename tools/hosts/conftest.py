"""The hosts of the tests: one of each release, with the package of this checkout."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ca import CA
from tests.support.postfix import free_port
from tests.support.relay import Relay
from tools.hosts.host import Host
from tools.hosts.image import RELEASES
from tools.hosts.product import PASSWORD, USER, Installed, build


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of this checkout, or the one that POSTWARD_DEB names; its package revision must be 1."""
    if made := os.environ.get("POSTWARD_DEB"):
        return Path(shutil.copy(made, tmp_path_factory.mktemp("package")))
    return build(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session", params=RELEASES)
def fresh(request: pytest.FixtureRequest, deb: Path) -> Iterator[Installed]:
    """Postward, installed on a host of each release; the first test that uses `installed` sets it up."""
    with Host(request.param) as host, Relay(CA(), users={USER: PASSWORD}) as relay:
        postward = Installed(host, relay, free_port())
        postward.files_before = postward.files()
        postward.install(deb)
        yield postward


@pytest.fixture(scope="session")
def installed(fresh: Installed) -> Installed:
    """Postward, set up and running."""
    seconds = fresh.set_up()
    print(f"\n{fresh.host.release}: {seconds:.1f} s from postward init to the first delivered probe")  # noqa: T201
    return fresh
