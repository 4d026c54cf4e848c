"""The other SMTP hops of a Postfix, and the relay's parameters beside them."""

from collections.abc import Mapping

import pytest

from postward.config.beside import SharedHopError
from postward.config.desired import DesiredState, PostfixFacts, desired_state
from postward.config.neighbours import LISTS, SCALARS, Neighbours, neighbours
from postward.parsers.postconf import Master, parse_master
from tests.config.samples import load, toml

FACTS = PostfixFacts("/etc/postfix", "hash", frozenset({"hash"}))
MASTER = parse_master(
    "smtp unix - - n - - smtp\nrelay unix - - n - - smtp\nlmtp unix - - n - - lmtp\nscan unix - n n - 2 pipe flags=q\n"
)
PLAIN = {
    **dict.fromkeys((*SCALARS, *LISTS), ""),
    "relay_transport": "relay",
    "default_transport": "smtp",
    "smtp_sender_dependent_authentication": "no",
    "smtp_tls_wrappermode": "no",
}


def others(values: Mapping[str, str], master: Master = MASTER, ignored: str = "") -> Neighbours:
    """Return the neighbours on a host with these values, where the items `ignored` are Postward's."""
    return neighbours(load(toml()), {**PLAIN, **values}, master, frozenset(), frozenset(ignored.split()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content_filter", "smtp:[127.0.0.1]:10025"),
        ("virtual_transport", "smtp:[10.1.0.20]:25"),
        ("fallback_transport", "relay:[10.1.0.21]"),
        ("mailbox_transport_maps", "hash:/etc/postfix/moved"),
        ("relay_transport", "smtp:[10.1.0.20]:25"),
        ("transport_maps", "hash:/etc/postfix/transport"),
        ("smtp_fallback_relay", "[b.test]"),
        ("smtp_sender_dependent_authentication", "yes"),
        ("smtp_tls_policy_maps", "hash:/etc/postfix/policy"),
        ("sender_dependent_relayhost_maps", "hash:/etc/postfix/senders"),
    ],
)
def test_each_place_of_another_hop_is_named(name: str, value: str) -> None:
    """Parameters that route mail, or choose TLS or logins for other routes."""
    assert others({name: value}).hops == (f"{name} = {value}",)


def test_other_filters_and_own_tables_are_not_named() -> None:
    """Filters by pipe(8) and lmtp(8) have other parameters; Postward's own tables are not neighbours."""
    assert others({}).hops == ()
    own = "hash:/etc/postfix/sender_relay"
    assert others({"sender_dependent_relayhost_maps": own}, ignored=own).hops == ()
    for name, value in (
        ("content_filter", "scan:dummy"),
        ("content_filter", "lmtp:unix:/run/filter"),
        ("virtual_transport", "lmtp:unix:private/dovecot-lmtp"),
        ("default_transport", "postward-a:[smtp.example.net]:465"),
        ("smtp_fallback_relay", "[smtp.example.net]:587"),
    ):
        assert others({name: value}).hops == ()


def test_services_of_master_cf_are_named() -> None:
    """A client of its own, and a filter that only one listener has."""
    more = "amavis unix - - n - 2 smtp\n10025 inet n - n - - smtpd\n10025/inet/content_filter = amavis:[127.0.0.1]:10024\n"
    assert others({}, master=parse_master(more)).hops == (
        "10025/inet/content_filter = amavis:[127.0.0.1]:10024",
        "the service amavis of master.cf",
    )


def beside(relay: str, **values: str) -> DesiredState:
    """Return the desired state for a relay beside a route of transport_maps."""
    routes = others({"transport_maps": "hash:/etc/postfix/transport", **values})
    login = 'username = "u"\npassword = "p"\n'
    return desired_state(load(toml(relay=login + relay)), FACTS, {"a": "p"}, routes)


def test_starttls_beside_other_hops_is_an_entry_for_the_next_hop() -> None:
    """The lists of tables begin with Postward's, and no level is set for all hops."""
    state = beside("", smtp_sasl_password_maps="hash:/etc/postfix/logins")
    assert state.parameters["smtp_tls_policy_maps"] == "hash:/etc/postfix/tls_policy"
    assert (
        state.parameters["smtp_sasl_password_maps"]
        == "hash:/etc/postfix/sasl_passwd, hash:/etc/postfix/logins"
    )
    assert (
        not {"smtp_tls_security_level", "smtp_tls_wrappermode", "smtp_tls_CAfile"} & state.parameters.keys()
    )
    assert state.transports == ()
    assert [table.entries for table in state.tables] == [
        (("[smtp.example.net]:587", "encrypt"),),
        (("[smtp.example.net]:587", "u:p"),),
    ]


def test_implicit_tls_beside_other_hops_gets_a_service() -> None:
    """default_transport leads to it; wrapper mode, level and login are options of the service."""
    state = beside("port = 465")
    assert state.parameters["default_transport"] == "postward-a:[smtp.example.net]:465"
    assert "relayhost" not in state.parameters
    [transport] = state.transports
    assert transport.definition == (
        "postward-a unix - - n - - smtp -o smtp_tls_wrappermode=yes -o smtp_tls_security_level=encrypt "
        "-o smtp_tls_policy_maps= -o smtp_fallback_relay= -o smtp_sasl_auth_enable=yes "
        "-o smtp_sasl_password_maps=hash:/etc/postfix/sasl_passwd -o smtp_sasl_security_options=noanonymous "
        "-o smtp_sasl_tls_security_options=noanonymous"
    )


def test_a_service_is_refused_where_it_would_take_other_mail_over() -> None:
    """The message names the route and what to do."""
    with pytest.raises(
        SharedHopError, match=r"sender_dependent_relayhost_maps = hash:/s in main\.cf routes mail"
    ):
        beside("port = 465", sender_dependent_relayhost_maps="hash:/s")


@pytest.mark.parametrize("level", ["secure", "verify", "fingerprint", "dane"])
def test_verification_is_lowered_only_on_request(level: str) -> None:
    """Without a `verify` in the settings, a level that checks certificates stays; `verify = false` lowers it."""
    present = others({"smtp_tls_security_level": level})
    for relay, expected in (("", level), ("verify = false", "encrypt"), ('tls = "opportunistic"', "may")):
        state = desired_state(load(toml(relay=relay)), FACTS, {}, present)
        assert state.parameters["smtp_tls_security_level"] == expected


@pytest.mark.parametrize(("level", "expected"), [("dane", "encrypt"), ("dane-only", "dane-only")])
def test_wrapper_mode_gets_a_level_that_requires_tls(level: str, expected: str) -> None:
    """The level `dane` falls back to `may` without TLSA records, and smtp(8) then refuses wrapper mode."""
    state = desired_state(
        load(toml(relay="port = 465")), FACTS, {}, others({"smtp_tls_security_level": level})
    )
    assert state.parameters["smtp_tls_security_level"] == expected
