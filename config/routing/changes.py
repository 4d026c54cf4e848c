"""The routes that change between two configurations, in a few words each.

Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from postward.config.routing.configuration import Configuration
from postward.config.routing.hops import Hop
from postward.config.routing.route import Route, routes
from postward.config.routing.samples import ELSEWHERE, samples
from postward.parsers.scrub import printable

_MAX_NAMED = 3  # mails of one change that are named


@dataclass(frozen=True, slots=True)
class RouteChange:
    """A change of the route of some mail.

    Attributes:
        mails: (sender, recipient) of examples; "" is the null sender, `ELSEWHERE` a recipient in another domain.
        before: the former route.
        after: the new route.
    """

    mails: tuple[tuple[str, str], ...]
    before: str
    after: str

    @property
    def text(self) -> str:
        """The change as one line."""
        return f"mail {_named(self.mails)}: {self.before} → {self.after}"


def route_changes(
    before: Configuration, after: Configuration, senders: Iterable[str] = ()
) -> list[RouteChange]:
    """Return the changes of routes, for mails that the tables and domains of both configurations name.

    Args:
        before: the configuration in force.
        after: the one that replaces it.
        senders: further senders to look at.
    """
    changes: dict[tuple[str, str], list[tuple[str, str]]] = {}
    extra = list(senders)
    for mail in dict.fromkeys([*samples(before, extra), *samples(after, extra)]):
        was, will_be = (described(routes(*mail, config)) for config in (before, after))
        if was != will_be:
            changes.setdefault((was, will_be), []).append(mail)
    return [RouteChange(tuple(mails), *texts) for texts, mails in changes.items()]


def _named(mails: tuple[tuple[str, str], ...]) -> str:
    senders, recipients = ([*dict.fromkeys(part)] for part in zip(*mails, strict=True))
    if len(senders) * len(recipients) == len(mails):
        return f"from {_some(map(_sender, senders))} to {_some(map(_recipient, recipients))}"
    return _some(f"from {_sender(sender)} to {_recipient(recipient)}" for sender, recipient in mails)


def _some(names: Iterable[str]) -> str:
    every = list(names)
    shown, left = every[:_MAX_NAMED], len(every) - _MAX_NAMED
    if left > 0:
        return f"{', '.join(shown)} and {left} more"
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)


def _sender(address: str) -> str:
    return printable(address) or "<> (bounces)"


def _recipient(address: str) -> str:
    return "other domains" if address == ELSEWHERE else printable(address)


def described(answers: tuple[Route, ...]) -> str:
    """Return the routes of a mail as text."""
    return "; ".join(dict.fromkeys(printable(_described(route)) for route in answers))


def _described(route: Route) -> str:
    if route.unknown:
        return f"unknown because of {route.unknown}"
    if route.transport == "retry" or route.broken:
        return f"deferred ({route.next_hop or route.broken})"
    if route.transport == "error":
        return f"bounced ({route.next_hop})"
    if not route.command:
        return f"deferred (master.cf has no service {route.transport})"
    if not route.hops:
        return f"{'discarded' if route.command == 'discard' else 'delivered'} by {route.transport}"
    service = "" if route.transport == route.command else f" by {route.transport}"
    return f"{', then '.join(_hop(hop, route) for hop in route.hops)}{service}"


def _hop(hop: Hop, route: Route) -> str:
    direct = route.next_hop_origin is None and not hop.fallback
    way = "sent to the MX hosts of the recipient's domain" if direct else f"relayed by {hop.destination}"
    unknown = dict(hop.unknown)
    if hop.login:
        way += f" with login {hop.login.user}"
    elif "login" in unknown and not direct:
        way += " with a login that its MX hosts decide about"
    level = hop.level or f"as {unknown.get('level', 'unknown')} says"
    return f"{way}, TLS {level}{' from the first byte' if hop.wrapper else ''}"


def route_lines(changes: Iterable[RouteChange]) -> Iterator[str]:
    """Yield the changes as lines of a plan."""
    yield from (f"route: {change.text}" for change in changes)
