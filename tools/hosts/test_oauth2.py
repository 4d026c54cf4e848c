"""Tokens on Debian hosts from the package alone, with Microsoft's preset as an admin uses it.

On each host, Microsoft's names lead to a test bed on loopback: an authorization server, and a relay that takes its
tokens by XOAUTH2. smtp(8) is chrooted. The tests of a release share one host and run in this order. The steady sender
takes 100 seconds, or as many as POSTWARD_OAUTH2_SECONDS names.
"""

import contextlib
import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.authorization import Authorization, Client
from tests.support.ca import CA
from tests.support.postfix import free_port
from tests.support.processes import spy_on_processes
from tests.support.relay import Relay
from tests.support.waiting import wait_for
from tools.hosts.host import Host
from tools.hosts.image import RELEASES
from tools.hosts.product import RECIPIENT, SETTINGS, Installed

_TENANT = "example.onmicrosoft.com"
_USER = "app@example.com"
_SECRET, _NEXT_SECRET = "cl1ent~Secret-One", "cl1ent~Secret-Two"
_UNITS = ("postward-token.path", "postward-token.service", "postward.service", "postward-enforce.service")
_LIFETIME = 60  # of access tokens, in seconds
_SECONDS = int(os.environ.get("POSTWARD_OAUTH2_SECONDS", "100"))
_TOKEN = "postward-token.service"


class TokenHost(Installed):
    """Postward on a host whose relay takes tokens."""

    def __init__(self, host: Host, relay: Relay, server: Authorization) -> None:
        super().__init__(host, relay, free_port())
        self.server = server
        self.seen: set[str] = set()  # arguments and environments of processes

    def lead_to_bed(self, ca: CA, address: str) -> None:
        """Let Microsoft's names lead to the bed, for Postfix too, and trust its authority; run smtp(8) chrooted."""
        names = f"{address} smtp.office365.com login.microsoftonline.com"
        authority = "/usr/local/share/ca-certificates/bed.crt"
        Path(self.host.root, authority.lstrip("/")).write_bytes(ca.pem)
        self.host.shell(
            f"echo '{names}' >> /etc/hosts; update-ca-certificates; postconf -e smtp_host_lookup=native; "
            "postconf -F smtp/unix/chroot=y; systemctl restart postfix"
        )

    def sign_in(self, *command: str) -> str:
        """Run a command that shows a device code, and enter the code as in a browser. Return its output."""
        codes = len(self.server.codes)

        def enter() -> None:
            wait_for(lambda: len(self.server.codes) > codes, 60, "a device code")
            self.server.approved[self.server.codes[-1]] = _USER

        browser = threading.Thread(target=enter)
        browser.start()
        try:
            with spy_on_processes() as seen:
                return self.host.run("sh", "-c", '"$@" 2>&1', "sh", *command)
        finally:
            browser.join()
            self.seen |= seen

    def renewals(self) -> int:
        """Return the number of requests for tokens so far."""
        return len(self.server.requests)

    def state(self) -> str:
        """Return the state of the token service."""
        return self.show(_TOKEN, "ActiveState")[0]


def _free_address() -> str:
    """Return a loopback address of its own for a bed, whose ports are Microsoft's."""
    for _ in range(100):
        address = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"  # noqa: S311
        with contextlib.suppress(OSError), socket.socket() as tried:
            tried.bind((address, 443))
            return address
    raise AssertionError("no loopback address is free")


@contextlib.contextmanager
def _made(release: str, deb: Path) -> Iterator[TokenHost]:
    """A fresh host with the package, and the bed."""
    ca, address = CA(), _free_address()
    relay = Relay(ca, "smtp.office365.com", mechanisms=("LOGIN", "XOAUTH2"), port=587)
    relay.host = address
    server = Authorization(
        ca,
        Client("app"),
        name="login.microsoftonline.com",
        address=(address, 443),
        path=f"/{_TENANT}/oauth2/v2.0",
    )
    server.lifetime = _LIFETIME
    relay.tokens = server.accepts
    with Host(release) as host, server, relay:
        site = TokenHost(host, relay, server)
        site.lead_to_bed(ca, address)
        site.install(deb)
        yield site


