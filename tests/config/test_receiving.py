"""The list of what a host receives, before `postward init` proposes `profile = "send-only"`."""

import pytest

from postward.config.receiving import receiving

OWN = {
    "myhostname": "mail.example.com",
    "mydestination": "mail.example.com, localhost.example.com, localhost",
}


@pytest.mark.parametrize("interfaces", ["loopback-only", "localhost", "127.0.0.1, [::1]"])
def test_a_host_that_only_sends_receives_nothing(interfaces: str) -> None:
    """It listens for itself, and delivers only what its own users get. Networks do not matter then."""
    values = {"inet_interfaces": interfaces, "mynetworks": "127.0.0.0/8, 10.0.0.0/8", "relay_domains": ""}
    assert receiving(OWN | values) == []


def test_listeners_domains_and_networks_are_named() -> None:
    """Each clause has the parameter that holds it."""
    values = {
        "myhostname": "mail.example.com",
        "inet_interfaces": "all",
        "mydestination": "localhost, example.com",
        "mynetworks": "127.0.0.0/8, 10.0.0.0/8",
        "relay_domains": "example.org",
        "virtual_mailbox_domains": "hash:/etc/postfix/domains",
        "virtual_alias_domains": "",
    }
    assert receiving(values) == [
        "it listens for other hosts (inet_interfaces = all)",
        "it relays for 10.0.0.0/8 (mynetworks)",
        "it accepts mail for example.com (mydestination)",
        "it accepts mail for example.org (relay_domains)",
        "it accepts mail for hash:/etc/postfix/domains (virtual_mailbox_domains)",
    ]
