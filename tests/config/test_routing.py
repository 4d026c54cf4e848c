"""The routes that a configuration gives to mail. `test_routing_with_postfix.py` asks the real Postfix for more."""

from collections.abc import Mapping

import pytest

from postward.config.routing import INTERNAL, PICKUP, Configuration, Hop, Login, Route, Tables, routes
from postward.config.routing.changes import route_changes
from postward.config.routing.hops import INVALID
from postward.config.routing.tables import Contents, Keyed, parse_contents
from postward.parsers.postconf import Master, Service

_CLIENTS = {"smtp": "smtp", "relay": "smtp", "wrapped": "smtp", "lmtp": "lmtp", "local": "local"}
_MASTER = Master(
    {
        f"{name}/unix": Service(name, "unix", "-", "-", "n", "-", "-", command)
        for name, command in _CLIENTS.items()
    },
    {
        "wrapped/unix/smtp_tls_wrappermode": "yes",
        "wrapped/unix/smtp_tls_security_level": "$strong",
        "wrapped/unix/smtp_tls_policy_maps": "",
        "smtp/inet/content_filter": "wrapped:[127.0.0.1]:10024",
    },
)
_VALUES = {
    "myhostname": "client.example.test",
    "mydomain": "example.test",
    "myorigin": "example.test",
    "mydestination": "client.example.test, localhost",
    "local_transport": "local:client.example.test",
    "virtual_transport": "virtual",
    "relay_transport": "relay",
    "default_transport": "smtp",
    "append_at_myorigin": "yes",
    "empty_address_recipient": "MAILER-DAEMON",
    "empty_address_relayhost_maps_lookup_key": "<>",
    "empty_address_default_transport_maps_lookup_key": "<>",
    "inet_interfaces": "127.0.0.1",
    "smtp_tcp_port": "smtp",
    "lmtp_tcp_port": "24",
    "strong": "encrypt",
}


def _config(tables: Mapping[str, Contents | None] | None = None, /, **values: str) -> Configuration:
    return Configuration({**_VALUES, **values}, _MASTER, Tables(tables or {}))


def _route(
    config: Configuration,
    sender: str = "app@example.test",
    recipient: str = "bob@else.test",
    entry: str = INTERNAL,
) -> Route:
    (route,) = routes(sender, recipient, config, entry)
    return route


def _hop(config: Configuration, sender: str = "app@example.test") -> Hop:
    return _route(config, sender).hops[0]


@pytest.mark.parametrize(
    ("recipient", "address_class", "transport"),
    [
        ("root", "default", "smtp"),  # of myorigin, which is not in mydestination
        ("root@localhost", "local", "local"),
        ("bob@[127.0.0.1]", "local", "local"),
        ("bob@box.test", "virtual mailbox", "virtual"),
        ("bob@old.test", "virtual alias", "error"),
        ("bob@inner.test", "relay", "relay"),
        ("bob@sub.inner.test", "default", "smtp"),
        ("bob@-.test", "", "error"),
    ],
)
def test_an_address_has_the_class_of_its_domain(recipient: str, address_class: str, transport: str) -> None:
    """The class decides about the service, as ADDRESS_CLASS_README says."""
    config = _config(
        virtual_mailbox_domains="box.test", virtual_alias_domains="old.test", relay_domains="inner.test"
    )

    route = _route(config, recipient=recipient)

    assert (route.address_class, route.transport) == (address_class, transport)


def test_the_origin_of_a_route_is_its_entry() -> None:
    """A route says which parameter, table and key decided."""
    tables = {"hash:/t": Keyed({"else.test": ":[inner.test]"}), "hash:/s": Keyed({"<>": "[null.test]"})}
    config = _config(
        tables, relayhost="[r.test]", transport_maps="hash:/t", sender_dependent_relayhost_maps="hash:/s"
    )

    by_recipient, null = _route(config).next_hop_origin, _route(config, "", "x@y.test").next_hop_origin

    assert by_recipient is not None
    assert (by_recipient.parameter, by_recipient.key) == ("transport_maps", "else.test")
    assert null is not None
    assert (null.parameter, null.table, null.key) == ("sender_dependent_relayhost_maps", "hash:/s", "<>")


