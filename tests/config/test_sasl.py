"""The mechanism that Postfix takes: tests/relay/test_plugin.py compares it with a real Postfix."""

import pytest

from postward.config.sasl import MECHANISMS, OWN_PLUGIN, SaslClient

USUAL = frozenset({"plain", "login", "crammd5", "digestmd5", "scram"})


@pytest.mark.parametrize(
    ("client", "offered", "chosen"),
    [
        (SaslClient(), ["LOGIN", "PLAIN"], "PLAIN"),
        (SaslClient(), ["XOAUTH2", "PLAIN"], "PLAIN"),
        (SaslClient(), ["XOAUTH2"], None),
        (SaslClient(None, ("xoauth2", "oauthbearer"), frozenset()), ["LOGIN", "XOAUTH2"], "XOAUTH2"),
        (SaslClient(USUAL), ["PLAIN", "DIGEST-MD5", "CRAM-MD5"], "DIGEST-MD5"),
        (SaslClient(USUAL - {"digestmd5"}), ["PLAIN", "DIGEST-MD5", "CRAM-MD5"], "CRAM-MD5"),
        (SaslClient(USUAL), ["SCRAM-SHA-256", "PLAIN"], "SCRAM-SHA-256"),
        (SaslClient(USUAL, options=frozenset({"noplaintext"})), ["PLAIN", "CRAM-MD5"], "CRAM-MD5"),
        (SaslClient(USUAL | {OWN_PLUGIN}), ["XOAUTH2"], None),
        (SaslClient(USUAL | {OWN_PLUGIN}, ("xoauth2",), frozenset()), ["PLAIN", "XOAUTH2"], "XOAUTH2"),
        (SaslClient(USUAL, ("xoauth2",), frozenset()), ["PLAIN", "XOAUTH2"], None),
        (SaslClient(USUAL | {"sasl-xoauth2"}), ["LOGIN", "XOAUTH2"], "XOAUTH2"),
        (SaslClient(USUAL | {"gssapiv2"}), ["PLAIN", "GSSAPI"], "GSSAPI"),
        (SaslClient(USUAL), ["EXTERNAL", "X-UNKNOWN"], None),
    ],
)
def test_the_choice(client: SaslClient, offered: list[str], chosen: str | None) -> None:
    """The safest of those that suit, whatever the relay's order."""
    assert client.choose(offered) == chosen


def test_the_table_is_in_lower_case() -> None:
    """Filters are compared without regard to case."""
    assert all(name == name.lower() for name in MECHANISMS)
