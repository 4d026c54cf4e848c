"""Rules about master.cf: its syntax, missing services, and -o settings that override main.cf."""

import re
from collections.abc import Iterator
from itertools import takewhile

from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.text import ServiceLine
from postward.config.lint.tls import level

Facts = HostFacts

_TYPES = {"inet", "unix", "fifo", "pass", "unix-dgram"}
_YES_NO = re.compile(r"[yn-]")
# Services that mail to a relay needs, besides tlsmgr for TLS.
_NEEDED = ("pickup", "cleanup", "qmgr", "rewrite", "bounce", "defer", "error", "retry")
# Parameters of the connection to a relay. For Postfix's own services they are expected to be set in main.cf.
_RELAY_PARAMETERS = re.compile(
    r"smtp_(tls|sasl)_.*|smtp_(host_lookup|helo_name|dns_support_level|generic_maps|"
    r"sender_dependent_authentication)|inet_protocols"
)
_STOCK_SERVICES = ("smtp", "relay")


def _place(facts: Facts, line: ServiceLine, number: int | None = None) -> str:
    return f"{facts.config_directory}/master.cf:{number or line.number}: {line.key}"


def _is_service(words: tuple[str, ...]) -> bool:
    return len(words) >= 8 and words[1] in _TYPES and all(_YES_NO.fullmatch(word) for word in words[2:5])


def _field_count(facts: Facts) -> Iterator[Fault]:
    for line in facts.master_cf:
        if len(line.fields) < 8:
            what = f"has {len(line.fields)} fields instead of eight"
        elif line.fields[1] not in _TYPES:
            what = f'has the type "{line.fields[1]}"'
        else:
            continue
        right = "write name, type, private, unpriv, chroot, wakeup, maxproc and command"
        yield Fault(_place(facts, line), what, remedies.edit(facts, right, "check"))


def _indented_service(facts: Facts) -> Iterator[Fault]:
    for line in facts.master_cf:
        for number, words in line.parts:
            if _is_service(words):
                yield Fault(
                    f"{facts.config_directory}/master.cf:{number}: {words[0]}/{words[1]}",
                    f"is indented, so it is part of {line.key} in line {line.number}",
                    remedies.edit(facts, "remove the white space in front of it"),
                )


def _spaces_in_option(facts: Facts) -> Iterator[Fault]:
    for line in facts.master_cf:
        # Arguments behind argv= belong to another program.
        words = tuple(takewhile(lambda word: not word.startswith("argv="), line.fields[8:]))
        for index, word in enumerate(words[:-1]):
            option, after = words[index + 1], words[index + 2 : index + 3]
            apart = "=" not in option or (option.endswith("=") and after and not after[0].startswith("-"))
            if word == "-o" and not option.startswith("{") and apart:
                name = option.rstrip("=")
                yield Fault(
                    _place(facts, line),
                    f"has -o {name} with white space around the =",
                    remedies.edit(facts, f'write "-o {name}=value" without spaces'),
                )


def _duplicate(facts: Facts) -> Iterator[Fault]:
    earlier: dict[str, int] = {}
    for line in facts.master_cf:
        if line.key in earlier:
            yield Fault(
                _place(facts, line),
                f"is already in line {earlier[line.key]}; this line is in force",
                remedies.edit(facts, "remove one of the two"),
            )
        earlier[line.key] = line.number


def _override(facts: Facts) -> Iterator[Fault]:
    for key, value in facts.master.overrides.items():
        service, kind, name = key.split("/", 2)
        stock = service in _STOCK_SERVICES and kind == "unix"
        if not stock or not _RELAY_PARAMETERS.fullmatch(name) or "$" in value:
            continue
        if value.lower() != facts.value(name).lower():
            yield Fault(
                f"{facts.master_where(f'{service}/{kind}')} -o {name}",
                f"is {value or 'empty'}, although in main.cf it is {facts.value(name) or 'empty'}",
                remedies.remove_override(facts, service, name),
            )


def _no_service(facts: Facts) -> Iterator[Fault]:
    names = {service.name for service in facts.master.services.values()}
    if not names:
        return
    needed = [*_NEEDED, *(["tlsmgr"] if level(facts) not in {"", "none"} else [])]
    if facts.default_service == "smtp":
        needed.append("smtp")
    services = {key for key, service in facts.master.services.items() if service.type != "inet"}
    for name in needed:
        if not {f"{name}/unix", f"{name}/fifo"} & services:
            yield Fault(
                f"{facts.config_directory}/master.cf",
                f"has no service {name}",
                remedies.edit(facts, f"take the line of {name} from master.cf.proto or a fresh package"),
            )


def _no_daemon(facts: Facts) -> Iterator[Fault]:
    for key, service in facts.master.services.items():
        daemon = service.command
        if facts.daemons is not None and "/" not in daemon and daemon not in facts.daemons:
            yield Fault(
                facts.master_where(key),
                f"runs {daemon}, which is not in {facts.value('daemon_directory')}",
                remedies.edit(facts, "correct the command, or install the package that has it"),
            )


def _no_postlog(facts: Facts) -> Iterator[Fault]:
    names = {service.name for service in facts.master.services.values()}
    if facts.value("maillog_file") and names and "postlog" not in names:
        yield Fault(
            facts.where("maillog_file"),
            "is set, and master.cf has no service postlog",
            remedies.edit(facts, 'add "postlog unix-dgram n - n - 1 postlogd" to master.cf'),
        )


E, W = Severity.ERROR, Severity.WARNING


def _log_name(facts: Facts) -> Iterator[Fault]:
    """Debian's master.cf has a relay service that logs as the primary instance, also where it is a copy."""
    own = facts.value("syslog_name")
    if not facts.value("multi_instance_name") or own == "postfix":
        return
    for key, name in facts.master.overrides.items():
        service, _, parameter = key.rpartition("/")
        if parameter == "syslog_name" and re.match(r"postfix(/|\Z)", name):
            assignment = f"{key}={own}{name.removeprefix('postfix')}"
            yield Fault(
                f"{facts.config_directory}/master.cf: {service}",
                f"logs as {name}, a name of the primary instance",
                remedies.override(facts, assignment),
            )


RULES: tuple[Rule[HostFacts], ...] = (
    Rule(
        id="master-field-count",
        severity=E,
        check=_field_count,
        why="Postfix does not start, and most of its commands fail (bad field count).",
    ),
    Rule(
        id="master-service-indented",
        severity=E,
        check=_indented_service,
        why="White space continues the line above: the service does not exist.",
    ),
    Rule(
        id="master-option-with-blanks",
        severity=E,
        check=_spaces_in_option,
        why="The daemon ends with a fatal error (missing '=' after attribute name).",
    ),
    Rule(
        id="master-service-duplicate",
        severity=W,
        check=_duplicate,
        why="The last line is in force, and edits of the other have no effect.",
    ),
    Rule(
        id="master-override",
        severity=W,
        check=_override,
        why="It overrides main.cf, and postconf NAME does not show it.",
    ),
    Rule(
        id="master-log-name",
        severity=W,
        check=_log_name,
        why="Its lines in the log count as lines of that instance.",
    ),
    Rule(
        id="master-service-missing",
        severity=E,
        check=_no_service,
        why="Mail cannot pass that service, and stays in the queue.",
    ),
    Rule(
        id="master-daemon-missing",
        severity=E,
        check=_no_daemon,
        why="master(8) cannot start it, and tries again every minute.",
    ),
    Rule(
        id="postlog-service-missing",
        severity=E,
        check=_no_postlog,
        why="Postfix logs nothing: maillog_file needs that service.",
    ),
)
