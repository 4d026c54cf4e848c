"""Rules about routing: mail that stays on this host by mistake, and mail that bypasses the relay."""

import re
from collections.abc import Iterator

from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.next_hop import named_servers

Facts = HostFacts

_TRANSPORTS = (
    "default_transport",
    "relay_transport",
    "local_transport",
    "virtual_transport",
    "content_filter",
    "mailbox_transport",
    "fallback_transport",
)
_DEAD_ENDS = {"error", "discard", "retry"}


def _swallowed_domain(facts: Facts) -> Iterator[Fault]:
    if not facts.relay_routes:
        return
    host, domain = facts.value("myhostname").lower(), facts.value("mydomain").lower()
    origin = facts.value("myorigin").lower()
    leaving = {domain, *([] if origin.startswith("/") else [origin])} - {
        host,
        "localhost",
        "",
        f"localhost.{domain}",
    }
    for word in facts.words("mydestination"):
        if word.lower() in leaving:
            kept = [
                item
                for item in re.split(r"[\s,]+", facts.explicit.get("mydestination", ""))
                if item.lower()
                not in {word.lower(), "$mydomain", "${mydomain}", "$(mydomain)", "$myorigin", ""}
            ]
            yield Fault(
                facts.where("mydestination"),
                f"has {word}",
                remedies.assign(facts, ("mydestination", ", ".join(kept))),
            )


def _unknown_transport(facts: Facts) -> Iterator[Fault]:
    known = {service.name for service in facts.master.services.values()}
    if not known:
        return
    named = [(facts.where(name), facts.value(name)) for name in _TRANSPORTS if name in facts.explicit]
    for name in ("transport_maps", "sender_dependent_default_transport_maps"):
        for table in facts.table_of(name):
            named += [
                (f"{table.reference.path}:{entry.number}: {entry.key}", entry.value or "")
                for entry in table.entries or ()
            ]
    for place, value in named:
        transport = value.partition(":")[0].strip()
        if transport and transport not in known:
            yield Fault(
                place,
                f'has the transport "{transport}", which is not a service of master.cf',
                remedies.edit(facts, "correct the name, or add the service to master.cf"),
            )


def _dead_end(facts: Facts) -> Iterator[Fault]:
    for name in ("default_transport", "relay_transport"):
        transport = facts.value(name).partition(":")[0]
        if transport in _DEAD_ENDS:
            yield Fault(facts.where(name), f"is {transport}", remedies.remove(facts, name))


def _deferred(facts: Facts) -> Iterator[Fault]:
    for name in ("defer_transports", "master_service_disable"):
        words = facts.words(name)
        held = [
            word
            for word in words
            if word.partition("/")[0] in {"smtp", "relay", facts.default_service, "unix"}
        ]
        if held and (name == "defer_transports" or not held[0].endswith("/inet")):
            yield Fault(
                facts.where(name), f"has {held[0]}", f"{remedies.remove(facts, name)} && postqueue -f"
            )


def _past_the_relay(facts: Facts) -> Iterator[Fault]:
    relays = {hop.lower() for hop in facts.words("relayhost")}
    if not relays:
        return
    hop = facts.value("default_transport").partition(":")[2]
    if hop and hop.lower() not in relays:
        yield Fault(
            facts.where("default_transport"),
            f"has the next hop {hop}, and relayhost is {facts.value('relayhost')}",
            remedies.remove(facts, "default_transport"),
            named_servers(hop, *relays),
        )
    for table in facts.table_of("transport_maps"):
        for entry in table.entries or ():
            hop = (entry.value or "").partition(":")[2]
            if entry.key == "*" and hop.lower() not in relays:
                shown = f"goes to {hop}" if hop else "has no next hop"
                yield Fault(
                    f"{table.reference.path}:{entry.number}: *",
                    f"takes all mail and {shown}, although relayhost is {facts.value('relayhost')}",
                    f"remove the line, then {remedies.postmap(facts, table)}",
                    named_servers(hop, *relays),
                )


def _soft_bounce(facts: Facts) -> Iterator[Fault]:
    if facts.yes("soft_bounce"):
        yield Fault(facts.where("soft_bounce"), "is yes", remedies.remove(facts, "soft_bounce"))


def _mailbox_too_small(facts: Facts) -> Iterator[Fault]:
    mailbox, message = facts.value("mailbox_size_limit"), facts.value("message_size_limit")
    if "local/unix" not in facts.master.services or not (mailbox.isdecimal() and message.isdecimal()):
        return
    if 0 < int(mailbox) < int(message) or (int(mailbox) and not int(message)):
        yield Fault(
            facts.where("mailbox_size_limit"),
            f"is {mailbox}, and message_size_limit is {message}",
            remedies.assign(facts, ("mailbox_size_limit", "0")),
        )


E, W = Severity.ERROR, Severity.WARNING

RULES: tuple[Rule[HostFacts], ...] = (
    Rule(
        id="mydestination-swallows-domain",
        severity=W,
        check=_swallowed_domain,
        why="Mail for that domain stays on this host: it is delivered here, or bounces (unknown user).",
    ),
    Rule(
        id="transport-unknown",
        severity=E,
        check=_unknown_transport,
        why="Mail is deferred (mail transport unavailable).",
    ),
    Rule(
        id="default-transport-dead-end",
        severity=E,
        check=_dead_end,
        why="All mail for other hosts bounces or is discarded. Some cloud images are configured so.",
    ),
    Rule(
        id="transport-deferred",
        severity=E,
        check=_deferred,
        why="All mail of this transport stays in the queue (deferred transport).",
    ),
    Rule(
        id="relayhost-overruled",
        severity=W,
        check=_past_the_relay,
        why="Mail bypasses the relay: it goes to a server without a login, or to the MX hosts of its recipients.",
    ),
    Rule(
        id="soft-bounce",
        severity=W,
        check=_soft_bounce,
        why="Mail with permanent failures stays in the queue and is retried for days.",
    ),
    Rule(
        id="mailbox-limit-below-message-limit",
        severity=E,
        check=_mailbox_too_small,
        why="local(8) ends with a fatal error: mail for this host stays in the queue.",
    ),
)
