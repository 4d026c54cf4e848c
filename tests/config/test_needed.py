"""Drift that changes no mail is left out of a plan, and only that."""

from collections.abc import Mapping

import pytest

from postward.config.desired import PostfixFacts, desired_state
from postward.config.drift import ActualState, Drift, Kind, TableState, drift
from postward.config.needed import needed
from postward.config.neighbours import Neighbours
from postward.config.resources import HEADER
from postward.config.routing import Configuration, Tables
from postward.config.routing.tables import Contents, Keyed
from postward.config.settings import Settings, parse_settings
from postward.parsers.postconf import Master, Service

_FACTS = PostfixFacts("/etc/postfix", "hash", frozenset({"hash"}))
_OWN = "hash:/etc/postfix/sasl_passwd"
_ADMINS = "texthash:/etc/mail/logins"
_SMTP = Service("smtp", "unix", "-", "-", "n", "-", "-", "smtp")
# A host that logs in at its relay in the admin's way.
_VALUES = {
    "myhostname": "mail.example.com",
    "default_transport": "smtp",
    "relayhost": "[relay.example]",
    "smtp_tcp_port": "25",
    "smtp_sasl_auth_enable": "yes",
    "smtp_sasl_password_maps": _ADMINS,
    "smtp_sasl_security_options": "",
    "smtp_sasl_tls_security_options": "noanonymous",
    "smtp_tls_security_level": "encrypt",
    "smtp_tls_wrappermode": "no",
}
_LOGIN = "user:#0"


def _settings(main_cf: Mapping[str, int] = {}, **relay: object) -> Settings:
    usual = {"name": "r", "host": "relay.example", "port": 25, "tls": "starttls", "username": "user"}
    return parse_settings(
        {
            "host": {"myhostname": "mail.example.com"},
            "relay": [{**usual, "password": "#0", **relay}],
            "main_cf": main_cf,
        },
        "test",
    )


def _configuration(values: Mapping[str, str], contents: Mapping[str, Contents | None]) -> Configuration:
    return Configuration(values, Master({"smtp/unix": _SMTP}, {}), Tables(contents))


def _left(
    settings: Settings,
    logins: Mapping[str, str],
    own_text: str | None = None,
    own: frozenset[str] = frozenset(),
    values: Mapping[str, str] = {},
) -> set[str]:
    """Return the names of the drift that is needed, on a host with these logins in its table and these parameters."""
    actual_values = {**_VALUES, **values}
    passwords = {relay.name: relay.read_password() for relay in settings.relay if relay.username}
    desired = desired_state(settings, _FACTS, passwords, Neighbours(values=actual_values))
    before = _configuration(actual_values, {_ADMINS: Keyed(dict(logins))})
    tables = {f"hash:/etc/postfix/{table.name}": Keyed(dict(table.entries)) for table in desired.tables}
    after = _configuration({**actual_values, **desired.parameters}, {**before.tables.contents, **tables})
    states = {table.name: TableState(own_text) for table in desired.tables}
    parameters = {**dict.fromkeys(desired.parameters, ""), **actual_values}
    actual = ActualState(parameters, states)
    found = needed(drift(desired, actual), settings, actual, before, after, own, "/etc/postfix")
    return {item.name for item in found}


def test_the_admins_way_stays_where_it_does_the_same() -> None:
    """Another notation of the relay, another table of logins and other options change no mail."""
    assert _left(_settings(), {"[relay.example]": _LOGIN}) == set()


@pytest.mark.parametrize(
    ("values", "needed_names"),
    [
        ({"relayhost": "[other.example]:25"}, {"relayhost"}),
        ({"smtp_sasl_auth_enable": "no"}, {"smtp_sasl_auth_enable"}),
        ({"smtp_tls_security_level": "may"}, {"smtp_tls_security_level"}),
        ({"smtp_tls_wrappermode": "yes"}, {"smtp_tls_wrappermode"}),
        ({"smtp_sasl_tls_security_options": "noplaintext"}, {"smtp_sasl_tls_security_options"}),
    ],
)
def test_what_changes_mail_is_needed(values: dict[str, str], needed_names: set[str]) -> None:
    """Only the parameter that matters is left of the plan."""
    logins = {"[relay.example]": _LOGIN, "relay.example": _LOGIN}
    assert _left(_settings(), logins, values=values) == needed_names


@pytest.mark.parametrize("logins", [{}, {"[relay.example]": "user:#1"}, {"[relay.example]": "other:#0"}])
def test_another_login_is_needed(logins: dict[str, str]) -> None:
    """A missing login, another password and another user are drift: Postward's table comes first.

    Its key has a port, so relayhost needs one too.
    """
    needed_names = {"relayhost", "smtp_sasl_password_maps", "sasl_passwd", "sasl_passwd.db"}
    assert _left(_settings(), logins) == needed_names


def test_logins_without_a_table_end_the_client() -> None:
    """With smtp_sasl_auth_enable and no table smtp(8) ends, so the switch is needed although no relay has a login."""
    settings = _settings(username="", password=None)
    assert _left(settings, {}, values={"smtp_sasl_password_maps": ""}) == {"smtp_sasl_auth_enable"}


def test_verification_stays() -> None:
    """A level that checks the certificate is not drift where the settings say nothing about that; a lower one is."""
    logins = {"[relay.example]": _LOGIN}
    assert _left(_settings(), logins, values={"smtp_tls_security_level": "secure"}) == set()
    verified = _settings(verify=True, ca_file="/ca.pem")
    assert "smtp_tls_security_level" in _left(verified, logins)


def test_an_unknown_way_leaves_nothing_out() -> None:
    """A table of logins that cannot be searched keeps the whole plan."""
    values = {"smtp_sasl_password_maps": "ldap:/etc/postfix/logins.cf"}
    unknown = _left(_settings(), {}, values=values)
    assert {"relayhost", "smtp_sasl_password_maps", "sasl_passwd"} <= unknown


def test_what_is_postwards_own_is_compared_exactly() -> None:
    """A parameter that names Postward's table, and that table, are put back even where no mail would change."""
    logins, maps = {"[relay.example]": _LOGIN}, f"{_ADMINS}, {_OWN}"
    values = {"smtp_sasl_password_maps": maps}
    left = _left(_settings(), logins, f"{HEADER}x y\n", frozenset({_OWN}), values)
    assert {"smtp_sasl_password_maps", "sasl_passwd"} <= left


def test_other_drift_is_not_judged_by_routes() -> None:
    """A parameter that routes do not know stays in the plan."""
    settings = _settings(main_cf={"message_size_limit": 1})
    assert _left(settings, {"[relay.example]": _LOGIN}) == {"message_size_limit"}


def test_drift_without_routes_is_returned_as_it_is() -> None:
    """Files that Postfix has not read yet are drift of their own."""
    unread = Drift("main.cf", "changed", "read", kind=Kind.UNLOADED)
    settings = _settings()
    config = _configuration(_VALUES, {_ADMINS: Keyed({})})
    found = needed([unread], settings, ActualState({}, {}), config, config, frozenset(), "/etc/postfix")
    assert found == [unread]
