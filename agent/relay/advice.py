"""The causes that a relay can show, in plain words, with the setting to look at."""

from postward.parsers import Cause

_ADVICE = {
    Cause.AUTH_REJECTED: "the relay rejects this login; check relay.username and its password",
    Cause.AUTH_REQUIRED: "the relay requires a login and was given none; mail is being lost; check relay.username",
    Cause.AUTH_MECHANISM: (
        "no common AUTH mechanism; is the SASL plug-in installed (libsasl2-modules, cyrus-sasl-plain)?"
    ),
    Cause.TLS_VERIFY: "the relay's certificate is not valid for its name; check relay.host and relay.ca_file",
    Cause.TLS_HANDSHAKE: "the TLS handshake failed; does relay.tls fit relay.port?",
    Cause.TLS_NOT_OFFERED: "the relay does not offer STARTTLS; does relay.tls fit relay.port?",
    Cause.DNS: "the relay's name cannot be resolved; check relay.host and the resolver",
    Cause.REFUSED: "nothing listens there; check relay.host and relay.port",
    Cause.TIMEOUT: "no answer; does a firewall block relay.port?",
}


def describe_cause(cause: Cause) -> str:
    """Return a cause with its advice, if there is one: `dns (the relay's name …)`."""
    advice = _ADVICE.get(cause)
    return f"{cause} ({advice})" if advice else str(cause)
