"""The parts that adoptions from other mail programs share: their files, this host, and a relay in the making."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from postward.config.adopt.adopted import Adopted, AdoptedRelay, NothingToAdoptError, Unmanaged, named
from postward.config.fields import is_address
from postward.config.passwords import password_fault
from postward.config.relay import IMPLICIT_TLS_PORTS, TlsMode

Files = Mapping[str, str]  # path → text, of the files that exist


@dataclass(frozen=True, slots=True)
class ThisHost:
    """Facts that the settings need, and other programs do not say.

    Attributes:
        myhostname: the host's full name; "" if it is unknown.
        authorities: the file with the system's certificate authorities; "" if there is none.
    """

    myhostname: str = ""
    authorities: str = ""


@dataclass(slots=True)
class Draft:
    """Settings in the making.

    Attributes:
        myhostname: the host's name.
        rewrite_sender: the sender of all mail; "" to change none.
        relays: the relays, the first of which takes all mail.
        unmanaged: what is left out.
    """

    myhostname: str
    rewrite_sender: str = ""
    relays: list[AdoptedRelay] = field(default_factory=list)
    unmanaged: list[Unmanaged] = field(default_factory=list)

    def leave(self, what: str, why: str) -> None:
        """List a part as unmanaged."""
        self.unmanaged.append(Unmanaged(what, why))

    def adopted(self) -> Adopted:
        """Return the settings of a host that only sends. Raises NothingToAdoptError."""
        if not self.relays:
            reasons = "; ".join(f"{one.what}: {one.why}" for one in self.unmanaged)
            raise NothingToAdoptError(reasons or "it names no relay")
        host = {"profile": "send-only", "myhostname": self.myhostname, "rewrite_sender": self.rewrite_sender}
        return Adopted(
            {key: value for key, value in host.items() if value}, named(self.relays), tuple(self.unmanaged)
        )


def checked(relay: AdoptedRelay, *, verifies: bool, authorities: str) -> AdoptedRelay:
    """Return a relay whose certificate is checked, if it was before."""
    possible = relay.tls in {"starttls", "implicit"} and authorities and not is_address(relay.host)
    more: dict[str, Any] = {"verify": True, "ca_file": authorities} if verifies and possible else {}
    return replace(relay, more={**relay.more, **more})


def with_login(relay: AdoptedRelay, username: str, password: str, draft: Draft) -> AdoptedRelay:
    """Return a relay with a login. One that sasl_passwd cannot carry is listed as unmanaged."""
    fault = password_fault(password)
    fault = "the user name has a colon" if ":" in username else fault and f"the password {fault}"
    if fault:
        draft.leave(f"the login at {relay.host}", fault)
        return relay
    return replace(relay, username=username, password=password)


def tls_mode(*, tls: bool, starttls: bool) -> TlsMode:
    """Return the mode of a program that has TLS, and STARTTLS before it, as switches."""
    if not tls:
        return "none"
    return "starttls" if starttls else "implicit"


def port_of(text: str, tls: TlsMode, usual: int = 25) -> int:
    """Return a port that is a number or a name of services(5); 465 for implicit TLS, else the usual one, without any.

    Raises:
        NothingToAdoptError: it is neither.
    """
    names = {
        "": 465 if tls == "implicit" else usual,
        "smtp": 25,
        "submission": 587,
        "smtps": 465,
        "submissions": 465,
    }
    if text in names:
        return names[text]
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise NothingToAdoptError(f"{text!r} is not a port")
    return int(text)


def implicit_port(port: int) -> bool:
    """Return True for a port where relays expect TLS from the first byte."""
    return port in IMPLICIT_TLS_PORTS


def assignments(text: str, separator: str = "=") -> dict[str, str]:
    """Return the lines `key SEPARATOR value` of a file, with keys in lowercase. `#` begins a comment line."""
    rows = (line.strip().partition(separator) for line in text.split("\n"))
    return {
        key.strip().lower(): value.strip() for key, found, value in rows if found and not key.startswith("#")
    }
