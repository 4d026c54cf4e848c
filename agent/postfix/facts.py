"""Reads the facts of this host that lint needs: a `HostFacts` value.

Promise: nothing is changed, and postconf(1) is the only program that is run. Logins are dropped as soon as their form
has been checked (`postward.config.lint.text`). Files that may not be read are named in `HostFacts.unread`, and nothing
is guessed in their place.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from postward.agent.postfix import xoauth2
from postward.agent.postfix.config import PostfixConfig, backdate
from postward.agent.postfix.host_files import (
    HostFiles,
    can_bind,
    disk,
    gid,
    index_type,
    names_in,
    nameservers,
    uid,
)
from postward.agent.postfix.run import PostfixError
from postward.agent.postfix.tables import configuration
from postward.config.fields import is_address
from postward.config.lint.facts import HostFacts
from postward.config.lint.file_facts import FileFacts
from postward.config.lint.local_mail import aliases_from
from postward.config.lint.system import QUEUE_DIRECTORIES
from postward.config.lint.table_facts import (
    TABLE_SUFFIX,
    Table,
    TableReference,
    holds_logins,
    table_references,
    wants_values,
)
from postward.config.lint.text import parse_main_cf, parse_master_cf, parse_table, without_secrets
from postward.config.parameters import DERIVED_PARAMETERS, expand
from postward.config.resources import INDEX_SUFFIX
from postward.config.sections import Postfix as PostfixSection
from postward.config.settings import Settings, read_valid, settings_files
from postward.parsers.postconf import Master, parse_master, parse_parameters, split_list

_OPTIONS = ("-d", "-n", "-x", "-M", "-P", "-m", "-A")
# Files under /etc that a chrooted smtp(8) needs a copy of.
_CHROOTED = ("resolv.conf", "hosts", "services", "nsswitch.conf")
_POSTED = "/etc/postfix"
# postconf -d prints names of the host on which it runs.
_OF_ANOTHER_HOST = {"myhostname": "host.example.com", "mydomain": "example.com"}
_FILE_PARAMETERS = ("smtp_tls_CAfile", "smtp_tls_cert_file", "smtp_tls_key_file", "smtp_tls_CApath")


def read_host_facts(
    postfix: PostfixConfig, settings: Settings | None, settings_file: Path | None, system: Path = Path("/")
) -> HostFacts:
    """Return the facts of this host. `system` is the root directory of the distribution's files."""
    reader = HostFiles(system)
    named_files = {Path(name): True for name in _authorities(settings)} | {
        Path(relay.password_file): False
        for relay in (settings.relay if settings else ())
        if relay.password_file
    }
    # A file of the settings is secret only if it contains a password, which can also come from the environment.
    for file in settings_files(settings_file) if settings and settings_file else ():
        if re.search(r"^\s*password\s*=", reader.text(file) or "", re.MULTILINE):
            named_files[file] = False
    try:
        # postconf would report a file that this user may not read as a fault of the configuration.
        unreadable = [path for path in (postfix.main_cf, postfix.master_cf) if not _may_read(path)]
        printed = postfix.inspect(_OPTIONS)
        # Compiled-in values do not depend on the configuration, but postconf needs one that it can read.
        compiled_in = printed["-d"][0] or postfix.compiled_in()
    except (PostfixError, OSError) as error:
        return _without_postfix(postfix, reader, named_files, str(error))
    if unreadable:
        return _without_postfix(
            postfix, reader, named_files, *(f"{path}: Permission denied" for path in unreadable)
        )
    facts = _with_postfix(postfix, printed, compiled_in, reader, named_files)
    if settings is None:
        return facts
    return replace(
        facts,
        managed=frozenset(DERIVED_PARAMETERS),
        password_files={relay.name: relay.password_file for relay in settings.relay if relay.password_file},
        clear_on_purpose=frozenset(
            relay.next_hop for relay in settings.relay if relay.allow_cleartext_password
        ),
        mx_on_purpose=frozenset(relay.next_hop for relay in settings.relay if relay.mx),
        instances=frozenset(_directory_in(Path(file)) for file in settings.postfix.instances),
    )


def _directory_in(settings_file: Path) -> str:
    """Return the directory of main.cf that a settings file names; the default one if it names none."""
    postfix = read_valid(settings_file).get("postfix")
    directory = postfix.get("config_directory") if isinstance(postfix, dict) else None
    return directory if isinstance(directory, str) else PostfixSection().config_directory


def _may_read(path: Path) -> bool:
    return not path.exists() or os.access(path, os.R_OK)


def _without_postfix(
    postfix: PostfixConfig, reader: HostFiles, named_files: Mapping[Path, bool], *unread: str
) -> HostFacts:
    """Return the facts that need no Postfix configuration."""
    files = reader.files(named_files)
    return HostFacts(
        config_directory=str(postfix.config_directory),
        distribution=reader.distribution(),
        files=files,
        unread=(*unread, *reader.unread),
    )


