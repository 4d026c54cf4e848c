"""The domains of this host's senders in DNS: does SPF cover the relay, is there DMARC, does the HELO name resolve both ways?

Only what is sure is reported. SPF counts for a relay whose provider keeps the sender of the envelope (`Provider.spf`);
others replace it by an address of their own. A record with terms that depend on the mail (macros, `exists`, `ptr`) may
cover anything. Without an answer of the resolver, only that is reported.

Promise: at most `_MAX_QUERIES` questions, each with a deadline. Sources: RFC 7208 (SPF), RFC 9989 and RFC 7489 (DMARC).
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import dns.exception
import dns.name
import dns.resolver
import dns.reversename

from postward.config.lint.finding import Fault, Finding, Rule, Severity
from postward.config.providers import PROVIDERS
from postward.config.relay import Relay
from postward.config.settings import Settings

MAX_LOOKUPS: Final = 10  # terms of an SPF record that ask DNS (RFC 7208, 4.6.4)
_MAX_DEPTH: Final = 20
_MAX_QUERIES: Final = 150
_LIFETIME: Final = 4.0  # seconds a question
# Names that no public resolver knows (RFC 2606, 6762, 8375, and ICANN's .internal).
_PRIVATE: Final = frozenset(
    {"test", "example", "invalid", "localhost", "local", "internal", "lan", "home", "arpa"}
)
_TERM: Final = re.compile(r"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?:[:/](.*))?", re.IGNORECASE)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class DnsError(Exception):
    """The resolver did not answer, or reported a failure."""


class Dns:
    """Asks a resolver, and remembers nothing but the number of questions.

    Args:
        resolver: that of the host, if it is left out. Raises DnsError without one.
    """

    def __init__(self, resolver: dns.resolver.Resolver | None = None) -> None:
        try:
            self._resolver = resolver or dns.resolver.Resolver()
        except (dns.exception.DNSException, OSError) as error:
            raise DnsError(f"no resolver: {error}") from None
        self._left = _MAX_QUERIES

    def texts(self, name: str) -> list[str]:
        """Return the TXT records of a name, each joined. Raises DnsError."""
        return [b"".join(record.strings).decode("utf-8", "replace") for record in self._ask(name, "TXT")]

    def addresses(self, name: str) -> list[str]:
        """Return the addresses of a name. Raises DnsError."""
        return [record.address for kind in ("A", "AAAA") for record in self._ask(name, kind)]

    def names_of(self, address: str) -> list[str]:
        """Return the names of an address, in lower case. Raises DnsError."""
        name = dns.reversename.from_address(address).to_text()
        return [record.target.to_text(omit_final_dot=True).lower() for record in self._ask(name, "PTR")]

    def _ask(self, name: str, kind: str) -> list[dns.resolver.Answer]:
        self._left -= 1
        if self._left < 0:
            raise DnsError("too many questions")
        try:
            return list(self._resolver.resolve(name, kind, search=False, lifetime=_LIFETIME))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.name.LabelTooLong, dns.name.EmptyLabel):
            return []
        except dns.exception.DNSException as error:
            raise DnsError(f"{name} {kind}: {type(error).__name__}") from None


@dataclass(slots=True)
class Spf:
    """An SPF record, with those that it includes.

    Attributes:
        records: number of records of the domain; SPF fails with more than one.
        includes: an included domain → number of look-ups until it has been read.
        networks: the addresses that it lists.
        lookups: number of look-ups of all terms.
        is_open: it may allow more than `networks`: `+all`, or a term that depends on the mail.
    """

    records: int = 0
    includes: dict[str, int] = field(default_factory=dict)
    networks: list[Network] = field(default_factory=list)
    lookups: int = 0
    is_open: bool = False

    def covers(self, other: "Spf") -> bool:
        """Return whether all addresses that another record lists are among those of this one."""
        return bool(other.networks) and all(
            any(mine.version == net.version and net.subnet_of(mine) for mine in self.networks)  # type: ignore[arg-type]
            for net in other.networks
        )


def read_spf(dns: Dns, domain: str) -> Spf:
    """Return what the SPF record of a domain allows. Raises DnsError."""
    spf = Spf()
    spf.records = _read_record(dns, domain, spf, 0)
    return spf


def _read_record(dns: Dns, domain: str, spf: Spf, depth: int) -> int:
    """Add the record of a domain to `spf`, and return how many the domain has."""
    texts = [text for text in dns.texts(domain) if re.match(r"v=spf1( |$)", text, re.IGNORECASE)]
    if len(texts) != 1 or depth > _MAX_DEPTH:
        return len(texts)
    redirect = ""
    for term in texts[0].split()[1:]:
        if term.lower().startswith("redirect="):
            redirect = term[len("redirect=") :]
        elif match := _TERM.fullmatch(term):
            _add_term(dns, match[1] in {"", "+"}, match[2].lower(), match[3] or "", spf, depth)
    if redirect:
        spf.lookups += 1
        _follow(dns, redirect, spf, depth)
    return 1


def _add_term(dns: Dns, passes: bool, kind: str, value: str, spf: Spf, depth: int) -> None:
    if kind not in {"all", "ip4", "ip6"}:
        spf.lookups += 1
    if kind == "include" and passes:
        _follow(dns, value, spf, depth)
    elif kind in {"ip4", "ip6"} and passes:
        try:
            spf.networks.append(ipaddress.ip_network(value, strict=False))
        except ValueError:
            spf.is_open = True  # the whole record is invalid; a receiver decides
    elif kind in {"all", "exists", "ptr"} and passes:
        spf.is_open = True


def _follow(dns: Dns, domain: str, spf: Spf, depth: int) -> None:
    if "%" in domain:
        spf.is_open = True
        return
    name = domain.lower().rstrip(".")
    if name not in spf.includes and spf.lookups <= 3 * MAX_LOOKUPS:
        spf.includes[name] = spf.lookups
        _read_record(dns, name, spf, depth + 1)
        spf.includes[name] = spf.lookups


def has_dmarc(dns: Dns, domain: str) -> bool:
    """Return whether a domain or one above it has a DMARC record. Raises DnsError."""
    labels = domain.split(".")
    names = [".".join(labels[start:]) for start in range(len(labels) - 1)][:8]
    return any(re.match(r"v=DMARC1\s*(;|$)", text) for name in names for text in dns.texts(f"_dmarc.{name}"))


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """A domain of senders, and the way out of its mail.

    Attributes:
        domain: the domain.
        relay: the relay's name in the settings.
        needed: the domain that its SPF record has to include; "" if it need not.
        spf: its SPF record; None if it is not needed.
        provider: the record of `needed`.
        dmarc: whether there is a DMARC record.
        helo: the name of HELO of a host that sends directly; "" for other ways out.
        helo_addresses: an address of that name → the names of the address.
    """

    domain: str
    relay: str
    needed: str = ""
    spf: Spf | None = None
    provider: Spf | None = None
    dmarc: bool = True
    helo: str = ""
    helo_addresses: dict[str, list[str]] = field(default_factory=dict)


def domains_of(settings: Settings) -> Iterator[tuple[str, Relay]]:
    """Yield the public domains of the senders of each relay; the host's own for the first one without senders."""
    for number, relay in enumerate(settings.relay):
        senders = [sender.rpartition("@")[2] for sender in relay.senders]
        if number == 0:
            senders.append(settings.host.rewrite_sender.rpartition("@")[2] or settings.host.domain)
        for domain in dict.fromkeys(name.lower() for name in senders):
            labels = domain.split(".")
            if len(labels) > 1 and labels[0] and labels[-1] not in _PRIVATE:
                yield domain, relay


