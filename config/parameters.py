"""The `[main_cf]` table: parameters that go to main.cf unchanged, and those that it must not hold."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from postward.config.fields import joined, plain_text

# The main.cf parameters that Postward derives → the settings from which it derives them.
DERIVED_PARAMETERS = {
    "myhostname": "host.myhostname",
    "mydomain": "host.mydomain",
    "myorigin": "host.myorigin",
    "inet_interfaces": "host.inet_interfaces",
    "inet_protocols": "host.inet_protocols",
    "mydestination": "host.mydestination",
    "mynetworks": "host.mynetworks",
    "relay_domains": "host.relay_domains",
    "relayhost": "host and port of the first [[relay]]",
    "sender_dependent_relayhost_maps": "relay.senders",
    "sender_dependent_default_transport_maps": "relay.senders and relay.tls",
    "smtp_fallback_relay": "relay.fallback",
    "smtp_sasl_auth_enable": "relay.username",
    "smtp_sasl_password_maps": "relay.username and relay.password",
    "smtp_sasl_security_options": "relay.tls",
    "smtp_sasl_tls_security_options": "relay.tls",
    "smtp_tls_security_level": "relay.tls and relay.verify",
    "smtp_tls_wrappermode": 'relay.tls ("implicit" means yes, on port 465; with yes on a STARTTLS port such as 587 no mail leaves)',
    "smtp_tls_policy_maps": "relay.tls and relay.verify",
    "smtp_tls_per_site": "relay.tls and relay.verify",
    "smtp_use_tls": "relay.tls",
    "smtp_enforce_tls": "relay.tls",
    "smtp_tls_CAfile": "relay.ca_file",
}
# The main.cf parameters by which Postfix runs other programs, loads other code, or runs them as another user: postconf(5).
CODE_PARAMETERS = frozenset(
    {
        # programs, libraries and configuration
        *("command_directory", "daemon_directory", "data_directory", "queue_directory", "meta_directory"),
        *("shlib_directory", "config_directory", "alternate_config_directories", "process_id_directory"),
        *("multi_instance_directories", "multi_instance_wrapper", "postmulti_control_commands"),
        *(
            "postmulti_start_commands",
            "postmulti_stop_commands",
            "sendmail_path",
            "mailq_path",
            "newaliases_path",
        ),
        *(
            "openssl_path",
            "tls_config_file",
            "tls_config_name",
            "cyrus_sasl_config_path",
            "import_environment",
        ),
        *("export_environment", "debugger_command", "maillog_file", "maillog_file_prefixes"),
        *("maillog_file_compressor", "maillog_file_rotate_suffix"),
        # commands that deliver mail
        *("mailbox_command", "mailbox_command_maps", "allow_mail_to_commands", "allow_mail_to_files"),
        *("local_command_shell", "command_expansion_filter", "execution_directory_expansion_filter"),
        *("alias_maps", "alias_database", "forward_path", "forward_expansion_filter"),
        # users
        *("mail_owner", "setgid_group", "default_privs", "virtual_uid_maps", "virtual_gid_maps"),
        *("virtual_minimum_uid", "virtual_mailbox_base"),
    }
)
# Values of these parameters that every distribution has.
_USUAL_ALIASES = re.compile(r"(?:(?:\$default_database_type|\w+):)?/etc/(?:postfix/|mail/)?aliases|")
LOGIN_IN_MAIN_CF = (
    "must not hold a login: every user of the host can read main.cf; "
    "write it into a file that only root can read, and name that file"
)


def _parameter_name(name: str) -> str:
    if source := DERIVED_PARAMETERS.get(name):
        raise ValueError(f"is derived from {source}; set it there and remove it here")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
        raise ValueError(
            'must be the name of a main.cf parameter: letters, digits and _; write it as in name = "value"'
        )
    if re.search(r"(password|passwd)$", name):
        raise ValueError(LOGIN_IN_MAIN_CF)
    return name


def _main_cf_text(value: object) -> object:
    """Return booleans as Postfix's yes and no, integers as digits, lists of strings as Postfix lists."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int) and abs(value) < 2**63 else joined(value)


def _stripped(value: str) -> str:
    """Return the value without the spaces around it, which postconf(1) drops too."""
    return value.strip(" ")


def runs_code(name: str, value: str) -> bool:
    """Return whether a parameter decides which programs Postfix runs, or as whom."""
    return name in CODE_PARAMETERS and not (
        name.startswith("alias_") and _USUAL_ALIASES.fullmatch(value.strip())
    )


ParameterName = Annotated[str, AfterValidator(_parameter_name)]
MainCfValue = Annotated[
    str, BeforeValidator(_main_cf_text), AfterValidator(plain_text), AfterValidator(_stripped)
]


def references(value: str) -> list[str]:
    """Return the parameters to which a value refers: `$name`, `${name}`, `$(name)`, also with `?` and `:`."""
    return re.findall(r"\$[({]?([A-Za-z0-9_]+)", value.replace("$$", ""))


def expanded(value: str, values: Mapping[str, str]) -> str:
    """Return a value with `$name` replaced, as `postconf -x` does. Loops end after eight rounds."""
    for _ in range(8):
        text = re.sub(
            r"\$(?:([A-Za-z0-9_]+)|[({]([A-Za-z0-9_]+)[)}])",
            lambda match: values.get(match[1] or match[2], ""),
            value,
        )
        if text == value or len(text) > 20000:
            break
        value = text
    return value


def expand(values: Mapping[str, str]) -> dict[str, str]:
    """Return all values with `$name` replaced, for a configuration that postconf cannot read."""
    return {name: expanded(value, values) for name, value in values.items()}