@pytest.fixture(scope="module", params=RELEASES)
def site(request: pytest.FixtureRequest, deb: Path) -> Iterator[TokenHost]:
    """A host of each release."""
    with _made(request.param, deb) as site:
        yield site


def test_init_leads_to_the_first_mail(site: TokenHost) -> None:
    """By preset, tenant and application ID: a code, a sign-in, and a probe accepted by XOAUTH2. No password exists."""
    printed = site.sign_in(
        *("postward", "init", "--yes", "--no-start", "--send-only", "--provider", "office365"),
        *("--grant", "device_code", "--tenant", _TENANT, "--client-id", "app", "--username", _USER),
        *("--myhostname", "host.example.test", "--recipient", RECIPIENT),
    )
    assert f"https://login.microsoftonline.com/{_TENANT}/oauth2/v2.0/device" in printed
    assert "from the start of postward init to the first delivered probe" in printed
    print("\n" + site.host.release, [line for line in printed.splitlines() if "first delivered" in line])  # noqa: T201
    assert {attempt.mechanism for attempt in site.relay.auth_attempts} == {"XOAUTH2"}
    assert all(attempt.accepted for attempt in site.relay.auth_attempts)
    assert site.host.shell("ls /etc/postward/passwords 2>/dev/null || true") == ""
    (login,) = (site.host.root / "etc/postfix/sasl_passwd").read_text().splitlines()[-1:]
    token = login.rpartition(":")[2]
    print(f"a token of {len(token)} bytes")  # noqa: T201
    assert len(token) > 2900


def test_the_units_run(site: TokenHost) -> None:
    """The services start, doctor names the plug-in, and the token service is as confined as the agent."""
    site.edit("[probe]", f'[web]\nlisten = "127.0.0.1:{site.port}"\n\n[probe]\ninterval_seconds = 5')
    site.host.run("systemctl", "enable", "--now", *_UNITS)
    site.await_metric(1, "postward_probes_total", "outcome=accepted")
    exposure = site.exposure(_TOKEN)
    print(f"\n{site.host.release}: {_TOKEN} {exposure}")  # noqa: T201
    assert exposure <= 1.5
    assert "postward-oauth2" in site.host.run("postward", "doctor", "--no-relay", status=None)
    assert set(site.doctor()) <= {"clock"}
    modes = site.host.shell("stat -c '%n %U:%G %a' /var/lib/postward-token/*").split("\n")
    for row in (
        "office365.grant postward-token:postward 600",
        "office365.token postward-token:postward 640",
    ):
        assert f"/var/lib/postward-token/{row}" in modes, modes


def test_a_steady_sender_waits_for_no_token(site: TokenHost) -> None:
    """Tokens that live for a minute are renewed in time: each mail of a steady sender goes out at its first attempt."""
    before, begun, sent = site.received(), site.renewals(), 0
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        site.send(1)
        sent += 1
        wait_for(lambda: site.received() == before + sent, 40, "a mail at the relay")  # noqa: B023
    renewals = site.renewals() - begun
    print(f"\n{site.host.release}: {_SECONDS} s, {sent} mails, {renewals} renewals")  # noqa: T201
    assert renewals >= _SECONDS // _LIFETIME
    wait_for(lambda: site.metric("postfix_deliveries_total", "status=sent") >= sent, 40, "the counts")
    assert site.metric("postfix_deliveries_total", "status=deferred") == 0
    assert all(attempt.accepted for attempt in site.relay.auth_attempts)


def test_a_killed_service_loses_no_grant(site: TokenHost) -> None:
    """SIGKILL hits it while the server answers. `tests/oauth2/killing.py` has every step of the rotation."""
    grant = "/var/lib/postward-token/office365.grant"
    for _ in range(5):
        before, (number,) = site.renewals(), site.show(_TOKEN, "MainPID")
        site.host.run("touch", grant)
        wait_for(lambda: site.renewals() > before, 90, "a request")  # noqa: B023
        site.host.shell(f"kill -9 {number}")
        wait_for(lambda: site.show(_TOKEN, "MainPID") not in (["0"], [number]), 40, "a new service")  # noqa: B023
    before, probed = site.renewals(), site.probed()
    site.host.run("touch", grant)
    wait_for(lambda: site.renewals() > before, 90, "a request")
    site.await_metric(probed + 2, "postward_probes_total", "outcome=accepted")
    assert site.metric("postward_token_renewals_total", "outcome=refused") == 0


