"""Rules about Postward's settings: what is well-formed, and still will not work or not be meant."""

import difflib
import re
from collections.abc import Iterator
from typing import NamedTuple

from postward.config.lint import remedies
from postward.config.lint.facts import FileFacts, HostFacts
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.main_cf import WORDS_TOO
from postward.config.lint.relayhost import provider_of, wrong_provider_port
from postward.config.settings import Settings


class Case(NamedTuple):
    """Settings, and the host that they are for."""

    settings: Settings
    facts: HostFacts
    source: str = ""


# Providers that take mail of the login's own address alone, and those whose login is an address.
_SENDER_IS_LOGIN = {"qq", "exmail", "163", "126", "aliyun-directmail"}
_LOGIN_IS_ADDRESS = _SENDER_IS_LOGIN | {"gmail", "office365", "fastmail", "yandex", "mailgun", "mailgun-eu"}


def _is_below(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


def _sender_domain(case: Case) -> Iterator[Fault]:
    domain = case.settings.probe_sender.rpartition("@")[2].lower()
    own = case.settings.host.mydomain.lower()
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
        name, provider = provider_of(relay.host) or ("", None)
        if provider is None or not relay.username:
            continue
        if provider.username and relay.username != provider.username:
            yield Fault(
                f"relay.{relay.name}.username",
                f'is not "{provider.username}", which every customer of {name} writes',
                f'write username = "{provider.username}"',
            )
        elif name in _LOGIN_IS_ADDRESS and "@" not in relay.username:
            yield Fault(
                f"relay.{relay.name}.username",
                f"is no mail address, and that is what {name} wants",
                "write the whole address, as in user@example.com",
            )


def _sender_of_provider(case: Case) -> Iterator[Fault]:
    relay = case.settings.relay[0]
    name, _ = provider_of(relay.host) or ("", None)
    rewrites = {"smtp_generic_maps", "sender_canonical_maps", "canonical_maps"} & case.settings.main_cf.keys()
    rewritten = case.settings.host.rewrite_sender.lower() == relay.username.lower()
    if name in _SENDER_IS_LOGIN and relay.username and not rewrites and not rewritten:
        yield Fault(
            "host.rewrite_sender",
            f"is not the login of {relay.name}, and {name} takes mail from no other sender",
            f'write rewrite_sender = "{relay.username}"',
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
                f"is {relay.password_file}, which {'is a folder' if known.directory else 'does not exist'}",
                f"install -m 0600 /dev/null {relay.password_file}, and write the password into it",
            )


def _password_readable(case: Case) -> Iterator[Fault]:
    paths = {f"relay.{relay.name}.password_file": relay.password_file for relay in case.settings.relay}
    if any(relay.password is not None for relay in case.settings.relay):
        paths["settings"] = case.source
    for place, path in paths.items():
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
        if WORDS_TOO.fullmatch(name) or "$" in value:
            continue
        if default in {"yes", "no"} and value.lower() not in {"yes", "no"}:
            yield Fault(f"main_cf.{name}", f'is "{value}"; Postfix knows yes and no', "write true or false")
        elif default.isdecimal() and not re.fullmatch(r"[+-]?\d+", value):
            yield Fault(f"main_cf.{name}", f'is "{value}"; a number is digits alone', "write a number")
        elif re.fullmatch(r"\d+[smhdw]", default) and not re.fullmatch(r"\d+[smhdw]?", value):
            yield Fault(f"main_cf.{name}", f'is "{value}", which is no time', 'write it as in "5m"')


def _main_cf_name(case: Case) -> Iterator[Fault]:
    services = [service.name for service in case.facts.master.services.values()]
    used = " ".join(case.settings.main_cf.values())
    for name in case.settings.main_cf if case.facts.defaults else ():
        own = any(name.startswith(f"{service}_") for service in services)
        if name in case.facts.defaults or own or f"${name}" in used.replace("{", ""):
            continue
        close = difflib.get_close_matches(name, case.facts.defaults, 1, 0.8)
        yield Fault(
            f"main_cf.{name}",
            "is no parameter of this Postfix",
            f"write {close[0]}" if close else "remove it, or correct its name",
        )


def _ses_login(case: Case) -> Iterator[Fault]:
    for relay in case.settings.relay:
        name, _ = provider_of(relay.host) or ("", None)
        if name == "ses" and relay.username and not re.fullmatch(r"[A-Z0-9]{16,}", relay.username):
            yield Fault(
                f"relay.{relay.name}.username",
                "is no SMTP login of SES, which is capitals and digits",
                "make SMTP credentials in the SES console of the same region, and write their user name",
            )


E, W = Severity.ERROR, Severity.WARNING

RULES: tuple[Rule[Case], ...] = (
    Rule(
        id="settings-sender-domain",
        severity=W,
        check=_sender_domain,
        why="Relays take mail of domains that are set up with them, and receivers check that the domain fits.",
    ),
    Rule(
        id="settings-provider-port",
        severity=W,
        check=_port_of_provider,
        why="Connections to a port that nobody serves time out.",
    ),
    Rule(
        id="settings-provider-login",
        severity=W,
        check=_login_of_provider,
        why="The relay refuses the login (535), and all mail is deferred.",
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
        why="The relay refuses any sender but its login (501 or 553), and Postfix bounces that.",
    ),
    Rule(
        id="settings-probe-stays-here",
        severity=W,
        check=_probe_stays_here,
        why="A probe that is delivered here, or past the relay, proves nothing.",
    ),
    Rule(
        id="settings-password-file-missing",
        severity=E,
        check=_password_file_missing,
        why="Nothing can be applied without the password.",
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
        why="The tables cannot be built, and nothing can be applied.",
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
        why="Nothing can be applied: this Postfix does not know the name.",
    ),
)