def test_a_content_filter_comes_first_unless_the_mail_is_internal() -> None:
    """The filter of the service that takes the mail is the first hop. Bounces are not filtered (pickup.c, smtpd.c)."""
    config = _config(content_filter="smtp:[127.0.0.1]:10026", relayhost="[r.test]")

    taken = {entry: _route(config, entry=entry).next_hop for entry in (PICKUP, "smtp/inet", INTERNAL)}

    assert taken == {PICKUP: "[127.0.0.1]:10026", "smtp/inet": "[127.0.0.1]:10024", INTERNAL: "[r.test]"}


def test_a_service_of_its_own_has_its_own_tls() -> None:
    """Settings of master.cf override main.cf, and refer to its parameters."""
    policies = Keyed({"[r.test]:465": "none"})
    config = _config(
        {"hash:/p": policies}, default_transport="wrapped:[r.test]:465", smtp_tls_policy_maps="hash:/p"
    )

    hop = _hop(config)

    assert (hop.host, hop.port, hop.wrapper, hop.level, hop.policy) == ("r.test", 465, True, "encrypt", None)


@pytest.mark.parametrize(
    ("value", "level"),
    [
        ("encrypt", "encrypt"),
        ("Secure match=r.test", "secure"),
        ("encrypt protocols=!SSLv2 !SSLv3", INVALID),
        ("encrypt protocols=!SSLv2:!SSLv3", "encrypt"),
        ("encrypt match=r.test", INVALID),
        ("strong", INVALID),
        ("none !SSLv3", "none"),
    ],
)
def test_a_faulty_policy_has_no_level(value: str, level: str) -> None:
    """smtp(8) defers mail because of a word of a policy that is not an attribute (smtp_tls_policy.c)."""
    config = _config({"hash:/p": Keyed({"[r.test]:587": value})}, relayhost="[r.test]:587")

    assert (
        _hop(_config(config.tables.contents, **config.values, smtp_tls_policy_maps="hash:/p")).level == level
    )


def test_a_login_is_searched_by_sender_then_server_then_next_hop() -> None:
    """The order is that of smtp_sasl_glue.c. The null sender has no entry of its own."""
    logins = Keyed({"app@example.test": "app:x", "r.test": "host:x", "[r.test]:587": "hop:x"})
    config = _config(
        {"hash:/l": logins},
        relayhost="[r.test]:587",
        smtp_sasl_auth_enable="yes",
        smtp_sasl_password_maps="hash:/l",
        smtp_sender_dependent_authentication="yes",
    )

    keys = {sender: _hop(config, sender).login for sender in ("app@example.test", "")}

    assert keys == {
        "app@example.test": Login("hash:/l", "app@example.test", "app"),
        "": Login("hash:/l", "r.test", "host"),
    }


def test_an_answer_that_only_postfix_knows_is_unknown() -> None:
    """A table outside of files decides before the tables behind it, and MX records decide about servers."""
    logins = Keyed({"mx.test": "user:x"})
    by_table = _config(transport_maps="ldap:/etc/l.cf, inline:{else.test=discard:}")
    by_mx = _config(
        {"hash:/l": logins},
        smtp_sasl_auth_enable="yes",
        smtp_sasl_password_maps="hash:/l",
        relayhost="r.test",
    )

    assert _route(by_table).unknown == "ldap:/etc/l.cf"
    assert _hop(by_mx).unknown == (("login", "the MX hosts of r.test"),)


def test_mx_records_do_not_matter_where_every_server_has_one_login() -> None:
    """A static table answers for all names. An address has no MX records, with and without brackets."""
    login = {"smtp_sasl_auth_enable": "yes", "smtp_sasl_password_maps": "inline:{a@b=c:d}, static:user:x"}
    by_mx = _hop(_config(relayhost="r.test:587", **login))
    assert (by_mx.mx, by_mx.unknown) == (True, ())
    assert by_mx.login == Login("static:user:x", "*", "user")
    for relayhost in ("192.0.2.25:587", "[192.0.2.25]:587"):
        hop = _hop(_config(relayhost=relayhost, **login))
        assert (hop.host, hop.port, hop.mx) == ("192.0.2.25", 587, False)


