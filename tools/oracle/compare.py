"""Compares answers of `postward.config.routing` with those of the real Postfix."""

from collections import Counter
from collections.abc import Iterator

from postward.agent.postfix.tables import read_configuration
from postward.config.routing import INTERNAL, Configuration, Route, routes
from postward.config.routing.addresses import completed, quoted
from tools.oracle.generate import Case
from tools.oracle.real import Answer, Answers, Mail, Postfix


def differences(case: Case, postfix: Postfix, counts: Counter[str]) -> Iterator[str]:
    """Yield the differences for the mails of a case, and count the answers."""
    with postfix.using(case) as real:
        config = read_configuration(postfix.config)
        for sender, recipient in case.mails:
            for what, theirs, ours in _answers(sender, recipient, real, config):
                known = "unknown" if ours is None else "equal" if theirs == ours else "different"
                counts[f"{what}: {known}"] += 1
                if known == "different":
                    yield f"{what} of {sender or '<>'} to {recipient or '<>'}: Postfix {theirs}, routing {ours}"


def _answers(
    sender: str, recipient: str, real: Answers, config: Configuration
) -> Iterator[tuple[str, object, object]]:
    """Yield (kind of question, Postfix's answer, our answer or None)."""
    if recipient:
        yield "completed", real.complete(quoted(recipient)), quoted(completed(recipient, config))
    answers = routes(sender, recipient, config, INTERNAL)
    mail = real.queue(sender, recipient)
    if any(answer.unknown and not answer.address_class for answer in answers):
        yield "envelope", mail, None
        return
    yield "envelope", mail, _envelope(answers, mail)
    for queued, answer in zip(mail.recipients, answers, strict=False):
        theirs = real.resolve(mail.sender, queued)
        if theirs.transport in config.words("defer_transports", "qmgr/unix"):  # the queue manager does that
            theirs = theirs._replace(transport="retry", next_hop="4.3.2 deferred transport")
        yield "route", theirs, None if answer.unknown else _answer(answer)


def _envelope(answers: tuple[Route, ...], mail: Mail) -> Mail:
    """Return our envelope. Recipients are compared by number here, and by their routes later."""
    if any(answer.broken and not answer.transport for answer in answers):
        return Mail("", (), mail.refused or "refused")
    recipients = mail.recipients if len(answers) == len(mail.recipients) else ("another number",)
    return Mail(answers[0].sender, recipients)


def _answer(route: Route) -> Answer:
    if route.next_hop in {"5.1.3 bad address syntax", "4.3.0 address resolver failure"}:
        return Answer(route.transport, route.next_hop, "", "")
    return Answer(route.transport, route.next_hop, route.recipient, route.address_class)
