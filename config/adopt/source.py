"""The parts that adoptions from other mail programs share: their files, this host, and a relay in the making."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from postward.config.adopt.adopted import (
    Adopted,
    AdoptedRelay,
    NothingToAdoptError,
    Unmanaged,
    listed,
    named,
)
from postward.config.fields import is_address, is_host_name
from postward.config.host import ADMIN_FOR
from postward.config.passwords import password_fault
from postward.config.relay import IMPLICIT_TLS_PORTS, TlsMode

Files = Mapping[str, str]  # path → text, of the files that exist


@dataclass(frozen=True, slots=True)
class ThisHost:
    """Facts that the settings need, and other programs do not say.

    Attributes:
        myhostname: the host's full name; "" if it is unknown.
        authorities: the file with the system's certificate authorities; "" if there is none.
        given: the name that the person gave, which comes before any other.
    """

    myhostname: str = ""
    authorities: str = ""
    given: str = ""

    def name(self, said: str = "") -> str:
        """Return the host's name: as it was given, as a program says it if that is a full name, or the system's."""
        return self.given or (said if is_host_name(said) and "." in said else self.myhostname)


@dataclass(slots=True)
class Draft:
    """Settings in the making.

    Attributes:
        myhostname: the host's name.
        rewrite_sender: the sender of all mail; "" to change none.
        senders: local users, each with the address as which its mail is sent.
        admin, admin_for: as in `[host]`.
        relays: the relays, the first of which takes all mail.
        unmanaged: what is left out.
    """

    myhostname: str
    rewrite_sender: str = ""
    senders: dict[str, str] = field(default_factory=dict)
    admin: str = ""
    admin_for: list[str] = field(default_factory=list)
    relays: list[AdoptedRelay] = field(default_factory=list)
    unmanaged: list[Unmanaged] = field(default_factory=list)
    _domain: str = ""
    _more: dict[str, str] = field(default_factory=dict)

    def leave(self, what: str, why: str) -> None:
        """List a part as unmanaged."""
        self.unmanaged.append(Unmanaged(what, why))

    def originate(self, domain: str, *, delivers: bool = False) -> None:
        """Let local users send from a domain, as they did. `delivers`: the program delivers mail to that domain here."""
        if not is_host_name(domain) or "." not in domain:
            return
        self._domain = domain.lower()
        is_this = self._domain == self.myhostname.lower()
        self._more["myorigin"] = "$myhostname" if is_this else self._domain
        if is_this and not delivers:  # mail to local users goes to the relay
            self._more["mydestination"] = "localhost.$mydomain, localhost"

    def send_as(self, user: str, address: str) -> None:
        """Give the mail of a local user another sender."""
        if is_mail_address(address):
            self.senders[user] = address

    def forward(self, address: str, what: str, *, of_all: bool = True) -> None:
        """Send the mail of root to an address. Anything else than one address is listed.

        Args:
            address: the address.
            what: the part of the configuration, as its file names it.
            of_all: it holds for all local users, of which the settings name each.
        """
        if not is_mail_address(address):
            self.leave(what, "the settings send the mail of local users to one whole address; see host.admin")
            return
        self.admin = address
        if of_all:
            self.leave(f"{what} for users beside root", "the settings name each of them; see host.admin_for")

    def follow(self, aliases: str) -> None:
        """Send the mail of root, and of users with the same alias, where aliases(5) send it. Other aliases are listed."""
        targets = {user: _followed(user, aliases_of(aliases)) for user in aliases_of(aliases)}
        name = "root" if targets.get("root") else "default"
        address = targets.get(name)
        if not address:
            return
        self.forward(address, f"alias {name}: {address}", of_all=name == "default")
        users = [user for user in targets if user not in {*ADMIN_FOR, "default"}]
        self.admin_for += [user for user in users if targets[user] == self.admin and self.admin]
        if others := [user for user in users if targets[user] != address]:
            self.leave(
                f"aliases of {listed(others)}", "aliases(5) hold for mail that Postfix delivers on this host"
            )

    def adopted(self) -> Adopted:
        """Return the settings of a host that only sends. Raises NothingToAdoptError."""
        if not self.relays:
            reasons = "; ".join(f"{one.what}: {one.why}" for one in self.unmanaged)
            raise NothingToAdoptError(reasons or "it names no relay")
        domain = self._domain or self.myhostname.partition(".")[2]
        senders = {f"{user}@{domain}": address for user, address in self.senders.items() if domain}
        host: dict[str, Any] = {
            "profile": "send-only",
            "myhostname": self.myhostname,
            **({} if self.rewrite_sender else self._more),
            "rewrite_sender": self.rewrite_sender,
            "rewrite_senders": {} if self.rewrite_sender else senders,
            "admin": self.admin,
            "admin_for": self.admin_for,
        }
        return Adopted(
            {key: value for key, value in host.items() if value}, named(self.relays), tuple(self.unmanaged)
        )


def is_mail_address(text: str) -> bool:
    """Return True for one whole address, without patterns."""
    return bool(re.fullmatch(r"[^\s@<>,%*:|/\"]+@[^\s@<>,%*:|/\"]+", text))


def aliases_of(text: str) -> dict[str, str]:
    """Return local user → target, as aliases(5) has them."""
    lines = re.sub(r"\n[ \t]+", " ", text).split("\n")
    rows = (line.partition(":") for line in lines if not line.startswith("#"))
    return {user.strip().lower(): target.strip() for user, colon, target in rows if colon and user.strip()}


def _followed(user: str, aliases: Mapping[str, str]) -> str:
    """Return where an alias ends, over other aliases; "" in a circle."""
    seen = [user]
    while (target := aliases[seen[-1]].lower()) in aliases:
        if target in seen:
            return ""
        seen.append(target)
    return aliases[seen[-1]]


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


def first_line(text: str) -> str:
    """Return the first line of a file, without blanks around it."""
    return text.strip().partition("\n")[0].strip()
