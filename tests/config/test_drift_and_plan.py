"""Where the actual state departs from the desired one, and what is done about it: golden texts."""

from dataclasses import replace

import pytest

from postward.config.desired import DesiredState, LookupTable, Transport
from postward.config.drift import ActualState, Drift, Kind, TableState, drift, unknown_parameters
from postward.config.plan import Activation, diff, plan
from tests.config.samples import SECRET

PASSWORDS = LookupTable("sasl_passwd", "hash", (("[smtp.example.net]:587", f"u:{SECRET}"),), secret=True)
SENDERS = LookupTable("sender_relay", "hash", (("@example.org", "[smtp.example.org]:587"),), secret=False)
TEXT_TABLE = replace(PASSWORDS, type="texthash")
GOOD = TableState(PASSWORDS.text, 0o600, (0, 0), 0o600, (0, 0), index_current=True)


def departures(table: LookupTable, state: TableState | None) -> list[tuple[str, str, str]]:
    """What is said of one table, as name, actual, desired."""
    tables = {} if state is None else {table.name: state}
    found = drift(DesiredState({}, (table,)), ActualState({}, tables))
    assert all(departure.table is table for departure in found)
    return [(departure.name, departure.actual, departure.desired) for departure in found]


SOURCE = "0600 root:root"
INDEX = "0600 root:root, built from sasl_passwd"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (GOOD, []),
        (None, [("sasl_passwd", "missing", SOURCE), ("sasl_passwd.db", "missing", INDEX)]),
        (replace(GOOD, text=PASSWORDS.text + "x y\n"), [("sasl_passwd", "other entries", SOURCE)]),
        (replace(GOOD, mode=0o644), [("sasl_passwd", "mode 0644", SOURCE)]),
        (replace(GOOD, owner=(0, 8)), [("sasl_passwd", "owner 0:8", SOURCE)]),
        (replace(GOOD, owner=None, mode=None), [("sasl_passwd", "mode 0000, owner ?:?", SOURCE)]),
        (
            replace(GOOD, text="", mode=0o640, owner=(1, 1)),
            [("sasl_passwd", "other entries, mode 0640, owner 1:1", SOURCE)],
        ),
        (replace(GOOD, index_mode=None, index_owner=None), [("sasl_passwd.db", "missing", INDEX)]),
        (replace(GOOD, index_current=False), [("sasl_passwd.db", "out of date with sasl_passwd", INDEX)]),
        (replace(GOOD, index_mode=0o644), [("sasl_passwd.db", "mode 0644", INDEX)]),
        (
            replace(GOOD, index_owner=(100, 100), index_current=False),
            [("sasl_passwd.db", "out of date with sasl_passwd, owner 100:100", INDEX)],
        ),
    ],
)
def test_each_departure_of_a_table_is_named(
    state: TableState | None, expected: list[tuple[str, str, str]]
) -> None:
    """Content, mode and owner of the text, and of the index that postmap(1) makes of it."""
    assert departures(PASSWORDS, state) == expected


def test_a_text_table_has_no_index_to_miss() -> None:
    """Postfix reads texthash as it is."""
    assert departures(TEXT_TABLE, replace(GOOD, index_mode=None, index_owner=None, index_current=False)) == []


def test_public_tables_are_readable() -> None:
    """Only passwords are for root alone."""
    state = TableState(SENDERS.text, 0o600, (0, 0), 0o600, (0, 0), index_current=True)
    assert departures(SENDERS, state) == [
        ("sender_relay", "mode 0600", "0644 root:root"),
        ("sender_relay.db", "mode 0600", "0644 root:root, built from sender_relay"),
    ]


@pytest.mark.parametrize(
    ("actual", "desired", "differs"),
    [
        ("encrypt", "encrypt", False),
        ("a, b", "a b", False),
        ("a,\tb ", "a, b", False),
        ("a b", "b a", True),
        ("may", "encrypt", True),
        ("yes", "", True),
        ("", "", False),
        (None, "no", False),
        ("{ a, b } c", "{ a, b }, c", False),
    ],
)
def test_parameters_are_compared_as_postfix_reads_them(
    actual: str | None, desired: str, differs: bool
) -> None:
    """Commas and blanks separate alike, order counts, and what this release does not know cannot be set."""
    parameters = {} if actual is None else {"x": actual}
    found = drift(DesiredState({"x": desired}, ()), ActualState(parameters, {}))
    assert found == ([Drift("x", actual or "", desired)] if differs else [])


def test_parameters_of_others_are_no_drift() -> None:
    """What the settings do not speak of stays as it is."""
    assert drift(DesiredState({"x": "1"}, ()), ActualState({"x": "1", "y": "2"}, {})) == []


def test_a_parameter_that_this_release_does_not_know_is_told_apart() -> None:
    """Postconf prints every parameter that it knows, so one that is not there can never be put right."""
    desired, actual = DesiredState({"x": "1", "new": "2"}, ()), ActualState({"x": "1"}, {})
    assert drift(desired, actual) == []
    assert unknown_parameters(desired, actual) == ["new"]


IMPLICIT = Transport("b", (("smtp_tls_wrappermode", "yes"), ("smtp_tls_security_level", "encrypt")))
IMPLICIT_LINE = (
    "postward-b unix - - n - - smtp -o smtp_tls_wrappermode=yes -o smtp_tls_security_level=encrypt"
)


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        ({"postward-b": IMPLICIT_LINE}, []),
        ({"postward-b": IMPLICIT_LINE.replace(" ", "   ")}, []),
        ({}, [Drift("postward-b", "missing", IMPLICIT_LINE, kind=Kind.SERVICE)]),
        (
            {"postward-b": "postward-b unix - - y - - smtp"},
            [Drift("postward-b", "postward-b unix - - y - - smtp", IMPLICIT_LINE, kind=Kind.SERVICE)],
        ),
        (
            {"postward-b": IMPLICIT_LINE, "postward-old": "postward-old unix"},
            [Drift("postward-old", "postward-old unix", "removed", kind=Kind.STALE_SERVICE)],
        ),
    ],
)
def test_each_departure_of_a_service_is_named(services: dict[str, str], expected: list[Drift]) -> None:
    """Postward's own lines of master.cf: missing, other words, or no longer wanted."""
    assert drift(DesiredState({}, (), (IMPLICIT,)), ActualState({}, {}, services)) == expected


