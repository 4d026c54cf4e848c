"""Rules about Postward's settings that are well-formed, but will not work or are probably a mistake."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts
from postward.config.lint.file_facts import FileFacts
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.main_cf import FREE_VALUES, close_parameter
from postward.config.lint.relayhost import wrong_provider_port
from postward.config.providers import PROVIDERS, login_fault, provider_of
from postward.config.settings import Settings
from postward.parsers.postconf import split_list


class Case(NamedTuple):
    """Settings, and the facts of their host."""

    settings: Settings
    facts: HostFacts
    source: str = ""


# Providers that accept only mail from the login's own address.
_SENDER_IS_LOGIN = {name for name, provider in PROVIDERS.items() if provider.senders == "login"}


def _is_below(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


def _sender_domain(case: Case) -> Iterator[Fault]:
    domain = case.settings.probe_sender.rpartition("@")[2].lower()
    own = case.settings.host.domain.lower()
    senders = [sender.rpartition("@")[2].lower() for relay in case.settings.relay for sender in relay.senders]
    if case.settings.probe.recipient and not (_is_below(domain, own) or domain in senders):
        yield Fault(
            "probe.sender",
            f"is in {domain}, and host.mydomain is {own}",
            f'write an address in {own}, or host.mydomain = "{domain}"',
        )


def _port_of_provider(case: Case) -> Iterator[Fault]:
    for relay in case.settings.relay:
        wrong = wrong_provider_port(relay.host, relay.port)
        if wrong and not relay.allow_unusual_port:
            why, port = wrong
            tls = "implicit" if port == 465 else "starttls"
            yield Fault(
                f"relay.{relay.name}.port",
                f"is {relay.port}; {why}",
                f'write port = {port} and tls = "{tls}"',
            )


def _login_of_provider(case: Case) -> Iterator[Fault]:
    for relay in case.settings.relay:
        name, _ = provider_of(relay.host) or ("", None)
        if name and relay.username and (fault := login_fault(name, relay.username)):
            yield Fault(f"relay.{relay.name}.username", *fault)


def _password_at_microsoft(case: Case) -> Iterator[Fault]:
    for relay in case.settings.relay:
        name, _ = provider_of(relay.host) or ("", None)
        if name in {"office365", "outlook"} and relay.logs_in_by_password:
            yield Fault(
                f"relay.{relay.name}.username",
                "logs in with a password, which Microsoft switches off by default at the end of December 2026",
                f"write [relay.oauth2] in place of the password (docs/oauth2-microsoft.md), then: postward login {relay.name}",
            )


def _sender_of_provider(case: Case) -> Iterator[Fault]:
    relay = case.settings.relay[0]
    name, _ = provider_of(relay.host) or ("", None)
    rewrites = {"smtp_generic_maps", "sender_canonical_maps", "canonical_maps"} & case.settings.main_cf.keys()
    rewritten = case.settings.host.rewrite_sender.lower() == relay.username.lower()
    if name in _SENDER_IS_LOGIN and relay.username and not rewrites and not rewritten:
        yield Fault(
            "host.rewrite_sender",
            f"is not the login of {relay.name}, and {name} accepts mail from no other sender",
            f'write rewrite_sender = "{relay.username}"',
        )


def _instance_missing(case: Case) -> Iterator[Fault]:
    """The main.cf of the primary instance lists the others (postmulti(1))."""
    for directory in split_list(case.facts.value("multi_instance_directories")):
        if directory.rstrip("/") not in case.facts.instances:
            yield Fault(
                "postfix.instances",
                f"names no settings file for the instance in {directory}",
                "write a settings file for it, and name it there (docs/instances.md)",
            )


def _senders_of_first(case: Case) -> Iterator[Fault]:
    """The first relay's senders matter only as exceptions from a domain of another relay."""
    first, *others = case.settings.relay
    domains = [sender.lower() for relay in others for sender in relay.senders if sender[0] == "@"]
    senders = [sender for sender in first.senders if not any(_is_in(sender, domain) for domain in domains)]
    if senders:
        yield Fault(
            f"relay.{first.name}.senders",
            f"has no effect for {', '.join(senders)}: the first relay takes all mail that no other relay takes",
            "remove them; to send other mail elsewhere, put its relay first",
        )