def read_domains(settings: Settings, dns: Dns) -> Iterator[DomainFacts]:
    """Yield the facts of each domain for which the way out matters. Raises DnsError."""
    for domain, relay in domains_of(settings):
        provider = PROVIDERS.get(relay.provider)
        needed = provider.spf if provider else ""
        if provider and domain in provider.also:
            continue  # a mailbox at the provider itself
        if not needed and not relay.direct:
            continue
        helo = (relay.helo_name or settings.host.myhostname).lower() if relay.direct else ""
        yield DomainFacts(
            domain,
            relay.name,
            needed,
            read_spf(dns, domain) if needed else None,
            read_spf(dns, needed) if needed else None,
            has_dmarc(dns, domain),
            helo,
            {address: dns.names_of(address) for address in dns.addresses(helo)} if helo else {},
        )


def _spf_missing(facts: DomainFacts) -> Iterator[Fault]:
    if facts.spf and not facts.spf.records:
        yield Fault(
            facts.domain, "has no SPF record", f"add the TXT record: v=spf1 include:{facts.needed} ~all"
        )


def _spf_several(facts: DomainFacts) -> Iterator[Fault]:
    if facts.spf and facts.spf.records > 1:
        yield Fault(facts.domain, f"has {facts.spf.records} SPF records", "merge them into one TXT record")


