"""Rules about the SMTP client's logins: parameters, plug-ins, and their combination with TLS."""

from collections.abc import Iterator, Mapping

from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts, Route
from postward.config.lint.file_facts import FileFacts
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.next_hop import named_servers
from postward.config.lint.relayhost import parsed
from postward.config.lint.tls import level_for
from postward.config.sasl import MECHANISMS, OWN_PLUGIN, PASSWORDLESS

Facts = HostFacts

_OPTIONS = {"noplaintext", "noactive", "nodictionary", "noanonymous", "mutual_auth"}
_MICROSOFT = {"smtp.office365.com", "smtp-mail.outlook.com", "outlook.office365.com", "smtp.outlook.com"}
_GOOGLE = {"smtp.gmail.com", "smtp-relay.gmail.com"}
_TOKENS = {"xoauth2", "oauthbearer"}
_BUILD = "take the plug-in from the package postward, or build it (systemd/sasl/build), then {}"
# The packages of plug-ins that Debian does not ship together with PLAIN.
_PACKAGES = {"gssapi": " (Debian: libsasl2-modules-gssapi-mit)"}
_PLAINTEXT = {"plain", "login", "xoauth2", "oauthbearer"}


def login_routes(facts: Facts) -> Iterator[Route]:
    """Yield the routes to other hosts on which the client is configured to log in."""
    if facts.sends_by_login:
        yield from (
            route for route, hop in parsed(facts.relay_routes) if route.login and not hop.on_this_host
        )


def needs_no_password(facts: Facts, service: str) -> bool:
    """Return whether a service takes only mechanisms without a password, such as GSSAPI."""
    return set(_mechanisms(facts, service)) <= PASSWORDLESS


def _mechanisms(facts: Facts, service: str = "") -> list[str]:
    """Return the mechanisms in smtp_sasl_mechanism_filter; PLAIN and LOGIN if it names none."""
    words = [word.lower() for word in facts.words("smtp_sasl_mechanism_filter", service)]
    named = [word for word in words if word[0] != "!" and ":" not in word and "/" not in word]
    return named or ["plain", "login"]


def _no_passwords(facts: Facts) -> Iterator[Fault]:
    if facts.sends_by_login and not facts.value("smtp_sasl_password_maps"):
        table = f"{facts.value('default_database_type')}:{facts.config_directory}/sasl_passwd"
        yield Fault(
            facts.where("smtp_sasl_auth_enable"),
            "is yes, and smtp_sasl_password_maps is empty",
            remedies.assign(facts, ("smtp_sasl_password_maps", table)),
        )


def _switched_off(facts: Facts) -> Iterator[Fault]:
    # Settings without a login do not remove an old table.
    intended = (
        "smtp_sasl_auth_enable" in facts.managed or facts.value("smtp_sasl_auth_enable").lower() != "no"
    )
    if not intended and facts.login_tables and facts.relay_routes:
        yield Fault(
            facts.where("smtp_sasl_auth_enable"),
            "is no, although smtp_sasl_password_maps is set",
            remedies.assign(facts, ("smtp_sasl_auth_enable", "yes")),
        )


def _no_plugin(facts: Facts) -> Iterator[Fault]:
    if not facts.sends_by_login or facts.sasl_plugins is None or facts.value("smtp_sasl_type") != "cyrus":
        return
    known = [word for word in _mechanisms(facts) if word in MECHANISMS]
    if known and not any(_is_installed(word, facts.sasl_plugins) for word in known):
        shown = " or ".join(word.upper() for word in known)
        yield Fault(
            facts.where("smtp_sasl_auth_enable"),
            f"is yes, and no SASL plug-in for {shown} is installed",
            _plugin_remedy(facts, known, shown),
        )


def _plugin_remedy(facts: Facts, known: list[str], shown: str) -> str:
    if set(known) <= _TOKENS:
        return _BUILD.format(remedies.restart(facts))
    if {"plain", "login"} & set(known):
        return remedies.install(facts, "sasl")
    package = _PACKAGES.get(known[0], "")
    return f"install the package with the SASL plug-in for {shown}{package}, then {remedies.restart(facts)}"


def _plugin_clash(facts: Facts) -> Iterator[Fault]:
    """Both plug-ins fit, and libsasl2 prefers the other one, which takes the token for the name of a file."""
    plugins = facts.sasl_plugins or frozenset()
    others = sorted(plugins & set(MECHANISMS["xoauth2"].plugins) - {OWN_PLUGIN})
    own = OWN_PLUGIN in plugins and "noanonymous" not in facts.words("smtp_sasl_tls_security_options")
    if others and own and set(_mechanisms(facts)) & _TOKENS:
        yield Fault(
            facts.where("smtp_sasl_mechanism_filter"),
            f"allows XOAUTH2, for which two SASL plug-ins are installed: {OWN_PLUGIN} and {others[0]}",
            f"remove the package of lib{others[0]}.so, then {remedies.restart(facts)}",
        )


