"""Any settings file is accepted or refused, without another exception and without showing a secret."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postward.config.desired import PostfixFacts, desired_state
from postward.config.errors import SettingsError
from postward.config.fields import is_address, is_host_name, split_address
from postward.config.relay import read_passwords
from postward.config.settings import Settings, known_keys, parse_settings
from tests.config.samples import names_a_remedy

SECRET = "Tr0ub4dor&3"
FACTS = PostfixFacts(
    "/etc/postfix", "hash", frozenset({"hash", "btree", "lmdb", "cdb", "dbm", "sdbm", "texthash"})
)

KEYS = sorted({key for keys in known_keys().values() for key in keys} | {"relayhost", "_env_file", "self"})
LIKELY = [
    "mail.example.com",
    "smtp.example.net",
    "[smtp.example.net]:587",
    "::1",
    "127.0.0.1:25",
    "starttls",
    "implicit",
    "none",
    "opportunistic",
    "$mydomain",
    "${x?y}",
    "@example.com",
    "a@example.com",
    "/etc/postfix",
    "ipv4",
    "10.0.0.1/8",
]
leaf = (
    st.sampled_from(LIKELY)
    | st.text(max_size=12)
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([0, 1, 25, 465, 587])
    | st.floats()
    | st.dates()
    | st.datetimes()
    | st.times()
)
names = st.sampled_from(KEYS) | st.text(max_size=6)


def _with_secret(table: dict[str, Any]) -> dict[str, Any]:
    return {key: SECRET if key == "password" else value for key, value in table.items()}


value = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5).map(_with_secret),
    max_leaves=25,
)


def section(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return tables that are nearly valid: the section's keys, with values of any type."""
    keys = st.sampled_from(known_keys().get(name, ["x", "y", "relayhost"]))
    return st.dictionaries(keys | names, leaf | value, max_size=8).map(_with_secret)


files = st.fixed_dictionaries(
    {},
    optional={
        name: (st.lists(section(name) | leaf, max_size=3) if name == "relay" else section(name)) | value
        for name in known_keys()[""]
    },
) | st.dictionaries(names, value, max_size=6).map(_with_secret)

_quick = settings(
    deadline=None, max_examples=250, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def checked(raw: dict[str, Any]) -> Settings | None:
    """Return the settings, or None if they are refused with well-formed messages."""
    try:
        return parse_settings(raw, "postward.toml")
    except SettingsError as error:
        refusal = error
    assert refusal.problems
    assert SECRET not in repr(refusal)
    for problem in refusal.problems:
        source, key, text = problem.split(": ", 2)
        assert source == "postward.toml"
        assert key
        assert names_a_remedy(text), problem
        assert "\n" not in problem
        assert SECRET not in problem
    return None


@_quick
@given(files)
def test_any_file_is_accepted_or_refused_without_its_secrets(raw: dict[str, Any]) -> None:
    """The only exception is SettingsError; each problem is one line with file, key, fault and remedy."""
    checked(raw)


login = st.fixed_dictionaries(
    {"name": st.just("a"), "host": st.sampled_from(["smtp.example.net", "192.0.2.1", "2001:db8::1"])},
    optional={
        "tls": st.sampled_from(["starttls", "implicit", "opportunistic", "none"]),
        "port": st.sampled_from([25, 465, 587, 2525]),
        "username": st.sampled_from(["", "u"]) | st.text(max_size=6),
        "password": st.just(SECRET) | st.text(max_size=6),
        "verify": st.booleans(),
        "ca_file": st.just("/ca.pem"),
        "allow_cleartext_password": st.booleans(),
        "allow_unusual_port": st.booleans(),
        "senders": st.lists(st.sampled_from(["@example.com", "a@example.com"]), max_size=2),
    },
)


@_quick
@given(login, st.dictionaries(st.sampled_from(["x", "y", "z"]), st.text(max_size=8), max_size=3))
def test_accepted_settings_can_be_written(relay: dict[str, Any], main_cf: dict[str, str]) -> None:
    """Accepted settings give values of one line, and wrapper mode only with a mandatory TLS level."""
    raw = {"host": {"myhostname": "mail.example.com"}, "relay": [relay], "main_cf": main_cf}
    accepted = checked(raw)
    if accepted is None:
        return
    state = desired_state(accepted, FACTS, read_passwords(accepted.relay))
    assert state == desired_state(parse_settings(raw, "again"), FACTS, read_passwords(accepted.relay))
    assert all("\n" not in text and "\r" not in text for text in state.parameters.values())
    level = state.parameters["smtp_tls_security_level"]
    assert state.parameters["smtp_tls_wrappermode"] == "no" or level in {"encrypt", "secure"}
    assert all(table.text.count("\n") == 1 + len(table.entries) for table in state.tables)
    assert SECRET not in repr(accepted) + repr(state) + accepted.model_dump_json()


@_quick
@given(st.text(max_size=30) | st.from_regex(r"\A[\[\]0-9a-f:.]{1,20}\Z"))
def test_text_is_address_and_port_or_is_refused(text: str) -> None:
    """split_address raises ValueError, or returns the parts of the text."""
    try:
        host, port = split_address(text)
    except ValueError:
        return
    assert text.rpartition(":")[0] in {host, f"[{host}]"}
    assert is_address(host) or is_host_name(host) or not text.startswith("[")
    assert 0 <= port <= 65535