def _is_in(sender: str, domain: str) -> bool:
    """Return True if an entry of senders lies in another, which is "@example.com" or "@.example.com"."""
    own = sender.lower().rpartition("@")[2]
    return own.endswith(domain[1:]) if domain.startswith("@.") else own == domain[1:]


def _not_probed(case: Case) -> Iterator[Fault]:
    for relay in case.settings.relay if case.settings.sends_probes else ():
        if relay.recipients and not relay.senders and not relay.probe_recipients:
            yield Fault(
                f"relay.{relay.name}.probe_recipients",
                "is empty, and no sender of probes leads to this relay",
                f"write an address that relay.{relay.name}.recipients names",
            )


def _counted_as_another(case: Case) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for relay in case.settings.relay:
        first = seen.setdefault(relay.next_hop.lower(), relay.name)
        has_service = relay.own_service or relay.helo_name or relay.bind_address or relay.max_connections
        if relay.next_hop and first != relay.name and not has_service:
            yield Fault(
                f"relay.{relay.name}.own_service",
                f"is false, and relay {first} has the same host and port",
                "write own_service = true",
            )


def _probe_stays_here(case: Case) -> Iterator[Fault]:
    domain = case.settings.probe.recipient.rpartition("@")[2].lower()
    local = {
        word.lower(): name
        for name in ("mydestination", "virtual_mailbox_domains", "virtual_alias_domains", "relay_domains")
        for word in case.facts.words(name)
    }
    if domain and domain in local:
        yield Fault(
            "probe.recipient",
            f"is in {domain}, which is in {local[domain]} of this Postfix",
            "write an address elsewhere",
        )


def _file(case: Case, path: str) -> FileFacts | None:
    return case.facts.files.get(path) if path else None


def _password_file_missing(case: Case) -> Iterator[Fault]:
    for relay in case.settings.relay:
        known = _file(case, relay.password_file)
        if known and (not known.exists or known.directory):
            yield Fault(
                f"relay.{relay.name}.password_file",
                f"is {relay.password_file}, which {'is a directory' if known.directory else 'does not exist'}",
                f"install -m 0600 /dev/null {relay.password_file}, and write the password into it",
            )


def _password_readable(case: Case) -> Iterator[Fault]:
    paths = {f"relay.{relay.name}.password_file": relay.password_file for relay in case.settings.relay}
    with_password = any(relay.password is not None for relay in case.settings.relay)
    # The facts have only those files of the settings that contain a password.
    files = [
        path
        for path in case.facts.files
        if case.source and (path == case.source or path.startswith(f"{case.source}.d/"))
    ]
    for place, path in [*paths.items(), *(("settings", path) for path in files if with_password)]:
        known = _file(case, path)
        if known and known.exists and known.mode & 0o007:
            yield Fault(
                place, f"{path} has mode {known.mode:04o}", f"chown root:root {path} && chmod 0600 {path}"
            )


def _ca_file(case: Case) -> Iterator[Fault]:
    for relay in case.settings.relay:
        known = _file(case, relay.ca_file)
        if known is None or (known.exists and not known.directory and known.certificates is not False):
            continue
        what = "holds no certificate" if known.exists else "does not exist"
        bundle = remedies.ca_file(case.facts)
        right = (
            f'write ca_file = "{bundle}"' if bundle != relay.ca_file else remedies.install(case.facts, "ca")
        )
        yield Fault(f"relay.{relay.name}.ca_file", f"is {relay.ca_file}, which {what}", right)


def _map_type(case: Case) -> Iterator[Fault]:
    wanted, known = case.settings.postfix.map_type, case.facts.map_types
    if known and wanted != "auto" and wanted not in known:
        yield Fault(
            "postfix.map_type",
            f"is {wanted}, which this Postfix cannot build",
            f'write map_type = "auto", or {remedies.install(case.facts, "map", type=wanted)}',
        )


def _main_cf_value(case: Case) -> Iterator[Fault]:
    for name, value in case.settings.main_cf.items():
        default = case.facts.defaults.get(name, "")
        if FREE_VALUES.fullmatch(name) or "$" in value:
            continue
        if default in {"yes", "no"} and value.lower() not in {"yes", "no"}:
            yield Fault(f"main_cf.{name}", f'is "{value}"; a boolean is yes or no', "write true or false")
        elif default.isdecimal() and not re.fullmatch(r"[+-]?\d+", value):
            yield Fault(f"main_cf.{name}", f'is "{value}"; a number consists of digits', "write a number")
        elif re.fullmatch(r"\d+[smhdw]", default) and not re.fullmatch(r"\d+[smhdw]?", value):
            yield Fault(f"main_cf.{name}", f'is "{value}", which is not a time', 'write it as in "5m"')