def test_the_service_ends_without_work_and_comes_back(site: TokenHost) -> None:
    """Each change of the settings starts it; without [relay.oauth2] it ends, and does not fail after many changes."""
    path = site.host.root / SETTINGS.lstrip("/")
    text = path.read_text()
    for number in range(6):
        site.edit("[relay.oauth2]", f"[relay.oauth2]\n# {number}")
    without = text[: text.index("[relay.oauth2]")] + text[text.index("[web]") :]
    site.edit(path.read_text(), without.replace("[web]", 'password = "unused"\n\n[web]'))
    wait_for(lambda: site.state() == "inactive", 40, "the service to end")
    assert site.show(_TOKEN, "Result") == ["success"]
    site.edit(path.read_text(), text)
    wait_for(lambda: site.state() == "active", 40, "the service to be back")
    site.await_metric(site.probed() + 1, "postward_probes_total", "outcome=accepted")
    assert site.host.run("systemctl", "--failed", "--no-legend") == ""


def test_a_rotated_application_secret_is_used(site: TokenHost) -> None:
    """Systemd's copy of a secret is outdated then: the service starts again, and gets a token with the new secret."""
    site.server.clients["app"] = Client("app", _SECRET)
    site.host.shell(f"umask 077; echo '{_SECRET}' > /etc/postward/oauth2/office365")
    site.edit(
        'grant = "device_code"',
        'grant = "client_credentials"\nclient_secret_file = "/etc/postward/oauth2/office365"',
    )

    def asks(secret: str) -> bool:
        return site.server.requests[-1].get("client_secret") == secret

    wait_for(lambda: asks(_SECRET), 90, "a request with the secret")
    with spy_on_processes() as seen:
        site.server.clients["app"] = Client("app", _NEXT_SECRET)
        secret = site.host.root / "etc/postward/oauth2/office365"
        secret.write_text(f"{_NEXT_SECRET}\n")
        wait_for(lambda: asks(_NEXT_SECRET), 120, "a request with the new secret")
        site.await_metric(site.probed() + 2, "postward_probes_total", "outcome=accepted")
    site.seen |= seen
    assert site.host.run("systemctl", "--failed", "--no-legend") == ""


def test_no_secret_is_seen(site: TokenHost) -> None:
    """No token, code or secret of these tests is in an argument, environment, log, metric or world-readable file."""
    secrets = site.server.secrets() | {_SECRET, _NEXT_SECRET}
    print(f"\n{site.host.release}: {len(secrets)} secrets")  # noqa: T201
    assert len(secrets) > 10
    assert len(site.seen) > 10
    assert not [text for text in site.seen for secret in secrets if secret[:60] in text]
    spied = site.host.root / "root/spied"
    spied.touch(mode=0o600)
    spied.write_text("".join(f"{secret[:60]}\n" for secret in secrets))
    folders = "/etc /home /opt /run /srv /tmp /usr/local /var"
    readable = f"find {folders} -xdev -type f -perm -o=r -print0 | xargs -0 grep -alFf /root/spied"
    hidden = "find /var/log /run/log -type f -print0 | xargs -0 grep -alFf /root/spied"
    for command in (
        readable,
        hidden,
        "journalctl --no-pager -o export | grep -acFf /root/spied",
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -aFf /root/spied",
        f"curl -s http://127.0.0.1:{site.port}/metrics http://127.0.0.1:{site.port}/api/status | grep -aFf /root/spied",
        # The plan has the whole table as new.
        "systemctl stop postward-enforce; mv /etc/postfix/sasl_passwd /root; postward plan > /root/plan",
        "mv /root/sasl_passwd /etc/postfix; systemctl start postward-enforce; grep -aFf /root/spied /root/plan",
        "grep -q sasl_passwd /root/plan || echo no plan",
        "for unit in postward postward-token postward-enforce; do systemctl kill -s ABRT $unit; done",
        "find / -xdev -type f -name 'core*' -newer /root/spied -size +0",
    ):
        assert site.host.shell(command, status=None).strip() in {"", "0"}, command
    for unit in (_TOKEN, "postward-enforce.service", "postward.service"):
        assert site.show(unit, "LimitCORE") == ["0"], unit