def read_posted_facts(main_cf: Path, master_cf: Path | None = None) -> HostFacts:
    """Return the facts that the configuration of another host shows.

    The host's files and network are unknown, and compiled-in values are those of this host's Postfix.

    Args:
        main_cf: its main.cf, or the output of `postconf -n`.
        master_cf: its master.cf, or the output of `postconf -M`; None if unknown.

    Raises:
        PostfixError: postconf(1) is missing.
        OSError: a file cannot be read.
    """
    main_text = main_cf.read_text(errors="replace")
    master_text = master_cf.read_text(errors="replace") if master_cf is not None else ""
    with tempfile.TemporaryDirectory(prefix="postward-") as folder:
        copy = PostfixConfig(Path(folder))
        copy.main_cf.write_text(main_text)
        copy.master_cf.write_text(master_text)
        backdate(copy.main_cf)
        printed = copy.inspect(("-n", "-x", "-M", "-P"))
        compiled_in = copy.compiled_in()
    facts = _configuration(_POSTED, printed, compiled_in, main_text, master_text)
    values = dict(facts.defaults) | _OF_ANOTHER_HOST | dict(facts.explicit)
    unread = () if master_cf is not None else ("master.cf of the posted host",)
    return replace(facts, expanded=expand(values), unread=("the files of the posted host", *unread))


def _configuration(
    directory: str,
    printed: Mapping[str, tuple[str, str]],
    compiled_in: str,
    main_text: str,
    master_text: str,
) -> HostFacts:
    """Return the facts of main.cf and master.cf alone."""
    main_cf = parse_main_cf(main_text)
    fault = _fault(printed["-n"][1])
    unmasked, defaults = _compiled_in(compiled_in)

    def parameters(option: str) -> dict[str, str]:
        return {
            name: defaults[name] if unmasked.get(name) == value else without_secrets(name, value)
            for name, value in parse_parameters(printed[option][0]).items()
        }

    explicit = {line.name: line.value for line in main_cf if line.name} if fault else parameters("-n")
    here = {"config_directory": directory}
    return HostFacts(
        config_directory=directory,
        main_cf=main_cf,
        master_cf=parse_master_cf(master_text),
        explicit=explicit,
        defaults=defaults,
        expanded=expand(defaults | explicit | here) if fault else parameters("-x"),
        warnings=tuple(dict.fromkeys(_warnings(printed["-n"][1]))),
        fault=fault,
        master=_master(printed),
    )


def _with_postfix(
    postfix: PostfixConfig,
    printed: Mapping[str, tuple[str, str]],
    compiled_in: str,
    reader: HostFiles,
    named_files: Mapping[Path, bool],
) -> HostFacts:
    main_text, master_text = reader.text(postfix.main_cf) or "", reader.text(postfix.master_cf) or ""
    facts = _configuration(str(postfix.config_directory), printed, compiled_in, main_text, master_text)
    expanded = facts.expanded
    values, master = (
        parse_parameters(printed["-x"][0]) or expanded,
        parse_master(printed["-M"][0] + printed["-P"][0]),
    )
    overrides = {key.rpartition("/")[2]: value for key, value in facts.master.overrides.items()}
    tables = tuple(_tables(reader, {**expanded, **overrides}, facts.explicit, facts.master))
    queue = Path(expanded.get("queue_directory", "/var/spool/postfix"))
    plugins = reader.sasl_plugins()
    facts = replace(
        facts,
        map_types=frozenset(printed["-m"][0].split()),
        sasl_types=frozenset(printed["-A"][0].split()),
        distribution=reader.distribution(),
        selinux=reader.selinux(),
        sasl_plugins=plugins,
        tables=tables,
        contents=configuration(postfix, values, master).tables,
        aliases=_root_aliases(reader, expanded.get("alias_maps", "")),
        root_forwards=_exists(reader.system / "root/.forward"),
        files=_files(reader, postfix, expanded, tables, queue) | reader.files(named_files),
        chrooted={name: reader.compared(name, queue) for name in _CHROOTED},
        nameservers=nameservers(reader.system / "etc/resolv.conf"),
        chroot_nameservers=nameservers(queue / "etc/resolv.conf"),
        hosts=reader.hosts(),
        port_names=reader.port_names(),
        not_local=frozenset(_not_local(expanded)),
        daemons=names_in(Path(expanded.get("daemon_directory", ""))),
        disk=disk(queue),
        mail_uid=uid(expanded.get("mail_owner", "")),
        setgid_gid=gid(expanded.get("setgid_group", "")),
    )
    if xoauth2.PLUGIN in plugins:
        root = queue if facts.is_chrooted(facts.default_service) else reader.system
        token_files = xoauth2.read_token_files(reader, tables, root)
        facts = replace(
            facts, token_files=token_files, token_authorities=xoauth2.read_authorities(reader, root)
        )
    return replace(facts, unread=tuple(dict.fromkeys(reader.unread)))


def _exists(path: Path) -> bool | None:
    """Return whether a file exists; None if this user may not know."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return True


def _root_aliases(reader: HostFiles, alias_maps: str) -> dict[str, str] | None:
    """Return the aliases by which root's mail goes on; None if alias_maps names other tables than files."""
    texts: dict[str, str] = {}
    for item in split_list(alias_maps):
        kind, _, path = item.partition(":")
        text = reader.text(Path(path)) if kind in INDEX_SUFFIX and path.startswith("/") else None
        if text is None:
            return None
        texts[item] = text
    return aliases_from("root", texts)


