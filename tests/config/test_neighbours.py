"""The other SMTP hops of a Postfix, and the relay's parameters beside them."""

from collections.abc import Mapping
from dataclasses import replace

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
        ("smtp_tls_policy_maps", "hash:/etc/postfix/policy"),
        ("sender_dependent_relayhost_maps", "hash:/etc/postfix/senders"),
    ],
)
def test_each_place_of_another_hop_is_named(name: str, value: str) -> None:
    """Parameters that route mail, or choose TLS or logins for other routes."""
    assert others({name: value}).hops == (f"{name} = {value}",)


def test_logins_by_sender_are_named_where_the_admin_keeps_logins() -> None:
    """Without a table of the admin, the parameter finds only Postward's logins."""
    values = {"smtp_sender_dependent_authentication": "yes"}
    assert others(values).hops == ()
    values["smtp_sasl_password_maps"] = "ldap:/etc/postfix/logins.cf"
    assert others(values).hops == ("smtp_sender_dependent_authentication = yes",)


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
        ("default_transport", "smtp:[smtp.example.net]:587"),
        ("default_transport", "relay:smtp.example.net"),
        ("smtp_fallback_relay", "[smtp.example.net]:587"),
    ):
        assert others({name: value}).hops == ()
    for value in ("smtp:[10.0.0.1]", "slow:[smtp.example.net]:587", "slow"):
        assert others({"default_transport": value}).hops == (f"default_transport = {value}",)


def test_services_of_master_cf_are_named() -> None:
    """A client of its own, and a filter that only one listener has."""
    more = "amavis unix - - n - 2 smtp\n10025 inet n - n - - smtpd\n10025/inet/content_filter = amavis:[127.0.0.1]:10024\n"
    assert others({}, master=parse_master(more)).hops == (
        "10025/inet/content_filter = amavis:[127.0.0.1]:10024",
        "the service amavis of master.cf",
    )


LOGIN = 'username = "u"\npassword = "p"'
LISTS_AND_DEFAULT = {*LISTS, "default_transport", "myhostname"}


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


def test_implicit_tls_for_all_hops_needs_no_service() -> None:
    """Where main.cf has wrapper mode, an entry for the next hop does, beside routes by sender too."""
    state = beside(
        "port = 465", smtp_tls_wrappermode="yes", sender_dependent_relayhost_maps="hash:/etc/postfix/senders"
    )
    assert state.transports == ()
    assert "smtp_tls_wrappermode" not in state.parameters
    assert state.tables[0].entries == (("[smtp.example.net]:465", "encrypt"),)


@pytest.mark.parametrize(
    ("values", "relay", "reason"),
    [
        (
            {"smtp_sasl_tls_security_options": "noplaintext, noanonymous"},
            LOGIN,
            "noplaintext in smtp_sasl_tls",
        ),
        ({}, LOGIN, "beside that for smtp.example.net in hash:/logins"),
        ({"smtp_sasl_auth_enable": "yes"}, "", "mail without the login in hash:/logins"),
        ({"smtp_tls_wrappermode": "yes"}, LOGIN, "STARTTLS beside smtp_tls_wrappermode"),
    ],
)
def test_what_all_hops_share_is_not_changed_for_the_relay(
    values: dict[str, str], relay: str, reason: str
) -> None:
    """Where a table by next hop cannot say it, the relay gets a service of its own, or the refusal says why."""
    admins = PLAIN | {"transport_maps": "hash:/t", "smtp_sasl_password_maps": "hash:/logins"} | values
    keys = {"hash:/logins": frozenset({"smtp.example.net"})}
    routes = neighbours(load(toml()), admins, MASTER, frozenset(), frozenset(), keys)
    state = desired_state(load(toml(relay=relay)), FACTS, {"a": "p"}, routes)
    assert state.parameters.keys() <= LISTS_AND_DEFAULT
    assert [transport.name for transport in state.transports] == ["postward-a"]
    routes = replace(routes, values={**routes.values, "sender_dependent_relayhost_maps": "hash:/s"})
    with pytest.raises(SharedHopError, match=reason):
        desired_state(load(toml(relay=relay)), FACTS, {"a": "p"}, routes)


