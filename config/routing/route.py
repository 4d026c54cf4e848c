"""The routes of a mail: one for each recipient that remains after rewriting.

Pure. Source: qmgr/qmgr_message.c (qmgr_message_resolve), beside those of the modules that it joins.
"""

from dataclasses import dataclass, replace

from postward.config.routing.configuration import Configuration
from postward.config.routing.hops import Hop, hops_of
from postward.config.routing.resolve import Origin, Resolved, resolve
from postward.config.routing.rewriting import recipients_of, sender_of
from postward.config.routing.tables import BrokenTableError, UnknownTableError
from postward.parsers.postconf import split_list

QUEUE_MANAGER = "qmgr/unix"
PICKUP = "pickup/unix"  # takes mail of sendmail(1)
INTERNAL = ""  # mail that Postfix itself sends: bounces and notices


@dataclass(frozen=True, slots=True)
class Route:
    """The way of a mail to one recipient.

    Attributes:
        sender: the envelope sender after rewriting; "" for the null sender.
        recipient: the envelope recipient after rewriting.
        address_class: its class (ADDRESS_CLASS_README): local, virtual alias, virtual mailbox, relay or default; "" for
            mail that a content filter takes, and for an address with bad syntax.
        transport: the service of master.cf that delivers; "" if it is unknown.
        command: the program that the service runs; "" without such a service, so the mail is deferred.
        next_hop: the argument of the service: hosts, a domain, or the text of an error.
        transport_origin: what decided about the transport.
        next_hop_origin: what decided about the next hop; None if it is the domain of the recipient.
        hops: the destinations, if smtp(8) or lmtp(8) delivers, in the order in which they are tried.
        unknown: the table that decides and cannot be searched; "" if the route is known.
        broken: the table that Postfix cannot search either, so the mail is deferred or refused; "" without one.
    """

    sender: str
    recipient: str
    address_class: str = ""
    transport: str = ""
    command: str = ""
    next_hop: str = ""
    transport_origin: Origin | None = None
    next_hop_origin: Origin | None = None
    hops: tuple[Hop, ...] = ()
    unknown: str = ""
    broken: str = ""


def routes(sender: str, recipient: str, config: Configuration, entry: str = PICKUP) -> tuple[Route, ...]:
    """Return the routes of a mail, one for each recipient.

    Args:
        sender: the envelope sender as a client gives it; "" for the null sender.
        recipient: the envelope recipient, likewise.
        config: the configuration.
        entry: the service that takes the mail, as in "smtp/inet"; `INTERNAL` for Postfix's own mail.
    """
    overrides = config.words("receive_override_options", entry) if entry else []
    mapping = "no_address_mappings" not in overrides
    rewritten = sender
    try:
        rewritten = sender_of(sender, config, mapping=mapping)
        recipients = recipients_of(recipient, config, mapping=mapping)
    except UnknownTableError as error:
        return (Route(rewritten, recipient, unknown=str(error)),)
    except BrokenTableError as error:
        return (Route(rewritten, recipient, broken=str(error)),)
    return tuple(_route(rewritten, item, config, entry) for item in recipients)


def _route(sender: str, recipient: str, config: Configuration, entry: str) -> Route:
    content_filter = config.value("content_filter", entry) if entry else ""
    answer = (
        _filtered(recipient, content_filter, entry, config)
        if content_filter
        else resolve(sender, recipient, config)
    )
    if answer.transport in split_list(config.value("defer_transports", QUEUE_MANAGER)):
        answer = replace(
            answer,
            transport="retry",
            next_hop="4.3.2 deferred transport",
            transport_origin=Origin("defer_transports"),
        )
    service = f"{answer.transport}/unix"
    return Route(
        sender,
        answer.recipient,
        answer.address_class,
        answer.transport,
        config.command(service),
        answer.next_hop,
        answer.transport_origin,
        answer.next_hop_origin,
        hops_of(sender, answer.next_hop, service, config),
        answer.unknown,
        answer.broken,
    )


def _filtered(recipient: str, content_filter: str, entry: str, config: Configuration) -> Resolved:
    """Return the answer for mail that goes to a content filter."""
    transport, _, hop = content_filter.partition(":")
    in_master = f"{entry}/content_filter" in config.master.overrides
    origin = Origin(f"{entry}/content_filter" if in_master else "content_filter")
    default = config.value("default_filter_nexthop", QUEUE_MANAGER) or (
        recipient.partition("@")[1] and recipient.rpartition("@")[2]
    )
    return Resolved(
        recipient,
        transport=transport,
        next_hop=hop or default or config.value("myhostname", QUEUE_MANAGER),
        transport_origin=origin,
        next_hop_origin=origin if hop else None,
    )
