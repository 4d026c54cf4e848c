"""What conversations with the relays say, as findings: name, connection, TLS, certificate, login."""

from collections.abc import Iterable, Iterator

from postward.agent.relay.advice import describe_cause
from postward.agent.relay.check import RelayCheck
from postward.config.lint.finding import Finding, Severity
from postward.parsers import Cause

# What to do first about a cause; the conversation itself shows the rest.
_MEND = {
    Cause.AUTH_REJECTED: "write the right password into the relay's password_file; the enforcer takes it on at once",
    Cause.AUTH_MECHANISM: "postward check",
    Cause.DNS: "cat /etc/resolv.conf && getent hosts {host}",
    Cause.REFUSED: "postward relay {relay} --all-ports",
    Cause.TIMEOUT: "postward relay {relay} --all-ports",
    Cause.UNREACHABLE: "ip route get $(getent ahostsv4 {host} | cut -d' ' -f1 | head -n1)",
}


def relay_findings(checks: Iterable[RelayCheck]) -> Iterator[Finding]:
    """A finding for each relay that does not take us, and a warning for a certificate that is not valid."""
    for check in checks:
        remedy = _MEND.get(check.cause or Cause.OTHER, "postward relay {relay}")
        remedy = remedy.format(host=check.host, relay=check.relay)
        where = f"relay {check.relay} ({check.host}:{check.port})"
        if not check.ok:
            what = f"stops us at step {check.step}: {check.detail}"
            why = describe_cause(check.cause) if check.cause else "no mail goes out by it"
            yield Finding("relay", Severity.ERROR, where, what, why, remedy)
        elif check.problem:
            why = "Whoever is between this host and the relay can read the password."
            yield Finding(
                "relay-certificate",
                Severity.WARNING,
                where,
                f"its certificate is not valid here: {check.problem}",
                why,
                "postward relay " + check.relay,
            )