def _spf_without_relay(facts: DomainFacts) -> Iterator[Fault]:
    spf, provider = facts.spf, facts.provider
    if not spf or not provider or spf.records != 1 or spf.is_open:
        return
    if facts.needed not in spf.includes and not spf.covers(provider):
        what = f"has an SPF record that does not cover the relay {facts.relay}"
        yield Fault(facts.domain, what, f"add include:{facts.needed} to the record")


def _spf_lookups(facts: DomainFacts) -> Iterator[Fault]:
    spf = facts.spf
    if spf and (spent := spf.includes.get(facts.needed, 0)) > MAX_LOOKUPS:
        yield Fault(
            facts.domain,
            f"has an SPF record that needs {spent} look-ups for the relay {facts.relay}; the limit is {MAX_LOOKUPS}",
            f"put include:{facts.needed} first, and remove includes that are not used",
        )


def _no_dmarc(facts: DomainFacts) -> Iterator[Fault]:
    if not facts.dmarc:
        yield Fault(
            facts.domain, "has no DMARC record", f"add the TXT record _dmarc.{facts.domain}: v=DMARC1; p=none"
        )


def _helo_unknown(facts: DomainFacts) -> Iterator[Fault]:
    if facts.helo and not facts.helo_addresses:
        yield Fault(facts.helo, "has no address in DNS", "add an A record with this host's public address")


def _helo_not_back(facts: DomainFacts) -> Iterator[Fault]:
    if facts.helo_addresses and not any(facts.helo in names for names in facts.helo_addresses.values()):
        shown = ", ".join(
            f"{address} is {', '.join(names) or 'nameless'}"
            for address, names in facts.helo_addresses.items()
        )
        yield Fault(
            facts.helo,
            f"does not resolve back: {shown}",
            f"have the owner of the address set its PTR record to {facts.helo}",
        )


_W, _N = Severity.WARNING, Severity.NOTE
RULES: Final[tuple[Rule[DomainFacts], ...]] = (
    Rule("spf-missing", _W, _spf_missing, "Receivers refuse the mail or take it for spam."),
    Rule("spf-several", _W, _spf_several, "SPF fails for all mail of the domain."),
    Rule("spf-relay", _W, _spf_without_relay, "SPF fails for mail through this relay."),
    Rule("spf-lookups", _W, _spf_lookups, "SPF fails for mail through this relay."),
    Rule("dmarc-missing", _N, _no_dmarc, "Large mailbox providers require it of senders of much mail."),
    Rule("helo-unknown", _W, _helo_unknown, "Receivers refuse the HELO name of this host."),
    Rule(
        "helo-not-back", _W, _helo_not_back, "Receivers refuse mail of hosts whose name and address differ."
    ),
)


def domain_findings(settings: Settings, dns: Dns) -> list[Finding]:
    """Return the findings about the domains of senders. Raises DnsError."""
    found = [
        finding for facts in read_domains(settings, dns) for rule in RULES for finding in rule.findings(facts)
    ]
    return list(dict.fromkeys(found))
