"""The consequences of a change as text, and the effects that have to be agreed to."""

import pytest

from postward.config.consequences import Effect, consequences
from postward.config.drift import ActualState, Drift, Kind
from postward.config.plan import diff, plan
from postward.config.resources import LookupTable
from tests.config.samples import SECRET

END, OPEN = Effect.END_INBOUND, Effect.OPEN_RELAYING
SERVER = {
    "myhostname": "example.com",
    "inet_interfaces": "all",
    "inet_protocols": "ipv4",
    "mydestination": "example.com, localhost",
    "mynetworks": "127.0.0.0/8 10.0.0.0/8",
    "relay_domains": "",
    "virtual_alias_domains": "",
    "virtual_mailbox_domains": "",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "virtual_alias_maps": "hash:/etc/postfix/virtual",
}
CLIENT = SERVER | {"inet_interfaces": "loopback-only"}


def told(before: dict[str, str], **after: str) -> list[tuple[str, Effect | None]]:
    """Return the consequences of other values."""
    actual = ActualState({}, {}, expanded=before, expanded_desired=before | after, listeners=("smtp",))
    return [(one.text, one.effect) for one in consequences([], actual)]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (
            {"inet_interfaces": "loopback-only"},
            ("other hosts can no longer connect to smtp (inet_interfaces was all)", END),
        ),
        ({"mynetworks": "127.0.0.0/8"}, ("10.0.0.0/8 may no longer relay (mynetworks)", END)),
        (
            {"mynetworks": "127.0.0.0/8 10.0.0.0/8 192.0.2.0/24"},
            ("192.0.2.0/24 may relay (mynetworks)", OPEN),
        ),
        (
            {"mydestination": "localhost"},
            ("mail for example.com is no longer accepted here (mydestination)", END),
        ),
        ({"relay_domains": "example.net"}, ("mail for example.net is accepted here (relay_domains)", OPEN)),
        (
            {"smtpd_relay_restrictions": "permit"},
            (
                "smtpd_relay_restrictions becomes permit, instead of permit_mynetworks reject_unauth_destination",
                OPEN,
            ),
        ),
        (
            {"virtual_alias_maps": ""},
            ("recipients in hash:/etc/postfix/virtual are no longer known (virtual_alias_maps)", END),
        ),
        ({"master_service_disable": "inet"}, ("the listeners inet end (master_service_disable)", END)),
        ({"inet_protocols": "ipv6"}, ("other hosts can no longer connect by ipv4 (inet_protocols)", END)),
    ],
)
def test_inbound_mail_and_relaying_are_to_be_agreed_to(
    after: dict[str, str], expected: tuple[str, Effect]
) -> None:
    """Each end and each opening on a mail server has an effect, and names the parameter."""
    assert told(SERVER, **after) == [expected]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CLIENT, {"mynetworks": "127.0.0.0/8"}),
        (CLIENT, {"mydestination": "localhost"}),
        (SERVER, {"mynetworks": "10.0.0.0/8 10.1.0.0/16"}),
        (SERVER, {"mydestination": "localhost", "virtual_alias_domains": "example.com"}),
        (
            SERVER,
            {
                "smtpd_relay_restrictions": "permit_mynetworks, reject_rbl_client a.test, reject_unauth_destination"
            },
        ),
        (SERVER, {"inet_protocols": "all"}),
        (SERVER, {"relayhost": "[a.test]:587", "myorigin": "example.com"}),
    ],
)
def test_other_changes_need_no_agreement(before: dict[str, str], after: dict[str, str]) -> None:
    """A host without listeners, a network within another, a domain that moves, a further refusal, a route."""
    assert {effect for _, effect in told(before, **after)} <= {None}


def test_a_new_host_name_ends_what_it_named() -> None:
    """`$myhostname` in mydestination was the mail domain; mydestination itself is not in the plan."""
    assert told(SERVER, myhostname="mail.example.com", mydestination="mail.example.com, localhost")[0] == (
        "mail for example.com is no longer accepted here (mydestination)",
        END,
    )


def test_logins_and_senders_are_named() -> None:
    """Without passwords: a login of a table, and one in main.cf."""
    before = CLIENT | {
        "myorigin": "host.example.com",
        "smtp_sasl_password_maps": f"static:u:{SECRET}",
        "sender_canonical_maps": "",
    }
    after = {
        "myorigin": "example.com",
        "smtp_sasl_password_maps": "hash:/etc/postfix/sasl_passwd",
        "sender_canonical_maps": "static:a@example.com",
    }
    logins = LookupTable("sasl_passwd", "hash", (("[new.test]:587", f"new:{SECRET}"),), secret=True)
    drift = Drift(
        "sasl_passwd",
        "other entries",
        "",
        logins,
        Kind.TABLE,
        removed=(("[old.test]:25", f"old:{SECRET}"), ("[new.test]:587", f"old:{SECRET}")),
        added=logins.entries,
    )
    actual = ActualState(
        {}, {}, expanded=before, expanded_desired=before | after, exposed=("/etc/postfix/old",)
    )
    lines = list(diff(plan([drift], consequences([drift], actual))))
    assert [line for line in lines if line.startswith("* ")] == [
        "* logins in static:******** are no longer used (smtp_sasl_password_maps)",
        "* the login old at [old.test]:25 ends",
        "* the login at [new.test]:587 is new instead of old",
        "* senders without a domain, such as root, are @example.com instead of @host.example.com (myorigin)",
        "* sender_canonical_maps rewrites addresses by static:a@example.com instead of nothing",
        "* /etc/postfix/old stays, with logins that every user of the host can read: chmod 0600 it, or remove it",
    ]
    assert SECRET not in "".join(lines)


def test_an_effect_stands_first_in_the_words_of_a_plan() -> None:
    """It is marked, with the name that agrees to it."""
    drift = Drift("inet_interfaces", "all", "loopback-only")
    changed = {"inet_interfaces": "loopback-only", "myorigin": "example.com"}
    actual = ActualState({}, {}, expanded=SERVER, expanded_desired=SERVER | changed)
    planned = plan([drift], consequences([drift], actual))
    assert planned.effects == (END,)
    assert list(diff(planned))[2:] == [
        "! other hosts can no longer connect (inet_interfaces was all) (end-inbound)",
        "* senders without a domain, such as root, are @example.com instead of @ (myorigin)",
        "then: postfix stop, postfix start",
    ]