def _main_cf_name(case: Case) -> Iterator[Fault]:
    services = [service.name for service in case.facts.master.services.values()]
    used = " ".join(case.settings.main_cf.values())
    for name in case.settings.main_cf if case.facts.defaults else ():
        own = any(name.startswith(f"{service}_") for service in services)
        if name in case.facts.defaults or own or f"${name}" in used.replace("{", ""):
            continue
        close = close_parameter(name, case.facts)
        yield Fault(
            f"main_cf.{name}",
            "is not a parameter of this Postfix",
            f"write {close} if that is meant, or remove it" if close else "remove it, or correct its name",
        )


def _ses_login(case: Case) -> Iterator[Fault]:
    for relay in case.settings.relay:
        name, _ = provider_of(relay.host) or ("", None)
        if name == "ses" and relay.username and not re.fullmatch(r"[A-Z0-9]{16,}", relay.username):
            yield Fault(
                f"relay.{relay.name}.username",
                "is not an SMTP login of SES, which consists of capitals and digits",
                "create SMTP credentials in the SES console of the same region, and write their user name",
            )


E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE

RULES: tuple[Rule[Case], ...] = (
    Rule(
        id="settings-sender-domain",
        severity=W,
        check=_sender_domain,
        why="Relays accept mail of domains that are registered with them, and receivers check that the domain matches.",
    ),
    Rule(
        id="settings-provider-port",
        severity=W,
        check=_port_of_provider,
        why="Connections to a port without a service time out.",
    ),
    Rule(
        id="settings-provider-login",
        severity=W,
        check=_login_of_provider,
        why="The relay refuses the login (535), and all mail is deferred.",
    ),
    Rule(
        id="settings-password-at-microsoft",
        severity=W,
        check=_password_at_microsoft,
        why="From then on the relay refuses every login (550 5.7.30, 535 5.7.139), and all mail is deferred.",
    ),
    Rule(
        id="settings-ses-login",
        severity=W,
        check=_ses_login,
        why="The relay refuses the login (535), and all mail is deferred.",
    ),
    Rule(
        id="settings-provider-sender",
        severity=W,
        check=_sender_of_provider,
        why="The relay refuses every other sender (501 or 553), and Postfix bounces the mail.",
    ),
    Rule(
        id="settings-first-senders",
        severity=W,
        check=_senders_of_first,
        why="Mail of all other senders takes this relay too.",
    ),
    Rule(
        id="settings-relay-not-probed",
        severity=W,
        check=_not_probed,
        why="Probes do not show whether mail goes out by it.",
    ),
    Rule(
        id="settings-counted-as-another",
        severity=W,
        check=_counted_as_another,
        why="Postfix logs no login: metrics and incidents take this relay's mail for the other one's.",
    ),
    Rule(
        id="settings-probe-stays-here",
        severity=W,
        check=_probe_stays_here,
        why="A probe that does not go through the relay does not test it.",
    ),
    Rule(
        id="settings-password-file-missing",
        severity=E,
        check=_password_file_missing,
        why="Postward cannot apply the settings without the password.",
    ),
    Rule(
        id="settings-password-readable",
        severity=W,
        check=_password_readable,
        why="Every user of the host can read the relay's password.",
    ),
    Rule(
        id="settings-ca-file",
        severity=E,
        check=_ca_file,
        why="Postfix switches TLS off, and all mail is deferred.",
    ),
    Rule(
        id="settings-map-type",
        severity=E,
        check=_map_type,
        why="The tables cannot be built, and Postward cannot apply the settings.",
    ),
    Rule(
        id="settings-main-cf-value",
        severity=E,
        check=_main_cf_value,
        why="The daemon that reads it ends with a fatal error.",
    ),
    Rule(
        id="settings-main-cf-name",
        severity=W,
        check=_main_cf_name,
        why="Postward cannot apply the settings: this Postfix does not know the name.",
    ),
    Rule(
        id="settings-instance-missing",
        severity=N,
        check=_instance_missing,
        why="That instance is neither watched nor enforced. If none is named, mail of all instances in the log counts as one's.",
    ),
)
