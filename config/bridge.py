"""The parameters of main.cf between two configurations, of which one has a login that the other lacks.

Pure. Each process of Postfix reads main.cf at its start. So for a moment trivial-rewrite(8) routes by the former
configuration and smtp(8) logs in by the new one, or the reverse. A mail that meets both goes to a relay without its login
and TLS: the relay answers with 530, and Postfix bounces it. So logins that end stay in the new main.cf until it has been
loaded, and those that begin are loaded with the former one before.
"""

from collections.abc import Mapping

from postward.parsers.postconf import split_list

_STRONG = frozenset({"encrypt", "dane", "dane-only", "fingerprint", "secure", "verify"})
_LISTS = ("smtp_sasl_password_maps", "smtp_tls_policy_maps")
_OPTIONS = ("smtp_sasl_security_options", "smtp_sasl_tls_security_options")
# Parameters of which the value of either side is kept.
_SWITCHES = ("smtp_sasl_auth_enable", "smtp_sender_dependent_authentication", "smtp_tls_wrappermode")
PARAMETERS = (*_LISTS, *_OPTIONS, *_SWITCHES, "smtp_tls_security_level")


def bridge(former: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters to set in the new main.cf until the reload; empty if its logins serve both.

    Exchange the two for those to set in the former main.cf before.

    Args:
        former: the values of `PARAMETERS` in force, lists as main.cf has them, others expanded.
        new: the values that will be in force.
    """
    if former.get("smtp_sasl_auth_enable") != "yes" or not former.get("smtp_sasl_password_maps"):
        return {}
    values = {name: _united(former.get(name, ""), new.get(name, "")) for name in _LISTS}
    values |= {name: "yes" for name in _SWITCHES if "yes" in (former.get(name), new.get(name))}
    level = "smtp_tls_security_level"
    if former.get(level) in _STRONG and new.get(level) not in _STRONG:
        values[level] = former[level]
    forbidden = [name for name in _OPTIONS if "noplaintext" in split_list(new.get(name, ""))]
    values |= {name: former[name] for name in forbidden if name in former}
    wrapper = values.pop("smtp_tls_wrappermode", new.get("smtp_tls_wrappermode", ""))
    kept = {
        name: value for name, value in values.items() if split_list(value) != split_list(new.get(name, ""))
    }
    # TLS from the first byte, where STARTTLS is expected, fails at once; the opposite hangs until a time-out.
    return (
        kept | {"smtp_tls_wrappermode": wrapper}
        if kept and wrapper != new.get("smtp_tls_wrappermode")
        else kept
    )


def _united(former: str, new: str) -> str:
    """Return the items of both lists; the new one if it has all of the former."""
    items = split_list(former)
    further = [item for item in split_list(new) if item not in items]
    return new if set(items) <= set(split_list(new)) else ", ".join([*items, *further])
