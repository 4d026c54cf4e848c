"""The SASL mechanism that Postfix's client takes: from filter, security options, plug-ins and the relay's offer.

Pure. libsasl2 takes the safest suitable mechanism, whatever the relay's order (lib/client.c, sasl_client_start).
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

OWN_PLUGIN = "postward-oauth2"


class Mechanism(NamedTuple):
    """A mechanism of SASL.

    Attributes:
        plugins: names of the plug-ins that have it, without "lib"; empty if libsasl2 itself has it.
        properties: words of smtp_sasl_security_options that it meets.
    """

    plugins: tuple[str, ...]
    properties: frozenset[str] = frozenset({"noplaintext", "noanonymous"})


_PLAIN = frozenset({"noanonymous"})
_MUTUAL = frozenset({"noplaintext", "noanonymous", "mutual_auth"})
_STRONG = _MUTUAL | {"noactive"}
# Name in lower case → the mechanism, in the order of libsasl2's preference. Between PLAIN and LOGIN, which are equal to
# it, the order in which the plug-ins are loaded decides.
MECHANISMS: Mapping[str, Mechanism] = {
    "gssapi": Mechanism(("gssapiv2",), _STRONG),
    "gss-spnego": Mechanism(("gssapiv2",), _STRONG),
    "gs2-krb5": Mechanism(("gs2",), _STRONG),
    "scram-sha-512": Mechanism(("scram",), _STRONG),
    "scram-sha-256": Mechanism(("scram",), _STRONG),
    "scram-sha-1": Mechanism(("scram",), _STRONG),
    "digest-md5": Mechanism(("digestmd5",), _MUTUAL),
    "cram-md5": Mechanism(("crammd5",)),
    "ntlm": Mechanism(("ntlm",)),
    "xoauth2": Mechanism(("xoauth2", "sasl-xoauth2", OWN_PLUGIN), _PLAIN),
    "oauthbearer": Mechanism(("oauthbearer", OWN_PLUGIN), _PLAIN),
    "plain": Mechanism(("plain",), _PLAIN),
    "login": Mechanism(("login",), _PLAIN),
    "anonymous": Mechanism(("anonymous",), frozenset({"noplaintext"})),
    "external": Mechanism(()),
}
# Mechanisms without a password. Postfix gets their tickets from elsewhere.
PASSWORDLESS = frozenset({"gssapi", "gs2-krb5", "gss-spnego", "external"})


@dataclass(frozen=True, slots=True)
class SaslClient:
    """The SASL client of Postfix, as far as it decides on the mechanism.

    Attributes:
        plugins: names of the installed plug-ins, without "lib"; None if unknown.
        filter: words of smtp_sasl_mechanism_filter; empty: all mechanisms.
        options: words of smtp_sasl_tls_security_options.
    """

    plugins: AbstractSet[str] | None = None
    filter: tuple[str, ...] = ()
    options: frozenset[str] = frozenset({"noanonymous"})

    def choose(self, offered: Iterable[str]) -> str | None:
        """Return the mechanism that Postfix takes from an offer, in capitals; None if none suits it."""
        names = {name.lower() for name in offered}
        fitting = (name for name in MECHANISMS if name in names and self._suits(name, MECHANISMS[name]))
        return next((name.upper() for name in fitting), None)

    def _suits(self, name: str, mechanism: Mechanism) -> bool:
        if self.plugins is None:  # those for tokens are not usual
            installed = bool(mechanism.plugins) and (
                name in self.filter or OWN_PLUGIN not in mechanism.plugins
            )
        else:
            # Postward's plug-in declares no property, so that it takes no password for a token.
            unsuitable = {OWN_PLUGIN} if "noanonymous" in self.options else set()
            installed = bool(set(mechanism.plugins) & self.plugins - unsuitable)
        return installed and self._passes(name) and self.options <= mechanism.properties

    def _passes(self, name: str) -> bool:
        """Return whether the filter lets a mechanism pass: a list of names, with ! for exceptions (postconf(5))."""
        for word in self.filter:
            if word.lower().lstrip("!") in {name, "static:all"}:
                return not word.startswith("!")
        return not self.filter
