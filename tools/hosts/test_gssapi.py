"""A relay that takes Kerberos tickets, with a real KDC: the setting is kept, and smtp(8) logs in by GSSAPI.

Two hosts of each release share the machine's network. One is realm and relay: MIT's KDC, and Postfix with Cyrus SASL.
On the other one, Postward configures a chrooted smtp(8), which gets its tickets by a keytab.
"""

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ca import CA
from tests.support.postfix import free_port
from tests.support.relay import Relay
from tests.support.waiting import wait_for
from tools.hosts.host import Host
from tools.hosts.image import RELEASES
from tools.hosts.product import RECIPIENT, ROOT, SERVICES, SETTINGS, Installed

_REALM, _RELAY, _USER = "EXAMPLE.TEST", "relay.example.test", "client"
_INSTALL = (
    "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update && apt-get -qq install --no-install-recommends"
)
_LOGIN = f"sasl_method=GSSAPI, sasl_username={_USER}"


class KerberosHost(Installed):
    """Postward on a host whose relay takes tickets.

    Args:
        host: the host.
        server: the host of the KDC and the relay.
        address: its loopback address.
        ca: issues its certificate.
    """

    def __init__(self, host: Host, server: Host, address: str, ca: CA) -> None:
        super().__init__(host, Relay(ca), free_port())
        self.server = server
        self._address = address
        self._ports = {"kdc": free_port(), "smtp": free_port()}
        self._ca = ca

    @property
    def relay_port(self) -> int:
        """The port of the relay."""
        return self._ports["smtp"]

    def make_realm(self) -> None:
        """Start the KDC, with principals for the relay and for the other host's Postfix."""
        there, listen = self.server, f"{self._address}:{self._ports['kdc']}"
        there.shell("mkdir -p /etc/krb5kdc")
        there.put_text(
            f"[kdcdefaults]\nkdc_listen = {listen}\nkdc_tcp_listen = {listen}\n[realms]\n{_REALM} = {{\n}}\n",
            "/etc/krb5kdc/kdc.conf",
        )
        for host in (there, self.host):
            host.put_text(
                f"[libdefaults]\ndefault_realm = {_REALM}\ndns_canonicalize_hostname = false\nrdns = false\n"
                f"[realms]\n{_REALM} = {{\n kdc = {listen}\n}}\n[domain_realm]\n.example.test = {_REALM}\n",
                "/etc/krb5.conf",
            )
            host.shell(f"echo '{self._address} {_RELAY}' >> /etc/hosts")
        there.shell(f"{_INSTALL} krb5-kdc krb5-admin-server libsasl2-modules-gssapi-mit")
        there.shell(f"kdb5_util create -s -W -P master -r {_REALM}; systemctl restart krb5-kdc")
        for principal, keytab in ((f"smtp/{_RELAY}", "/etc/relay.keytab"), (_USER, "/root/client.keytab")):
            there.shell(f"kadmin.local -q 'addprinc -randkey {principal}'")
            there.shell(f"kadmin.local -q 'ktadd -k {keytab} {principal}'; chown postfix {keytab}")

    def make_relay(self) -> None:
        """Start the relay's smtpd(8): it takes mail after a login by GSSAPI only, and discards it."""
        there = self.server
        key, certificate = self._ca.server_certificate(_RELAY)
        (there.root / "etc/relay.pem").write_bytes(key + certificate)
        there.put_text("mech_list: GSSAPI\nkeytab: /etc/relay.keytab\n", "/etc/postfix/sasl/smtpd.conf")
        service = f"{self._address}:{self.relay_port}/inet"
        there.shell(
            f"postconf -M '{service}={service.partition('/')[0]} inet n - n - - smtpd'; "
            f"postconf -e myhostname={_RELAY} smtpd_sasl_auth_enable=yes mynetworks= relayhost= "
            "smtpd_tls_chain_files=/etc/relay.pem smtpd_tls_security_level=encrypt default_transport=discard "
            "smtpd_relay_restrictions=permit_sasl_authenticated,reject; systemctl restart postfix"
        )

    def take_tickets(self) -> None:
        """Let smtp(8) get its tickets by a keytab, with the commands of docs/relays.md."""
        authority = self.host.root / "usr/local/share/ca-certificates/bed.crt"
        authority.write_bytes(self._ca.pem)
        self.host.shell(
            "update-ca-certificates; postconf -e smtp_host_lookup=native; postconf -F smtp/unix/chroot=y"
        )
        shutil.copy(self.server.root / "root/client.keytab", self.host.root / "root/client.keytab")
        commands = _commands().replace("apt-get install", f"{_INSTALL}")
        self.host.shell(f"set -e; cd /root\n{commands}")

    def logins(self) -> int:
        """Return the number of mails that the relay took after a login by a ticket."""
        return self.server.shell("journalctl --no-pager -o cat -t postfix/smtpd").count(_LOGIN)


def _commands() -> str:
    """Return the commands of the documentation."""
    text = (ROOT / "docs/relays.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return next(block for block in blocks if "keytab" in block)


@pytest.fixture(scope="module", params=RELEASES)
def site(request: pytest.FixtureRequest, deb: Path) -> Iterator[KerberosHost]:
    """A host of each release, with its realm and relay."""
    ca, address = CA(), f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.1"  # noqa: S311
    with Host(request.param) as server, Host(request.param) as host:
        site = KerberosHost(host, server, address, ca)
        site.make_realm()
        site.make_relay()
        site.take_tickets()
        site.install(deb)
        yield site


def test_mail_goes_out_by_a_ticket(site: KerberosHost) -> None:
    """The setting is applied as it is; the check leaves the login to Postfix, and the probe proves it."""
    host = site.host
    host.put_text(
        '[host]\nprofile = "send-only"\nmyhostname = "host.example.test"\n[[relay]]\nname = "kerberos"\n'
        f'host = "{_RELAY}"\nport = {site.relay_port}\nusername = "{_USER}"\nauth = "gssapi"\n'
        f'[probe]\nrecipient = "{RECIPIENT}"\ninterval_seconds = 5\n[web]\nlisten = "127.0.0.1:{site.port}"\n',
        SETTINGS,
    )
    host.run("postward", "apply")
    assert host.run("postconf", "-h", "smtp_sasl_mechanism_filter") == "gssapi\n"
    assert "the login by GSSAPI is left to Postfix" in host.run("postward", "relay", "--json")
    host.run("systemctl", "enable", "--now", *SERVICES)
    assert set(site.doctor()) <= {"clock"}
    site.await_metric(2, "postward_probes_total", "outcome=accepted")
    before = site.logins()
    site.send(1)
    wait_for(lambda: site.logins() > before, 60, "a mail at the relay")


def test_without_a_ticket_the_cause_is_named(site: KerberosHost) -> None:
    """The keytab is gone, as after a faulty rotation: mail waits, and the cause is certain."""
    site.host.shell("rm /var/spool/postfix/kerberos/client.keytab; postfix reload")
    site.send(1)

    def causes() -> list[tuple[str, str]]:
        found = json.loads(site.host.run("postward", "why", "--json", status=None))["incidents"]
        return [(row["certainty"], cause["id"]) for row in found for cause in row["causes"]]

    wait_for(lambda: ("certain", "ticket-missing") in causes(), 60, f"the cause, not {causes()}")