def _token_files(facts: Facts) -> Mapping[str, FileFacts]:
    """Return the token files of logins by XOAUTH2, which libsasl2 prefers to PLAIN and LOGIN where it is offered."""
    words = [word.lower() for word in facts.words("smtp_sasl_mechanism_filter")]
    if not facts.sends_by_login or (words and "xoauth2" not in words):
        return {}
    offering = _MICROSOFT | _GOOGLE
    return {key: file for key, file in facts.token_files.items() if words or named_servers(key) & offering}


def _outside(facts: Facts) -> str:
    """Return where smtp(8) looks for the files of a plug-in."""
    if not facts.is_chrooted(facts.default_service):
        return "there"
    return f"below {facts.value('queue_directory')}, where {facts.default_service} runs chrooted"


def _token_file(facts: Facts) -> Iterator[Fault]:
    for key, file in _token_files(facts).items():
        if not file.exists or file.directory:
            yield Fault(
                f"{facts.where('smtp_sasl_password_maps')}: {key}",
                f"names a token file that does not exist {_outside(facts)}",
                "move the token file to that place, owned by postfix, mode 0600",
                named_servers(key),
            )
        elif file.owner != facts.mail_uid and not file.mode & 0o004:
            yield Fault(
                f"{facts.where('smtp_sasl_password_maps')}: {key}",
                f"names a token file of uid {file.owner}, which Postfix may not read",
                "make postfix the owner of the token file and of its directory",
                named_servers(key),
            )


def _token_authorities(facts: Facts) -> Iterator[Fault]:
    if not facts.token_authorities or not _token_files(facts):
        return
    path, file = facts.token_authorities
    if not file.exists:
        inside = f"{facts.value('queue_directory')}{path}"
        copy = f"install -D -m 644 {path} {inside} && {remedies.postfix(facts, 'reload')}"
        yield Fault(
            path,
            f"does not exist {_outside(facts)}, and sasl-xoauth2 loads its authorities from it",
            copy
            if facts.is_chrooted(facts.default_service)
            else "correct ca_bundle_file in sasl-xoauth2.conf",
        )


def _is_installed(mechanism: str, plugins: frozenset[str]) -> bool:
    names = MECHANISMS[mechanism].plugins
    return not names or bool(plugins & set(names))


def _no_plaintext(facts: Facts) -> Iterator[Fault]:
    seen = set()
    if not _PLAINTEXT & set(_mechanisms(facts)):
        return
    for route in login_routes(facts):
        encrypted = level_for(route) != "none"
        name = "smtp_sasl_tls_security_options" if encrypted else "smtp_sasl_security_options"
        if "noplaintext" in facts.words(name, route.service) and name not in seen:
            seen.add(name)
            yield Fault(
                facts.where(name),
                f"is {', '.join(facts.words(name, route.service))}, which forbids PLAIN and LOGIN",
                remedies.assign(facts, (name, "noanonymous")),
            )


def _unknown_option(facts: Facts) -> Iterator[Fault]:
    for name in ("smtp_sasl_security_options", "smtp_sasl_tls_security_options"):
        wrong = [word for word in facts.words(name) if word.lower() not in _OPTIONS]
        if wrong and name in facts.explicit:
            yield Fault(facts.where(name), f'has "{wrong[0]}"', remedies.assign(facts, (name, "noanonymous")))


def _unknown_mechanism(facts: Facts) -> Iterator[Fault]:
    wrong = [word for word in _mechanisms(facts) if word not in MECHANISMS]
    if wrong and facts.sends_by_login:
        yield Fault(
            facts.where("smtp_sasl_mechanism_filter"),
            f'has "{wrong[0]}", which is not a mechanism',
            remedies.assign(facts, ("smtp_sasl_mechanism_filter", "plain, login")),
        )


def _wrong_type(facts: Facts) -> Iterator[Fault]:
    kind = facts.value("smtp_sasl_type")
    if facts.sends_by_login and facts.sasl_types and kind not in facts.sasl_types:
        yield Fault(
            facts.where("smtp_sasl_type"),
            f"is {kind}; this Postfix can use {', '.join(sorted(facts.sasl_types))} to log in",
            remedies.remove(facts, "smtp_sasl_type"),
        )


def _hard_bounce(facts: Facts) -> Iterator[Fault]:
    if facts.sends_by_login and facts.value("smtp_sasl_auth_soft_bounce").lower() == "no":
        yield Fault(
            facts.where("smtp_sasl_auth_soft_bounce"),
            "is no",
            remedies.remove(facts, "smtp_sasl_auth_soft_bounce"),
        )


def _without_tls(facts: Facts) -> Iterator[Fault]:
    for route in login_routes(facts):
        if (
            level_for(route) == "none"
            and not route.hop.wrapper
            and route.next_hop not in facts.clear_on_purpose
            and not needs_no_password(facts, route.service)
        ):
            yield Fault(
                facts.where("smtp_tls_security_level"),
                f"is {facts.value('smtp_tls_security_level') or 'empty'}, and {route.next_hop} requires a login",
                remedies.assign(facts, ("smtp_tls_security_level", "encrypt")),
                named_servers(route.next_hop),
            )