# The output of postconf


@lru_cache(maxsize=1)
def _compiled_in(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the compiled-in values, which are those of most parameters, as printed and with logins masked."""
    values = parse_parameters(text)
    return values, {name: without_secrets(name, value) for name, value in values.items()}


def _master(printed: Mapping[str, tuple[str, str]]) -> Master:
    master = parse_master(printed["-M"][0] + printed["-P"][0])
    overrides = {
        key: without_secrets(key.rpartition("/")[2], value) for key, value in master.overrides.items()
    }
    services = {
        key: service._replace(command=service.command.split()[0]) for key, service in master.services.items()
    }
    return Master(services, overrides)


def _fault(errors: str) -> str:
    """Return why postconf failed. A value that it repeats may be a login."""
    lines = errors.split("\n")
    fatal = [line for line in lines if ": fatal: " in line]
    if not fatal:
        return ""
    # A warning before names a circular reference.
    line = next((line for line in lines if "macro call nesting" in line), fatal[0])
    reason = re.sub(r'(attribute name: ").*(")', r"\1…\2", line.partition(": ")[2])
    return without_secrets("", reason)


def _warnings(errors: str) -> Iterator[str]:
    """Yield postconf's warnings without values, because a misspelt parameter can contain a login."""
    for line in errors.split("\n"):
        if match := re.search(r"(/[^ ]+): (unused|undefined) parameter: ([^=]+)", line):
            yield f"{match[1]}: {match[2]} parameter: {match[3]}"


# The files and tables that the configuration names


def _files(
    reader: HostFiles,
    postfix: PostfixConfig,
    expanded: Mapping[str, str],
    tables: tuple[Table, ...],
    queue: Path,
) -> dict[str, FileFacts]:
    """Return the files that lint rules examine."""
    directory = postfix.config_directory
    plain = [
        *(directory / name for name in ("", "main.cf", "master.cf", "dynamicmaps.cf")),
        *(queue / name for name in QUEUE_DIRECTORIES),
        Path(expanded.get("data_directory", "/var/lib/postfix")),
        Path(expanded.get("command_directory", "/usr/sbin"), "postdrop"),
        Path(expanded.get("daemon_directory", "")),
        *(Path(table.reference.path) for table in tables),
        *(Path(path) for table in tables if (path := table.reference.index_path)),
    ]
    known = {str(path): reader.file(path) for path in plain}
    for name in _FILE_PARAMETERS:
        if (value := expanded.get(name, "")).startswith("/"):
            # A private key is not read.
            authorities = name.startswith("smtp_tls_CA")
            inside = queue / value.lstrip("/")
            known[value] = reader.file(Path(value), certificates=authorities)
            known[str(inside)] = reader.file(inside, certificates=authorities)
    if (origin := expanded.get("myorigin", "")).startswith("/"):
        known[origin] = reader.file(Path(origin), first_word=True)
    return known


def _tables(
    reader: HostFiles, values: Mapping[str, str], explicit: Mapping[str, str], master: Master
) -> Iterator[Table]:
    """Yield the tables in files that the configuration names, without those of compiled-in values."""
    named = set(explicit) | {key.rpartition("/")[2] for key in master.overrides}
    users: dict[TableReference, list[str]] = {}
    for name, reference in table_references({name: values[name] for name in named if name in values}):
        users.setdefault(reference, []).append(name)
    for reference, names in users.items():
        yield _table(reader, reference, tuple(sorted(names)))


def _table(reader: HostFiles, reference: TableReference, names: tuple[str, ...]) -> Table:
    keyed = TABLE_SUFFIX[reference.type] or reference.type == "texthash"
    # An alias file has another syntax (aliases(5)), and a cache has no source.
    text = (
        reader.text(Path(reference.path)) if keyed and not names[0].startswith(("alias_", "local_")) else None
    )
    entries = None
    if text is not None:
        entries = parse_table(text, secret=holds_logins(names), values=wants_values(names))
    index = reference.index_path
    return Table(reference, names, entries, index_type(Path(index)) if index else None)


def _authorities(settings: Settings | None) -> Iterator[str]:
    yield from (relay.ca_file for relay in (settings.relay if settings else ()) if relay.ca_file)


def _not_local(expanded: Mapping[str, str]) -> Iterator[str]:
    """Yield configured local addresses that this host does not have."""
    names = ("smtp_bind_address", "smtp_bind_address6", "inet_interfaces")
    for value in (value.strip("[]") for name in names for value in split_list(expanded.get(name, ""))):
        if is_address(value) and not can_bind(value):
            yield value


def unread_of(facts: HostFacts) -> Iterable[str]:
    """Return messages about what could not be read."""
    hint = "" if os.geteuid() == 0 else "; use sudo to include it"
    return [f"{problem}{hint}" for problem in facts.unread]
