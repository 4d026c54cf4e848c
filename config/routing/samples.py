"""Mails that together take every route that a configuration names: senders and recipients from its tables and domains.

Pure. Tables of patterns and tables outside of files name no addresses.
"""

from collections.abc import Iterable, Iterator

from postward.config.routing.configuration import REWRITE, Configuration
from postward.config.routing.tables import Keyed
from postward.parsers.postconf import split_list

ELSEWHERE = "someone@elsewhere.invalid"  # a recipient in no domain of a configuration
_MAX_KEYS = 50  # of a table, and domains of a list
_SENDER_MAPS = (
    "sender_dependent_relayhost_maps",
    "sender_dependent_default_transport_maps",
    "smtp_sasl_password_maps",
)
_RECIPIENT_LISTS = ("relay_domains", "virtual_mailbox_domains", "mydestination")


def samples(config: Configuration, senders: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Return (sender, recipient) of mails: each sender to elsewhere and to a relayed domain, root to each recipient.

    Args:
        config: the configuration.
        senders: further senders.
    """
    root = f"root@{config.value('myorigin', REWRITE)}"
    recipients = list(dict.fromkeys(_recipients(config)))
    relayed = [
        address for address in recipients if address.rpartition("@")[2] in _domains("relay_domains", config)
    ]
    everyone = dict.fromkeys([root, "", *senders, *_senders(config)])
    mails = [(sender, recipient) for sender in everyone for recipient in (ELSEWHERE, *relayed[:1])]
    return [*mails, *((root, recipient) for recipient in recipients if (root, recipient) not in mails)]


def _senders(config: Configuration) -> Iterator[str]:
    for name in _SENDER_MAPS:
        for key in _keys(name, config):
            if key.startswith("@"):
                yield f"someone{key}"
            elif "@" in key:
                yield key


def _recipients(config: Configuration) -> Iterator[str]:
    for key in _keys("transport_maps", config):
        if "@" in key:
            yield key
        elif key != "*":
            yield f"someone@sub{key}" if key.startswith(".") else f"someone@{key}"
    for name in _RECIPIENT_LISTS:
        yield from (f"someone@{domain}" for domain in _domains(name, config))


def _domains(name: str, config: Configuration) -> list[str]:
    words = config.words(name, REWRITE)
    named = [word for word in words if word[0] not in "!/.[" and ":" not in word]
    return [*named, *(key for key in _keys(name, config) if not key.startswith("."))][:_MAX_KEYS]


def _keys(name: str, config: Configuration) -> Iterator[str]:
    """Yield the keys of a parameter's tables, in main.cf and in the services of master.cf."""
    values = [config.value(name, REWRITE)]
    values += [
        config.value(name, key.rpartition("/")[0])
        for key in config.master.overrides
        if key.endswith(f"/{name}")
    ]
    for table in dict.fromkeys(item for value in values for item in split_list(value) if ":" in item):
        contents = config.tables.contents_of(table)
        if isinstance(contents, Keyed):
            yield from list(contents.entries)[:_MAX_KEYS]
