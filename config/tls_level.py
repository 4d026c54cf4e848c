"""The TLS level of a relay: its settings, and the verification that the host has already.

Pure. Levels and their order are those of TLS_README.
"""

from collections.abc import Mapping

from postward.config.relay import Relay

# relay.tls → smtp_tls_security_level (postconf(5)); with relay.verify, "encrypt" becomes "secure".
_TLS_LEVEL = {"starttls": "encrypt", "implicit": "encrypt", "opportunistic": "may", "none": "none"}
# Levels that check the relay's certificate, and so are stronger than "encrypt".
_VERIFYING = frozenset({"dane", "dane-only", "fingerprint", "secure", "verify"})


def tls_level(relay: Relay, present: Mapping[str, str]) -> str:
    """Return the relay's smtp_tls_security_level.

    A level that checks certificates is lowered only by `verify = false` in the settings, not by its absence.

    Args:
        relay: the relay.
        present: smtp_tls_security_level as main.cf has it; empty if it is unknown.
    """
    if relay.verify:
        return "secure"
    if relay.fingerprints:
        return "fingerprint"
    if relay.dane:
        return "dane" if relay.direct else "dane-only"
    level = present.get("smtp_tls_security_level", "")
    return level if keeps(relay, level) else _TLS_LEVEL[relay.tls]


def tls_policy(relay: Relay, present: Mapping[str, str]) -> str:
    """Return the relay's entry of smtp_tls_policy_maps: its level, and what its certificate is compared with.

    Args:
        relay: the relay.
        present: as of `tls_level`.
    """
    level = tls_level(relay, present)
    if relay.verify and relay.verify_names:
        return f"{level} match={':'.join(relay.verify_names)}"
    return f"{level} match={'|'.join(relay.fingerprints)}" if relay.fingerprints else level


def keeps(relay: Relay, policy: str) -> bool:
    """Return True if a level, or a policy that begins with one, checks certificates and the settings do not lower it."""
    level = policy.partition(" ")[0]
    if relay.tls == "implicit" and level == "dane":
        return False  # it can fall back to "may", with which smtp(8) refuses wrapper mode
    checks = level in _VERIFYING and "verify" not in relay.model_fields_set
    return checks and (relay.direct or relay.tls in {"starttls", "implicit"})
