"""Drift between desired and actual state, and the plan that repairs it."""

from dataclasses import replace

import pytest

from postward.config.desired import DesiredState
from postward.config.drift import ActualState, Drift, Kind, TableState, drift, unknown_parameters
from postward.config.plan import Activation, diff, plan
from postward.config.resources import LookupTable, Transport
from postward.parsers.scrub import MASK
from tests.config.samples import SECRET

PASSWORDS = LookupTable("sasl_passwd", "hash", (("[smtp.example.net]:587", f"u:{SECRET}"),), secret=True)
SENDERS = LookupTable("sender_relay", "hash", (("@example.org", "[smtp.example.org]:587"),), secret=False)
TEXT_TABLE = replace(PASSWORDS, type="texthash")
GOOD = TableState(PASSWORDS.text, 0o600, (0, 0), 0o600, (0, 0), index_current=True)


def drift_of(table: LookupTable, state: TableState | None) -> list[tuple[str, str, str]]:
    """Return the drift of one table, as (name, actual, desired)."""
    tables = {} if state is None else {table.name: state}
    drifts = drift(DesiredState({}, (table,)), ActualState({}, tables))
    assert all(item.table is table for item in drifts)
    return [(item.name, item.actual, item.desired) for item in drifts]


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
def test_drift_of_a_table_is_reported(state: TableState | None, expected: list[tuple[str, str, str]]) -> None:
    """Content, mode and owner of the source and of the index that postmap(1) builds are compared."""
    assert drift_of(PASSWORDS, state) == expected


def test_a_text_table_needs_no_index() -> None:
    """Postfix reads the source of texthash."""
    assert drift_of(TEXT_TABLE, replace(GOOD, index_mode=None, index_owner=None, index_current=False)) == []


def test_public_tables_are_readable_by_all() -> None:
    """Only tables with passwords are restricted to root."""
    state = TableState(SENDERS.text, 0o600, (0, 0), 0o600, (0, 0), index_current=True)
    assert drift_of(SENDERS, state) == [
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
    """Commas and blanks separate alike, and order matters. A parameter that Postfix does not know is ignored."""
    parameters = {} if actual is None else {"x": actual}
    drifts = drift(DesiredState({"x": desired}, ()), ActualState(parameters, {}))
    assert drifts == ([Drift("x", actual or "", desired)] if differs else [])


def test_unmanaged_parameters_do_not_drift() -> None:
    """Parameters that the settings do not derive are not compared."""
    assert drift(DesiredState({"x": "1"}, ()), ActualState({"x": "1", "y": "2"}, {})) == []


def test_an_unknown_parameter_is_reported_separately() -> None:
    """A parameter that postconf does not print cannot be repaired: it prints all that it knows."""
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
def test_drift_of_a_service_is_reported(services: dict[str, str], expected: list[Drift]) -> None:
    """A service of Postward can be missing, have other fields, or be stale."""
    assert drift(DesiredState({}, (), (IMPLICIT,)), ActualState({}, {}, services)) == expected


def test_unread_files_drift_if_nothing_else_does() -> None:
    """main.cf is as desired, but the running Postfix has not read it: a reload repairs that."""
    drifts = drift(DesiredState({"x": "1"}, ()), ActualState({"x": "1"}, {}, unloaded="10:20:30"))
    condition = "changed at 10:20:30, not read by the running Postfix"
    assert drifts == [Drift("main.cf", condition, "in force", kind=Kind.UNLOADED)]
    assert plan(drifts).activation is Activation.RELOAD
    assert plan(drifts).parameters == {}
    both = drift(DesiredState({"x": "2"}, ()), ActualState({"x": "1"}, {}, unloaded="10:20:30"))
    assert [item.name for item in both] == ["x"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("static:u:hunter2", "static:********"),
        ("hash:/etc/postfix/old, static:{u:hunter 2}", "hash:/etc/postfix/old, static:********"),
        ("inline:{ [h]:587=u:hunter2 }", "inline:********"),
        ("texthash:/etc/postfix/x", "texthash:/etc/postfix/x"),
        ("hash:/etc/postfix/\x1b[2J", r"hash:/etc/postfix/\u001b[2J"),
    ],
)
def test_the_actual_value_is_masked_and_printable(value: str, shown: str) -> None:
    """A plan does not repeat logins in main.cf (`smtp_sasl_password_maps = static:user:password`)."""
    name = "smtp_sasl_password_maps"
    drifts = drift(DesiredState({name: "hash:/etc/postfix/sasl_passwd"}, ()), ActualState({name: value}, {}))
    assert [item.actual for item in drifts] == [shown]