def test_a_table_that_postfix_cannot_open_defers_mail() -> None:
    """A missing table is not an empty one, and texthash refuses a key that comes twice (util/dict_thash.c)."""
    twice = parse_contents("texthash", "texthash:/t", "a.test smtp:\na.test discard:\n")

    for contents in (None, twice):
        route = _route(_config({"texthash:/t": contents}, transport_maps="texthash:/t"))
        assert (route.transport, route.broken) == ("retry", "texthash:/t")


@pytest.mark.parametrize(
    ("pattern", "key", "found"),
    [
        (r"/^(.+)@a\.test$/ $1@b.test", "x@A.test", "x@b.test"),
        (r"!/@a\.test$/ other", "x@b.test", "other"),
        ("if /@a/\n/x/ inside\nendif\n/./ outside", "y@a.test", "outside"),
        ("/^[[:alpha:].]+@/ letters", "a.b@c", "letters"),
        ("/no/ one", "x", None),
    ],
)
def test_patterns_match_as_in_postfix(pattern: str, key: str, found: str | None) -> None:
    """A table of patterns is searched in order, without case, and with its conditions."""
    contents = parse_contents("regexp", "regexp:/t", pattern)
    assert contents is not None

    entry = contents.get(key, substitute=True)

    assert (entry and entry[1]) == found


def test_recipients_are_rewritten_before_they_are_routed() -> None:
    """Aliases expand to several recipients, each with a route of its own."""
    aliases = Keyed({"all@box.test": "a@else.test, b", "b@example.test": "b@inner.test"})
    config = _config({"hash:/v": aliases}, virtual_alias_maps="hash:/v", virtual_alias_domains="box.test")

    answers = routes("app", "all@box.test", config)

    assert [(route.sender, route.recipient) for route in answers] == [
        ("app@example.test", "a@else.test"),
        ("app@example.test", "b@inner.test"),
    ]


def test_changes_of_routes_are_a_few_words() -> None:
    """A change names mails, and both routes with relay, login and TLS. Mails that share a change are one line."""
    logins = {"hash:/l": Keyed({"[r.test]:587": "user:x"})}
    before = _config(smtp_tls_security_level="may")
    after = _config(
        logins,
        relayhost="[r.test]:587",
        smtp_sasl_auth_enable="yes",
        smtp_sasl_password_maps="hash:/l",
        smtp_tls_security_level="encrypt",
    )

    (change,) = route_changes(before, after, ["app@example.test"])

    assert change.text == (
        "mail from root@example.test, <> (bounces) and app@example.test to other domains: "
        "sent to the MX hosts of the recipient's domain, TLS may → "
        "relayed by [r.test]:587 with login user, TLS encrypt"
    )


def test_routes_that_stay_are_not_listed() -> None:
    """A parameter that no mail notices changes no route. A table that Python cannot search is named."""
    values = {"transport_maps": "ldap:/etc/l.cf", "relay_domains": "inner.test"}

    assert route_changes(_config(**values), _config(**values, smtp_helo_name="other.test")) == []
    (change, *_) = route_changes(_config(), _config(**values))
    assert change.after == "unknown because of ldap:/etc/l.cf"


def test_a_broken_mydestination_does_not_matter_where_the_whole_address_is_found() -> None:
    """cleanup(8) asks for it only to search for the local part; trivial-rewrite(8) needs it for the route."""
    config = _config(
        {"hash:/gone": None},
        mydestination="hash:/gone",
        recipient_canonical_maps="static:all@else.test",
        recipient_canonical_classes="envelope_recipient",
    )
    route = _route(config)

    assert (route.recipient, route.transport, route.broken) == ("all@else.test", "retry", "hash:/gone")
