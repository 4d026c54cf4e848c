"""Relays whose certificates are checked by DANE: by TLSA records of a name server that validates, on a real Postfix."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from postward.agent.commands.apply import put_into_force
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.state import ApplyError
from postward.agent.postfix.commands import Postfix
from postward.config.settings import Settings, load_settings
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.mounts import private_network
from tests.support.name_server import name_server
from tests.support.relay import ReceivedMessage

USER, PASSWORD = "user", "M0ss-Fern"
NAMES = ("relay.dane.test", "mx.dane.test")


@dataclass
class Bed:
    """A Postfix in a network of its own, where a relay and a mail exchanger have certificates of their own."""

    postfix: PostfixInstance
    folder: Path
    hops: dict[str, Relay] = field(default_factory=dict)

    def settings(self, table: str) -> Settings:
        """Return settings with one relay."""
        path = self.folder / "postward.toml"
        path.write_text(
            f'[host]\nmyhostname = "client.example.test"\n[[relay]]\n{table}\n'
            f'[postfix]\nconfig_directory = "{self.postfix.config_directory}"\n'
            f'[enforce]\ndirectory = "{self.folder}/enforce"\n[log]\nsource = "{self.postfix.maillog}"\n'
            '[probe]\nrecipient = "probe@dest.dane.test"\nsender = "root@client.example.test"\ntimeout_seconds = 3\n'
        )
        return load_settings(path)

    def apply(self, table: str) -> None:
        """Apply settings with one relay, confirmed by a probe."""
        settings = self.settings(table)
        put_into_force(settings, Enforcer(settings, Postfix(self.postfix.config_directory)), verify=True)


def tlsa(certificate: bytes) -> str:
    """Return the TLSA record for the public key of a certificate (RFC 7672: 3 1 1)."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return f"3 1 1 {digest.hexdigest()}"


@pytest.fixture
def bed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bed]:
    """The bed. Its parameter is the name whose TLSA record is wrong."""
    require_postfix()
    with ExitStack() as stack:
        stack.enter_context(private_network(tmp_path, {}))
        ca, records = CA(), {("dest.dane.test", "MX"): ["10 mx.dane.test."]}
        relays = {}
        for number, name in enumerate(NAMES):
            key, certificate = ca.server_certificate(name)
            users = {USER: PASSWORD} if number == 0 else {}
            relay = Relay(ca, name, users=users, auth_required=not number, port=(587, 25)[number])
            relay.host = f"127.0.0.{number + 2}"
            relay.certificate.load_cert_chain(*written(tmp_path / name, key, certificate))
            relays[name] = stack.enter_context(relay)
            record = tlsa(certificate)
            if name == request.param:
                record = record[:-4] + ("0000" if record[-4:] != "0000" else "1111")
            records |= {(name, "A"): [relay.host], (f"_{relay.port}._tcp.{name}", "TLSA"): [record]}
        stack.enter_context(name_server(records, at=("127.0.0.1", 53), validates=True))
        Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions trust-ad\n")
        main_cf = {"smtp_host_lookup": "dns", "smtp_tls_loglevel": "1"}
        yield Bed(
            stack.enter_context(PostfixInstance(tmp_path / "postfix", main_cf)),
            tmp_path,
            relays,
        )


def written(folder: Path, key: bytes, certificate: bytes) -> tuple[Path, Path]:
    """Write a certificate and its key into a folder. Return their paths in that order."""
    folder.mkdir()
    (folder / "key.pem").write_bytes(key)
    (folder / "certificate.pem").write_bytes(certificate)
    return folder / "certificate.pem", folder / "key.pem"


def mails(hop: Relay, number: str) -> list[ReceivedMessage]:
    """Return the mails of a Message-ID that a server took."""
    return [mail for mail in hop.messages if mail.message_id == number]


RELAY = f'name = "relay"\nhost = "{NAMES[0]}"\nusername = "{USER}"\npassword = "{PASSWORD}"\ndane = true\n'
DIRECT = 'name = "direct"\ndirect = true\ndane = true\n'


@pytest.mark.parametrize("bed", [""], indirect=True)
def test_mail_reaches_servers_that_their_records_verify(bed: Bed) -> None:
    """A relay with its login, and without a relay the mail exchanger of the recipient's domain."""
    for table, name, user in ((RELAY, NAMES[0], USER), (DIRECT, NAMES[1], None)):
        bed.apply(table)
        number = bed.postfix.sendmail("someone@dest.dane.test")
        found = wait_for(partial(mails, bed.hops[name], number), what=f"the mail at {name}")
        assert (found[0].username, found[0].tls) == (user, True)
        assert f"Verified TLS connection established to {name}[" in bed.postfix.log()


@pytest.mark.parametrize(("bed", "table"), [(NAMES[0], RELAY), (NAMES[1], DIRECT)], indirect=["bed"])
def test_a_server_with_another_key_gets_no_mail(bed: Bed, table: str) -> None:
    """The probe is deferred, and the former configuration comes back."""
    before = bed.postfix.postconf("-n")
    with pytest.raises(ApplyError, match="rolled back"):
        bed.apply(table)
    assert bed.postfix.postconf("-n") == before
    assert not any(hop.messages for hop in bed.hops.values())
