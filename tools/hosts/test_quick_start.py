"""The quick starts, followed literally on a fresh host: each ends with a delivered probe, at each of its providers.

The host asks a name server of the test, by which the providers' names lead to the test's relays, at the providers' own
ports. The relays know the login that stands in the document, so not a character of the commands is changed.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from postward.config.providers import PROVIDERS
from tests.support.ca import CA
from tests.support.documents import Block, blocks_of
from tests.support.name_server import name_server
from tests.support.postfix import free_port
from tests.support.relay import Relay
from tests.support.waiting import wait_for
from tools.hosts.host import Host

DOCUMENTS = ("docs/quick-start.md", "docs/zh-CN/quick-start.md")
RELAYS, NAMES = (
    "127.0.58.7",
    "127.0.58.53",
)  # addresses on loopback, so that the providers' ports are free there
_SET_UP = re.compile(
    r"postward init .*--provider (?P<provider>\S+).* --username (?P<login>\S+) .*<<'KEY'\n(?P<key>.*)\nKEY"
)
# Heading of a block → why it does not run here.
_NOT_RUN = {
    "RHEL、Rocky、AlmaLinux 9 和 10": "needs another distribution",
    "On RHEL 9 and 10": "needs another distribution",
}


def _blocks(document: str) -> list[Block]:
    return [
        block for block in blocks_of(document) if block.language == "sh" and block.heading not in _NOT_RUN
    ]


def _set_up(block: Block) -> re.Match[str] | None:
    return _SET_UP.search(block.text.replace("\\\n", " "))


@contextmanager
def relays(authority: CA, names: list[str]) -> Iterator[dict[int, Relay]]:
    """Port → a relay at the providers' address, with a certificate for their names."""
    with ExitStack() as running:
        found = {}
        for port, tls in ((587, "starttls"), (465, "implicit")):
            relay = Relay(authority, users={}, tls=tls, port=port)
            relay.host, relay.certificate = RELAYS, authority.server_context(*names)
            found[port] = running.enter_context(relay)
        yield found


class _FreshHost:
    """A host on which a reader begins. `reset` takes it back to the state after the installation."""

    def __init__(self, host: Host, deb: Path, authority: CA) -> None:
        self.host = host
        host.put_text(f"nameserver {NAMES}\n", "/etc/resolv.conf")
        # Hosts share the machine's network, and its port 19787.
        (host.root / "etc/postward/postward.toml.d").mkdir(parents=True)
        host.put_text(
            f'[web]\nlisten = "127.0.0.1:{free_port()}"\n', "/etc/postward/postward.toml.d/port.toml"
        )
        host.put_text(authority.pem.decode(), "/usr/local/share/ca-certificates/test.crt")
        host.run("update-ca-certificates")
        host.run("systemctl", "restart", "postfix")  # copies resolv.conf into its chroot
        # The name of the package on an amd64 machine, as the documents have it.
        shutil.copy(deb, host.root / "root/postward_1.0.0-1_amd64.deb")

    def follow(self, block: Block) -> str:
        """Run a block as it stands, in the home of root, and return what it prints."""
        # doctor exits with 3 if it finds something: here, that the clock is not synchronised.
        doctor = 'postward() { command postward "$@" || [ "$1 $?" = "doctor 3" ]; }'
        return self.host.run("bash", "-c", f"cd; set -e; exec 2>&1; {doctor}\n{block.text}")

    def keep(self) -> None:
        """Note the state to which `reset` goes back."""
        self.host.run("cp", "-a", "/etc/postfix", "/root/postfix")

    def reset(self) -> None:
        """Remove settings and state, and bring Postfix's configuration back."""
        self.host.shell(
            "systemctl disable --quiet --now postward postward-enforce postward-report.timer postward-token.path; "
            "rm -rf /etc/postward/postward.toml /etc/postward/passwords/* /var/lib/postward/* /var/lib/postward-enforce/*; "
            "rm -rf /etc/postfix; cp -a /root/postfix /etc/postfix; systemctl restart postfix"
        )


@pytest.mark.parametrize("release", ["bookworm"])  # in the name of the test, as HOSTS= chooses by it
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_quick_start_ends_with_a_delivered_probe(document: str, release: str, deb: Path) -> None:
    """Each provider's block delivers a probe with its login; afterwards the commands of the last steps succeed."""
    blocks = _blocks(document)
    number = next(number for number, block in enumerate(blocks) if _set_up(block))
    names = [PROVIDERS[match["provider"]].host for block in blocks if (match := _set_up(block))]
    records, authority = {(name, "A"): [RELAYS] for name in names}, CA()
    with (
        Host(release) as host,
        relays(authority, names) as running,
        name_server(records, at=(NAMES, 53), behind=nameserver()),
    ):
        fresh = _FreshHost(host, deb, authority)
        for block in blocks[:number]:
            fresh.follow(block)
        fresh.keep()
        for block in blocks[number:]:
            if match := _set_up(block):
                if block is not blocks[number]:
                    fresh.reset()
                _check_set_up(fresh, block, match, running)
            else:
                print(fresh.follow(block))  # noqa: T201 - what a reader sees
                for recipient in re.findall(r"\| sendmail (\S+)", block.text):
                    _await_mail(recipient, running)


def _check_set_up(fresh: _FreshHost, block: Block, match: re.Match[str], relays: dict[int, Relay]) -> None:
    """Follow a provider's block: the probe is delivered with this login, and no sender but an allowed one is used."""
    provider = PROVIDERS[match["provider"]]
    relay = relays[provider.starttls or provider.implicit or 0]
    for one in relays.values():
        one.forget()
        one.users = {match["login"]: match["key"]}
    printed = fresh.follow(block)
    assert "to the first delivered probe" in printed, f"{block}: {printed}"
    assert match["key"] not in printed
    recipient = re.search(r"--recipient (\S+)", block.text)
    assert recipient
    wait_for(lambda: relay.messages_to(recipient[1]), 40, f"the probe of {block}")
    assert {message.username for message in relay.messages} == {match["login"]}
    assert all(message.tls for message in relay.messages)
    if provider.senders == "login":
        assert {message.mail_from for message in relay.messages} <= {match["login"], ""}
    print(f"{block}: {printed.splitlines()[-2]}")  # noqa: T201 - the seconds until the first delivered probe


def _await_mail(recipient: str, relays: dict[int, Relay]) -> None:
    wait_for(lambda: any(relay.messages_to(recipient) for relay in relays.values()), 40, recipient)


def nameserver() -> str:
    """Return the name server of this machine."""
    text = Path("/etc/resolv.conf").read_text(encoding="utf-8")
    found = re.search(r"(?m)^nameserver (\S+)", text)
    assert found, text
    return found[1]
