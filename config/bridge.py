"""The parameters of main.cf between two configurations, of which one has a login or TLS that the other lacks.

Pure. Each process of Postfix reads main.cf at its start. So for a moment trivial-rewrite(8) routes by the former
configuration and smtp(8) logs in by the new one, or the reverse. A mail that meets both goes to a relay without its
login, client certificate or TLS: the relay refuses it, and Postfix bounces it. So what ends stays in the new main.cf
until it has been loaded, and what begins is loaded with the former routes before.
"""

from collections.abc import Mapping

from postward.parsers.postconf import split_list

_STRONG = frozenset({"encrypt", "dane", "dane-only", "fingerprint", "secure", "verify"})
_LEVEL = "smtp_tls_security_level"
_WRAPPER = "smtp_tls_wrappermode"
_POLICIES = "smtp_tls_policy_maps"
_CERTIFICATE = "smtp_tls_chain_files"
_LOGINS = "smtp_sasl_password_maps"
_OPTIONS = ("smtp_sasl_security_options", "smtp_sasl_tls_security_options")
# Parameters of which the value "yes" of either side is kept.
_SWITCHES = ("smtp_sasl_auth_enable", "smtp_sender_dependent_authentication")
PARAMETERS = (_LOGINS, _POLICIES, *_OPTIONS, *_SWITCHES, _WRAPPER, _LEVEL, _CERTIFICATE)


def bridge(former: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters to set in the new main.cf until the reload; empty if it serves the former relay too.

    Exchange the two for those to set in the former main.cf before.

    Args:
        former: the values of `PARAMETERS` in force, lists as main.cf has them, others expanded.
        new: the values that will be in force.
    """
    values = {_POLICIES: _united(former.get(_POLICIES, ""), new.get(_POLICIES, ""))}
    if former.get(_LEVEL) in _STRONG and new.get(_LEVEL) not in _STRONG:
        values[_LEVEL] = former[_LEVEL]
    if former.get(_CERTIFICATE) and not new.get(_CERTIFICATE):
        values[_CERTIFICATE] = former[_CERTIFICATE]
    if former.get("smtp_sasl_auth_enable") == "yes" and former.get(_LOGINS):
        values[_LOGINS] = _united(former[_LOGINS], new.get(_LOGINS, ""))
        values |= {name: "yes" for name in _SWITCHES if "yes" in (former.get(name), new.get(name))}
        forbidden = [name for name in _OPTIONS if "noplaintext" in split_list(new.get(name, ""))]
        values |= {name: former[name] for name in forbidden if name in former}
    kept = {
        name: value for name, value in values.items() if split_list(value) != split_list(new.get(name, ""))
    }
    # TLS from the first byte, where STARTTLS is expected, fails at once; the opposite hangs until a time-out.
    if kept and former.get(_WRAPPER) == "yes" and new.get(_WRAPPER) != "yes":
        kept[_WRAPPER] = "yes"
    return kept


def _united(former: str, new: str) -> str:
    """Return the items of both lists; the new one if it has all of the former."""
    items = split_list(former)
    further = [item for item in split_list(new) if item not in items]
    return new if set(items) <= set(split_list(new)) else ", ".join([*items, *further])
