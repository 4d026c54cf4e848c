"""The `[host]` table: the identity of this host, in the parameters of postconf(5).

Postward leaves a parameter without a key in the table as main.cf has it, unless a profile supplies a value.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from postward.config.fields import (
    Addresses,
    MailAddress,
    PostfixList,
    Section,
    Text,
    is_address,
    is_host_name,
    quoted,
    suggest_host_name,
)
from postward.parsers.postconf import split_list

# The identity of a host that only sends: values of `profile = "send-only"` for the keys that are left out.
SEND_ONLY: Mapping[str, str] = {
    "myorigin": "$mydomain",
    "inet_interfaces": "loopback-only",
    "inet_protocols": "all",
    "mydestination": "$myhostname, localhost.$mydomain, localhost",
    "mynetworks": "127.0.0.0/8, [::1]/128",
    "relay_domains": "",
}


# The local users whose mail goes to host.admin.
ADMIN_FOR = ("root", "postmaster", "mailer-daemon")


def with_mydomain(host: dict[str, Any]) -> dict[str, Any]:
    """Return the `[host]` table with mydomain, which is myhostname without its first label unless it is set."""
    name = host.get("myhostname")
    if host.get("mydomain", "") != "" or not isinstance(name, str) or not _is_full(name):
        return host
    return host | {"mydomain": _domain_of(name)}


def with_profile(host: dict[str, Any]) -> dict[str, Any]:
    """Return the `[host]` table with the values of its profile for the keys that it leaves out."""
    return with_mydomain({**SEND_ONLY, **host}) if host.get("profile") == "send-only" else host


def _origin(value: str) -> str:
    is_file = re.fullmatch(r"/[^\s,]+", value)
    if not is_file and not is_host_name(value) and value not in {"$mydomain", "$myhostname"}:
        raise ValueError(
            f'must be "$mydomain", "$myhostname", a domain such as "example.com" or a file with one, not {quoted(value)}'
        )
    return value


def _new_sender(value: str) -> str:
    if not re.fullmatch(r"[^\s@<>,]*@[^\s@<>,]+", value):
        raise ValueError(
            f'must be a mail address such as "web@example.com" or a domain such as "@example.com", not {quoted(value)}'
        )
    return value


NewSender = Annotated[Text, AfterValidator(_new_sender)]


def _user(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", value):
        raise ValueError(f'must be the name of a local user such as "www-data", not {quoted(value)}')
    return value


def _interfaces(value: str) -> str:
    items = split_list(value)
    if not items:
        raise ValueError('must not be empty; write "loopback-only", "all" or an address')
    if names := [item for item in items if not _is_interface(item)]:
        raise ValueError(
            f"must not name network interfaces ({_listed(names)}): Postfix takes addresses; "
            'write "loopback-only", "all" or an address'
        )
    return value


def _protocols(value: str, info: ValidationInfo) -> str:
    protocols = set(split_list(value))
    if not protocols or not protocols <= {"all", "ipv4", "ipv6"}:
        raise ValueError(
            f'must be "all", "ipv4" or "ipv6", not {quoted(value)}: every Postfix command fails with it'
        )
    interfaces = [item.strip("[]") for item in split_list(info.data.get("inet_interfaces") or "")]
    if other := [item for item in interfaces if is_address(item) and not supports(value, item)]:
        raise ValueError(
            f"is {quoted(value)}, but inet_interfaces has {_listed(other)}: every Postfix command fails with that; "
            'write "all"'
        )
    return value


def _networks(value: str) -> str:
    items = [item.removeprefix("!") for item in split_list(value)]
    if faults := [fault for item in items if (fault := _network_fault(item))]:
        raise ValueError("; ".join(faults))
    return value


class Host(Section):
    """Identity of the host, in Postfix's parameters (postconf(5)). A key that is left out leaves main.cf as it is."""

    profile: Literal["send-only"] | None = Field(
        default=None,
        description="send-only: this host receives no mail from others. Then the keys below that are left out have the "
        "values shown, and routing leftovers in main.cf (default_transport, defer_transports, …) are reset.",
        examples=["send-only"],
    )
    myhostname: Text = Field(
        description="The host's full name. The relay sees it in EHLO; many relays refuse a name without a dot.",
        examples=["mail.example.com"],
    )
    mydomain: Text | None = Field(
        default=None,
        description="The host's domain. send-only: myhostname without its first label.",
        examples=["example.com"],
    )
    myorigin: Annotated[Text, AfterValidator(_origin)] | None = Field(
        default=None,
        description="The domain that Postfix appends to a sender without a domain, such as root; or a file that holds it, "
        "such as /etc/mailname.",
        examples=[SEND_ONLY["myorigin"]],
    )
    inet_interfaces: Annotated[PostfixList, AfterValidator(_interfaces)] | None = Field(
        default=None,
        description="The addresses on which Postfix listens. loopback-only: only this host can submit mail.",
        examples=[SEND_ONLY["inet_interfaces"]],
    )
    inet_protocols: Annotated[PostfixList, AfterValidator(_protocols)] | None = Field(
        default=None,
        description='IP versions: "all", "ipv4" or "ipv6". Use "ipv4" on a host without an IPv6 route.',
        examples=[SEND_ONLY["inet_protocols"]],
    )
    mydestination: PostfixList | None = Field(
        default=None,
        description="Domains that are delivered on this host. Their mail does not go to the relay.",
        examples=[SEND_ONLY["mydestination"]],
    )
    mynetworks: Annotated[PostfixList, AfterValidator(_networks)] | None = Field(
        default=None,
        description="Clients that may relay through this host, in CIDR notation.",
        examples=[SEND_ONLY["mynetworks"]],
    )
    relay_domains: PostfixList | None = Field(
        default=None,
        description="Further domains for which this host accepts mail. Empty: none.",
        examples=[SEND_ONLY["relay_domains"]],
    )
    rewrite_sender: MailAddress = Field(
        default="",
        description="Sender address of all mail, for providers that accept only one. Empty: senders are not changed.",
        examples=["noreply@example.com"],
    )
    rewrite_senders: dict[Addresses, NewSender] = Field(
        default={},
        description="Senders to change, each with its new address; a table in sender_canonical_maps of main.cf stays behind "
        "them. @example.com: all of a domain; @.example.com: all of its subdomains.",
        examples=[{"root@web1.example": "web@example.com", "@.lan.example": "@example.com"}],
    )
    admin: MailAddress = Field(
        default="",
        description="Address that gets the mail to root, postmaster and MAILER-DAEMON of this host, such as cron's, and also "
        "mail that other hosts send them here. Empty: it goes where main.cf sends it.",
        examples=["ops@example.com"],
    )
    admin_for: list[Annotated[Text, AfterValidator(_user)]] = Field(
        default=[],
        description="Further local users whose mail goes to that address.",
        examples=[["www-data"]],
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_profile(cls, data: Any) -> Any:
        return with_profile(data) if isinstance(data, dict) else data

    @field_validator("myhostname")
    @classmethod
    def _is_full_host_name(cls, value: str) -> str:
        if not is_host_name(value):
            raise ValueError(
                f"must be a host name, not {quoted(value)}: every Postfix command fails with it; "
                f"{suggest_host_name(value, 'mail.example.com')}"
            )
        if not _is_full(value):
            raise ValueError(
                f"must be a full host name, not {quoted(value)}: relays refuse others (504 need fully-qualified hostname); "
                'write name and domain, as in "mail.example.com"'
            )
        return value

    @field_validator("mydomain")
    @classmethod
    def _is_domain(cls, value: str | None) -> str | None:
        if value and not is_host_name(value):
            raise ValueError(
                f"must be a domain, not {quoted(value)}; {suggest_host_name(value, 'example.com')}"
            )
        return value or None

    @property
    def domain(self) -> str:
        """The host's domain: mydomain, or myhostname without its first label."""
        return self.mydomain or _domain_of(self.myhostname)

    @property
    def local_mail(self) -> tuple[tuple[str, str], ...]:
        """The local users whose mail goes elsewhere, each with the address, as entries of virtual(5)."""
        users = dict.fromkeys(name.lower() for name in (*ADMIN_FOR, *self.admin_for))
        return tuple((user, self.admin) for user in users) if self.admin else ()

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of main.cf that the settings name, with their values."""
        names = ("myhostname", "mydomain", *SEND_ONLY)
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


def supports(inet_protocols: str, address: str) -> bool:
    """Return True if Postfix uses the IP version of this address."""
    return bool({"all", f"ipv{ipaddress.ip_address(address).version}"} & set(split_list(inet_protocols)))


def _domain_of(name: str) -> str:
    return name.partition(".")[2]


def _is_full(name: str) -> bool:
    """Return False for "mail" and for "mail.localdomain", the name that Postfix makes of it."""
    return is_host_name(name) and "." in name and not name.lower().endswith((".localdomain", ".localhost"))


def _is_interface(item: str) -> bool:
    return item in {"all", "loopback-only", "localhost"} or item[0] == "$" or is_address(item.strip("[]"))


def _network_fault(item: str) -> str | None:
    """Return the fault of an item of mynetworks (postconf(5)), or None. Tables, files and $parameters are not checked."""
    if item.startswith(("/", "$")):
        return None
    bare = item.replace("[", "").replace("]", "")
    try:
        network = ipaddress.ip_network(bare, strict=False)
    except ValueError:
        if re.match(r"[a-z]+:[/$]", item):
            return None
        return (
            f'has {quoted(item)}, which is not a network; write address and prefix length, as in "10.0.0.0/8"'
        )
    corrected = f"[{network.network_address}]/{network.prefixlen}" if network.version == 6 else str(network)
    if network.prefixlen == 0:
        return (
            f'has {quoted(item)}, which lets every client relay; write your own networks, as in "10.0.0.0/8"'
        )
    if "/" in bare and not _is_exact(bare):
        return f'has {quoted(item)} with host bits set: Postfix would answer every client with 451; write "{corrected}"'
    if network.version == 6 and "[" not in item:
        return f'has {quoted(item)}, which Postfix reads as a table because of the colon; write "{corrected}"'
    return None


def _is_exact(network: str) -> bool:
    try:
        ipaddress.ip_network(network)
    except ValueError:
        return False
    return True


def _listed(items: list[str]) -> str:
    return ", ".join(quoted(item) for item in items)
