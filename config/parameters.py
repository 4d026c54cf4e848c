"""The `[main_cf]` table: parameters that go to main.cf as they are, and those that must not stand there."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from postward.config.fields import joined, plain_text

# The main.cf parameters that Postward derives, and the setting that each comes from.
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
LOGIN_IN_MAIN_CF = "would put a login into main.cf, which every user of the host can read; write it into a file of root's and name that"


def _parameter_name(name: str) -> str:
    if source := DERIVED_PARAMETERS.get(name):
        raise ValueError(f"is derived from {source}; set it there and remove it here")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
        raise ValueError(
            'is no main.cf parameter; write name = "value", with letters, digits and _ in the name'
        )
    if re.search(r"(password|passwd)$", name):
        raise ValueError(LOGIN_IN_MAIN_CF)
    return name


def _main_cf_text(value: object) -> object:
    """Postfix knows yes and no, not true and false; numbers are written as they are."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int) and abs(value) < 2**63 else joined(value)


def _one_assignment(value: str) -> str:
    """Blanks around a value are not part of it, for postconf(1) as for us."""
    return value.strip(" ")


ParameterName = Annotated[str, AfterValidator(_parameter_name)]
MainCfValue = Annotated[
    str, BeforeValidator(_main_cf_text), AfterValidator(plain_text), AfterValidator(_one_assignment)
]


def references(value: str) -> list[str]:
    """The parameters that a value refers to: `$name`, `${name}`, `$(name)`, also with `?` and `:`."""
    return re.findall(r"\$[({]?([A-Za-z0-9_]+)", value.replace("$$", ""))
