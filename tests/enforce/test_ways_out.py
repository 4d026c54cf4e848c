"""Each way out that the settings can name: applied, kept after a probe, and real mail that took it.

All share one Postfix and its servers. Alone, each is applied in the place of the one before. Beside another hop of the
admin, which keeps its route and has no login, each is applied to the files as they were. A scenario is a settings file, and
mails of which each arrives at one server, with one login and one sender.
"""

import contextlib
import hashlib
import re
import smtplib
import sqlite3
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from aiosmtpd.controller import UnixSocketController
from aiosmtpd.handlers import Message
from aiosmtpd.lmtp import LMTP

from postward.agent.commands.apply import put_into_force
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.state import ApplyError
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.pipeline import Pipeline
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.agent.text import local_now
from postward.config.lint import lint
from postward.config.settings import Settings, load_settings
from postward.parsers import parse
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.require import demand

WORLD = "127.0.0.2"  # where direct mail to [127.0.0.2] arrives
USERS = {"user": "Gr33n-Fern", "anna": "M0ss-Hers", "bob": "hi$ 1-Bl8e", "tenant:user": "R0ck-Fern"}


class Mail(NamedTuple):
    """A mail and its way: the server that takes it, the login, and the sender, name and address that the server sees."""

    way: str
    sender: str = "root@client.example.test"
    to: str = f"someone@[{WORLD}]"
    login: str | None = None
    seen: str = ""
    helo: str = ""
    label: str = ""
    client: str = ""


class Store(Message):
    """The senders of the mails that an LMTP server took."""

    def __init__(self) -> None:
        super().__init__()
        self.senders: list[str] = []

    def handle_message(self, message: object) -> None:
        self.senders.append(str(message["X-MailFrom"]))  # type: ignore[index]


class _Lmtp(UnixSocketController):
    def factory(self) -> LMTP:
        return LMTP(self.handler)


