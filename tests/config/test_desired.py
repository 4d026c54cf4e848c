"""The desired state that follows from settings: parameters of main.cf, tables and services."""

from itertools import product

import pytest

from postward.config.desired import PostfixFacts, UnsupportedError, desired_state
from postward.config.providers import PROVIDERS
from tests.config.samples import SECRET, load, toml

TYPES = frozenset({"hash", "btree", "lmdb", "cdb", "texthash", "static", "regexp", "proxy"})
FACTS = PostfixFacts("/etc/postfix", "hash", TYPES)

# (tls, login, verify) → security level, wrapper mode, auth, security options without TLS.
CASES = {
    ("starttls", True, False): ("encrypt", "no", "yes", "noanonymous"),
    ("starttls", True, True): ("secure", "no", "yes", "noanonymous"),
    ("starttls", False, False): ("encrypt", "no", "no", None),
    ("starttls", False, True): ("secure", "no", "no", None),
    ("implicit", True, False): ("encrypt", "yes", "yes", "noanonymous"),
    ("implicit", True, True): ("secure", "yes", "yes", "noanonymous"),
    ("implicit", False, False): ("encrypt", "yes", "no", None),
    ("implicit", False, True): ("secure", "yes", "no", None),
    ("opportunistic", True, False): ("may", "no", "yes", "noplaintext, noanonymous"),
    ("opportunistic", False, False): ("may", "no", "no", None),
    ("none", True, False): ("none", "no", "yes", "noanonymous"),
    ("none", False, False): ("none", "no", "no", None),
}


def relay(tls: str, login: bool, verify: bool) -> str:
    """Return the lines of a relay with these properties."""
    lines = [f'tls = "{tls}"']
    if login:
        lines += ['username = "u"', 'password = "p"']
    if login and tls == "none":
        lines += ["allow_cleartext_password = true"]
    if verify:
        lines += ["verify = true", 'ca_file = "/ca.pem"']
    return "\n".join(lines)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_parameters_follow_from_the_relay(case: tuple[str, bool, bool]) -> None:
    """TLS level, wrapper mode and SASL follow from tls, username and verify."""
    level, wrapper, auth, options = CASES[case]
    parameters = desired_state(load(toml(relay=relay(*case))), FACTS, {"a": "p"}).parameters
    assert parameters["smtp_tls_security_level"] == level
    assert parameters["smtp_tls_wrappermode"] == wrapper
    assert parameters["smtp_sasl_auth_enable"] == auth
    assert parameters.get("smtp_sasl_security_options") == options
    assert parameters.get("smtp_sasl_tls_security_options") == ("noanonymous" if case[1] else None)
    assert parameters["relayhost"] == f"[smtp.example.net]:{465 if case[0] == 'implicit' else 587}"
    assert parameters.get("smtp_tls_CAfile") == ("/ca.pem" if case[2] else None)
    assert parameters["smtp_tls_policy_maps"] == ""


def test_every_combination_is_covered() -> None:
    """CASES has every combination that is not a contradiction."""
    all_kinds = set(product(("starttls", "implicit", "opportunistic", "none"), (True, False), (True, False)))
    refused = {(tls, login, True) for tls, login in product(("opportunistic", "none"), (True, False))}
    assert set(CASES) == all_kinds - refused


def test_several_relays_are_chosen_by_sender() -> None:
    """The first relay takes all mail, others the mail of their senders. A policy table holds the TLS level of each."""
    text = toml(
        relay='username = "u"\npassword = "p"\nsenders = ["root@example.com"]',
        more="""
[[relay]]
name = "b"
host = "smtp.example.org"
port = 2525
verify = true
ca_file = "/ca.pem"
username = "v"
password = "q"
senders = ["shop@example.com", "@example.org"]

[[relay]]
name = "c"
host = "2001:db8::25"
port = 25
tls = "opportunistic"
senders = ["@example.net"]
""",
    )
    state = desired_state(load(text), FACTS, {"a": "p", "b": "q"})
    assert state.parameters["relayhost"] == "[smtp.example.net]:587"
    assert state.parameters["sender_dependent_relayhost_maps"] == "hash:/etc/postfix/sender_relay"
    assert state.parameters["smtp_tls_security_level"] == "encrypt"
    assert state.parameters["smtp_tls_policy_maps"] == "hash:/etc/postfix/tls_policy"
    assert state.parameters["smtp_tls_CAfile"] == "/ca.pem"
    assert [(table.name, table.secret, table.entries) for table in state.tables] == [
        (
            "sender_relay",
            False,
            (
                ("root@example.com", "[smtp.example.net]:587"),
                ("shop@example.com", "[smtp.example.org]:2525"),
                ("@example.org", "[smtp.example.org]:2525"),
                ("@example.net", "[2001:db8::25]:25"),
            ),
        ),
        (
            "tls_policy",
            False,
            (
                ("[smtp.example.net]:587", "encrypt"),
                ("[smtp.example.org]:2525", "secure"),
                ("[2001:db8::25]:25", "may"),
            ),
        ),
        (
            "sasl_passwd",
            True,
            (("[smtp.example.net]:587", "u:p"), ("[smtp.example.org]:2525", "v:q")),
        ),
    ]