@pytest.mark.parametrize(
    ("relay", "options", "needed"),
    [
        ('tls = "opportunistic"\nallow_cleartext_password = true', "noanonymous", False),
        ('tls = "opportunistic"\nallow_cleartext_password = true', "noplaintext, noanonymous", True),
        ('tls = "opportunistic"', "noplaintext, noanonymous", False),
        ('tls = "opportunistic"', "noanonymous", True),
        ('tls = "none"\nport = 25\nallow_cleartext_password = true', "noanonymous", False),
    ],
)
def test_a_login_in_clear_text_needs_a_service_only_against_main_cf(
    relay: str, options: str, needed: bool
) -> None:
    """Where main.cf allows what the relay's settings allow, an entry for the next hop does, beside all other routes."""
    routes = {"sender_dependent_relayhost_maps": "hash:/s", "smtp_sasl_security_options": options}
    present = others(routes)
    settings = load(toml(relay=f"{LOGIN}\n{relay}"))
    if needed:
        with pytest.raises(SharedHopError, match="a login without mandatory TLS"):
            desired_state(settings, FACTS, {"a": "p"}, present)
    else:
        assert desired_state(settings, FACTS, {"a": "p"}, present).transports == ()


def test_a_sender_with_a_login_of_the_admin_gets_an_entry_of_its_own() -> None:
    """Postfix finds the admin's login by sender before any login by next hop. Other senders need no entry."""
    admins = PLAIN | {
        "smtp_sasl_password_maps": "hash:/logins",
        "smtp_sender_dependent_authentication": "yes",
    }
    keys = {"hash:/logins": frozenset({"@shop.example", "anna@mail.example", "[b.test]:587"})}
    senders = 'senders = ["@shop.example", "bob@shop.example", "anna@mail.example", "eve@mail.example"]'
    settings = load(toml(relay=f"{LOGIN}\n{senders}"))
    present = neighbours(settings, admins, MASTER, frozenset(), frozenset(), keys)
    [logins] = [
        table
        for table in desired_state(settings, FACTS, {"a": "p"}, present).tables
        if "passwd" in table.name
    ]
    assert [key for key, _ in logins.entries] == [
        "[smtp.example.net]:587",
        "@shop.example",
        "bob@shop.example",
        "anna@mail.example",
    ]


def test_a_static_login_of_the_admin_needs_a_service() -> None:
    """It is found by the server's name before any login by next hop."""
    admins = PLAIN | {"transport_maps": "hash:/t", "smtp_sasl_password_maps": "static:other:#1"}
    present = neighbours(load(toml()), admins, MASTER, frozenset(), frozenset())
    [transport] = desired_state(load(toml(relay=LOGIN)), FACTS, {"a": "p"}, present).transports
    assert dict(transport.overrides)["smtp_sasl_password_maps"] == "hash:/etc/postfix/sasl_passwd"


def test_a_service_beside_logins_by_sender_has_the_name_of_its_server() -> None:
    """Such a service has the admin's tables too, and Postfix finds a server's name there before any next hop."""
    admins = PLAIN | {
        "smtp_sasl_password_maps": "hash:/logins",
        "smtp_sender_dependent_authentication": "yes",
    }
    keys = {"hash:/logins": frozenset({"smtp.example.net", "a@b.test"})}
    settings = load(toml(relay=f"{LOGIN}\nport = 465"))
    present = neighbours(settings, admins, MASTER, frozenset(), frozenset(), keys)
    state = desired_state(settings, FACTS, {"a": "p"}, present)
    [transport] = state.transports
    assert (
        dict(transport.overrides)["smtp_sasl_password_maps"] == "hash:/etc/postfix/sasl_passwd,hash:/logins"
    )
    assert state.tables[0].entries == (("[smtp.example.net]:465", "u:p"), ("smtp.example.net", "u:p"))


def test_senders_are_routed_in_the_table_that_the_admin_has() -> None:
    """A transport by sender comes before a next hop by sender."""
    settings = load(toml(relay='senders = ["@a.test"]'))
    for name, table, target in (
        ("sender_dependent_relayhost_maps", "sender_relay", "[smtp.example.net]:587"),
        ("sender_dependent_default_transport_maps", "sender_transport", "smtp:[smtp.example.net]:587"),
    ):
        present = neighbours(settings, PLAIN | {name: "hash:/s"}, MASTER, frozenset(), frozenset())
        state = desired_state(settings, FACTS, {}, present)
        assert state.parameters[name] == f"hash:/etc/postfix/{table}, hash:/s"
        assert (table, (("@a.test", target),)) in [(one.name, one.entries) for one in state.tables]