def _in_clear(facts: Facts) -> Iterator[Fault]:
    for route in login_routes(facts):
        plain = "noplaintext" not in facts.words("smtp_sasl_security_options", route.service)
        plain = plain and not needs_no_password(facts, route.service)
        if level_for(route) in {"may", "dane"} and plain and not route.hop.wrapper:
            yield Fault(
                facts.where("smtp_tls_security_level"),
                f"is {level_for(route)}, and Postfix logs in to {route.next_hop}",
                remedies.assign(facts, ("smtp_tls_security_level", "encrypt")),
                named_servers(route.next_hop),
            )


def _password_at_microsoft(facts: Facts) -> Iterator[Fault]:
    # With settings, settings-password-at-microsoft names the relay. Another plug-in is preferred to PLAIN and LOGIN.
    others = (facts.sasl_plugins or frozenset()) & set(MECHANISMS["xoauth2"].plugins) - {OWN_PLUGIN}
    if "smtp_sasl_password_maps" in facts.managed or set(_mechanisms(facts)) <= _TOKENS or others:
        return
    routes = [route for route in login_routes(facts) if not needs_no_password(facts, route.service)]
    for host in dict.fromkeys(route.hop.host.lower() for route in routes):
        if host in _MICROSOFT:
            yield Fault(
                facts.where("smtp_sasl_password_maps"),
                f"logs in to {host} with a password, which Microsoft switches off by default at the end of December 2026",
                "run postward init with --grant device_code or client_credentials (docs/oauth2-microsoft.md)",
            )


def _unlogged(facts: Facts) -> Iterator[Fault]:
    levels = {level_for(route) for route in login_routes(facts)}
    if "may" in levels and facts.value("smtp_tls_loglevel") in {"0", "none"}:
        yield Fault(
            facts.where("smtp_tls_loglevel"), "is 0", remedies.assign(facts, ("smtp_tls_loglevel", "1"))
        )


E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_NO_LOGIN = "Postfix does not log in, and the relay answers 530: the mail bounces and is lost."

RULES: tuple[Rule[HostFacts], ...] = (
    Rule(
        id="sasl-without-passwords",
        severity=E,
        check=_no_passwords,
        why="smtp(8) ends with a fatal error, and mail stays in the queue without a reason.",
    ),
    Rule(id="sasl-switched-off", severity=E, check=_switched_off, why=_NO_LOGIN),
    Rule(
        id="sasl-plugin-missing",
        severity=E,
        check=_no_plugin,
        why="Every login fails (no mechanism available), and all mail is deferred.",
    ),
    Rule(
        id="sasl-plugin-clash",
        severity=E,
        check=_plugin_clash,
        why="The other plug-in takes the token for the name of a file: every login fails, and all mail is deferred.",
    ),
    Rule(
        id="xoauth2-token-file",
        severity=E,
        check=_token_file,
        why="sasl-xoauth2 cannot read its token (TokenStore::Read): every login fails, and all mail is deferred.",
    ),
    Rule(
        id="xoauth2-authorities",
        severity=E,
        check=_token_authorities,
        why="sasl-xoauth2 renews no token (error setting certificate verify locations): all mail is deferred within an hour.",
    ),
    Rule(
        id="sasl-forbids-plain",
        severity=E,
        check=_no_plaintext,
        why="Most relays offer only PLAIN and LOGIN, so no mechanism is left: all mail is deferred.",
    ),
    Rule(
        id="sasl-option-unknown",
        severity=E,
        check=_unknown_option,
        why="smtp(8) ends with a fatal error, and mail stays in the queue without a reason.",
    ),
    Rule(
        id="sasl-mechanism-unknown",
        severity=W,
        check=_unknown_mechanism,
        why="Postfix uses only mechanisms in the filter: possibly none is left.",
    ),
    Rule(
        id="sasl-type-not-for-clients",
        severity=E,
        check=_wrong_type,
        why="smtp(8) ends with a fatal error, and mail stays in the queue. Type dovecot works for servers only.",
    ),
    Rule(
        id="sasl-hard-bounce",
        severity=W,
        check=_hard_bounce,
        why="After a refused login mail bounces instead of staying in the queue: one wrong password loses all mail.",
    ),
    Rule(
        id="password-without-tls",
        severity=E,
        check=_without_tls,
        why=f"Relays offer AUTH under TLS only. {_NO_LOGIN}",
    ),
    Rule(
        id="password-in-clear",
        severity=W,
        check=_in_clear,
        why="If STARTTLS is missing or removed in transit, Postfix sends the password unencrypted, and the log shows success.",
    ),
    Rule(
        id="password-at-microsoft",
        severity=W,
        check=_password_at_microsoft,
        why="From then on the relay refuses every login (550 5.7.30, 535 5.7.139), and all mail is deferred.",
    ),
    Rule(
        id="tls-unlogged",
        severity=N,
        check=_unlogged,
        why="The log does not show whether a password was sent encrypted.",
    ),
)
