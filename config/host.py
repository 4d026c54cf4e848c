"""The `[host]` table: who this host is, in the words of postconf(5)."""

import ipaddress
import re
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from postward.config.fields import (
    MailAddress,
    PostfixList,
    Section,
    Text,
    host_name_meant,
    is_address,
    is_host_name,
    quoted,
    words_of,
)


class Host(Section):
    """Who this host is, in Postfix's own words (postconf(5)); the defaults are those of a host that only sends."""

    myhostname: Text = Field(
        description="The host's full name. The relay sees it in EHLO, and many refuse one without a dot.",
        examples=["mail.example.com"],
    )
    mydomain: Text = Field(
        default="",
        description="The domain of this host. Empty: myhostname without its first label.",
        examples=["example.com"],
    )
    myorigin: Text = Field(
        default="$mydomain", description="The domain that is added to a sender without one, such as root."
    )
    inet_interfaces: PostfixList = Field(
        default="loopback-only",
        description="The addresses Postfix listens on. loopback-only: this host alone can submit mail.",
    )
    inet_protocols: PostfixList = Field(
        default="all",
        description='IP versions: "all", "ipv4" or "ipv6". Write "ipv4" on a host without IPv6 routes.',
    )
    mydestination: PostfixList = Field(
        default="$myhostname, localhost.$mydomain, localhost",
        description="Domains that end on this host. Mail for them never reaches the relay.",
    )
    mynetworks: PostfixList = Field(
        default="127.0.0.0/8, [::1]/128",
        description="Clients that may relay through this host, in CIDR form.",
    )
    relay_domains: PostfixList = Field(
        default="", description="Further domains that this host accepts mail for. Empty: none."
    )

    @model_validator(mode="before")
    @classmethod
    def _domain_from_name(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("mydomain", "") != "":
            return data
        name = data.get("myhostname")
        return (
            data | {"mydomain": name.partition(".")[2]} if isinstance(name, str) and _is_full(name) else data
        )

    rewrite_sender: MailAddress = Field(
        default="",
        description="For providers that accept one sender only: the address from which all mail then comes. Empty: as it is.",
        examples=["noreply@example.com"],
    )

    @field_validator("myhostname")
    @classmethod
    def _full_name(cls, value: str) -> str:
        if not is_host_name(value):
            meant = host_name_meant(value, "mail.example.com")
            raise ValueError(
                f"is {quoted(value)}, which is no host name and stops every Postfix command; {meant}"
            )
        if not _is_full(value):
            raise ValueError(
                f"is {quoted(value)}, which relays do not accept as a full host name (504 need fully-qualified hostname); "
                'write name and domain, as in "mail.example.com"'
            )
        return value

    @field_validator("mydomain")
    @classmethod
    def _domain(cls, value: str) -> str:
        if value and not is_host_name(value):
            raise ValueError(
                f"is {quoted(value)}, which is no domain; {host_name_meant(value, 'example.com')}"
            )
        return value

    @field_validator("myorigin")
    @classmethod
    def _origin(cls, value: str) -> str:
        if value.startswith("/"):
            raise ValueError(
                f"is {quoted(value)}, and a file that is missing or empty stops every Postfix command; "
                'write the domain itself, or "$mydomain"'
            )
        if not is_host_name(value) and not re.fullmatch(r"\$(mydomain|myhostname)", value):
            raise ValueError(
                f'is {quoted(value)}, which is no domain; write "$mydomain", "$myhostname" or a domain, as in "example.com"'
            )
        return value

    @field_validator("inet_interfaces")
    @classmethod
    def _interfaces(cls, value: str) -> str:
        names = [word for word in words_of(value) if not _is_interface(word)]
        if names:
            raise ValueError(
                f"has {_listed(names)}, and Postfix takes no names of network interfaces; "
                'write "loopback-only", "all" or an address'
            )
        if not words_of(value):
            raise ValueError('is empty; write "loopback-only", "all" or an address')
        return value

    @field_validator("inet_protocols")
    @classmethod
    def _protocols(cls, value: str, info: ValidationInfo) -> str:
        protocols = set(words_of(value))
        if not protocols or not protocols <= {"all", "ipv4", "ipv6"}:
            raise ValueError(
                f'is {quoted(value)}, which stops every Postfix command; write "all", "ipv4" or "ipv6"'
            )
        interfaces = [word.strip("[]") for word in words_of(info.data.get("inet_interfaces", ""))]
        other = [word for word in interfaces if is_address(word) and not supports(value, word)]
        if other:
            raise ValueError(
                f'is {quoted(value)}, and inet_interfaces has {_listed(other)}: that stops every Postfix command; write "all"'
            )
        return value

    @field_validator("mynetworks")
    @classmethod
    def _networks(cls, value: str) -> str:
        faults = [fault for word in words_of(value) if (fault := _network_fault(word.removeprefix("!")))]
        if faults:
            raise ValueError("; ".join(faults))
        return value


def supports(inet_protocols: str, address: str) -> bool:
    """True if Postfix uses the IP version of this address."""
    return bool({"all", f"ipv{ipaddress.ip_address(address).version}"} & set(words_of(inet_protocols)))


def _is_full(name: str) -> bool:
    """Not "mail", nor "mail.localdomain", which Postfix makes of it by itself."""
    return is_host_name(name) and "." in name and not name.lower().endswith((".localdomain", ".localhost"))


def _is_interface(word: str) -> bool:
    return word in {"all", "loopback-only", "localhost"} or word[0] == "$" or is_address(word.strip("[]"))


def _network_fault(word: str) -> str | None:
    """What is wrong with an item of mynetworks (postconf(5)); tables, files and $parameters are Postfix's business."""
    if word.startswith(("/", "$")):
        return None
    bare = word.replace("[", "").replace("]", "")
    try:
        network = ipaddress.ip_network(bare, strict=False)
    except ValueError:
        if re.match(r"[a-z]+:[/$]", word):
            return None
        return f'has {quoted(word)}, which is no network; write address and length, as in "10.0.0.0/8"'
    right = f"[{network.network_address}]/{network.prefixlen}" if network.version == 6 else str(network)
    if network.prefixlen == 0:
        return f'has {quoted(word)}, which lets everyone relay; write your own networks, as in "10.0.0.0/8"'
    if "/" in bare and not _is_exact(bare):
        return f'has {quoted(word)} with host bits set, and Postfix then answers every client 451; write "{right}"'
    if network.version == 6 and "[" not in word:
        return f'has {quoted(word)}, which Postfix takes for a table because of the colon; write "{right}"'
    return None


def _is_exact(network: str) -> bool:
    try:
        ipaddress.ip_network(network)
    except ValueError:
        return False
    return True


def _listed(words: list[str]) -> str:
    return ", ".join(quoted(word) for word in words)
