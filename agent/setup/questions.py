"""The questions of `postward init`, and the terminal that asks them.

Promise: each question has an option of the command, says what an empty answer means, and explains itself at "?".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import click

from postward.config.providers import PROVIDERS
from postward.config.relay import TlsMode

NONE = "-"  # the answer that means an empty one, where Enter gives the default


@dataclass(frozen=True, slots=True)
class Question:
    """A question.

    Attributes:
        option: the option of the command that answers it.
        text: the prompt.
        help: the explanation that "?" prints.
        empty: the meaning of an empty answer; "" if an answer is required.
    """

    option: str
    text: str
    help: str
    empty: str = ""


def provider_list() -> str:
    """Return the known providers as rows of name, title and host."""
    rows = [(name, provider.title, provider.host) for name, provider in PROVIDERS.items()]
    return "\n".join(f"  {name:<20} {title:<28} {host}" for name, title, host in rows)


# Attribute of `Answers` → its question. "relay" stands for provider or host.
QUESTIONS: Mapping[str, Question] = {
    "relay": Question(
        option="--provider or --host",
        text='The provider, or the relay\'s host name ("?" lists the providers)',
        help="The known providers; each is also found by its host name and by the domain of its mailboxes:\n"
        f"{provider_list()}\nFor another relay, answer its host name.",
    ),
    "region": Question(
        option="--region",
        text="The provider's region",
        help="As in eu-west-1. Logins are made per region, and each region has a host of its own.",
    ),
    "port": Question(
        option="--port",
        text="The relay's port",
        help="587 or 2525 begin with STARTTLS, 465 with TLS. Cloud providers often block 25.",
        empty="the first of 587, 465, 2525 and 25 that answers",
    ),
    "tls": Question(
        option="--tls",
        text="How TLS begins at the relay",
        help="starttls: after STARTTLS, always. implicit: with the first byte. opportunistic: if the relay offers it. "
        "none: never.",
    ),
    "grant": Question(
        option="--grant",
        text="The kind of login",
        help="password: a password or a key. The others are grants of OAuth2, by which the provider gives tokens in place "
        "of a password; docs/oauth2.md explains them.",
    ),
    "tenant": Question(
        option="--tenant",
        text="The directory's ID or domain (tenant)",
        help="As Microsoft's portal shows it for the registered application, as in example.onmicrosoft.com.",
    ),
    "client_id": Question(
        option="--client-id",
        text="The ID of the application (client)",
        help="As the provider's portal shows it for the registered application.",
    ),
    "username": Question(
        option="--username",
        text="The login at the relay",
        help="The user name that the relay's operator gave you. A relay in your own network may require none.",
        empty="no login",
    ),
    "rewrite_sender": Question(
        option="--rewrite-sender",
        text="One sender address for all mail",
        help="Programs on this host send as root@ this host, for example. Postfix can put one address in place of every "
        "sender, in envelope and header.",
        empty="senders are not changed",
    ),
    "myhostname": Question(
        option="--myhostname",
        text="This host's full name",
        help="The relay sees it at the start of each session. It needs a domain, as in mail.example.com.",
    ),
    "admin": Question(
        option="--admin",
        text="The address for mail to root, postmaster and MAILER-DAEMON of this host",
        help="Cron and failed services report to root. Their mail often stays on this host unread, or goes to a mailbox "
        "that does not exist.",
        empty="it goes where Postfix sends it now",
    ),
    "recipient": Question(
        option="--recipient",
        text="The recipient of probes, small mails every five minutes",
        help="A mailbox of your own that discards them, or the address of a `postward sink`. A probe confirms each change "
        "of Postfix's configuration; a change without a confirmed probe is rolled back.",
        empty="none are sent, and no change is confirmed or rolled back",
    ),
}
TLS_MODES = get_args(TlsMode)


class Terminal:
    """A terminal with a person before it. Everything is written to standard error."""

    def say(self, text: str) -> None:
        """Print a line."""
        click.echo(text, err=True)

    def ask(self, question: Question, default: str = "", *, text: str = "", empty: str = "") -> str:
        """Return an answer; "" only where an empty answer has a meaning.

        Args:
            question: the question.
            default: the answer that Enter gives.
            text: the prompt, if it is not the question's own.
            empty: the meaning of an empty answer, if it is not the question's own.
        """
        text, empty = text or question.text, empty or question.empty
        if empty:
            text = f"{text} ({f'{NONE} for none' if default else 'empty'}: {empty})"
        while True:
            answer = str(
                click.prompt(text, default=default, show_default=bool(default), err=True, type=str)
            ).strip()
            if answer == "?":
                self.say(question.help)
            elif answer == NONE and empty:
                return ""
            elif answer or empty:
                return answer
            else:
                self.say("an answer is required; ? explains the question")

    def agree(self, text: str, *, default: bool = False) -> bool:
        """Ask for yes or no."""
        return click.confirm(text, default=default, err=True)

    def secret(self, text: str, fault: Callable[[str], str | None]) -> str:
        """Return a text that is not displayed; a text with a fault is asked for again."""
        while True:
            answer = str(click.prompt(text, default="", show_default=False, hide_input=True, err=True))
            if (problem := fault(answer)) is None:
                return answer
            self.say(f"  it {problem}")
