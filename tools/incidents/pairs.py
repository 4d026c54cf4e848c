"""Faults on a real Postfix with two relays, two at a time: whether and how soon the agent explains them.

A row of `FAULTS` is a fault of a relay and its symptom. Two neighbouring rows run at once, one at each relay. The
agent must explain both; then both faults end, and both incidents must close.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import CA, Fault, PostfixInstance, Relay, wait_for
from tests.support.postfix import free_port
from tests.support.product import AgentProcess

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"
SOON = 10.0  # seconds until a fault must be explained, and until its incident must close

_SETTINGS = """\
[host]
myhostname = "mail.example.test"
inet_protocols = "ipv4"
{relays}
[postfix]
config_directory = "{config_directory}"
[web]
listen = "127.0.0.1:{port}"
[state]
directory = "{state}"
{more}
"""
_RELAY = """\
[[relay]]
name = "{name}"
host = "localhost"
port = {port}
tls = "starttls"
allow_unusual_port = true
username = "{user}"
password = "{password}"
senders = ["{sender}"]
"""


@dataclass
class Bed:
    """A Postfix that chooses one of two relays by sender, and its agent."""

    relays: tuple[Relay, Relay]
    postfix: PostfixInstance
    agent: AgentProcess
    ca: CA

    def mail(self, number: int) -> None:
        """Send a mail through this relay."""
        self.postfix.sendmail("bob@dest.example.test", sender=sender(number))

    def open(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the open incidents by relay and symptom."""
        incidents = json.loads(self.agent.get("/api/status")[1])["incidents"]
        return {(row["relay"], row["symptom"]): row for row in incidents if row["closed"] is None}


def sender(number: int) -> str:
    """Return the sender whose mail goes through this relay."""
    return f"sender{number}@mail.example.test"


@contextmanager
def bed(folder: Path, more: str = "") -> Iterator[Bed]:
    """Start the relays, Postfix and the agent."""
    ca = CA()
    ca.write(folder)
    with ExitStack() as stack:
        relays = (
            stack.enter_context(Relay(ca, users={USER: PASSWORD})),
            stack.enter_context(Relay(ca, users={USER: PASSWORD})),
        )
        routes = ", ".join(f"{{{sender(n)} = [localhost]:{relay.port}}}" for n, relay in enumerate(relays))
        table = folder / "sasl_passwd"
        table.write_text("".join(f"[localhost]:{relay.port} {USER}:{PASSWORD}\n" for relay in relays))
        postfix = stack.enter_context(
            PostfixInstance(
                folder / "postfix",
                {
                    "relayhost": f"[localhost]:{relays[0].port}",
                    "sender_dependent_relayhost_maps": f"inline:{{{routes}}}",
                    "smtp_tls_security_level": "secure",
                    "smtp_tls_secure_cert_match": "hostname",
                    "smtp_tls_loglevel": "1",
                    "smtp_tls_CAfile": str(ca.path),
                    "smtp_sasl_auth_enable": "yes",
                    "smtp_sasl_security_options": "noanonymous",
                    "smtp_sasl_password_maps": f"texthash:{table}",
                    "smtp_connect_timeout": "3s",
                    "smtp_helo_timeout": "3s",
                    "minimal_backoff_time": "1s",
                    "maximal_backoff_time": "2s",
                    "queue_run_delay": "1s",
                    "smtp_destination_concurrency_failed_cohort_limit": "100",
                },
            )
        )
        path = folder / "postward.toml"
        tables = "".join(
            _RELAY.format(name=name, port=relay.port, user=USER, password=PASSWORD, sender=sender(n))
            for n, (name, relay) in enumerate(zip(("first", "second"), relays, strict=True))
        )
        path.write_text(
            _SETTINGS.format(
                relays=tables,
                config_directory=postfix.config_directory,
                port=free_port(),
                state=folder / "state",
                more=more,
            )
        )
        agent = stack.enter_context(AgentProcess(path))
        yield Bed(relays, postfix, agent, ca)


Damage = Callable[[Bed, Relay], AbstractContextManager[None]]


@contextmanager
def changed(relay: Relay, attribute: str, value: object) -> Iterator[None]:
    """Set an attribute of the relay during the with block."""
    before = getattr(relay, attribute)
    setattr(relay, attribute, value)
    try:
        yield
    finally:
        setattr(relay, attribute, before)


