"""Shared parts of the scenes: the host, its relay, and functions that submit mail and wait for its status."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import CA, Relay, wait_for
from tools.releases.host import CONFIG, LOG, NAME, Host
from tools.releases.misbehaving_server import serving, session
from tools.releases.names import NameServer
from tools.releases.tree import Tree

SENDER = "app@client.example.test"
_TIMEOUT = 25.0

_ALIASES = """\
root: other@dest.test
postmaster: /dev/null
list: one@dest.test, two@dest.test, /var/mail/list
pipe: "|/bin/cat >/dev/null"
failing: "|/bin/false"
later: "|exit 75"
included: :include:/etc/postfix/nowhere.list
looping: looping
"""

_TRANSPORTS = """\
discard.test discard:never to be seen
error.test error:5.1.2 no such place
later.test retry:4.3.0 come again
nosuch.test nosuchtransport:
nosuchservice.test nosuchtransport:somewhere
pipecat.test pipecat:
pipefail.test pipefail:
pipelater.test pipelater:
pipekill.test pipekill:
pipeodd.test pipeodd:
pipenone.test pipenone:
piperoot.test piperoot:
badlevel.test badlevel:
badoption.test badoption:
badchannel.test badchannel:
socketless.test lmtp:unix:/nowhere/lmtp
mx.test smtp:
nowhere.test smtp:[nowhere.example.test]
loop.test smtp:
nullmx.test smtp:
badmx.test smtp:
nodata.test smtp:
tryagain.test smtp:
refused.test smtp:[127.0.0.1]:9
badport.test smtp:[127.0.0.1]:nosuchport
two.test smtp:two.test:{relay}
loud.test loud:[relay.example.test]:{relay}
relayed.test relay:[relay.example.test]:{relay}
virtual.test virtual:
"""


def main_cf(release: tuple[int, ...], relay_port: int) -> dict[str, str]:
    """Return the settings of an ordinary relay host, with timeouts of seconds instead of minutes."""
    return {
        "compatibility_level": "3.6" if release >= (3, 6) else "2",
        "maillog_file": LOG,
        "myhostname": NAME,
        "mydestination": "$myhostname, localhost, local.test",
        "mynetworks": "127.0.0.0/8",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "relayhost": f"[relay.example.test]:{relay_port}",
        "transport_maps": f"texthash:{CONFIG}/transport",
        "alias_maps": f"$default_database_type:{CONFIG}/aliases",
        "alias_database": "$alias_maps",
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": f"texthash:{CONFIG}/sasl_passwd",
        "smtp_sasl_security_options": "noanonymous",
        "smtp_tls_security_level": "secure",
        "smtp_tls_CAfile": f"{CONFIG}/ca.pem",
        "smtp_tls_loglevel": "1",
        "smtpd_tls_cert_file": f"{CONFIG}/host.pem",
        "smtpd_tls_key_file": f"{CONFIG}/host.key",
        "smtpd_tls_security_level": "may",
        "smtpd_tls_loglevel": "1",
        "smtpd_tls_received_header": "yes",
        "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination",
        "qmqpd_authorized_clients": "127.0.0.1",
        "virtual_alias_maps": f"texthash:{CONFIG}/virtual",
        "virtual_alias_domains": "alias.test",
        "virtual_mailbox_domains": "virtual.test",
        "virtual_mailbox_base": "/var/mail/virtual",
        "virtual_mailbox_maps": f"texthash:{CONFIG}/mailboxes",
        "virtual_uid_maps": "static:1000",
        "virtual_gid_maps": "static:1000",
        **dict.fromkeys(
            (
                "smtp_connect_timeout",
                "smtp_helo_timeout",
                "smtp_starttls_timeout",
                "smtp_mail_timeout",
                "smtp_rcpt_timeout",
                "smtp_data_init_timeout",
                "smtp_data_xfer_timeout",
                "smtp_data_done_timeout",
                "smtp_quit_timeout",
            ),
            "2s",
        ),
        "in_flow_delay": "0",
        "queue_run_delay": "5s",
        "minimal_backoff_time": "2s",
        "maximal_backoff_time": "8s",
        "anvil_rate_time_unit": "10s",
        "anvil_status_update_time": "5s",
        "connection_cache_status_update_time": "5s",
        "transport_retry_time": "5s",
    }


def _tables(host: Host, ca: CA, relay_port: int) -> None:
    host.write(f"{CONFIG}/ca.pem", ca.pem.decode())
    host.write(f"{CONFIG}/transport", _TRANSPORTS.format(relay=relay_port))
    host.write(f"{CONFIG}/sasl_passwd", f"[relay.example.test]:{relay_port} user:secret\n", 0o600)
    host.write(f"{CONFIG}/virtual", "info@alias.test other@dest.test\nring@alias.test ring@alias.test\n")
    host.write(f"{CONFIG}/mailboxes", "anna@virtual.test anna\nbert@virtual.test bert/\n")
    host.run("install", "-d", "-o", "1000", "-g", "1000", "/var/mail/virtual")
    host.table("aliases", _ALIASES, tool="postalias")
    host.write(
        f"{CONFIG}/sasl/smtpd.conf",
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\n",
    )
    host.run("saslpasswd2", "-p", "-c", "-u", NAME, "user", stdin=b"secret")
    host.run("chmod", "644", "/etc/sasldb2")
    if not host.tree.path(f"{CONFIG}/host.pem").exists():
        files = ["-keyout", f"{CONFIG}/host.key", "-out", f"{CONFIG}/host.pem"]
        host.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={NAME}", *files)


@dataclass
class Stage:
    """The running host, its relay, and the certificate authority of both."""

    host: Host
    relay: Relay
    ca: CA
    mails: int
    mark: int = 0  # positions in the log and in the system log where the scene began
    mark_syslog: int = 0
    throttled: int = 0

    def port(self, name: str) -> int:
        return self.host.ports[name]

    def submit(
        self,
        *recipients: str,
        sender: str = SENDER,
        head: str = "",
        body: str = "A test.\n",
        options: str = "",
    ) -> None:
        """Submit one mail with sendmail."""
        text = f"From: {sender}\nTo: {recipients[0]}\nSubject: Test\n{head}\n{body}"
        arguments = ["sendmail", "-i", *options.split(), "-f", sender, "--", *recipients]
        self.host.run(*arguments, stdin=text.encode())

    def send(
        self,
        *recipients: str,
        expect: str | None = None,
        sender: str = SENDER,
        head: str = "",
        body: str = "Hello.\n",
    ) -> None:
        """Submit one mail and wait until each recipient has a status, or the expected one."""
        self.submit(*recipients, sender=sender, head=head, body=body)
        for recipient in recipients:
            self.arrives(recipient, expect)

    def arrives(self, recipient: str, expect: str | None = None) -> None:
        got = wait_for(lambda: self.host.status(recipient), _TIMEOUT, f"the status of {recipient}")
        assert expect in (None, got), f"{recipient}: {got}, not {expect}"

    def says(self, text: str, times: int = 1, timeout: float = _TIMEOUT) -> None:
        """Wait until the scene's log holds the text `number` times."""
        wait_for(lambda: len(self.since(text)) >= times, timeout, f"{text!r} in the log")

    def begin(self) -> None:
        """Start the log of the next scene here."""
        self.mark, self.mark_syslog = len(self.host.log()), len(self.host.syslog.lines)

    def since(self, text: str) -> list[str]:
        log = [*self.host.log()[self.mark :], *self.host.syslog.lines[self.mark_syslog :]]
        return [line for line in log if text in line]

    def smtp(
        self, recipient: str, *, sender: str = SENDER, port: str = "smtpd", source: str = "127.0.0.1"
    ) -> bytes:
        """Submit one mail by SMTP; return the host's replies."""
        return session(
            self.port(port),
            b"EHLO client.example.test",
            f"MAIL FROM:<{sender}>".encode(),
            f"RCPT TO:<{recipient}>".encode(),
            b"DATA",
            f"From: {sender}\r\nTo: {recipient}\r\nSubject: Test\r\n\r\nA test.\r\n.".encode(),
            b"QUIT",
            source=source,
        )

    @contextlib.contextmanager
    def next_hop(
        self,
        handle: Callable[..., None],
        host: str = "127.0.0.1",
        port: int = 0,
        changes: Mapping[str, str] | None = None,
    ) -> Iterator[int]:
        """Use a server with this behaviour as the relay, without TLS and AUTH."""
        with serving(handle, host, port) as port:
            name = "relay.example.test" if host == "127.0.0.1" else host
            plain = {"smtp_tls_security_level": "none", "smtp_sasl_auth_enable": "no"}
            with self.host.configured(**{"relayhost": f"[{name}]:{port}", **plain, **(changes or {})}):
                yield port

    def smtp_tls(self, *commands: bytes) -> bytes:
        """Do as `smtp` does, on the port with implicit TLS."""
        return session(self.port("smtps"), b"EHLO client.example.test", *commands, b"QUIT", tls=True)

    def clean(self) -> None:
        """Empty the queue, and end the delay of throttled destinations."""
        self.host.empty_queue()
        if (throttled := len(self.host.lines("throttling"))) > self.throttled:
            self.host.restart()  # master would wait a minute before it starts the program again
            self.throttled = throttled
        self.host.run("postqueue", "-f")

    def recover(self) -> None:
        """Restore the usual settings and relay, an empty queue and a running Postfix after a failed scene."""
        self.relay.faults, self.relay.refuse, self.relay.no_starttls = [], False, False
        self.relay.mechanisms = ("PLAIN", "LOGIN")
        self.relay.certificate = self.ca.server_context("relay.example.test")
        self.host.configure()
        self.host.restart()
        self.clean()