class Bed:
    """One Postfix, and servers by name."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        ca = CA()
        self.hops = {
            "hub": Relay(ca, users=USERS),
            "partner": Relay(ca, users={"user": USERS["user"]}),
            "implicit": Relay(ca, users={"user": USERS["user"]}, tls="implicit"),
            "lan": Relay(ca, users={}, auth_required=False, tls="none"),
            "world": Relay(ca, users={}, auth_required=False),
        }
        self.hops["world"].host = WORLD
        for relay in self.hops.values():
            stack.enter_context(relay)
        places = {"smtp_tcp_port": str(self.hops["world"].port)}
        self.postfix = stack.enter_context(PostfixInstance(folder / "postfix", places))
        self.ca_file = ca.write(self.postfix.folder)
        self.ca_path = hashed(self.ca_file, self.postfix.folder / "authorities")
        self.socket = self.postfix.folder / "store.sock"
        self.store = Store()
        server = _Lmtp(self.store, unix_socket=str(self.socket))
        server.start()
        stack.callback(server.stop)
        self.socket.chmod(0o666)
        etc = self.postfix.config_directory
        self._original = {name: (etc / name).read_bytes() for name in ("main.cf", "master.cf")}

    def restore(self) -> None:
        """Remove what a test applied."""
        etc = self.postfix.config_directory
        for path in etc.iterdir():
            if path.is_file() and path.name not in self._original:
                path.unlink()
        for name, content in self._original.items():
            (etc / name).write_bytes(content)
        self.postfix.settle()

    def settings(self, folder: Path, text: str) -> Settings:
        """Return settings, with <name> for a server's port and <etc>, <ca>, <ca_path>, <socket> for paths."""
        etc = self.postfix.config_directory
        places = {
            "etc": etc,
            "ca": self.ca_file,
            "ca_path": self.ca_path,
            "socket": self.socket,
            "pin": self.pin,
        }
        places |= {name: relay.port for name, relay in self.hops.items()}
        rendered = re.sub(r"<(\w+)>", lambda match: str(places[match[1]]), text)
        head = "" if "[host]" in rendered else '[host]\nmyhostname = "client.example.test"\n'
        path = folder / "postward.toml"
        path.write_text(
            f'{head}{rendered}\n[postfix]\nconfig_directory = "{etc}"\n[enforce]\ndirectory = "{folder}/enforce"\n'
            f'[state]\ndirectory = "{folder}/state"\n[log]\nsource = "{self.postfix.maillog}"\n'
            f'[probe]\nrecipient = "probe@[{WORLD}]"\nsender = "root@client.example.test"\n'
        )
        return load_settings(path)

    @property
    def pin(self) -> str:
        """The fingerprint of the partner's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP("127.0.0.1", self.hops["partner"].port, timeout=10) as client:
            client.starttls(context=context)
            assert isinstance(client.sock, ssl.SSLSocket)
            return hashlib.sha256(client.sock.getpeercert(binary_form=True) or b"").hexdigest()


def hashed(ca_file: Path, folder: Path) -> Path:
    """Make a directory with an authority under the name of its hash, as `openssl rehash` does."""
    folder.mkdir()
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-hash", "-in", str(ca_file)],
        capture_output=True,
        text=True,
        check=True,
    )
    (folder / f"{shown.stdout.strip()}.0").write_bytes(ca_file.read_bytes())
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """The Postfix and the servers of this module."""
    require_postfix()
    with ExitStack() as stack:
        yield Bed(stack, tmp_path_factory.mktemp("ways"))


@pytest.fixture
def bed(shared: Bed) -> Bed:
    """The shared ones, configured as the test before left them."""
    for relay in shared.hops.values():
        relay.forget()
    return shared


def relay(name: str, port: str, *lines: str, login: str = "user") -> str:
    """A [[relay]] table at a server of the bed, with a login."""
    secret = [f'username = "{login}"', f'password = "{USERS[login]}"'] if login else []
    head = [f'name = "{name}"', 'host = "localhost"', f"port = <{port}>", "allow_unusual_port = true"]
    return "\n".join(["[[relay]]", *head, *secret, *lines, ""])


DIRECT = '[[relay]]\nname = "direct"\ndirect = true\n'
SCENARIOS = {
    "accounts at one host": (
        relay("main", "hub")
        + relay("anna", "hub", 'senders = ["anna@client.example"]', login="anna")
        + relay(
            "bob", "hub", 'senders = ["@bob.example", "@.bob.example"]', "own_service = true", login="bob"
        ),
        (
            Mail("hub", login="user", label="main"),
            Mail("hub", "anna@client.example", login="anna"),
            Mail("hub", "x@bob.example", login="bob", label="bob"),
            Mail("hub", "x@deep.shop.bob.example", login="bob", label="bob"),
        ),
    ),
    "by recipient": (
        relay("main", "hub")
        + relay(
            "partner",
            "partner",
            'recipients = ["@partner.example", "@.partner.example", "vip@other.example"]',
            'probe_recipients = ["a@partner.example"]',
        ),
        (
            Mail("hub", login="user"),
            Mail("partner", to="a@partner.example", login="user", label="partner"),
            Mail("partner", to="a@lan.partner.example", login="user"),
            Mail("partner", to="vip@other.example", login="user"),
            Mail("hub", to="else@other.example", login="user", label="main"),
        ),
    ),
    "a relay, some direct": (
        relay("main", "hub") + DIRECT + 'senders = ["@own.example"]\n',
        (
            Mail("hub", login="user", label="main"),
            Mail("world", "a@own.example", label="direct"),
        ),
    ),
    "direct, some by a relay": (
        DIRECT
        + relay("shop", "hub", 'senders = ["@shop.example"]')
        + relay("tls", "implicit", 'tls = "implicit"', 'senders = ["@tls.example"]'),
        (
            Mail("world", label="direct"),
            Mail("hub", "a@shop.example", login="user", label="shop"),
            Mail("implicit", "a@tls.example", login="user", label="tls"),
        ),
    ),
    "direct alone": (DIRECT, (Mail("world", label="direct"),)),
    "by MX": (
        relay("mx", "hub", "mx = true", login="anna"),
        (Mail("hub", login="anna", label="mx"),),
    ),
    "name, EHLO and address by sender": (
        relay("main", "hub")
        + relay(
            "shop",
            "partner",
            'senders = ["@shop.example"]',
            'helo_name = "shop.example"',
            'bind_address = "127.0.0.7"',
            "max_connections = 2",
        ),
        (
            Mail("hub", login="user", helo="client.example.test"),
            Mail(
                "partner",
                "a@shop.example",
                login="user",
                helo="shop.example",
                label="shop",
                client="127.0.0.7",
            ),
        ),
    ),
    "certificates": (
        relay(
            "main",
            "hub",
            "verify = true",
            'ca_file = "<ca>"',
            'verify_names = ["tunnel.example", "localhost"]',
        )
        + relay("pinned", "partner", 'fingerprints = ["<pin>"]', 'senders = ["@pinned.example"]'),
        (
            Mail("hub", login="user"),
            Mail("partner", "a@pinned.example", login="user", label="pinned"),
        ),
    ),
    "authorities in a directory": (
        relay("main", "hub", "verify = true", 'ca_path = "<ca_path>"'),
        (Mail("hub", login="user", label="main"),),
    ),
    "lmtp by TCP": (
        relay("main", "hub")
        + '[[relay]]\nname = "store"\nprotocol = "lmtp"\nhost = "127.0.0.1"\nport = <lan>\nrecipients = ["@box.example"]\n'
        + 'probe_recipients = ["probe@box.example"]\n',
        (
            Mail("hub", login="user"),
            Mail("lan", to="anna@box.example", label="store"),
        ),
    ),
    "senders rewritten": (
        '[host]\nmyhostname = "client.example.test"\nmyorigin = "<etc>/mailname"\n'
        '[host.rewrite_senders]\n"root@client.example.test" = "noreply@example.com"\n"@.lan.example" = "@example.com"\n'
        + relay("main", "hub"),
        (
            Mail("hub", login="user", seen="noreply@example.com"),
            Mail("hub", "cron@web1.lan.example", login="user", seen="cron@example.com"),
            Mail("hub", "old@client.example", login="user", seen="new@example.com"),
            Mail("hub", "cron", login="user", seen="cron@origin.example"),
        ),
    ),
    "a table of logins": (
        relay("main", "hub", 'login_table = "texthash:<etc>/logins"', login=""),
        (Mail("hub", login="anna", label="main"),),
    ),
    "lmtp over a socket": (
        relay("main", "hub")
        + '[[relay]]\nname = "store"\nprotocol = "lmtp"\nsocket = "<socket>"\nrecipients = ["@box.example"]\n'
        + 'probe_recipients = ["probe@box.example"]\n',
        (
            Mail("hub", login="user"),
            Mail("store", to="anna@box.example", label="store"),
        ),
    ),
}


# Scenarios that get other services where the admin has another hop.
BESIDE = (
    "accounts at one host",
    "a relay, some direct",
    "certificates",
    "a table of logins",
    "lmtp over a socket",
)


@pytest.mark.parametrize(
    ("name", "beside"),
    [*((name, False) for name in SCENARIOS), *((name, True) for name in BESIDE)],
    ids=lambda value: value if isinstance(value, str) else "beside another hop" if value else "alone",
)
def test_mail_takes_the_way_that_the_settings_name(name: str, beside: bool, bed: Bed, tmp_path: Path) -> None:
    """Applied and confirmed, mail arrives where it should, with login, sender and name; the metrics name the relay."""
    text, mails = SCENARIOS[name]
    etc = bed.postfix.config_directory
    if beside:
        bed.restore()
    (etc / "mailname").write_text("origin.example\n")
    logins = etc / "logins"
    logins.write_text(f"[localhost]:{bed.hops['hub'].port} anna:M0ss-Hers\n")
    logins.chmod(0o600)
    if name == "senders rewritten":  # beside a table of the admin
        (etc / "admins_canonical").write_text("old@client.example new@example.com\n")
        bed.postfix.set(sender_canonical_maps=f"texthash:{etc}/admins_canonical")
    (etc / "admins_transport").write_text(f"lan.example smtp:[127.0.0.1]:{bed.hops['lan'].port}\n")
    admins = f"texthash:{etc}/admins_transport" if beside else ""
    bed.postfix.set(transport_maps=admins, smtp_tls_security_level="may")
    settings = bed.settings(tmp_path, text)
    enforcer = Enforcer(settings, Postfix(etc))

    put_into_force(settings, enforcer, verify=True)

    assert not enforcer.pending_confirmation
    assert enforcer.look()[0].drifts == ()
    assert enforcer.route_changes() == []
    limits = {service: line.split()[6] for service, line in Postfix(etc).services().items()}
    for one in settings.relay:
        assert not one.max_connections or limits[f"postward-{one.name}"] == str(one.max_connections)
    findings = lint(settings, read_host_facts(Postfix(etc), settings, None))
    found = [one.id for one in findings if one.where != "mail to root"]  # it stays here in every scenario
    assert found == (["settings-counted-as-another"] if name == "accounts at one host" else [])
    for mail in (*mails, *([Mail("lan", "x@y.example", "anna@lan.example")] if beside else [])):
        check(bed, settings, mail)


def test_a_user_name_with_a_colon(bed: Bed, tmp_path: Path) -> None:
    """It logs in where Postfix knows another delimiter; an earlier Postfix is not given such settings."""
    bed.restore()
    settings = bed.settings(tmp_path, relay("main", "hub", login="tenant:user"))
    postfix = Postfix(bed.postfix.config_directory)
    enforcer = Enforcer(settings, postfix)
    if not postfix.facts().delimits_logins:
        with pytest.raises(ApplyError, match="does not know smtp_sasl_password_result_delimiter"):
            put_into_force(settings, enforcer, verify=True)
        return
    put_into_force(settings, enforcer, verify=True)
    check(bed, settings, Mail("hub", login="tenant:user", label="main"))


_QUERY = "SELECT login FROM logins WHERE hop = '%s'"


def test_logins_in_sql(bed: Bed, tmp_path: Path) -> None:
    """Postfix finds the login in a database of the admin's; Postward asks it first, and changes nothing in it."""
    etc = bed.postfix.config_directory
    if "sqlite" not in Postfix(etc).facts().map_types:
        demand("Postfix has no tables of type sqlite: install the package postfix-sqlite")
    bed.restore()
    database = etc / "logins.sqlite"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE logins (hop TEXT, login TEXT)")
        connection.execute(
            "INSERT INTO logins VALUES (?, ?)", (f"[localhost]:{bed.hops['hub'].port}", "anna:M0ss-Hers")
        )
    before = database.read_bytes()
    (etc / "logins.cf").write_text(f"dbpath = {database}\nquery = {_QUERY}\n")
    text = relay("main", "hub", 'login_table = "sqlite:<etc>/logins.cf"', login="")
    settings = bed.settings(tmp_path, text)
    put_into_force(settings, Enforcer(settings, Postfix(etc)), verify=True)
    check(bed, settings, Mail("hub", login="anna", label="main"))
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("other.example anna:M0ss-Hers\n", "has no login for [localhost]:{port}; add an entry with that key"),
        ("[localhost]:{port} anna:wrong\n", "fails at step auth: auth_rejected"),
    ],
    ids=["no entry", "a refused login"],
)
def test_a_table_of_logins_is_asked_before_it_is_used(
    entry: str, message: str, bed: Bed, tmp_path: Path
) -> None:
    """Settings that name a table without a good login are refused, and no password is shown."""
    bed.restore()
    etc, port = bed.postfix.config_directory, bed.hops["hub"].port
    (etc / "logins").write_text(entry.format(port=port))
    settings = bed.settings(tmp_path, relay("main", "hub", 'login_table = "texthash:<etc>/logins"', login=""))
    enforcer = Enforcer(settings, Postfix(etc))

    enforcer.converge()

    assert message.format(port=port) in (enforcer.state.problem or "")
    assert "wrong" not in (enforcer.state.problem or "")
    assert "login_table" not in (etc / "main.cf").read_text()
    assert enforcer.look()[0].drifts


