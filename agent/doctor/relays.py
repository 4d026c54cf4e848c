"""Findings from the checks of the relays: name, connection, TLS, certificate, login."""

from collections.abc import Iterable, Iterator

from postward.agent.relay.advice import describe_cause
from postward.agent.relay.check import RelayCheck
from postward.config.lint.finding import Finding, Severity
from postward.parsers import Cause

# The first remedy for a cause. For other causes, `postward relay` shows the dialogue.
_REMEDIES = {
    Cause.AUTH_REJECTED: "write the correct password into the relay's password_file; the enforcer applies it at once",
    Cause.AUTH_MECHANISM: "postward check",
    Cause.DNS: "cat /etc/resolv.conf && getent hosts {host}",
    Cause.REFUSED: "postward relay {relay} --all-ports",
    Cause.TIMEOUT: "postward relay {relay} --all-ports",
    Cause.UNREACHABLE: "ip route get $(getent ahostsv4 {host} | cut -d' ' -f1 | head -n1)",
}


def relay_findings(checks: Iterable[RelayCheck]) -> Iterator[Finding]:
    """Yield an error for each failed check, and a warning for each certificate that is not valid."""
    for check in checks:
        remedy = _REMEDIES.get(check.cause or Cause.OTHER, "postward relay {relay}")
        remedy = remedy.format(host=check.host, relay=check.relay)
        where = f"relay {check.relay} ({check.host}:{check.port})"
        if not check.ok:
            what = f"fails at step {check.step}: {check.detail}"
            why = describe_cause(check.cause) if check.cause else "Mail cannot leave through this relay."
            yield Finding("relay", Severity.ERROR, where, what, why, remedy)
        elif check.problem:
            why = "An attacker between this host and the relay can read the password."
            yield Finding(
                "relay-certificate",
                Severity.WARNING,
                where,
                f"has a certificate that this host does not accept: {check.problem}",
                why,
                "postward relay " + check.relay,
            )
