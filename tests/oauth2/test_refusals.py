"""Refusals of authorization servers, as their documentation and users quote them."""

import json
from string import ascii_letters

import pytest

from postward.agent.oauth2.refusals import _AADSTS, _DESCRIPTIONS, _ERRORS, parse_refusal

# error, description → meaning and remedy.
QUOTED = [
    (
        "invalid_grant",
        (
            "AADSTS700082: The refresh token has expired due to inactivity. The token was issued on 2026-01-01 and was "
            "inactive for 90.00:00:00."
        ),
        "the refresh token has ended: it was not used for 90 days (invalid_grant, AADSTS700082); postward login m365",
    ),
    (
        "invalid_client",
        (
            "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
            "value, not the client secret ID."
        ),
        (
            "the client secret is wrong; often its ID was copied in place of its value (invalid_client, AADSTS7000215); "
            "write the secret's value into client_secret_file"
        ),
    ),
    (
        "invalid_client",
        "AADSTS7000222: The provided client secret keys for app '1' are expired.",
        (
            "the client secret has expired (invalid_client, AADSTS7000222); create a new client secret, write its value into "
            "client_secret_file and its end into secret_expires"
        ),
    ),
    (
        "invalid_grant",
        "Token has been expired or revoked.",
        "the refresh token has ended or was revoked (invalid_grant); postward login m365",
    ),
    (
        "unauthorized_client",
        (
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the "
            "scopes requested."
        ),
        (
            "the domain has not delegated https://mail.google.com/ to the service account (unauthorized_client); add its "
            "client ID and this scope in the Admin console: Security, API controls, domain-wide delegation"
        ),
    ),
    (
        "invalid_client",
        "hunter2 is wrong",
        (
            "the application's ID, secret or certificate is wrong or has ended (invalid_client); create a new client secret, "
            "write its value into client_secret_file and its end into secret_expires"
        ),
    ),
    (
        "strange_error",
        "AADSTS999999: hunter2",
        "the authorization server refuses (strange_error, AADSTS999999); look the code up in its documentation",
    ),
]


@pytest.mark.parametrize(("error", "description", "text"), QUOTED, ids=[row[1][:30] for row in QUOTED])
def test_a_refusal_is_explained(error: str, description: str, text: str) -> None:
    """Meaning, code and remedy, and nothing of the server's own text."""
    refusal = parse_refusal(json.dumps({"error": error, "error_description": description}).encode())
    assert refusal.text("m365") == text
    assert refusal.lasting


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"3",
        b'{"error": {"code": 1}}',
        b'{"error": "hunter2 hunter2"}',
        b"[" * 9999,
        b"\xff",
    ],
)
def test_another_answer_does_not_last(body: bytes) -> None:
    """A proxy or a broken server may answer anything; it is asked again, and its text is not shown."""
    refusal = parse_refusal(body)
    assert not refusal.lasting
    assert "hunter2" not in refusal.text("m365")


def test_every_advice_is_complete() -> None:
    """Each has a meaning and a remedy, without a line end; the relay's name is the only place to fill in."""
    rows = [*_ERRORS.values(), *_AADSTS.values(), *(advice for _, advice in _DESCRIPTIONS)]
    for meaning, remedy, _ in rows:
        assert meaning[0] in ascii_letters
        assert "\n" not in meaning + remedy.format(relay="x")
