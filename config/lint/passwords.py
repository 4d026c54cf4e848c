"""Rules about the tables of passwords: the entries of sasl_passwd, and the permissions of source and index."""

from collections.abc import Iterator
from functools import partial

from postward.config.lint import remedies, sasl_passwd
from postward.config.lint.facts import HostFacts, Route
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.next_hop import corrected, named_servers
from postward.config.lint.sasl import login_routes, needs_no_password
from postward.config.lint.table_facts import Table, holds_logins
from postward.config.lint.text import Entry
from postward.parsers.scrub import MASK

Facts = HostFacts


def _rebuild(facts: Facts, table: Table, instruction: str) -> str:
    return (
        f"{instruction}, then {remedies.postmap(facts, table)}"
        if table.reference.index_path
        else remedies.edit(facts, instruction)
    )


def _place(table: Table, entry: Entry) -> str:
    return f"{table.reference.path}:{entry.number}" + (f": {entry.key}" if entry.key else "")


def _entries(facts: Facts) -> Iterator[tuple[Table, Entry]]:
    for table in facts.login_tables:
        yield from ((table, entry) for entry in table.entries or ())


def _faulty(facts: Facts, fault: str, what: str, right: str) -> Iterator[Fault]:
    for table, entry in _entries(facts):
        if fault in entry.faults:
            yield _fault(facts, table, entry, what, right)


def _fault(facts: Facts, table: Table, entry: Entry, what: str, right: str) -> Fault:
    return Fault(_place(table, entry), what, _rebuild(facts, table, right), named_servers(entry.key or ""))


def _empty(facts: Facts) -> Iterator[Fault]:
    """Yield the entries without a password, unless a ticket takes its place."""
    by_ticket = {route.next_hop for route in login_routes(facts) if needs_no_password(facts, route.service)}
    for table, entry in _entries(facts):
        if sasl_passwd.NO_PASSWORD in entry.faults and entry.key not in by_ticket:
            yield _fault(facts, table, entry, "has an empty password", "add the password")


def _indented(facts: Facts) -> Iterator[Fault]:
    for table, entry in _entries(facts):
        for number in entry.continued:
            yield Fault(
                f"{table.reference.path}:{number}",
                "begins with white space, so it belongs to the entry above",
                _rebuild(facts, table, "remove the white space in front of it"),
            )


def _duplicate(facts: Facts) -> Iterator[Fault]:
    for table in facts.login_tables:
        first: dict[str, Entry] = {}
        for entry in table.entries or ():
            key = (entry.key or "").lower()
            if key and key in first:
                yield Fault(
                    _place(table, entry),
                    f"is already in line {first[key].number}, and that line is in force",
                    _rebuild(facts, table, _one_of(first[key], entry)),
                    named_servers(entry.key or ""),
                )
            first.setdefault(key, entry)


def _one_of(first: Entry, second: Entry) -> str:
    if first.account == second.account or "@" in (first.key or ""):
        return "remove the line with the old password"
    return (
        "write the address of each sender as the key of its account, set smtp_sender_dependent_authentication = yes, "
        f"and keep one line with {first.key} for bounces; or remove the line of the account that is not needed"
    )


def _without_login(facts: Facts) -> Iterator[Route]:
    """Yield the routes to relays on which Postfix finds no login, if nothing else is wrong with the tables."""
    entries = [entry for _, entry in _entries(facts)]
    if facts.login_tables and not any(entry.key is None or entry.continued for entry in entries):
        yield from (route for route in login_routes(facts) if not (route.hop.login or route.hop.unknown))


def _key_mismatch(facts: Facts) -> Iterator[Fault]:
    keys = {(entry.key or "").lower() for _, entry in _entries(facts)}
    by_sender = facts.yes("smtp_sender_dependent_authentication") and any("@" in key for key in keys)
    for route in [] if by_sender else _without_login(facts):
        # Without brackets the key is as wrong as the next hop, and another rule repairs the latter.
        right = route.next_hop if route.next_hop.startswith("[") else corrected(route.next_hop)
        if right.lower() in keys:
            continue
        shown = ", ".join(sorted(key for key in keys if "@" not in key)) or "no next hop"
        table = facts.login_tables[0]
        yield Fault(
            table.reference.path,
            f"has {shown}; mail goes to {route.next_hop}",
            _rebuild(facts, table, f'write the key exactly as "{right}"'),
            named_servers(route.next_hop),
        )


def _no_key_for_bounces(facts: Facts) -> Iterator[Fault]:
    """A relay is known to require a login if Postfix has one there for another sender."""
    with_login = {route.next_hop for route in login_routes(facts) if route.hop.login}
    for route in _without_login(facts):
        if "" in route.senders and route.next_hop in with_login and not route.hop.fallback:
            yield Fault(
                facts.login_tables[0].reference.path,
                f"has keys for senders, and none for {route.next_hop}",
                _rebuild(facts, facts.login_tables[0], f'add an entry for "{route.next_hop}"'),
                named_servers(route.next_hop),
            )


def _senders_unused(facts: Facts) -> Iterator[Fault]:
    name = "smtp_sender_dependent_authentication"
    services = [value for key, value in facts.master.overrides.items() if key.endswith(f"/{name}")]
    if facts.yes(name) or "yes" in services:
        return
    for table, entry in _entries(facts):
        if entry.key and "@" in entry.key:
            yield Fault(
                _place(table, entry),
                "is a sender, although smtp_sender_dependent_authentication is no",
                remedies.assign(facts, ("smtp_sender_dependent_authentication", "yes")),
            )