def test_relays_of_one_level_need_no_policy_table() -> None:
    """main.cf holds the level that all relays have."""
    more = '[[relay]]\nname = "b"\nhost = "smtp.example.org"\nsenders = ["@example.org"]\n'
    state = desired_state(load(toml(more=more)), FACTS, {})
    assert state.parameters["smtp_tls_policy_maps"] == ""
    assert [table.name for table in state.tables] == ["sender_relay"]


def test_a_key_of_the_host_that_is_left_out_is_not_managed() -> None:
    """The receiving side of main.cf stays as it is; only the name and the relay are managed."""
    parameters = desired_state(load(toml()), FACTS, {}).parameters
    assert {name for name in parameters if not name.startswith("smtp_")} == {
        "myhostname",
        "relayhost",
        "sender_dependent_relayhost_maps",
        "sender_dependent_default_transport_maps",
        "transport_maps",
    }
    parameters = desired_state(load(toml(host='mynetworks = "10.0.0.0/8"')), FACTS, {}).parameters
    assert parameters["mynetworks"] == "10.0.0.0/8"
    assert "mydestination" not in parameters


def test_the_profile_send_only_supplies_what_is_left_out() -> None:
    """Only the name is required beside it, and a key that is written wins."""
    host = 'profile = "send-only"'
    assert load(toml(host=f'{host}\nmydestination = ""')).host.parameters["mydestination"] == ""
    parameters = desired_state(load(toml(host=host)), FACTS, {}).parameters
    assert {name: value for name, value in parameters.items() if not name.startswith("smtp_")} == {
        "myhostname": "mail.example.com",
        "mydomain": "example.com",
        "myorigin": "$mydomain",
        "inet_interfaces": "loopback-only",
        "inet_protocols": "all",
        "mydestination": "$myhostname, localhost.$mydomain, localhost",
        "mynetworks": "127.0.0.0/8, [::1]/128",
        "relay_domains": "",
        "relayhost": "[smtp.example.net]:587",
        "sender_dependent_relayhost_maps": "",
        "sender_dependent_default_transport_maps": "",
        "transport_maps": "",
        "default_transport": "smtp",
        "defer_transports": "",
        "soft_bounce": "no",
    }
    assert parameters["smtp_fallback_relay"] == ""


def test_implicit_tls_beside_starttls_gets_its_own_transport() -> None:
    """smtp_tls_wrappermode applies to a whole service of master.cf, so the other relay gets its own service."""
    more = '[[relay]]\nname = "b"\nhost = "smtp.example.org"\nport = 465\nsenders = ["@example.org"]\n'
    state = desired_state(load(toml(more=more)), FACTS, {})
    [table] = state.tables
    assert state.parameters["smtp_tls_wrappermode"] == "no"
    assert state.parameters["sender_dependent_relayhost_maps"] == ""
    assert state.parameters["sender_dependent_default_transport_maps"] == f"hash:/etc/postfix/{table.name}"
    assert table.entries == (("@example.org", "postward-b:[smtp.example.org]:465"),)
    assert [transport.definition for transport in state.transports] == [
        (
            "postward-b unix - - n - - smtp -o smtp_tls_wrappermode=yes -o smtp_tls_security_level=encrypt "
            "-o smtp_fallback_relay="
        )
    ]


def test_a_fallback_follows_the_first_relay() -> None:
    """Postfix tries it in the same delivery. It needs no senders, and has its own login."""
    more = (
        '[[relay]]\nname = "b"\nhost = "smtp.example.org"\nfallback = true\nusername = "v"\npassword = "q"\n'
    )
    state = desired_state(load(toml(more=more)), FACTS, {"b": "q"})
    assert state.parameters["smtp_fallback_relay"] == "[smtp.example.org]:587"
    assert [table.entries for table in state.tables] == [(("[smtp.example.org]:587", "v:q"),)]


