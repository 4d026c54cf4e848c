"""Rules about lookup tables: their types, sources and indexes."""

import re
from collections.abc import Iterator

from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts
from postward.config.lint.file_facts import MISSING, FileFacts
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.table_facts import Table

Facts = HostFacts

_TABLES = re.compile(r".*(_maps?|_checks|_database|_domains|_cache_map)")
_REFERENCE = re.compile(r"(?:proxy:)?([a-z]+):(?=/)")
# Parameters of caches, which daemons create themselves.
_CACHE = re.compile(r".*_cache.*|address_verify_map")
# Types without a package of their own: a Postfix is built with them or not.
_BUILT_IN = {"hash", "btree", "dbm"}


def _without_type(facts: Facts) -> Iterator[Fault]:
    kind = facts.value("default_database_type") or "hash"
    for name in facts.explicit:
        paths = [word for word in facts.words(name) if word.startswith("/")]
        if paths and re.fullmatch(r".*(_maps|_checks|alias_database)", name) and name != "proxy_read_maps":
            yield Fault(
                facts.where(name),
                f"is {paths[0]}, without the type of the table",
                remedies.assign(facts, (name, f"{kind}:{paths[0]}")),
            )


def _unsupported(facts: Facts) -> Iterator[Fault]:
    if not facts.map_types:
        return
    for name in facts.explicit:
        if not _TABLES.fullmatch(name):
            continue
        for kind in dict.fromkeys(_REFERENCE.findall(facts.value(name))):
            if kind not in facts.map_types:
                yield Fault(facts.where(name), f"has the table type {kind}", _other_type(facts, name, kind))


def _other_type(facts: Facts, name: str, kind: str) -> str:
    own = facts.value("default_database_type") or "hash"
    if kind not in _BUILT_IN and own in facts.map_types and facts.distribution:
        return remedies.install(facts, "map", type=kind)
    words = facts.value(name).replace(f"{kind}:/", f"{own}:/")
    files = " && ".join(
        f"postmap {own}:{path}" for path in re.findall(rf"\b{kind}:(/[^\s,]+)", facts.value(name))
    )
    return f"{files} && {remedies.assign(facts, (name, words))}"


def _indexed(facts: Facts) -> Iterator[tuple[Table, FileFacts, FileFacts]]:
    """Yield (table, source, index) of the tables that postmap(1) compiles."""
    for table in facts.tables:
        cache = any(_CACHE.fullmatch(name) for name in table.parameters)
        source = facts.files.get(table.reference.path)
        index = facts.files.get(table.reference.index_path or "")
        if not cache and source and index and table.reference.type in facts.map_types:
            yield table, source, index


def _place(facts: Facts, table: Table) -> str:
    return facts.where(table.parameters[0])


def _missing(facts: Facts) -> Iterator[Fault]:
    for table in facts.tables:
        source = facts.files.get(table.reference.path)
        index = facts.files.get(table.reference.index_path or "", MISSING)
        cache = any(_CACHE.fullmatch(name) for name in table.parameters)
        if source and not source.exists and not index.exists and not cache:
            yield Fault(
                _place(facts, table),
                f"names {table.reference.path}, which does not exist",
                f"write {table.reference.path}"
                + (f", then {remedies.postmap(facts, table)}" if table.reference.index_path else ""),
            )


def _no_index(facts: Facts) -> Iterator[Fault]:
    for table, source, index in _indexed(facts):
        if source.exists and not index.exists:
            yield Fault(
                _place(facts, table),
                f"names {table.reference.path}, and {table.reference.index_path} does not exist",
                remedies.postmap(facts, table),
            )


def _stale(facts: Facts) -> Iterator[Fault]:
    for table, source, index in _indexed(facts):
        if source.exists and index.exists and index.mtime < source.mtime:
            yield Fault(
                f"{table.reference.index_path}",
                f"is older than {table.reference.path}",
                remedies.postmap(facts, table),
            )


def _damaged(facts: Facts) -> Iterator[Fault]:
    for table, _, index in _indexed(facts):
        kind = table.reference.type
        if index.exists and table.index_type and table.index_type != kind:
            shown = f"is not a {kind} table" + (
                f", but {table.index_type}" if table.index_type != "damaged" else ", or damaged"
            )
            remedy = f"rm {table.reference.index_path} && {remedies.postmap(facts, table)}"
            yield Fault(f"{table.reference.index_path}", shown, remedy)


# Tables that are searched by addresses, next hops or domains. transport_maps alone has a wildcard, "*".
_SEARCHED = re.compile(
    r"(sender|recipient)_(canonical|bcc|dependent\w*)_maps|canonical_maps|virtual_alias_maps|transport_maps|relocated_maps|"
    r"smtp_generic_maps|smtp_sasl_password_maps|smtp_tls_policy_maps"
)


def _wildcard(facts: Facts) -> Iterator[Fault]:
    for table in facts.tables:
        if table.reference.type in {"regexp", "pcre", "cidr"} or not any(
            map(_SEARCHED.fullmatch, table.parameters)
        ):
            continue
        for entry in table.entries or ():
            key = entry.key or ""
            if "*" in key and not (key == "*" and "transport_maps" in table.parameters):
                yield Fault(
                    f"{table.reference.path}:{entry.number}: {key}",
                    "has a * in its key, and this is not a table of patterns",
                    f"{_without_wildcard(key, table)}, then {remedies.postmap(facts, table)}",
                )


def _without_wildcard(key: str, table: Table) -> str:
    bare = key.removeprefix("*")
    if bare.strip("@*."):
        parents = {"transport_maps", "smtp_tls_policy_maps"} & set(table.parameters)
        fits = "*" not in bare and (parents or not bare.startswith("."))
        return f'write "{bare}"' if fits else "write one line for each address or domain"
    return "remove the line; what holds for all mail is a parameter of its own, such as relayhost"


def _deprecated(facts: Facts) -> Iterator[Fault]:
    if facts.version < (3, 11) or facts.value("default_database_type") in {"hash", "btree"}:
        return
    for table, source, _ in _indexed(facts):
        if table.reference.type in {"hash", "btree"} and source.exists:
            own = facts.value("default_database_type")
            yield Fault(
                _place(facts, table),
                f"has the table type {table.reference.type}; this Postfix prefers {own}",
                remedies.edit(facts, f"postmap {own}:{table.reference.path}, and write {own}: instead"),
            )


E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_DEFERRED = (
    "Lookups in the table fail: mail that needs it is deferred, or the daemon ends with a fatal error."
)

RULES: tuple[Rule[HostFacts], ...] = (
    Rule(
        id="map-without-type",
        severity=E,
        check=_without_type,
        why='The daemon ends with a fatal error (expecting "type:name" form).',
    ),
    Rule(id="map-type-unsupported", severity=E, check=_unsupported, why=_DEFERRED),
    Rule(id="map-file-missing", severity=E, check=_missing, why=_DEFERRED),
    Rule(id="index-missing", severity=E, check=_no_index, why=_DEFERRED),
    Rule(
        id="index-stale",
        severity=W,
        check=_stale,
        why="Postfix reads only the index: later changes of the source are not in force.",
    ),
    Rule(id="index-damaged", severity=E, check=_damaged, why=_DEFERRED),
    Rule(
        id="table-key-wildcard",
        severity=W,
        check=_wildcard,
        why="Postfix looks up addresses and their parts, and no address has a *: the entry is never used.",
    ),
    Rule(
        id="map-type-deprecated",
        severity=N,
        check=_deprecated,
        why="Postfix will drop Berkeley DB, and each daemon logs a warning about it.",
    ),
)