_LIST = "/etc/apt/sources.list.d/experimental.list"
_CHROOT = "/var/spool/postfix"
_EXPERIMENTAL = (
    f"printf 'deb http://deb.debian.org/debian %s main\\n' experimental sid > {_LIST}",
    "apt-get -qq -o Acquire::Check-Valid-Until=false update",
    "DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends sasl-xoauth2/experimental",
    f"mkdir -p {_CHROOT}/etc/tokens {_CHROOT}/etc/ssl/certs",
    f"cp /etc/ssl/certs/ca-certificates.crt {_CHROOT}/etc/ssl/certs/",
)


def test_the_plugin_of_debians_experimental_suite(deb: Path) -> None:
    """With auth = "xoauth2" sasl-xoauth2 logs in from the chroot by its token file, which is kept; why a login fails is named."""
    with _made("trixie", deb) as site:
        host, server = site.host, site.server
        server.clients["app"] = Client("app", _SECRET)
        for command in _EXPERIMENTAL:
            host.shell(command)
        endpoint = f"https://login.microsoftonline.com/{_TENANT}/oauth2/v2.0/token"
        plugin = {
            "client_id": "app",
            "client_secret": _SECRET,
            "token_endpoint": endpoint,
            "ca_bundle_file": "/etc/ssl/certs/ca-certificates.crt",
        }
        host.put_text(json.dumps(plugin), "/etc/sasl-xoauth2.conf")
        file = f"{_CHROOT}/etc/tokens/app"
        token = {"access_token": "none", "expiry": "0", "refresh_token": server.issue("app", _USER)}
        host.put_text(json.dumps(token), file)
        host.shell(f"chown -R postfix {Path(file).parent}; chmod 600 {file}; systemctl restart postfix")
        host.put_text(
            '[host]\nprofile = "send-only"\nmyhostname = "host.example.test"\n[[relay]]\nname = "m365"\n'
            f'provider = "office365"\nusername = "{_USER}"\nauth = "xoauth2"\npassword_file = "/etc/postward/file"\n'
            f'[probe]\nrecipient = "{RECIPIENT}"\n[web]\nlisten = "127.0.0.1:{site.port}"\n',
            SETTINGS,
        )
        host.shell("umask 077; echo /etc/tokens/app > /etc/postward/file")
        host.run("postward", "apply")
        assert "the login by XOAUTH2 is left to Postfix" in host.run("postward", "relay", status=None)
        assert "sasl-xoauth2" in host.run("postward", "doctor", "--no-relay", status=None)
        host.run("systemctl", "enable", "--now", "postward.service", "postward-enforce.service")
        assert set(site.doctor()) <= {"clock"}
        host.shell(f"mv {file} {file}.moved; mv {_CHROOT}/etc/ssl /root")
        assert set(site.doctor()) - {"clock"} == {"xoauth2-token-file", "xoauth2-authorities"}
        host.shell(f"mv {file}.moved {file}; mv /root/ssl {_CHROOT}/etc")
        site.send(1)
        wait_for(lambda: site.received() == 1, 60, "a mail at the relay")
        assert all(attempt.mechanism == "XOAUTH2" for attempt in site.relay.auth_attempts)
        assert json.loads(host.run("cat", file))["refresh_token"] != token["refresh_token"]

        def cause() -> list[str]:
            found = json.loads(host.run("postward", "why", "--json", status=None))["incidents"]
            return [
                one["id"] for row in found if row["symptom"] == "mechanism-dialogue" for one in row["causes"]
            ]

        server.revoke()
        host.put_text(json.dumps(token), file)
        site.send(1)
        # The line of the plug-in follows the delivery.
        wait_for(lambda: cause() == ["oauth-token"], 60, "the refusal of the token")