def test_a_plan_reads_like_a_diff() -> None:
    """It shows parameters and files before and after, entries with masked passwords, and the activation."""
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
        "- sasl_passwd: [smtp.example.net]:587 u:********\n"
        "+ sender_relay: @example.org [smtp.example.org]:587\n"
        "+ sasl_passwd: [smtp.example.net]:587 u:********\n"
        "then: postfix reload"
    )
    assert planned.parameters == {"relayhost": "[smtp.example.net]:587", "smtp_tls_wrappermode": "no"}
    assert planned.tables == (SENDERS, PASSWORDS)


def test_no_drift_gives_an_empty_plan() -> None:
    """It is false as a condition, and has no diff."""
    planned = plan([])
    assert not planned
    assert list(diff(planned)) == []
    assert (planned.parameters, planned.tables, planned.activation) == ({}, (), Activation.NONE)


@pytest.mark.parametrize(
    ("drifts", "activation", "text"),
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
            "nothing: Postfix notices changed tables by itself",
        ),
        (
            [Drift("sasl_passwd", "missing", SOURCE, TEXT_TABLE, Kind.TABLE)],
            Activation.RELOAD,
            "postfix reload",
        ),
    ],
)
def test_the_activation_is_the_least_that_applies_the_change(
    drifts: list[Drift], activation: Activation, text: str
) -> None:
    """Restart for parameters that a reload ignores, reload for main.cf, nothing for an indexed table."""
    planned = plan(drifts)
    assert planned.activation is activation
    assert list(diff(planned))[-1] == f"then: {text}"


def test_a_table_is_written_once() -> None:
    """Drift of both source and index is repaired by writing the table once."""
    both = [
        Drift("sasl_passwd", "missing", "", PASSWORDS, Kind.TABLE),
        Drift("sasl_passwd.db", "missing", "", PASSWORDS, Kind.TABLE),
    ]
    assert plan(both).tables == (PASSWORDS,)


@pytest.mark.parametrize(
    ("name", "written", "desired"),
    [
        ("inet_interfaces", "localhost", "loopback-only"),
        ("mynetworks", "127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128", "127.0.0.0/8, [::1]/128"),
        ("mydestination", "localhost, $myhostname", "$myhostname, localhost"),
    ],
)
def test_a_value_that_means_the_same_is_not_drift(name: str, written: str, desired: str) -> None:
    """Names of the same addresses, a network within another, and another order of domains change nothing."""
    assert drift(DesiredState({name: desired}, ()), ActualState({name: written}, {})) == []


def test_a_value_that_expands_to_the_same_is_not_drift() -> None:
    """`$fallback_relay` is empty here; with another meaning it is drift."""
    desired = DesiredState({"smtp_fallback_relay": ""}, ())
    parameters = {"smtp_fallback_relay": "$fallback_relay"}
    same = ActualState(
        parameters, {}, expanded={"smtp_fallback_relay": ""}, expanded_desired={"smtp_fallback_relay": ""}
    )
    assert drift(desired, same) == []
    other = ActualState(
        parameters,
        {},
        expanded={"smtp_fallback_relay": "b.test"},
        expanded_desired={"smtp_fallback_relay": ""},
    )
    assert [item.name for item in drift(desired, other)] == ["smtp_fallback_relay"]
    assert [item.name for item in drift(desired, ActualState(parameters, {}))] == ["smtp_fallback_relay"]


def test_an_excluded_item_keeps_its_place() -> None:
    """In `!10.0.0.1, 10.0.0.0/8` the order matters: Postfix takes the first match."""
    desired = DesiredState({"mynetworks": "!10.0.0.1, 10.0.0.0/8"}, ())
    assert drift(desired, ActualState({"mynetworks": "10.0.0.0/8, !10.0.0.1"}, {}))


def test_a_plan_names_what_a_table_loses() -> None:
    """Each entry by its key, without its password; an entry that stays is not named."""
    table = LookupTable("sasl_passwd", "hash", (("[a.test]:587", "u:new"),), secret=True)
    text = "# mine\n[a.test]:587 u:old\n[b.test]:587\tv:S3cret\n[c.test]:587 S3cret\n"
    state = TableState(text, 0o600, (0, 0), 0o600, (0, 0), index_current=True)
    lines = list(diff(plan(drift(DesiredState({}, (table,)), ActualState({}, {"sasl_passwd": state})))))
    assert [line for line in lines if line.startswith("- sasl_passwd: [")] == [
        f"- sasl_passwd: [a.test]:587 u:{MASK}",
        f"- sasl_passwd: [b.test]:587 v:{MASK}",
        f"- sasl_passwd: [c.test]:587 {MASK}",
    ]
    assert "S3cret" not in "".join(lines)
