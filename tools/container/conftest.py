"""A network of containers: a test relay on the machine, a client that sends mail, and Postward with its volumes."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.ca import CA
from tests.support.relay import Relay
from tools.container.podman import Container, Podman

USER, PASSWORD = "API_USER", "s3cret#word"
RECIPIENT = "user@relay.test"
SECRETS = "/run/secrets/relay"
CAPABILITIES = "CHOWN,DAC_OVERRIDE,FOWNER,KILL,NET_BIND_SERVICE,SETGID,SETUID"
RESTRICTED = [
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
]
# The restrictions of container/compose.yaml and container/kubernetes.
OPTIONS = [*RESTRICTED, "--tmpfs=/etc/postfix", f"--cap-add={CAPABILITIES}"]
VOLUMES = {
    "queue": "/var/spool/postfix",
    "state": "/var/lib/postward",
    "enforce": "/var/lib/postward-enforce",
}

_SEND = """
import smtplib, sys
host, port, first, number = sys.argv[1], *map(int, sys.argv[2:])
with smtplib.SMTP(host, port, timeout=30) as client:
    for count in range(first, first + number):
        client.sendmail("app@example.test", ["user@relay.test"], f"Subject: mail {count}\\r\\n\\r\\nText.")
"""


class Secret:
    """A secret as Kubernetes mounts it: files are links through `..data`, which is moved to a new directory."""

    def __init__(self, folder: Path, password: str) -> None:
        self.folder = folder
        self._number = 0
        self.write(password)
        (folder / "password").symlink_to("..data/password")

    def write(self, password: str) -> None:
        """Replace the password."""
        self._number += 1
        versioned = self.folder / f"..{self._number}"
        versioned.mkdir()
        (versioned / "password").write_text(f"{password}\n")
        (self.folder / "..new").symlink_to(versioned.name)
        (self.folder / "..new").rename(self.folder / "..data")


@dataclass
class Net:
    """The network, and what containers in it share.

    Attributes:
        podman: runs the containers.
        name: of the network, and the beginning of all names of containers and volumes.
        relay: the relay, at the machine's address in the network.
        client: a container that sends mail.
        secret: the relay's password.
        sent: mails that the client has sent.
    """

    podman: Podman
    name: str
    relay: Relay
    client: Container
    secret: Secret
    sent: int = field(default=0)

    def variables(self, **more: str) -> dict[str, str]:
        """Return the settings of a relay as variables, and further ones."""
        prefix, _, _ = self.relay.host.rpartition(".")
        return {
            "POSTWARD_HOST__MYHOSTNAME": "mail.example.test",
            "POSTWARD_HOST__MYNETWORKS": f"127.0.0.0/8 {prefix}.0/24",
            "POSTWARD_RELAY__MAIN__HOST": self.relay.host,
            "POSTWARD_RELAY__MAIN__PORT": str(self.relay.port),
            "POSTWARD_RELAY__MAIN__TLS": "starttls",
            "POSTWARD_RELAY__MAIN__ALLOW_UNUSUAL_PORT": "true",
            "POSTWARD_RELAY__MAIN__USERNAME": USER,
            "POSTWARD_RELAY__MAIN__PASSWORD_FILE": f"{SECRETS}/password",
            "POSTWARD_PROBE__RECIPIENT": "probe@relay.test",
            "POSTWARD_MAIN_CF__MINIMAL_BACKOFF_TIME": "2s",
            "POSTWARD_MAIN_CF__QUEUE_RUN_DELAY": "2s",
            "POSTWARD_DRAIN_SECONDS": "8",
        } | more

    def options(self, name: str) -> list[str]:
        """Return the options of a container of this name: network, secret and volumes."""
        volumes = [f"--volume={self.name}-{name}-{volume}:{path}" for volume, path in VOLUMES.items()]
        return [f"--network={self.name}", f"--volume={self.secret.folder}:{SECRETS}:ro", *volumes]

    def send(self, to: Container, number: int = 1, port: int = 25) -> None:
        """Send mails from the client."""
        self.client.run("python3", "-c", _SEND, to.address(), str(port), str(self.sent), str(number))
        self.sent += number

    def received(self) -> int:
        """Return the number of the client's mails that the relay received."""
        return len(self.relay.messages_to(RECIPIENT))


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """Podman, with the images of `make image`."""
    with Podman() as running:
        yield running


@pytest.fixture(scope="session")
def net(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """The network with relay and client."""
    name = f"postward{os.getpid()}"
    folder = tmp_path_factory.mktemp("secret")
    folder.chmod(0o755)
    with (
        podman.network(name) as gateway,
        podman.container(
            f"{name}-client", [f"--network={name}", "--entrypoint=sleep", "--init=false"], {}, "infinity"
        ) as client,
    ):
        relay = Relay(CA(), users={USER: PASSWORD})
        relay.host = gateway
        with relay:
            yield Net(podman, name, relay, client, Secret(folder, PASSWORD))


@pytest.fixture(scope="session")
def variables(net: Net) -> Mapping[str, str]:
    """The settings of the container of most tests. Without the wake-up by a file, nothing would change for an hour."""
    return net.variables(POSTWARD_ENFORCE__INTERVAL_SECONDS="3600")


@pytest.fixture(scope="session")
def postward(net: Net, variables: Mapping[str, str]) -> Iterator[Container]:
    """Postfix and Postward in one container, with the restrictions of the examples."""
    name = f"{net.name}-relay"
    with net.podman.container(name, [*OPTIONS, *net.options("relay")], variables) as container:
        yield container
