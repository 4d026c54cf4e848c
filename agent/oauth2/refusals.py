"""The refusals of authorization servers: what each means, and what to do.

Pure. Sources: RFC 6749, 5.2; RFC 8628, 3.5; Microsoft's list of AADSTS numbers; Google's descriptions. The server's own
text is matched and never shown, as it can repeat parts of the request.
"""

import json
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

# The fault is in the sign-in, in the application's secret, or in a rule of the tenant or domain; in a value of the
# settings, this host's clock, or its files. It can be the server's, or one that only its code names.
Fault = Literal["sign-in", "secret", "policy", "settings", "clock", "server", "host", "unknown"]


class Advice(NamedTuple):
    """The meaning of a refusal, its remedy, and the fault; `{relay}` stands for the relay's name."""

    meaning: str
    remedy: str
    fault: Fault


_SIGN_IN = "postward login {relay}"
_ADMIN = "have an administrator of the tenant allow it (Entra admin centre, sign-in logs), then postward login {relay}"
_NEW_CLIENT = (
    "create a new client secret, write its value into client_secret_file and its end into secret_expires"
)
_KEY = "create a new key for the service account, and write it into service_account_file"
_POLICY = Advice("a Conditional Access rule of the tenant forbids this sign-in", _ADMIN, "policy")
_CLOCK = Advice("this host's clock is wrong", "synchronise it, for example with systemd-timesyncd", "clock")
_TENANT = Advice("the tenant does not exist", "correct tenant", "settings")

