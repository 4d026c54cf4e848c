"""Rules about the names by which this host presents itself, in EHLO and in sender addresses."""

import re
from collections.abc import Iterator

from postward.config.fields import is_host_name
from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts
from postward.config.lint.finding import Fault, Rule, Severity

Facts = HostFacts

_PLACEHOLDER = re.compile(r"(.*\.)?(localdomain|localhost|local|invalid|lan|internal|home\.arpa)")
_EXAMPLE = "mail.example.com"


def _short_name(facts: Facts) -> Iterator[Fault]:
    name = facts.value("myhostname")
    if name and "." not in name:
        yield Fault(
            facts.where("myhostname"),
            f"is {name}, without a domain",
            remedies.assign(facts, ("myhostname", f"{name}.example.com")),
        )


def _made_up_name(facts: Facts) -> Iterator[Fault]:
    name = facts.value("myhostname").lower()
    if "." in name and re.fullmatch(r".*\.(localdomain|localhost)", name):
        yield Fault(facts.where("myhostname"), f"is {name}", remedies.assign(facts, ("myhostname", _EXAMPLE)))


def _no_name(facts: Facts) -> Iterator[Fault]:
    for name in ("myhostname", "mydomain"):
        value = facts.value(name)
        if name in facts.explicit and "$" not in value and not is_host_name(value):
            yield Fault(facts.where(name), f'is "{value}"', remedies.assign(facts, (name, _EXAMPLE)))


def _origin_file(facts: Facts) -> Iterator[Fault]:
    origin = facts.value("myorigin")
    known = facts.files.get(origin)
    if origin.startswith("/") and known and not known.exists:
        yield Fault(
            facts.where("myorigin"),
            f"is the file {origin}, which does not exist",
            f"echo {facts.value('mydomain')} > {origin}",
        )


def _origin_file_empty(facts: Facts) -> Iterator[Fault]:
    origin = facts.value("myorigin")
    known = facts.files.get(origin)
    if origin.startswith("/") and known and known.exists and known.word == "":
        yield Fault(
            facts.where("myorigin"),
            f"is the file {origin}, which is empty",
            f"echo {facts.value('mydomain')} > {origin}",
        )


def _origin_not_full(facts: Facts) -> Iterator[Fault]:
    origin = facts.value("myorigin")
    if origin.startswith("/"):
        known = facts.files.get(origin)
        origin = (known.word if known and known.word else "") or "."
    # Rules about myhostname and mydomain report values derived from those.
    derived = origin in {facts.value("myhostname"), facts.value("mydomain")}
    if not derived and ("." not in origin or re.fullmatch(r"(.*\.)?(localdomain|localhost)", origin.lower())):
        yield Fault(
            facts.where("myorigin"),
            f"makes {origin} the domain of senders",
            remedies.assign(facts, ("myorigin", "$mydomain")),
        )


def _top_level_domain(facts: Facts) -> Iterator[Fault]:
    domain = facts.value("mydomain")
    users = [line for line in facts.main_cf if re.search(r"\$[({]?mydomain\b", line.value)]
    if (
        "." in facts.value("myhostname")
        and domain
        and "." not in domain
        and "$" not in domain
        and not _PLACEHOLDER.fullmatch(domain)
        and users
    ):
        yield Fault(
            facts.where("mydomain"),
            f"is {domain}, and {users[0].name} uses it",
            remedies.assign(facts, ("mydomain", facts.value("myhostname"))),
        )


def _helo_name(facts: Facts) -> Iterator[Fault]:
    name = facts.value("smtp_helo_name")
    if "smtp_helo_name" in facts.explicit and "." not in name and ":" not in name:
        yield Fault(
            facts.where("smtp_helo_name"),
            f'is "{name}"' if name else "is empty",
            remedies.remove(facts, "smtp_helo_name"),
        )


E, W = Severity.ERROR, Severity.WARNING
_REFUSED = "Many relays refuse such a name in EHLO (504 need fully-qualified hostname), and Postfix bounces the mail."
_SENDER = "Senders such as root get an address in a domain that does not exist, and relays refuse them (Domain not found)."

RULES: tuple[Rule[HostFacts], ...] = (
    Rule(id="myhostname-without-domain", severity=E, check=_short_name, why=_REFUSED),
    Rule(
        id="myhostname-made-up",
        severity=W,
        check=_made_up_name,
        why=f"Postfix made the name up because the host has no domain. {_SENDER}",
    ),
    Rule(
        id="name-invalid", severity=E, check=_no_name, why="Every Postfix command fails, including sendmail."
    ),
    Rule(
        id="myorigin-file-missing",
        severity=E,
        check=_origin_file,
        why="Every Postfix command fails, including sendmail and postfix stop.",
    ),
    Rule(
        id="myorigin-file-empty",
        severity=E,
        check=_origin_file_empty,
        why="Every Postfix command fails, including sendmail and postfix stop.",
    ),
    Rule(id="myorigin-without-domain", severity=W, check=_origin_not_full, why=_SENDER),
    Rule(
        id="mydomain-top-level",
        severity=W,
        check=_top_level_domain,
        why=f"It is myhostname without its first part, and not a domain of yours. {_SENDER}",
    ),
    Rule(
        id="helo-name-without-domain",
        severity=E,
        check=_helo_name,
        why=f"If it is empty, smtp(8) ends with a fatal error. {_REFUSED}",
    ),
)