def _readable(facts: Facts) -> Iterator[Fault]:
    for table in facts.tables:
        for path in (table.reference.path, table.reference.index_path):
            known = facts.files.get(path) if path else None
            if holds_logins(table.parameters) and known and known.exists and known.mode & 0o007:
                yield Fault(
                    f"{path}",
                    f"has mode {known.mode:04o}",
                    f"chown root:root {path} && chmod 0600 {path}",
                )


def _in_main_cf(facts: Facts) -> Iterator[Fault]:
    known = facts.files.get(f"{facts.config_directory}/main.cf")
    for line in facts.main_cf:
        if MASK in line.value and line.name != "relayhost" and known and known.mode & 0o004:
            yield Fault(
                f"{facts.config_directory}/main.cf:{line.number}: {line.name}",
                "contains a login",
                remedies.edit(
                    facts, "move it to a table that only root can read, and set a new password at the relay"
                ),
            )


def _proxied(facts: Facts) -> Iterator[Fault]:
    for table in facts.login_tables:
        path = table.reference.index_path or table.reference.path
        known = facts.files.get(path)
        if table.reference.proxied and known and known.exists and not known.mode & 0o004:
            yield Fault(
                facts.where("smtp_sasl_password_maps"),
                f"is proxy:{table.reference.name}, a file that only root can read",
                remedies.assign(facts, ("smtp_sasl_password_maps", table.reference.name)),
            )


E, W = Severity.ERROR, Severity.WARNING
_NO_LOGIN = "Postfix does not log in, and the relay answers 530: the mail bounces and is lost."
_REFUSED = "The relay refuses the login (535), and all mail is deferred."

RULES: tuple[Rule[HostFacts], ...] = (
    Rule(
        id="password-key-mismatch",
        severity=E,
        check=_key_mismatch,
        why=f"Postfix looks up the next hop exactly as it is written. {_NO_LOGIN}",
    ),
    Rule(
        id="password-line-indented",
        severity=E,
        check=_indented,
        why=f"White space continues the line above. {_NO_LOGIN}",
    ),
    Rule(
        id="password-line-with-equals",
        severity=E,
        check=partial(
            _faulty,
            fault=sasl_passwd.EQUALS,
            what='has "=" between key and login',
            right="write a space instead",
        ),
        why=f"Postfix takes the whole line for the key. {_NO_LOGIN}",
    ),
    Rule(
        id="password-line-without-login",
        severity=E,
        check=partial(
            _faulty,
            fault=sasl_passwd.NO_VALUE,
            what="has only one word",
            right='write "[host]:port user:password"',
        ),
        why=_NO_LOGIN,
    ),
    Rule(
        id="password-without-colon",
        severity=E,
        check=partial(
            _faulty, fault=sasl_passwd.NO_COLON, what='has no ":" in its login', right='write "user:password"'
        ),
        why=f"Postfix takes all of it for the user, and the password is empty. {_REFUSED}",
    ),
    Rule(
        id="password-user-empty",
        severity=E,
        check=partial(
            _faulty,
            fault=sasl_passwd.NO_USER,
            what="has no user",
            right="remove the line if the relay requires no login, or else add the user",
        ),
        why="The SASL library refuses it (All-whitespace username), and all mail is deferred.",
    ),
    Rule(
        id="password-empty",
        severity=E,
        check=_empty,
        why=_REFUSED,
    ),
    Rule(
        id="password-quoted",
        severity=E,
        check=partial(
            _faulty, fault=sasl_passwd.QUOTED, what="has its login in quotes", right="remove the quotes"
        ),
        why=f"The quotes are part of user and password. {_REFUSED}",
    ),
    Rule(
        id="password-with-comment",
        severity=W,
        check=partial(
            _faulty,
            fault=sasl_passwd.COMMENT,
            what="has a # behind its login",
            right="put the comment on a line of its own",
        ),
        why=f"The comment is part of the password. {_REFUSED}",
    ),
    Rule(
        id="password-placeholder",
        severity=E,
        check=partial(
            _faulty,
            fault=sasl_passwd.PLACEHOLDER,
            what="has the placeholder of a how-to as password",
            right="write the real password",
        ),
        why=_REFUSED,
    ),
    Rule(
        id="password-key-duplicate",
        severity=E,
        check=_duplicate,
        why="postmap keeps the first entry: a new password further down is not used.",
    ),
    Rule(
        id="password-missing-for-bounces",
        severity=W,
        check=_no_key_for_bounces,
        why=f"Bounces and probes have an empty sender, so Postfix looks up the next hop, which is missing. {_NO_LOGIN}",
    ),
    Rule(
        id="password-of-sender-unused",
        severity=E,
        check=_senders_unused,
        why=f"Postfix does not look up senders. {_NO_LOGIN}",
    ),
    Rule(
        id="password-file-readable",
        severity=W,
        check=_readable,
        why="Every user of the host can read the relay's password.",
    ),
    Rule(
        id="password-in-main-cf",
        severity=W,
        check=_in_main_cf,
        why="Every user of the host can read the relay's password.",
    ),
    Rule(
        id="password-table-proxied",
        severity=E,
        check=_proxied,
        why="proxymap(8) runs unprivileged and cannot open the file: all mail is deferred.",
    ),
)
