"""Build commands that remedy findings, for the configuration directory and the distribution of a host."""

import shlex

from postward.config.lint.facts import HostFacts
from postward.config.lint.table_facts import Table

APPLY = "postward apply"  # remedies all that Postward derives from its settings

CA_FILE = {
    "debian": "/etc/ssl/certs/ca-certificates.crt",
    "rhel": "/etc/pki/tls/certs/ca-bundle.crt",
    "suse": "/etc/ssl/ca-bundle.pem",
    "alpine": "/etc/ssl/certs/ca-certificates.crt",
}
_INSTALL = {
    "debian": "apt-get install",
    "rhel": "dnf install",
    "suse": "zypper install",
    "alpine": "apk add",
}
# Packages with the SASL mechanisms PLAIN and LOGIN, a table type, and certificate authorities.
_PACKAGES = {
    "debian": {"sasl": "libsasl2-modules", "ca": "ca-certificates", "map": "postfix-{type}"},
    "rhel": {"sasl": "cyrus-sasl-plain", "ca": "ca-certificates", "map": "postfix-{type}"},
    "suse": {"sasl": "cyrus-sasl-plain", "ca": "ca-certificates-mozilla", "map": "postfix-{type}"},
    "alpine": {"sasl": "cyrus-sasl cyrus-sasl-login", "ca": "ca-certificates", "map": "postfix-{type}"},
}


def ca_file(facts: HostFacts) -> str:
    """Return the distribution's bundle of certificate authorities."""
    return CA_FILE.get(facts.distribution, CA_FILE["debian"])


def install(facts: HostFacts, feature: str, **details: str) -> str:
    """Install the package with a missing feature, and restart Postfix."""
    if facts.distribution in _INSTALL:
        package = _PACKAGES[facts.distribution][feature].format(**details)
        return f"{_INSTALL[facts.distribution]} {package} && {restart(facts)}"
    packages = " or ".join(dict.fromkeys(row[feature].format(**details) for row in _PACKAGES.values()))
    return f"install the package {packages}, then {restart(facts)}"


def restart(facts: HostFacts) -> str:
    """Stop and start Postfix, for changes that a reload does not bring into force."""
    if facts.config_directory != "/etc/postfix":
        return f"{postfix(facts, 'stop')}; {postfix(facts, 'start')}"
    return "rc-service postfix restart" if facts.distribution == "alpine" else "systemctl restart postfix"


def postfix(facts: HostFacts, verb: str) -> str:
    """Run `postfix VERB` for this instance."""
    return f"postfix {_option(facts)}{verb}"


def assign(facts: HostFacts, *assignments: tuple[str, str]) -> str:
    """Set parameters, and bring them into force."""
    if all(name in facts.managed for name, _ in assignments):
        return APPLY
    values = " ".join(shlex.quote(f"{name} = {value}") for name, value in assignments)
    stopped = any(name in {"inet_interfaces", "inet_protocols"} for name, _ in assignments)
    return (
        f"postconf {_option(facts)}-e {values} && {restart(facts) if stopped else postfix(facts, 'reload')}"
    )


def remove(facts: HostFacts, name: str) -> str:
    """Remove a parameter from main.cf."""
    return f"postconf {_option(facts)}-X {name} && {postfix(facts, 'reload')}"


def override(facts: HostFacts, assignment: str) -> str:
    """Change a -o setting of master.cf."""
    return f"postconf {_option(facts)}-P {shlex.quote(assignment)} && {postfix(facts, 'reload')}"


def remove_override(facts: HostFacts, service: str, name: str) -> str:
    """Remove a -o setting from master.cf."""
    return f"postconf {_option(facts)}-PX {service}/unix/{name} && {postfix(facts, 'reload')}"


def edit(facts: HostFacts, instruction: str, verb: str = "reload") -> str:
    """Instruct the admin to edit a file, and then to run `postfix VERB`."""
    return f"{instruction}, then {postfix(facts, verb)}"


def postmap(facts: HostFacts, table: Table) -> str:
    """Rebuild the index of a table."""
    if any(name.startswith("alias_") for name in table.parameters):
        return f"postalias {_option(facts)}{table.reference.name}"
    return f"postmap {_option(facts)}{table.reference.name}"


def _option(facts: HostFacts) -> str:
    return "" if facts.config_directory == "/etc/postfix" else f"-c {facts.config_directory} "