def test_parameters_of_the_client_are_options_of_the_service() -> None:
    """HELO name and certificate of `[main_cf]`, the filter that send-only empties, and the provider's limit."""
    present = {"transport_maps": "hash:/t", "smtp_helo_name": "inner", "smtp_tls_cert_file": ""}
    routes = others({**present, "smtp_sasl_mechanism_filter": "cram-md5", "smtp_sasl_type": "cyrus"})
    more = '[main_cf]\nsmtp_helo_name = "outer"\nsmtp_tls_cert_file = "/c"\nsmtp_helo_timeout = "9s"\n'
    settings = load(toml(host='profile = "send-only"', relay='provider = "office365"', more=more))
    state = desired_state(settings, FACTS, {}, routes)
    [transport] = state.transports
    wishes = {"smtp_helo_name": "outer", "smtp_tls_cert_file": "/c", "smtp_sasl_mechanism_filter": ""}
    assert wishes.items() <= dict(transport.overrides).items()
    assert not wishes.keys() & state.parameters.keys()
    assert state.parameters["smtp_helo_timeout"] == "9s"
    assert transport.definition.startswith("postward-a unix - - n - 2 smtp ")


def test_domains_that_relayhost_would_take_are_another_hop() -> None:
    """Mail of relay_domains goes to their own servers while relayhost is empty: it stays empty."""
    routes = others({"relay_domains": "inner.test"})
    assert routes.hops == ("relay_domains = inner.test",)
    state = desired_state(load(toml()), FACTS, {}, routes)
    assert "relayhost" not in state.parameters
    assert state.parameters["default_transport"] == "postward-a:[smtp.example.net]:587"
    for values in ({"relayhost": "[b.test]"}, {"relay_transport": "smtp:[10.0.0.1]"}):
        assert not others({"relay_domains": "inner.test", **values}).captured


@pytest.mark.parametrize(("relay", "lowered"), [("", False), ("verify = false", True), ("port = 465", False)])
def test_a_policy_that_verifies_the_relay_is_kept(relay: str, lowered: bool) -> None:
    """The admin's entry for the next hop stays in force, also for a service; `verify = false` lowers it."""
    hop = "[smtp.example.net]:465" if relay == "port = 465" else "[smtp.example.net]:587"
    admins = PLAIN | {"smtp_tls_policy_maps": "hash:/p"}
    policies = {hop: "fingerprint match=AA"}
    routes = neighbours(load(toml()), admins, MASTER, frozenset(), frozenset(), policies=policies)
    state = desired_state(load(toml(relay=relay)), FACTS, {}, routes)
    assert ("tls_policy" in [table.name for table in state.tables]) is lowered
    for transport in state.transports:
        assert dict(transport.overrides)["smtp_tls_policy_maps"] == "hash:/p"


def test_a_table_of_logins_with_other_entries_stays_in_use() -> None:
    """Postward's own comes before it, also where smtp(8) sends to the relay alone; a table for this relay is replaced."""
    admins = PLAIN | {"smtp_sasl_password_maps": "hash:/a, hash:/b, static:u:p"}
    keys = {
        "hash:/a": frozenset({"[smtp.example.net]:587"}),
        "hash:/b": frozenset({"[smtp.example.net]:587", "smtp.example.net", "[b.test]:587"}),
        "static:u:p": frozenset[str](),
        "sasl_passwd": frozenset({"[old.test]:25"}),
        "sender_relay": frozenset[str](),
    }
    files = frozenset({"sasl_passwd", "sender_relay"})
    alone = neighbours(load(toml()), admins, MASTER, files, frozenset(), keys)
    assert alone.hops == ()
    assert alone.tables == {"sasl_passwd"}
    state = desired_state(load(toml(relay=LOGIN)), FACTS, {"a": "p"}, alone)
    assert state.parameters["smtp_sasl_password_maps"] == "hash:/etc/postfix/postward_sasl_passwd, hash:/b"
    # The host name in the admin's table would hide the next hop in Postward's.
    assert state.tables[0].entries == (("[smtp.example.net]:587", "u:p"), ("smtp.example.net", "u:p"))


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