# error of RFC 6749, 5.2 and its extensions → advice
_ERRORS = {
    "access_denied": Advice("the sign-in was refused", _SIGN_IN, "sign-in"),
    "consent_required": Advice("the application lacks a consent", _ADMIN, "policy"),
    "expired_token": Advice("the code has ended: it was not entered in time", _SIGN_IN, "sign-in"),
    "interaction_required": Advice("the account must sign in again", _SIGN_IN, "sign-in"),
    "invalid_client": Advice(
        "the application's ID, secret or certificate is wrong or has ended", _NEW_CLIENT, "secret"
    ),
    "invalid_grant": Advice(
        "the refresh token has ended: it was not used for months, was revoked, or the password was changed",
        _SIGN_IN,
        "sign-in",
    ),
    "invalid_request": Advice(
        "a part of the request is wrong", "compare [relay.oauth2] with the application", "settings"
    ),
    "invalid_scope": Advice(
        "the application has no such scope", "correct scope, or leave it out", "settings"
    ),
    "unauthorized_client": Advice(
        "the application may not use this grant",
        "allow the grant in the application's registration",
        "settings",
    ),
    "unsupported_grant_type": Advice(
        "the server does not know this grant", "correct grant or token_endpoint", "settings"
    ),
}
# Microsoft's number → advice
_AADSTS = {
    50020: Advice("the account is of another directory", "correct tenant", "settings"),
    50034: Advice("the directory has no such account", "correct username or tenant", "settings"),
    50053: Advice("the account is locked", "have an administrator of the tenant unlock it", "policy"),
    50055: Advice("the account's password has ended", _SIGN_IN, "sign-in"),
    50057: Advice("the account is disabled", "have an administrator of the tenant enable it", "policy"),
    50076: Advice("the account needs a second factor", _SIGN_IN, "sign-in"),
    50078: Advice("the second factor has ended", _SIGN_IN, "sign-in"),
    50079: Advice(
        "the account must enrol a second factor",
        "sign in once in a browser, then postward login {relay}",
        "sign-in",
    ),
    50105: Advice("the account is not assigned to the application", _ADMIN, "policy"),
    50131: _POLICY,
    50158: _POLICY,
    50173: Advice("the password was changed, which ends the refresh token", _SIGN_IN, "sign-in"),
    53000: _POLICY,
    53001: _POLICY,
    53002: _POLICY,
    53003: _POLICY,
    53004: _POLICY,
    65001: Advice("neither the user nor an administrator has consented to the application", _ADMIN, "policy"),
    70000: Advice("the refresh token was revoked", _SIGN_IN, "sign-in"),
    70008: Advice("the refresh token or the code has ended", _SIGN_IN, "sign-in"),
    70043: Advice(
        "a Conditional Access rule of the tenant ends sign-ins after some time", _SIGN_IN, "sign-in"
    ),
    70011: Advice("the scope is not valid", "leave scope out", "settings"),
    90002: _TENANT,
    90094: Advice("an administrator has not consented to the application", _ADMIN, "policy"),
    900023: _TENANT,
    500011: Advice("the tenant has no Exchange Online", "correct tenant or scope", "settings"),
    500133: _CLOCK,
    530003: _POLICY,
    530032: _POLICY,
    700016: Advice("the directory has no such application", "correct client_id or tenant", "settings"),
    700024: _CLOCK,
    700027: Advice(
        "the certificate is not registered for the application", "upload certificate_file to it", "secret"
    ),
    700082: Advice("the refresh token has ended: it was not used for 90 days", _SIGN_IN, "sign-in"),
    700084: Advice("the refresh token has ended after a fixed time", _SIGN_IN, "sign-in"),
    7000112: Advice("the application is disabled", "have an administrator of the tenant enable it", "policy"),
    7000215: Advice(
        "the client secret is wrong; often its ID was copied in place of its value",
        "write the secret's value into client_secret_file",
        "secret",
    ),
    7000218: Advice(
        "the application is not registered as a public client, and no secret is given",
        'switch "Allow public client flows" on, or write client_secret_file',
        "settings",
    ),
    7000222: Advice("the client secret has expired", _NEW_CLIENT, "secret"),
    7000229: Advice(
        "the application has no service principal in this tenant", "grant admin consent to it", "policy"
    ),
}
# Google's description → advice
_DESCRIPTIONS = (
    (r"expired or revoked", Advice("the refresh token has ended or was revoked", _SIGN_IN, "sign-in")),
    (
        r"unauthorized to retrieve access tokens|not authorized for any of the scopes",
        Advice(
            "the domain has not delegated https://mail.google.com/ to the service account",
            "add its client ID and this scope in the Admin console: Security, API controls, domain-wide delegation",
            "policy",
        ),
    ),
    (r"Invalid JWT Signature", Advice("the service account's key was deleted", _KEY, "secret")),
    (r"account not found", Advice("the service account does not exist", _KEY, "secret")),
    (r"Invalid email or User ID", Advice("the domain has no such mailbox", "correct username", "settings")),
    (
        r"short-lived token|reasonable timeframe",
        _CLOCK,
    ),
)
_TRANSIENT = frozenset({"server_error", "slow_down", "temporarily_unavailable"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal.

    Attributes:
        error: the code of RFC 6749, as in "invalid_grant"; "" for an answer without one.
        number: Microsoft's number; None without one.
        advice: meaning and remedy; None if neither code nor number is known.
    """

    error: str
    number: int | None = None
    advice: Advice | None = None

    @property
    def lasting(self) -> bool:
        """True if the same request will be refused again."""
        return bool(self.error) and self.error not in _TRANSIENT

    @property
    def fault(self) -> Fault:
        """The fault that the refusal shows."""
        if self.advice:
            return self.advice.fault
        return "unknown" if self.error else "server"

    def text(self, relay: str) -> str:
        """Return the refusal as one line."""
        code = self.error or "an answer without an error code"
        if self.number:
            code += f", AADSTS{self.number}"
        if self.advice is None:
            return f"the authorization server refuses ({code}); look the code up in its documentation"
        return f"{self.advice.meaning} ({code}); {self.advice.remedy.format(relay=relay)}"


def parse_refusal(body: bytes) -> Refusal:
    """Return the refusal in the body of an answer, which can be anything."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal("")
    if not isinstance(fields, dict):
        return Refusal("")
    error, description = (str(fields.get(name, "")) for name in ("error", "error_description"))
    error = error if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", error) else ""
    found = re.search(r"AADSTS(\d{4,8})\b", description)
    number = int(found[1]) if found else None
    return Refusal(error, number, _advice(error, number, description))


def _advice(error: str, number: int | None, description: str) -> Advice | None:
    if number in _AADSTS:
        return _AADSTS[number]
    for pattern, advice in _DESCRIPTIONS:
        if re.search(pattern, description, re.IGNORECASE):
            return advice
    return _ERRORS.get(error)