def delivery(log: str, recipient: str) -> str:
    """Return the line of the delivery to a recipient; "" before it."""
    return next((line for line in log.split("\n") if f"to=<{recipient}>" in line), "")


def check(bed: Bed, settings: Settings, mail: Mail) -> None:
    """Send a mail, find it, and compare."""
    begin = len(bed.postfix.log())
    number = bed.postfix.sendmail(mail.to, sender=mail.sender)
    line = wait_for(lambda: delivery(bed.postfix.log()[begin:], mail.to), what=f"the delivery of {mail}")
    assert "status=sent" in line, line
    if mail.way == "store":
        assert bed.store.senders[-1] == mail.sender
    else:
        (found,) = [
            (way, one) for way, hop in bed.hops.items() for one in hop.messages if one.message_id == number
        ]
        assert (found[0], found[1].username) == (mail.way, mail.login)
        assert found[1].mail_from == (mail.seen or mail.sender)
        assert found[1].helo == (mail.helo or found[1].helo)
        client = bed.hops[found[0]].clients[bed.hops[found[0]].messages.index(found[1])]
        assert client == (mail.client or "127.0.0.1")
    if mail.label:
        assert labels(settings, line) == (mail.label, mail.label)


def labels(settings: Settings, line: str) -> tuple[str, str]:
    """Return the label of a delivery's line, as a line and as a block count it."""
    found = []
    for whole in (False, True):
        counting = Counting(Tally(), RelayNames.of_settings(settings), local_now)
        if whole:
            Pipeline(counting).feed(f"{line}\n".encode())
        else:
            counting.take_line(*parse(line))
        counted = [
            key for key, number in counting.tally.counters["postfix_deliveries_total"].items() if number
        ]
        assert [key[0] for key in counted] == ["postfix"]
        found.append(counted[0][1])
        direct = counting.tally.counters["postfix_direct_deliveries_total"]
        assert (
            sum(direct.values()) == direct.get(("other", "sent"), 0) == (found[-1] in counting.names.direct)
        )
    return found[0], found[1]
