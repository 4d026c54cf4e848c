"""The placeholders in the remedies of the catalogue, as commands for a host. Pure.

A placeholder is `{name}` or `{name argument}`: `{set relayhost=[HOST]:PORT}`, `{postmap smtp_sasl_password_maps}`,
`{reload}`. An unknown one is a KeyError. `{line NAME|otherwise}` is what the incident's lines name. HOST, ADDRESS, PORT
and DOMAIN stand for the server and the mail of an incident; a command without them is written as plain text.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts

_PLACEHOLDER: Final = re.compile(r"\{(\w+)(?: ([^{}]+))?\}")
_OF_LINE: Final = re.compile(r"\{line (\w+)\|([^{}]*)\}")
_SERVER_NAME: Final = re.compile(r"\b(?:HOST|ADDRESS|PORT|DOMAIN)\b")
# A command on a server whose name is not known, as text.
_WITHOUT_SERVER: Final = (
    (re.compile(r" -servername HOST"), " with its name as -servername"),
    (re.compile(r" HOST(?:[: ]PORT)\b"), " with the server's name and port"),
    (re.compile(r"(dig|dig A|AAAA|hosts|1472|path|get) (?:HOST|ADDRESS)\b"), r"\1 with the server's name"),
    (re.compile(r"(?<=-q) DOMAIN\b"), " with the recipient's domain"),
    (re.compile(r"-p tcp PORT\b"), "-p tcp with the server's port"),
    (re.compile(r"\b(?:HOST|ADDRESS)\b"), "the server"),
    (re.compile(r"\bPORT\b"), "its port"),
    (re.compile(r"\bDOMAIN\b"), "the recipient's domain"),
)


def fill_in(remedy: str, facts: HostFacts) -> str:
    """Return a remedy of the catalogue with its placeholders replaced for this host."""
    remedy = fill_in_names(remedy, {})
    while _PLACEHOLDER.search(remedy):
        remedy = _PLACEHOLDER.sub(lambda match: _REPLACEMENTS[match[1]](facts, match[2] or ""), remedy)
    return remedy


def fill_in_server(text: str, names: Mapping[str, str]) -> str:
    """Return a remedy or check with HOST, ADDRESS, PORT and DOMAIN replaced: by words if they are not known."""
    if not {match[0] for match in _SERVER_NAME.finditer(text)} <= set(names):
        for command, words in _WITHOUT_SERVER:
            text = command.sub(words, text)
    return _SERVER_NAME.sub(lambda match: names[match[0]], text)


def fill_in_names(text: str, names: Mapping[str, str]) -> str:
    """Return a text with `{line NAME|otherwise}` replaced by what the lines name, or by the words after the bar."""
    return _OF_LINE.sub(lambda match: names.get(match[1]) or match[2], text).replace("  ", " ")


def _set(facts: HostFacts, assignments: str) -> str:
    pairs = (item.partition("=") for item in assignments.split("|"))
    return remedies.assign(facts, *((name, value) for name, _, value in pairs))


def _postmap(facts: HostFacts, parameter: str) -> str:
    tables = list(facts.table_of(parameter))
    if tables and not any(table.reference.index_path for table in tables):
        return remedies.postfix(facts, "reload")  # these types have no index
    if tables:
        return " && ".join(remedies.postmap(facts, table) for table in tables)
    if parameter == "alias_maps":
        return "newaliases"
    if parameter == "smtp_sasl_password_maps":
        return "postmap hash:/etc/postfix/sasl_passwd (the table of smtp_sasl_password_maps)"
    return f"postmap the table of {parameter}"


def _recreate(facts: HostFacts, parameter: str) -> str:
    """Delete the index first: postmap(1) opens an existing index, and fails if it is damaged."""
    indexes = [table.reference.index_path for table in facts.table_of(parameter)]
    if not all(indexes) or not indexes:
        return f"delete the index, then {_postmap(facts, parameter)}"
    return f"rm -f {' '.join(map(str, indexes))} && {_postmap(facts, parameter)}"


def _rebuild(facts: HostFacts, parameter: str) -> str:
    """Reload as well: trivial-rewrite(8) keeps running with a table that it could not open."""
    build, reload = _postmap(facts, parameter), remedies.postfix(facts, "reload")
    if build == reload:
        return reload
    return f"{build} && {reload}" if facts.tables else f"{build}, then {reload}"


def _of_instance(facts: HostFacts, command: str) -> str:
    """Return a Postfix command for the host's instance."""
    program, _, arguments = command.partition(" ")
    option = "" if facts.config_directory == "/etc/postfix" else f"-c {facts.config_directory} "
    return f"{program} {option}{arguments}"


def _directory(facts: HostFacts, parameter: str) -> str:
    return facts.expanded.get(parameter) or f'"$({_of_instance(facts, "postconf -hx")} {parameter})"'


def _if_managed(facts: HostFacts, managed: str, otherwise: str) -> str:
    return managed if facts.managed else otherwise


# Placeholder → text for this host.
_REPLACEMENTS: Final[Mapping[str, Callable[[HostFacts, str], str]]] = {
    "set": _set,
    "remove": remedies.remove,
    "postmap": _postmap,
    "recreate": _recreate,
    "rebuild": _rebuild,
    "newaliases": lambda facts, _: _postmap(facts, "alias_maps"),
    "reload": lambda facts, _: remedies.postfix(facts, "reload"),
    "restart": lambda facts, _: remedies.restart(facts),
    "permissions": lambda facts, _: remedies.postfix(facts, "set-permissions"),
    "flush": lambda facts, _: _of_instance(facts, "postqueue -f"),
    "hold": lambda facts, _: f"{_set(facts, 'defer_transports=smtp')} keeps mail in the queue until then",
    "ca_file": lambda facts, _: remedies.ca_file(facts),
    "queue": lambda facts, _: _directory(facts, "queue_directory"),
    "password_file": lambda _facts, _: "relay.password_file",
    "config": lambda facts, _: facts.config_directory,
    "data": lambda facts, _: _directory(facts, "data_directory"),
    "install_sasl": lambda facts, _: remedies.install(facts, "sasl"),
    "install_map": lambda facts, type_: remedies.install(facts, "map", type=type_ or "lmdb"),
    "apply": lambda facts, _: _if_managed(
        facts, "postward apply", "postward apply (or edit main.cf and postfix reload)"
    ),
    "apply_login": lambda facts, _: _if_managed(
        facts, "postward apply", "postward apply (or edit the password table, postmap it and {flush})"
    ),
    "set_login": lambda facts, _: _if_managed(
        facts,
        "postward apply",
        "write relay.host, relay.username and relay.password_file, then postward apply",
    ),
}
