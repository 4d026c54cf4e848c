"""The `[host]` table: who this host is, in the words of postconf(5)."""

import ipaddress
from typing import Any

from pydantic import Field, field_validator, model_validator

from config.fields import PostfixList, Section, Text, is_address


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

    @field_validator("myhostname")
    @classmethod
    def _full_name(cls, value: str) -> str:
        if (
            "." not in value.strip(".")
            or value.endswith((".localdomain", ".local"))
            or value.startswith("localhost")
        ):
            raise ValueError(
                f'is "{value}", which relays do not accept as a full host name (504 need fully-qualified hostname); '
                'write name and domain, as in "mail.example.com"'
            )
        return value

    @field_validator("inet_interfaces")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for word in value.replace(",", " ").split():
            if (
                word in {"all", "loopback-only", "localhost"}
                or word.startswith("$")
                or is_address(word.strip("[]"))
            ):
                continue
            raise ValueError(
                f'has "{word}", and Postfix takes no names of network interfaces; write "loopback-only", "all" or an address'
            )
        return value

    @field_validator("inet_protocols")
    @classmethod
    def _protocols(cls, value: str) -> str:
        if not set(value.replace(",", " ").split()) <= {"all", "ipv4", "ipv6"} or not value.strip():
            raise ValueError(
                f'is "{value}", which stops every Postfix command; write "all", "ipv4" or "ipv6"'
            )
        return value

    @field_validator("mynetworks")
    @classmethod
    def _networks(cls, value: str) -> str:
        for word in value.replace(",", " ").split():
            try:
                ipaddress.ip_network(word.replace("[", "").replace("]", ""))
            except ValueError as error:
                if "host bits" not in str(error):
                    continue  # a table or a file name, which Postfix knows as well
                network = ipaddress.ip_network(word.replace("[", "").replace("]", ""), strict=False)
                raise ValueError(
                    f'has "{word}" with host bits set, and Postfix then answers every client 451; write "{network}"'
                ) from None
        return value

    @model_validator(mode="before")
    @classmethod
    def _domain_from_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("mydomain") and isinstance(data.get("myhostname"), str):
            return data | {"mydomain": data["myhostname"].partition(".")[2]}
        return data