def test_all_mail_can_have_one_sender() -> None:
    """Envelope and headers are rewritten, for providers where the sender must be the login."""
    parameters = desired_state(load(toml(host='rewrite_sender = "app@example.com"')), FACTS, {}).parameters
    assert parameters["sender_canonical_maps"] == "static:app@example.com"
    assert parameters["sender_canonical_classes"] == "envelope_sender, header_sender"


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_supplies_settings_that_are_left_out(name: str) -> None:
    """It supplies host, port and the port's TLS mode. Its limits go to main.cf, and [main_cf] overrides them."""
    lines = f'name = "a"\nprovider = "{name}"\nregion = "eu-west-1"\n'
    text = f'[host]\nprofile = "send-only"\nmyhostname = "mail.example.com"\n[[relay]]\n{lines}'
    provider = PROVIDERS[name]
    relay = load(text + ('password = "p"\n' if provider.username else "")).relay[0]
    assert relay.host == provider.host.format(region="eu-west-1")
    assert relay.port == (provider.starttls or provider.implicit)
    assert relay.tls == ("starttls" if provider.starttls else "implicit")
    assert relay.username == provider.username
    settings = load(
        text + ('password = "p"\n' if provider.username else "") + "[main_cf]\nmessage_size_limit = 1\n"
    )
    parameters = desired_state(settings, FACTS, {"a": "p"}).parameters
    assert dict(provider.parameters) | {"message_size_limit": "1"} == {
        key: parameters[key] for key in {*provider.parameters, "message_size_limit"}
    }


def test_a_provider_can_be_overridden() -> None:
    """The relay's own settings win, also implicit TLS instead of STARTTLS."""
    text = '[host]\nmyhostname = "mail.example.com"\n[[relay]]\nname = "a"\nprovider = "gmail"\n'
    implicit, other = (
        load(text + 'tls = "implicit"\n').relay[0],
        load(text + 'host = "smtp.test"\nport = 2525\n').relay[0],
    )
    assert (implicit.port, implicit.tls) == (465, "implicit")
    assert (other.host, other.port, other.tls) == ("smtp.test", 2525, "starttls")


def test_further_parameters_are_passed_on() -> None:
    """[main_cf] takes booleans, integers, lists and surrounding blanks, and can override Postward's defaults."""
    more = (
        '[main_cf]\na = true\nb = false\nc = 100\nd = ["x", "y"]\ne = "  $x # $$y  "\nsmtp_tls_loglevel = 2\n'
    )
    parameters = desired_state(load(toml(more=more)), FACTS, {}).parameters
    assert [parameters[name] for name in "abcde"] == ["yes", "no", "100", "x, y", "$x # $$y"]
    assert parameters["smtp_tls_loglevel"] == "2"


@pytest.mark.parametrize(
    ("map_type", "default", "reference", "index"),
    [
        ("auto", "hash", "hash:/etc/postfix/sasl_passwd", "sasl_passwd.db"),
        ("auto", "lmdb", "lmdb:/etc/postfix/sasl_passwd", "sasl_passwd.lmdb"),
        ("btree", "hash", "btree:/etc/postfix/sasl_passwd", "sasl_passwd.db"),
        ("lmdb", "hash", "lmdb:/etc/postfix/sasl_passwd", "sasl_passwd.lmdb"),
        ("cdb", "hash", "cdb:/etc/postfix/sasl_passwd", "sasl_passwd.cdb"),
        ("texthash", "hash", "texthash:/etc/postfix/sasl_passwd", None),
    ],
)
def test_tables_have_the_configured_type(
    map_type: str, default: str, reference: str, index: str | None
) -> None:
    """The type is postfix.map_type, or default_database_type of Postfix."""
    text = toml(relay=relay("starttls", True, False), more=f'[postfix]\nmap_type = "{map_type}"')
    state = desired_state(load(text), PostfixFacts("/etc/postfix", default, TYPES), {"a": "p"})
    assert state.parameters["smtp_sasl_password_maps"] == reference
    assert state.tables[0].index_name == index


@pytest.mark.parametrize(
    ("map_type", "default", "refused"), [("dbm", "hash", "dbm"), ("auto", "proxy", "proxy")]
)
def test_a_table_type_that_postfix_cannot_build_is_refused(map_type: str, default: str, refused: str) -> None:
    """The message lists the supported types. static and regexp are not tables of keys."""
    settings = load(toml(more=f'[postfix]\nmap_type = "{map_type}"'))
    with pytest.raises(UnsupportedError) as refusal:
        desired_state(settings, PostfixFacts("/etc/postfix", default, TYPES), {})
    assert str(refusal.value) == (
        f'postfix.map_type: must be a table type that this Postfix can build, not "{refused}"; '
        "write one of: btree, cdb, hash, lmdb, texthash"
    )


def test_equal_settings_give_equal_states() -> None:
    """desired_state is pure: its result depends only on its arguments, and it does not change them."""
    text = toml(relay=relay("starttls", True, True), more='[main_cf]\nx = "y"\n')
    first, second = load(text), load(text)
    passwords = {"a": SECRET}
    assert desired_state(first, FACTS, passwords) == desired_state(second, FACTS, dict(passwords))
    assert desired_state(first, FACTS, passwords) == desired_state(first, FACTS, passwords)
    assert first == second
    assert passwords == {"a": SECRET}


