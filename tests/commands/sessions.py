"""Sessions of `postward init` on a terminal, each with one or two wrong answers, and the network in which they happen.

In that network the names of providers lead to test relays on loopback, at the providers' own ports.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import CA, Fault, PostfixInstance, Relay
from tests.support.dialogue import Dialogue
from tests.support.mounts import private_network
from tests.support.product import POSTWARD

PASSWORD = "s3cret-pass"
WRONG = "wr0ng-pass"
_USERS = (
    "user",
    "apikey",
    "AKIAIOSFODNN7EXAMPLE",
    "me@gmail.com",
    "me@qq.com",
    "me@163.com",
    "me@example.com",
)
_PROVIDERS = (
    *("smtp.gmail.com", "smtp587.sendcloud.net", "smtp.sendgrid.net", "smtp.office365.com", "smtp.qq.com"),
    *("email-smtp.eu-west-1.amazonaws.com", "smtp.163.com", "smtp.provider.test"),
)
HOSTS = {
    **dict.fromkeys(_PROVIDERS, "127.0.0.1"),
    "smtp.mailgun.org": "127.0.0.2",  # behind a firewall that blocks 587
    "odd.test": "127.0.0.3",
    "closed.test": "127.0.0.4",
    "lan.test": "127.0.0.5",
}
# Address and port → how TLS begins. The relay of the local network requires no login.
_RELAYS = {
    ("127.0.0.1", 587): "starttls",
    ("127.0.0.1", 465): "implicit",
    ("127.0.0.2", 2525): "starttls",
    ("127.0.0.3", 2526): "implicit",
    ("127.0.0.3", 2527): "starttls",
    ("127.0.0.5", 25): "none",
}

_GRANT = "The kind of login"
_RELAY, _REGION, _PORT, _TLS = (
    "The provider, or",
    "The provider's region",
    "The relay's port",
    "How TLS begins",
)
_LOGIN, _SENDER, _NAME, _RECIPIENT = "The login at", "One sender address", "full name", "recipient of probes"
_ADMIN, _SECRET, _APPLY = "mail to root", "The password of", "Apply these changes?"
_REST = ((_NAME, "mail.example.test"), (_ADMIN, ""), (_RECIPIENT, "probe@relay.test"))
_END = ((_SECRET, PASSWORD), (_APPLY, ""))
_CTRL_C = "\x03"

DELIVERED = "to the first delivered probe"


@dataclass(frozen=True)
class Session:
    """A session.

    Attributes:
        name: the wrong answers.
        answers: part of a prompt, and the answer typed to it, in order.
        said: texts that the session shows.
        end: a text at the end: that a probe was delivered, or the reason why not.
        faults: faults of all relays.
    """

    name: str
    answers: tuple[tuple[str, str], ...]
    said: tuple[str, ...]
    end: str = DELIVERED
    faults: tuple[Fault, ...] = field(default=())


SESSIONS = (
    Session(
        "root in place of an address",
        (
            *((_RELAY, "smtp.provider.test"), (_LOGIN, "user"), (_NAME, "mail.example.test")),
            *((_ADMIN, "root"), (_ADMIN, "root@mail.example.test"), (_ADMIN, "ops@relay.test")),
            *((_RECIPIENT, "probe@relay.test"), *_END),
        ),
        (
            "must be a mail address",
            "root's mail would stay here",
            "mail to root goes to ops@relay.test: the relay has accepted",
        ),
    ),
    Session(
        "a kind of login that the provider does not offer",
        ((_RELAY, "gmail"), (_GRANT, "device_code"), (_GRANT, ""), (_LOGIN, "me@gmail.com"), *_REST, *_END),
        ("must be one of service_account",),
    ),
    Session(
        "a misspelt provider",
        ((_RELAY, "sendcluod"), (_RELAY, "SendCloud"), (_LOGIN, "user"), *_REST, *_END),
        ("did you mean sendcloud", "API_USER"),
    ),
    Session(
        "a wrong password",
        (
            *((_RELAY, "sendcloud"), (_LOGIN, "user"), *_REST),
            *((_SECRET, WRONG), (_LOGIN, ""), *_END),
        ),
        ("it refuses the login: auth_rejected",),
    ),
    Session(
        "a login without domain",
        ((_RELAY, "Gmail"), (_GRANT, ""), (_LOGIN, "me"), (_LOGIN, "me@gmail.com"), *_REST, *_END),
        ("is not a mail address, which gmail requires", "an app password"),
    ),
    Session(
        "a provider's host, and a wrong password",
        (
            *((_RELAY, "smtp.gmail.com"), (_GRANT, ""), (_LOGIN, "me@gmail.com"), *_REST),
            *((_SECRET, WRONG), (_LOGIN, ""), *_END),
        ),
        ("The login at Gmail", "auth_rejected"),
    ),
    Session(
        "a mailbox in place of the provider, and a short host name",
        (
            *((_RELAY, "me@gmail.com"), (_GRANT, ""), (_LOGIN, "me@gmail.com"), (_NAME, "mail")),
            *(*_REST, *_END),
        ),
        ("must be a full host name",),
    ),
    Session(
        "a region by its common name",
        (
            *((_RELAY, "ses"), (_REGION, "Ireland"), (_REGION, "eu-west-1")),
            *((_LOGIN, "AKIAIOSFODNN7EXAMPLE"), (_SENDER, ""), *_REST, *_END),
        ),
        ("must be a region, as in eu-west-1",),
    ),
    Session(
        "a host name with its region, and a recipient without domain",
        (
            *(
                (_RELAY, "email-smtp.eu-west-1.amazonaws.com"),
                (_LOGIN, "AKIAIOSFODNN7EXAMPLE"),
                (_SENDER, ""),
            ),
            *(
                (_NAME, "mail.example.test"),
                (_ADMIN, ""),
                (_RECIPIENT, "ops"),
                (_RECIPIENT, "probe@relay.test"),
                *_END,
            ),
        ),
        ("must be a mail address",),
    ),
    Session(
        "a region that does not exist",
        (
            *((_RELAY, "Amazon SES"), (_REGION, "eu-west-9"), (_RELAY, "ses"), (_REGION, "eu-west-1")),
            *((_LOGIN, "AKIAIOSFODNN7EXAMPLE"), (_SENDER, ""), *_REST, *_END),
        ),
        ("its name is not found",),
    ),
    Session(
        "a misspelt host",
        ((_RELAY, "smtp.provder.test"), (_RELAY, "smtp.provider.test"), (_LOGIN, "user"), *_REST, *_END),
        ("its name is not found",),
    ),
    Session(
        "a host without domain",
        ((_RELAY, "relay"), (_RELAY, "smtp.provider.test"), (_LOGIN, "user"), *_REST, *_END),
        ("neither a known provider nor a full host name",),
    ),
    Session(
        "two wrong passwords",
        (
            *((_RELAY, "smtp.provider.test:465"), (_LOGIN, "user"), *_REST, (_SECRET, WRONG)),
            *((_LOGIN, ""), (_SECRET, WRONG), (_LOGIN, ""), *_END),
        ),
        ("answers on port 465 (implicit)",),
    ),
    Session(
        "a port without a service",
        ((_RELAY, "smtp.provider.test:26"), (_PORT, ""), (_LOGIN, "user"), *_REST, *_END),
        ("these ports answer: 587 (starttls), 465 (implicit)",),
    ),
    Session(
        "a provider's port that is blocked, and a malformed recipient",
        (
            *((_RELAY, "mailgun"), (_PORT, ""), (_LOGIN, "me@example.com"), (_SENDER, "")),
            *(
                (_NAME, "mail.example.test"),
                (_ADMIN, ""),
                (_RECIPIENT, "probe@"),
                (_RECIPIENT, "probe@relay.test"),
                *_END,
            ),
        ),
        ("these ports answer: 2525 (starttls)",),
    ),
    Session(
        "a wrong user name",
        (
            *((_RELAY, "odd.test:2526"), (_LOGIN, "usr"), *_REST),
            *((_SECRET, PASSWORD), (_LOGIN, "user"), *_END),
        ),
        ("answers on port 2526 (implicit)",),
    ),
    Session(
        "no port, then a port in letters",
        (
            *((_RELAY, "odd.test"), (_RELAY, "odd.test"), (_PORT, "smtps"), (_PORT, "2527")),
            *((_LOGIN, "user"), *_REST, *_END),
        ),
        ("it accepts no connection", "must be a number from 1 to 65535", "answers on port 2527 (starttls)"),
    ),
    Session(
        "no kind of TLS",
        (
            *((_RELAY, "lan.test"), (_TLS, "yes"), (_TLS, ""), (_LOGIN, "")),
            *(*_REST, (_APPLY, "")),
        ),
        ("STARTTLS is not offered", "must be one of starttls"),
    ),
    Session(
        "a login that the relay does not offer",
        (
            *((_RELAY, "lan.test"), (_TLS, "opportunistic"), (_LOGIN, "user"), *_REST),
            *((_SECRET, PASSWORD), (_LOGIN, "-"), (_APPLY, "")),
        ),
        ("the session is not encrypted",),
    ),
    Session(
        "other senders than the login",
        (
            *((_RELAY, "qq.com"), (_LOGIN, "me@qq.com"), (_SENDER, "-"), *_REST, (_SECRET, PASSWORD)),
            *((_SENDER, "me@qq.com"), (_APPLY, "")),
        ),
        ("mail of other senders bounces", "it refuses the sender"),
        faults=(
            Fault(
                step="mail",
                reply="501 mail from address must be same as authorization user",
                only="postward@",
            ),
        ),
    ),
    Session(
        "the mailbox's password in place of the code",
        (
            *((_RELAY, "QQ Mail"), (_LOGIN, "me@qq.com"), (_SENDER, ""), *_REST),
            *((_SECRET, WRONG), (_LOGIN, ""), *_END),
        ),
        ("the authorization code",),
    ),
    Session(
        "a login without domain at a provider with one sender",
        (
            *((_RELAY, "163"), (_LOGIN, "me"), (_LOGIN, "me@163.com"), (_SENDER, "nobody")),
            *((_SENDER, ""), *_REST, *_END),
        ),
        ("is not a mail address, which 163 requires",),
    ),
    Session(
        "a sender that is not verified",
        (
            *((_RELAY, "twilio"), (_SENDER, ""), *_REST, (_SECRET, PASSWORD)),
            *((_SENDER, "app@example.test"), (_APPLY, "")),
        ),
        (
            "accepts only senders that it has verified",
            "it refuses the sender postward@example.test: sender_rejected",
        ),
        faults=(Fault(step="mail", reply="550 5.1.7 unverified sender identity", only="postward@"),),
    ),
    Session(
        "a recipient that does not exist",
        (
            *((_RELAY, "smtp.provider.test"), (_LOGIN, "user"), (_NAME, "mail.example.test")),
            *(
                (_ADMIN, ""),
                (_RECIPIENT, "gone@relay.test"),
                (_SECRET, PASSWORD),
                (_RECIPIENT, "probe@relay.test"),
            ),
            (_APPLY, ""),
        ),
        ("it refuses a recipient gone@relay.test: recipient_rejected",),
        faults=(Fault(step="rcpt", reply="550 5.1.1 User unknown", only="gone@"),),
    ),
    Session(
        "a login and its password in one",
        (
            *((_RELAY, "smtp.provider.test"), (_LOGIN, "user:pass"), *_REST, (_SECRET, PASSWORD)),
            *((_LOGIN, "user"), *_END),
        ),
        ("it refuses the login: auth_rejected",),
    ),
    Session(
        "a password with a blank at its end",
        (
            *((_RELAY, "smtp.provider.test"), (_LOGIN, "user"), *_REST),
            *((_SECRET, f"{PASSWORD} "), *_END),
        ),
        ("must not begin or end with a blank",),
    ),
    Session(
        "no password",
        ((_RELAY, "smtp.provider.test"), (_LOGIN, "user"), *_REST, (_SECRET, ""), *_END),
        ("must not be empty",),
    ),
    Session(
        "three wrong passwords",
        (
            *((_RELAY, "smtp.provider.test"), (_LOGIN, "user"), *_REST, (_SECRET, WRONG)),
            *((_LOGIN, ""), (_SECRET, WRONG), (_LOGIN, ""), (_SECRET, WRONG)),
        ),
        (),
        "more could block the login",
    ),
    Session(
        "given up at the password",
        ((_RELAY, "smtp.provider.test"), (_LOGIN, "user"), *_REST, (_SECRET, _CTRL_C)),
        (),
        "nothing was written",
    ),
    Session(
        "a login that is refused for a moment",
        (
            *((_RELAY, "smtp.provider.test"), (_LOGIN, "user"), *_REST, (_SECRET, PASSWORD)),
            *(("Try again?", ""), (_APPLY, "")),
        ),
        ("auth_temporary",),
        faults=(Fault(step="auth", reply="454 4.7.0 Temporary authentication failure", times=1),),
    ),
    Session(
        "a host without a service",
        (
            (_RELAY, "closed.test"),
            (_RELAY, "smtp.provider.test"),
            (_PORT, ""),
            (_LOGIN, "user"),
            *_REST,
            *_END,
        ),
        ("it accepts no connection: refused", "a firewall may block the ports"),
    ),
    Session(
        "a host name that the relay refuses",
        (
            *((_RELAY, "smtp.provider.test"), (_LOGIN, "user"), (_NAME, "wrong.example.test")),
            *(
                (_ADMIN, ""),
                (_RECIPIENT, "probe@relay.test"),
                (_SECRET, PASSWORD),
                (_NAME, "mail.example.test"),
                (_APPLY, ""),
            ),
        ),
        ("it refuses this host's greeting (EHLO)",),
        faults=(Fault(step="ehlo", reply="550 5.7.1 Helo command rejected", only="wrong."),),
    ),
    Session(
        "a question mark, then a word",
        ((_RELAY, "?"), (_RELAY, "other"), (_RELAY, "smtp.provider.test"), (_LOGIN, "user"), *_REST, *_END),
        ("email-smtp.{region}.amazonaws.com", '"other" is neither'),
    ),
    Session(
        "a recipient of this host",
        (
            *((_RELAY, "smtp.provider.test"), (_LOGIN, "user"), (_NAME, "mail.example.test")),
            *((_ADMIN, ""), (_RECIPIENT, "root@mail.example.test"), (_RECIPIENT, "probe@relay.test"), *_END),
        ),
        ("which is delivered on this host",),
    ),
    Session(
        "no to the changes",
        ((_RELAY, "smtp.provider.test"), (_LOGIN, "user"), *_REST, (_SECRET, PASSWORD), (_APPLY, "n")),
        (),
        "to apply the settings later: postward apply",
    ),
    Session(
        "content that the relay refuses",
        ((_RELAY, "smtp.provider.test"), (_LOGIN, "user"), *_REST, *_END),
        ("554 5.7.1 no",),
        "Correct them there, then: postward apply",
        faults=(Fault(step="end_of_data", reply="554 5.7.1 no"),),
    ),
)


@contextlib.contextmanager
def network(folder: Path) -> Iterator[list[Relay]]:
    """Give the network of the sessions, with its relays."""
    with private_network(folder, HOSTS), contextlib.ExitStack() as running:
        authority = CA()
        relays = []
        for (address, port), tls in _RELAYS.items():
            relay = Relay(
                authority,
                users=dict.fromkeys(_USERS, PASSWORD),
                tls=tls,
                auth_required=tls != "none",
                mechanisms=() if tls == "none" else ("PLAIN", "LOGIN"),
                port=port,
            )
            relay.host = address
            relays.append(running.enter_context(relay))
        yield relays


@dataclass(frozen=True)
class Outcome:
    """The outcome of a session: its text, its seconds of machine time, and the mails that arrived."""

    text: str
    seconds: float
    delivered: int


def hold(session: Session, relays: list[Relay], folder: Path) -> Outcome:
    """Hold a session with `postward init` on a private Postfix of its own. Every answer is typed at once."""
    folder.mkdir()
    for relay in relays:
        relay.faults = session.faults
        relay.forget()
    with PostfixInstance(folder / "postfix") as postfix:
        env = {
            "POSTWARD_POSTFIX__CONFIG_DIRECTORY": str(postfix.config_directory),
            "POSTWARD_ENFORCE__DIRECTORY": str(folder / "enforce"),
            "POSTWARD_STATE__DIRECTORY": str(folder / "state"),
        }
        command = (POSTWARD, "init", "--no-start", "--config", str(folder / "postward.toml"))
        begun = time.monotonic()
        dialogue = Dialogue(command, env)
        for prompt, answer in session.answers:
            dialogue.answer(prompt, answer)
        dialogue.end()
        seconds = time.monotonic() - begun
        delivered = sum(len(relay.messages_to("probe@relay.test")) for relay in relays)
    return Outcome(dialogue.text, seconds, delivered)


def faults_of(session: Session, outcome: Outcome) -> list[str]:
    """Return how an outcome differs from the session's."""
    faults = [f"does not show {text!r}" for text in (*session.said, session.end) if text not in outcome.text]
    if outcome.delivered != (session.end == DELIVERED):
        faults.append(f"{outcome.delivered} mails arrived")
    faults += [f"shows {secret}" for secret in (PASSWORD, WRONG) if secret in outcome.text]
    if "Traceback" in outcome.text:
        faults.append("shows a traceback")
    return faults