@contextlib.contextmanager
def stage(release: str, cache: Path, mails: int) -> Iterator[Stage]:
    """Make the release's tree if it is missing, and run its Postfix with a relay."""
    tree = Tree(release, cache)
    tree.make()
    ca = CA()
    with NameServer(), Relay(ca, "relay.example.test") as relay:
        version = tree.run("postconf", "-d", "-h", "mail_version").strip()
        settings = main_cf(tuple(int(part) for part in version.split(".")[:2]), relay.port)
        host = Host(tree, settings)
        _tables(host, ca, relay.port)
        with host:
            yield Stage(host=host, relay=relay, ca=ca, mails=mails)


Play = Callable[[Stage], None]


@dataclass(frozen=True)
class Scene:
    """One scene: its function, its first release of Postfix, the texts that its log must show, and whether it is verbose."""

    title: str
    play: Play
    shows: tuple[str, ...] = ()
    since: tuple[int, int] = (0, 0)
    verbose: bool = False

    def cannot(self, release: tuple[int, ...]) -> str | None:
        if release < self.since:
            return f"needs Postfix {self.since[0]}.{self.since[1]}"
        return None


SCENES: list[Scene] = []


def scene(
    title: str, *shows: str, since: tuple[int, int] = (0, 0), verbose: bool = False
) -> Callable[[Play], Play]:
    """Add a function to the table of scenes; its log must hold the texts in `shows`."""

    def enter(play: Play) -> Play:
        SCENES.append(Scene(title, play, shows, since, verbose))
        return play

    return enter


def pause(seconds: float) -> None:
    """Sleep: no log line announces the state that the scene waits for."""
    time.sleep(seconds)