def test_files_that_postfix_has_not_read_are_a_drift_if_nothing_else_is() -> None:
    """main.cf is right, and the running Postfix still goes by the one before: a reload puts that right."""
    found = drift(DesiredState({"x": "1"}, ()), ActualState({"x": "1"}, {}, unloaded="10:20:30"))
    words = "changed at 10:20:30, not read by the running Postfix"
    assert found == [Drift("main.cf", words, "in force", kind=Kind.UNLOADED)]
    assert plan(found).activation is Activation.RELOAD
    assert plan(found).parameters == {}
    both = drift(DesiredState({"x": "2"}, ()), ActualState({"x": "1"}, {}, unloaded="10:20:30"))
    assert [departure.name for departure in both] == ["x"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("static:u:hunter2", "static:********"),
        ("hash:/etc/postfix/old, static:{u:hunter 2}", "hash:/etc/postfix/old, static:********"),
        ("inline:{ [h]:587=u:hunter2 }", "inline:********"),
        ("texthash:/etc/postfix/x", "texthash:/etc/postfix/x"),
    ],
)
def test_a_login_that_stands_in_main_cf_is_masked(value: str, shown: str) -> None:
    """Admins write `smtp_sasl_password_maps = static:user:password`; a plan does not repeat it."""
    name = "smtp_sasl_password_maps"
    found = drift(DesiredState({name: "hash:/etc/postfix/sasl_passwd"}, ()), ActualState({name: value}, {}))
    assert [departure.actual for departure in found] == [shown]


def test_a_plan_reads_like_a_diff() -> None:
    """The whole golden text: parameters and files before and after, entries with passwords masked, what Postfix does."""
    desired = DesiredState(
        {"relayhost": "[smtp.example.net]:587", "smtp_tls_wrappermode": "no", "mydomain": "example.com"},
        (SENDERS, PASSWORDS),
    )
    actual = ActualState(
        {"relayhost": "", "smtp_tls_wrappermode": "yes", "mydomain": "example.com"},
        {"sasl_passwd": replace(GOOD, text=f"[smtp.example.net]:587 u:old{SECRET}\n", mode=0o644)},
    )
    planned = plan(drift(desired, actual))
    assert "\n".join(diff(planned)) == (
        "- main.cf: relayhost = \n"
        "+ main.cf: relayhost = [smtp.example.net]:587\n"
        "- main.cf: smtp_tls_wrappermode = yes\n"
        "+ main.cf: smtp_tls_wrappermode = no\n"
        "- sender_relay: missing\n"
        "+ sender_relay: 0644 root:root\n"
        "- sender_relay.db: missing\n"
        "+ sender_relay.db: 0644 root:root, built from sender_relay\n"
        "- sasl_passwd: other entries, mode 0644\n"
        "+ sasl_passwd: 0600 root:root\n"
        "+ sender_relay: @example.org [smtp.example.org]:587\n"
        "+ sasl_passwd: [smtp.example.net]:587 u:********\n"
        "then: postfix reload"
    )
    assert planned.parameters == {"relayhost": "[smtp.example.net]:587", "smtp_tls_wrappermode": "no"}
    assert planned.tables == (SENDERS, PASSWORDS)


def test_nothing_to_do_is_an_empty_plan() -> None:
    """In sync: false as a condition, and no line of a diff."""
    planned = plan([])
    assert not planned
    assert list(diff(planned)) == []
    assert (planned.parameters, planned.tables, planned.activation) == ({}, (), Activation.NONE)


@pytest.mark.parametrize(
    ("drifts", "activation", "words"),
    [
        ([Drift("relayhost", "", "x")], Activation.RELOAD, "postfix reload"),
        (
            [Drift("inet_interfaces", "all", "loopback-only")],
            Activation.RESTART,
            "postfix stop, postfix start",
        ),
        (
            [Drift("relayhost", "", "x"), Drift("inet_protocols", "all", "ipv4")],
            Activation.RESTART,
            "postfix stop, postfix start",
        ),
        (
            [Drift("sasl_passwd", "missing", SOURCE, PASSWORDS, Kind.TABLE)],
            Activation.NONE,
            "nothing: Postfix sees a changed table by itself",
        ),
        (
            [Drift("sasl_passwd", "missing", SOURCE, TEXT_TABLE, Kind.TABLE)],
            Activation.RELOAD,
            "postfix reload",
        ),
    ],
)
def test_postfix_does_what_the_change_needs_and_no_more(
    drifts: list[Drift], activation: Activation, words: str
) -> None:
    """Restart for what a reload ignores, reload for main.cf, nothing for an indexed table."""
    planned = plan(drifts)
    assert planned.activation is activation
    assert list(diff(planned))[-1] == f"then: {words}"


def test_a_table_is_written_once() -> None:
    """Text and index of one table departing are one thing to write."""
    both = [
        Drift("sasl_passwd", "missing", "", PASSWORDS, Kind.TABLE),
        Drift("sasl_passwd.db", "missing", "", PASSWORDS, Kind.TABLE),
    ]
    assert plan(both).tables == (PASSWORDS,)