def test_another_password_gives_another_state() -> None:
    """Otherwise a changed password would not be enforced."""
    settings = load(toml(relay=relay("starttls", True, False)))
    assert desired_state(settings, FACTS, {"a": "p"}) != desired_state(settings, FACTS, {"a": "q"})


def test_a_user_name_with_a_colon_takes_another_delimiter() -> None:
    """A Postfix that knows the delimiter gets one that no user name has; an older one would take the wrong login."""
    settings = load(toml(relay='username = "tenant:user|1"\npassword = "p"'))
    newer = PostfixFacts("/etc/postfix", "hash", TYPES, delimits_logins=True)
    state = desired_state(settings, newer, {"a": "p"})
    assert state.parameters["smtp_sasl_password_result_delimiter"] == "~"
    assert state.tables[0].entries == (("[smtp.example.net]:587", "tenant:user|1~p"),)
    plain = desired_state(load(toml(relay='username = "u"\npassword = "p"')), newer, {"a": "p"})
    assert plain.parameters["smtp_sasl_password_result_delimiter"] == ":"
    with pytest.raises(
        UnsupportedError, match=r"^relay\.username: has a colon, behind which this Postfix expects"
    ):
        desired_state(settings, FACTS, {"a": "p"})
    with pytest.raises(UnsupportedError, match=r"^relay\.password: must not contain a colon where"):
        desired_state(settings, newer, {"a": "p:q"})


def test_subdomains_are_patterns_behind_the_exact_keys() -> None:
    """The nearest parent decides, and a dollar sign in a password is not a reference."""
    text = toml(
        relay='username = "u"\npassword = "p"',
        more="""
[[relay]]
name = "b"
host = "smtp.example.net"
username = "v"
password = "q"
senders = ["@.example.org", "shop@example.org", "@.deep.example.org"]
""",
    )
    state = desired_state(load(text), FACTS, {"a": "p", "b": "$1 q"})
    assert [(table.name, table.type, table.secret, table.entries) for table in state.tables] == [
        ("sender_relay", "hash", False, (("shop@example.org", "[smtp.example.net]:587"),)),
        (
            "sender_relay_subdomains",
            "regexp",
            False,
            (
                (r"/@[^@]*\.deep\.example\.org$/", "[smtp.example.net]:587"),
                (r"/@[^@]*\.example\.org$/", "[smtp.example.net]:587"),
            ),
        ),
        (
            "sasl_passwd",
            "hash",
            True,
            (("[smtp.example.net]:587", "u:p"), ("shop@example.org", "v:$1 q")),
        ),
        (
            "sasl_passwd_subdomains",
            "regexp",
            True,
            (
                (r"/@[^@]*\.deep\.example\.org$/", "v:$$1 q"),
                (r"/@[^@]*\.example\.org$/", "v:$$1 q"),
            ),
        ),
    ]
    assert state.parameters["smtp_sender_dependent_authentication"] == "yes"


def test_a_login_of_a_sender_reaches_no_other_relay() -> None:
    """Beside accounts at one host, relays without login or by recipient do not look senders up."""
    text = toml(
        relay='username = "u"\npassword = "p"',
        more="""
[[relay]]
name = "b"
host = "smtp.example.net"
username = "v"
password = "q"
senders = ["@b.example"]

[[relay]]
name = "open"
host = "open.example.net"
senders = ["boss@b.example"]

[[relay]]
name = "partner"
host = "partner.example.net"
username = "w"
password = "r"
recipients = ["@partner.example"]

[[relay]]
name = "known"
host = "known.example.net"
username = "x"
password = "s"
senders = ["ceo@b.example"]
""",
    )
    state = desired_state(load(text), FACTS, {"a": "p", "b": "q", "partner": "r", "known": "s"})
    looks_up = {transport.relay: dict(transport.overrides) for transport in state.transports}
    name = "smtp_sender_dependent_authentication"
    assert {relay: options[name] for relay, options in looks_up.items()} == {"open": "no", "partner": "no"}
    logins = next(table for table in state.tables if table.name == "sasl_passwd")
    assert ("ceo@b.example", "x:s") in logins.entries


def test_dane_asks_a_resolver_that_validates() -> None:
    """A relay requires TLSA records; direct delivery uses those that there are."""
    state = desired_state(load(toml(relay="dane = true")), FACTS, {})
    assert state.parameters["smtp_tls_security_level"] == "dane-only"
    assert state.parameters["smtp_dns_support_level"] == "dnssec"
    direct = load('[host]\nmyhostname = "a.example.com"\n[[relay]]\nname = "d"\ndirect = true\ndane = true\n')
    assert desired_state(direct, FACTS, {}).parameters["smtp_tls_security_level"] == "dane"
