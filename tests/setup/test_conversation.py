"""The conversation of `postward init` with a scripted person, at real relays on loopback."""

from collections import Counter
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest

from postward.agent.oauth2.request import TokenError
from postward.agent.setup.conversation import AnswerError, Conversation
from postward.agent.setup.questions import QUESTIONS, Question, Terminal
from postward.config.relay import Relay as RelaySettings
from tests.support import CA, Fault, Relay

PASSWORD = "s3cret-Gr33n-Fern"


class Person(Terminal):
    """A person with a list of answers for each question; without one, Enter is typed.

    Attributes:
        asked: how often each question was asked; "secret" for the password.
        heard: the lines that were shown.
    """

    def __init__(self, **answers: list[str]) -> None:
        self._answers = answers
        self.asked: Counter[str] = Counter()
        self.heard: list[str] = []

    def say(self, text: str) -> None:
        """Note a line."""
        self.heard.append(text)

    def ask(self, question: Question, default: str = "", *, text: str = "", empty: str = "") -> str:
        """Give the next answer."""
        key = next(key for key, known in QUESTIONS.items() if known is question)
        return self._next(key, default)

    def agree(self, text: str, *, default: bool = False) -> bool:
        """Give the default."""
        return default

    def secret(self, text: str, fault: Callable[[str], str | None]) -> str:
        """Give the next password."""
        return self._next("secret", PASSWORD)

    def _next(self, key: str, default: str) -> str:
        self.asked[key] += 1
        answers = self._answers.get(key, [])
        return answers.pop(0) if answers else default


@pytest.fixture(scope="module")
def shared() -> Iterator[Relay]:
    """Give a relay with STARTTLS and a login."""
    with Relay(CA(), users={"user": PASSWORD}) as relay:
        yield relay


@pytest.fixture
def relay(shared: Relay) -> Relay:
    """Give the relay without faults and records."""
    shared.fault = None
    shared.forget()
    return shared


def _no_token(_relay: RelaySettings, _secret: str) -> str:
    raise TokenError("the application does not exist")


def _conversation(person: Person | None, relay: Relay | None = None, **given: Any) -> Conversation:
    proposed = {"myhostname": "mail.example.test"}
    if relay:
        proposed["relay"] = f"[127.0.0.1]:{relay.port}"
    return Conversation(
        given, person, proposed=proposed, token_of=_no_token, only_sends=lambda: True, ipv4_only=True
    )


def test_the_password_is_asked_once_whatever_else_is_wrong(relay: Relay) -> None:
    """A recipient and a sender that the relay refuses are asked for again, the password is not."""
    relay.faults = [
        Fault(step="rcpt", reply="550 5.1.1 User unknown", only="gone@"),
        Fault(step="mail", reply="553 5.7.1 Sender not owned", only="postward@"),
    ]
    person = Person(
        username=["user"],
        recipient=["ops", "gone@relay.test", "probe@relay.test"],
        rewrite_sender=["user@relay.test"],
    )
    conversation = _conversation(person, relay)

    assert conversation.run() == PASSWORD
    assert (conversation.answers.recipient, conversation.answers.rewrite_sender) == (
        "probe@relay.test",
        "user@relay.test",
    )
    assert (person.asked["secret"], person.asked["username"], person.asked["recipient"]) == (1, 1, 3)
    assert relay.messages == []


def test_a_refused_login_asks_for_user_name_and_password(relay: Relay) -> None:
    """The other answers stay."""
    person = Person(username=["user"], secret=["wrong"])

    assert _conversation(person, relay).run() == PASSWORD
    assert [attempt.accepted for attempt in relay.auth_attempts] == [False, True]
    assert (person.asked["secret"], person.asked["username"], person.asked["relay"]) == (2, 2, 1)


def test_the_kind_of_tls_is_found() -> None:
    """On a port without a usual one, TLS from the first byte is tried too; it becomes a setting."""
    with Relay(CA(), users={"user": PASSWORD}, tls="implicit") as relay:
        person = Person(username=["user"])
        conversation = _conversation(person, relay)
        conversation.run()

    assert (conversation.answers.tls, conversation.answers.port) == ("implicit", relay.port)
    assert person.asked["tls"] == person.asked["port"] == 0


def test_a_valid_way_leaves_no_setting_that_has_a_default(relay: Relay) -> None:
    """STARTTLS is the default on this port."""
    conversation = _conversation(Person(username=["user"]), relay)
    conversation.run()

    assert (conversation.answers.tls, conversation.answers.port) == ("", relay.port)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"host": "relay"}, '--provider or --host: "relay" is neither'),
        ({"username": "user "}, "--username: must not begin or end with a blank"),
        ({"username": "user", "password_file": StringIO("wrong\n")}, "nothing was written: 127.0.0.1:"),
        ({"username": "user", "password_file": StringIO(" \n")}, "--password-file: the password must not"),
        ({"username": "", "admin": "root"}, "--admin: must be a mail address"),
        ({"grant": "device_code"}, "--grant: must be one of password"),
    ],
)
def test_without_a_terminal_the_option_is_named(relay: Relay, given: dict[str, Any], message: str) -> None:
    """The first wrong answer ends the conversation."""
    options = {"host": f"127.0.0.1:{relay.port}", **given}
    with pytest.raises(AnswerError) as refusal:
        _conversation(None, **options).run()

    assert str(refusal.value).startswith(message)
    assert "wrong" not in str(refusal.value)


def test_a_token_that_is_refused_asks_for_the_application_again(relay: Relay) -> None:
    """After three attempts the conversation ends with the reason."""
    person = Person(grant=["client_credentials"], client_id=["1", "2", "3", "4"], tenant=["a.test"] * 4)
    conversation = _conversation(
        person, provider="office365", host="127.0.0.1", port=relay.port, username="me@example.test"
    )
    with pytest.raises(AnswerError, match="nothing was written: the application does not exist"):
        conversation.run()

    assert person.asked["client_id"] == 4
    assert relay.auth_attempts == []