def _reply(step: str, reply: str) -> Damage:
    return lambda _, relay: relay.failing(Fault(step=step, reply=reply))


def _act(step: str, action: str) -> Damage:
    return lambda _, relay: relay.failing(Fault(step=step, action=action))


def _state(attribute: str) -> Damage:
    return lambda _, relay: changed(relay, attribute, value=True)


def _expired(bed: Bed, relay: Relay) -> AbstractContextManager[None]:
    return changed(relay, "certificate", bed.ca.server_context("localhost", expired=True))


def _other_name(bed: Bed, relay: Relay) -> AbstractContextManager[None]:
    return changed(relay, "certificate", bed.ca.server_context("other.example.test"))


# Name, fault and symptom; two neighbours run at once.
FAULTS: tuple[tuple[str, Damage, str], ...] = (
    ("password refused", _reply("auth", "535 5.7.8 authentication failed"), "login-refused"),
    ("port closed", _state("refuse"), "connection-refused"),
    ("no login", _reply("mail", "530 5.7.0 Authentication required"), "login-missing"),
    ("no STARTTLS", _state("no_starttls"), "starttls-missing"),
    ("certificate expired", _expired, "certificate-expired"),
    (
        "sender not owned",
        _reply("mail", "553 5.7.1 Sender address rejected: not owned by user"),
        "sender-rejected",
    ),
    ("greeting hangs", _act("greeting", "hang"), "greeting-timeout"),
    ("quota", _reply("mail", "550 5.4.5 Daily user sending limit exceeded"), "quota"),
    ("login service down", _reply("auth", "454 4.7.0 Temporary authentication failure"), "login-temporary"),
    (
        "blocked",
        _reply("greeting", "554 5.7.1 Service unavailable; Client host blocked using zen.example"),
        "blocked",
    ),
    ("too many connections", _reply("greeting", "421 4.7.0 Error: too many connections"), "greeting-busy"),
    ("handshake cut", _act("handshake", "cut"), "tls-closed"),
    ("STARTTLS refused", _reply("starttls", "454 4.7.0 TLS not available"), "starttls-refused"),
    ("EHLO cut", _act("ehlo", "cut"), "connection-lost"),
    (
        "app password",
        _reply("auth", "534 5.7.9 Application-specific password required"),
        "login-app-password",
    ),
    ("rate", _reply("end_of_data", "454 Throttling failure: Maximum sending rate exceeded."), "rate-limit"),
    (
        "relaying denied",
        _reply("rcpt", "554 5.7.1 <bob@dest.example.test>: Relay access denied"),
        "relay-denied",
    ),
    ("certificate's name", _other_name, "certificate-name"),
    ("recipient unknown", _reply("rcpt", "550 5.1.1 User unknown"), "recipient-unknown"),
    ("content refused", _reply("end_of_data", "554 5.7.1 Message rejected as spam"), "content"),
)


class Timing(NamedTuple):
    """Seconds until a pair of faults was explained, and until its incidents closed."""

    names: tuple[str, str]
    explained: float
    closed: float


def pair(bed: Bed, first: int) -> Timing:
    """Run two faults at once. Raises AssertionError if one is not explained or closed in time."""
    rows = FAULTS[first : first + 2]
    wanted = {(name, row[2]) for name, row in zip(("first", "second"), rows, strict=True)}
    names = (rows[0][0], rows[1][0])
    with ExitStack() as stack:
        for relay, (_, damage, _symptom) in zip(bed.relays, rows, strict=True):
            stack.enter_context(damage(bed, relay))
        began = time.monotonic()
        for number in (0, 1):
            bed.mail(number)
        wait_for(
            lambda: wanted <= bed.open().keys(),
            SOON,
            f"{names} explained as {wanted}, not {bed.open().keys()}",
        )
        explained = time.monotonic() - began
    bed.postfix.delete_all()
    began = time.monotonic()
    for number in (0, 1):
        bed.mail(number)
    wait_for(lambda: not bed.open(), SOON, f"{names} over; still open: {list(bed.open())}")
    return Timing(names, explained, time.monotonic() - began)
