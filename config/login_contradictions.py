"""Contradictions between the login of a relay and its other settings: password, token, mechanism, certificate.

Pure, and like `postward.config.contradictions` about tables before validation.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from postward.config.errors import Loc
from postward.config.fields import quoted
from postward.config.oauth2 import MECHANISMS, oauth2_problems
from postward.config.providers import PROVIDERS
from postward.config.relay import PASSWORD_SOURCES, given
from postward.config.sasl import PASSWORDLESS

Table = Mapping[str, Any]
Found = Iterator[tuple[str, str]]
# Table types that cannot carry a token: a key and its value share one block of about 1000 bytes.
_SHORT_VALUES = frozenset({"dbm", "sdbm"})


def login_problems(relays: object, main_cf: Table, postfix: Table) -> Iterator[tuple[Loc, str]]:
    """Yield the location of each contradiction, and a message that says how to resolve it.

    Args:
        relays: the tables of the relays.
        main_cf: the table `[main_cf]`.
        postfix: the table `[postfix]`.
    """
    tables = [_given(relay) for relay in relays] if isinstance(relays, list) else []
    for index, relay in enumerate(tables):
        for check in (_password, _oauth2, _mechanism, _certificate):
            for key, message in check(relay):
                yield ("relay", index, *key.split(".")), message
        for key, message in _fallback(relay, tables[0]):
            yield ("relay", index, key), message
    if (
        any("oauth2" in relay or "auth" in relay for relay in tables)
        and "smtp_sasl_mechanism_filter" in main_cf
    ):
        yield (
            ("main_cf", "smtp_sasl_mechanism_filter"),
            "is derived from relay.auth and relay.oauth2; remove it here",
        )
    if any("client_certificate" in relay for relay in tables) and "smtp_tls_chain_files" in main_cf:
        yield ("main_cf", "smtp_tls_chain_files"), "is derived from relay.client_certificate; remove it here"
    if any("oauth2" in relay for relay in tables) and postfix.get("map_type") in _SHORT_VALUES:
        yield (
            ("postfix", "map_type"),
            f'must not be "{postfix["map_type"]}", which has no room for a token; write "auto"',
        )


def _given(relay: object) -> dict[str, Any]:
    table = given(relay)
    return table | {"auth": table["auth"].lower()} if isinstance(table.get("auth"), str) else table


def _passwords(relay: Table) -> list[str]:
    return [key for key in PASSWORD_SOURCES if key in relay]


def _password(relay: Table) -> Found:
    sources = _passwords(relay)
    if "login_table" in relay or relay.get("direct") is True or relay.get("protocol") == "lmtp":
        return
    if "oauth2" in relay:
        for key in sources:
            yield (
                key,
                "must be left out beside [relay.oauth2], whose token takes its place; remove one of the two",
            )
        return
    if relay.get("auth") in PASSWORDLESS:
        for key in sources:
            yield key, f"must be left out: auth = {quoted(relay['auth'])} uses no password"
        return
    if "username" in relay and not sources:
        yield (
            "password",
            "is required, because username is set; add password_file, password_credential or password",
        )
    if sources and "username" not in relay:
        yield (
            "password",
            f"is given by {sources[0]}, but username is missing; add username, or remove {sources[0]}",
        )
    if len(sources) > 1:
        yield "password", f"is given by {' and '.join(sources)}; keep one of them"


def _oauth2(relay: Table) -> Found:
    oauth2 = relay.get("oauth2")
    if not isinstance(oauth2, dict):
        return
    if "username" not in relay:
        yield (
            "username",
            "is required by [relay.oauth2]; write the mailbox whose token it is, as in app@example.com",
        )
    if relay.get("tls") in ("opportunistic", "none"):
        yield (
            "tls",
            f'must not be {quoted(relay["tls"])} with [relay.oauth2]: a token is sent encrypted only; write "starttls"',
        )
    provider = PROVIDERS.get(relay["provider"]) if isinstance(relay.get("provider"), str) else None
    written = {key: value for key, value in oauth2.items() if value not in ("", None)}
    for key, message in oauth2_problems(written, provider.identity if provider else None):
        yield f"oauth2.{key}", message


def _mechanism(relay: Table) -> Found:
    auth = relay.get("auth")
    if not isinstance(auth, str):
        return
    if "oauth2" in relay and auth.lower() not in MECHANISMS:
        yield (
            "auth",
            f'must be left out, or "xoauth2" or "oauthbearer": {auth} does not take the token of [relay.oauth2]',
        )
    if "username" not in relay and "login_table" not in relay:
        yield (
            "username",
            f"is required by auth = {quoted(auth)}: Postfix does not log in without one; write the login name",
        )


def _certificate(relay: Table) -> Found:
    pair = ("client_certificate", "client_key")
    present = [key for key in pair if key in relay]
    if len(present) == 1:
        missing = next(key for key in pair if key not in present)
        yield missing, f"is required by {present[0]}; write the path of both"
    if present and relay.get("tls") == "none":
        yield present[0], 'must be left out with tls = "none": without TLS no certificate is presented'


def _fallback(relay: Table, first: Table) -> Found:
    """The same smtp(8) service tries the fallback, and has one filter of mechanisms and one client certificate."""
    if relay.get("fallback") is not True or relay is first:
        return
    if _login_kind(relay) != _login_kind(first) and "username" in relay and "username" in first:
        yield (
            "auth",
            (
                "must allow the same mechanisms as the first relay's: a fallback uses its smtp_sasl_mechanism_filter; "
                "use passwords or tokens for both, or list senders in place of fallback"
            ),
        )
    if "client_certificate" in relay and relay["client_certificate"] != first.get("client_certificate"):
        yield (
            "client_certificate",
            (
                "must be the first relay's: a fallback uses its smtp_tls_chain_files; write the same, or list senders "
                "in place of fallback"
            ),
        )


def _login_kind(relay: Table) -> object:
    return relay.get("auth") or "oauth2" in relay
