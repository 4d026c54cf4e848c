"""Tokens are fetched by every grant, renewed in time, kept through faults, and never shown."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from postward.agent.oauth2.keeper import OutdatedSecretError, TokenMetrics, renew
from postward.agent.oauth2.store import Grant, TokenState, TokenStore
from postward.config.relay import Relay
from postward.config.settings import Settings
from tests.config.samples import load
from tests.oauth2 import USER, Bed
from tests.support.authorization import Client

NOW = 2_000_000_000.0


def renewed(relay: Relay, now: float = NOW) -> TokenState:
    """Renew, without jitter."""
    return renew(relay, TokenStore(relay), now, 1.0)


def with_grant(bed: Bed, lines: str = "", client: Client | None = None) -> Relay:
    """Return a relay whose refresh token is stored."""
    relay = bed.relay("refresh_token", lines, client)
    TokenStore(relay).write_grant(Grant(bed.server.issue("app", USER), NOW))
    return relay


def by_refresh_token(bed: Bed) -> Relay:
    """A public client."""
    return with_grant(bed)


def by_refresh_token_and_secret(bed: Bed) -> Relay:
    """A client with a secret."""
    secret = bed.write("secret", "s3cret-Green")
    return with_grant(bed, f'client_secret_file = "{secret}"', Client("app", "s3cret-Green"))


def by_secret(bed: Bed) -> Relay:
    """Client credentials with a secret."""
    secret = bed.write("secret", "s3cret-Green\n")
    return bed.relay("client_credentials", f'client_secret_file = "{secret}"', Client("app", "s3cret-Green"))


def by_certificate(bed: Bed) -> Relay:
    """Client credentials with a certificate."""
    key, certificate = bed.ca.client_certificate("app")
    public = load_pem_private_key(key, None).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    lines = (
        f'certificate_file = "{bed.write("app.pem", certificate.decode())}"\n'
        f'key_file = "{bed.write("app.key", key.decode())}"'
    )
    return bed.relay("client_credentials", lines, Client("app", public_key=pem))


def by_service_account(bed: Bed) -> Relay:
    """A service account that acts for a mailbox."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    account = {
        "type": "service_account",
        "client_email": "app",
        "private_key": private,
        "private_key_id": "1",
    }
    path = bed.write("account.json", json.dumps(account))
    return bed.relay("service_account", f'service_account_file = "{path}"', Client("app", public_key=public))


@pytest.mark.parametrize(
    "grant",
    [by_refresh_token, by_refresh_token_and_secret, by_secret, by_certificate, by_service_account],
    ids=lambda grant: grant.__name__,
)
def test_every_grant_gives_a_token_that_the_relay_takes(bed: Bed, grant: object) -> None:
    """The token of some 3000 bytes is stored for Postfix, and the state says when it ends."""
    assert callable(grant)
    relay = grant(bed)
    state = renewed(relay)
    assert state.problem is None
    assert (state.expires, state.due, state.outcomes["renewed"]) == (NOW + 3600, NOW + 2400, 1)
    token = relay.read_password()
    assert len(token) > 2900
    assert bed.server.accepts(USER, token)


def test_only_the_owner_reads_a_grant(bed: Bed) -> None:
    """The token is for the group too, the agent's; the state has no secret."""
    relay = with_grant(bed)
    renewed(relay)
    modes = {path.name: path.stat().st_mode & 0o777 for path in bed.tokens.iterdir()}
    assert modes == {"m365.grant": 0o600, "m365.lock": 0o600, "m365.state": 0o644, "m365.token": 0o640}
    grant = TokenStore(relay).read_grant()
    assert grant is not None
    shown = (bed.tokens / "m365.state").read_text() + repr(grant) + repr(relay)
    assert relay.read_password() not in shown
    assert grant.refresh_token not in shown


def test_a_token_is_renewed_at_two_thirds_of_its_life(bed: Bed) -> None:
    """Not before, unless its file is gone; the refresh token is replaced each time."""
    relay = with_grant(bed)
    renewed(relay)
    renewed(relay, NOW + 2399)
    assert len(bed.server.requests) == 1
    (bed.tokens / "m365.token").unlink()
    renewed(relay, NOW + 2399)
    renewed(relay, NOW + 2399 + 2400)
    used = [form["refresh_token"] for form in bed.server.requests]
    assert len(set(used)) == 3
    assert not bed.server.is_alive(used[0])


def test_faults_are_retried_with_back_off(bed: Bed) -> None:
    """The pause doubles up to a limit; the token stays; the next success ends it."""
    relay = with_grant(bed)
    renewed(relay)
    token, now = relay.read_password(), NOW + 2400
    pauses = []
    bed.server.faults = [(503, b"busy"), (400, b'{"error": "temporarily_unavailable"}'), (200, b"<html>")] * 3
    for _ in range(9):
        state = renewed(relay, now)
        pauses.append(state.due - now)
        now = state.due
    assert pauses == [30, 60, 120, 240, 480, 900, 900, 900, 900]
    assert relay.read_password() == token
    assert state.outcomes == {"renewed": 1, "refused": 0, "failed": 9}
    assert (
        state.problem == "the authorization server's answer holds no bearer token; is token_endpoint right?"
    )
    state = renewed(relay, now)
    assert (state.problem, state.failures) == (None, 0)


def test_a_server_that_cannot_be_reached_is_a_fault(bed: Bed) -> None:
    """A closed port and a certificate that is not trusted: the text names no URL."""
    relay = with_grant(bed)
    bed.server.__exit__(None, None, None)
    state = renewed(relay)
    assert (
        state.problem == "the authorization server cannot be reached: Connection refused; it is asked again"
    )
    bed.server.__init__(bed.ca)  # type: ignore[misc]
    bed.server.__enter__()


def test_a_certificate_that_has_expired_can_be_the_clock(bed: Bed) -> None:
    """Either may be wrong, and the text says so. One that is not yet valid shows that the clock is behind."""
    relay = with_grant(bed)
    bed.ca.certify(bed.server.certificate, expired=True)
    state = renewed(relay)
    assert state.problem is not None
    assert "certificate has expired" in state.problem
    assert "unless this host's clock is ahead; it is asked again" in state.problem
    assert state.fault == "server"
    bed.ca.certify(bed.server.certificate, not_yet_valid=True)
    assert renewed(relay, state.due).fault == "clock"


def test_a_refusal_is_asked_again_hourly_or_after_a_sign_in(bed: Bed) -> None:
    """The text says what to do. A new grant is used at once."""
    relay = with_grant(bed)
    bed.server.revoke()
    state = renewed(relay)
    assert state.problem is not None
    assert state.problem.endswith("(invalid_grant); postward login m365")
    assert state.due == NOW + 3600
    renewed(relay, NOW + 3599)
    assert len(bed.server.requests) == 1
    TokenStore(relay).write_grant(Grant(bed.server.issue("app", USER), NOW))
    assert renewed(relay, NOW + 1).problem is None


def test_without_a_grant_no_server_is_asked(bed: Bed) -> None:
    """The remedy is a sign-in."""
    relay = bed.relay("device_code")
    assert renewed(relay).problem == "no refresh token is stored; postward login m365"
    assert bed.server.requests == []


def test_a_new_secret_is_used_at_once(bed: Bed) -> None:
    """After a refusal, the change of a secret's file does not wait for the hour."""
    relay = by_secret(bed)
    bed.write("secret", "wrong-one")
    state = renewed(relay)
    assert state.problem is not None
    assert "wrong-one" not in state.problem
    bed.write("secret", "s3cret-Green")
    assert renewed(relay, NOW + 1).problem is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("app.pem", "x", "must be a certificate in PEM"),
        ("app.key", "x", "must be an RSA key in PEM, without a passphrase"),
        (
            "app.key",
            None,
            "No such file or directory; the file must hold the password and be readable by root",
        ),
    ],
)
def test_a_bad_key_is_named(bed: Bed, name: str, content: str | None, message: str) -> None:
    """The message has file and setting."""
    relay = by_certificate(bed)
    if content is None:
        (bed.folder / name).unlink()
    else:
        bed.write(name, content)
    problem = renewed(relay).problem
    assert problem is not None
    assert problem.startswith(str(bed.folder / name))
    assert problem.endswith(message)


def test_a_bad_service_account_is_named(bed: Bed) -> None:
    """The content of the file is not shown."""
    relay = by_service_account(bed)
    bed.write("account.json", '{"client_email": "hunter2"}')
    problem = renewed(relay).problem
    assert problem is not None
    assert problem.endswith("must be the JSON key of a service account, as Google saves it")


def test_a_secret_that_systemd_copied_earlier_ends_the_service(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systemd starts it again, with the present secret."""
    secret = bed.write("secret", "old")
    copies = bed.folder / "credentials"
    copies.mkdir()
    (copies / f"{bed.folder.name}_secret").write_text("old")
    relay = bed.relay("client_credentials", f'client_secret_file = "{secret}"', Client("app", "old"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(copies))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert renewed(relay).problem is None
    later = secret.stat().st_mtime + 10
    os.utime(secret, (later, later))
    with pytest.raises(OutdatedSecretError):
        renewed(relay)


def test_a_secret_that_is_new_ends_the_service_once(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systemd passes no copy of a file that did not exist, nor one from another folder: then the problem stays."""
    copies = bed.folder / "credentials"
    copies.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(copies))
    secret = bed.folder / "secret"
    relay = bed.relay("client_credentials", f'client_secret_file = "{secret}"', Client("app", "new"))
    assert renewed(relay).fault == "host"
    secret.write_text("new")
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "no")))
    with pytest.raises(OutdatedSecretError):
        renewed(relay)
    copies.rmdir()
    copies.mkdir()
    assert renewed(relay).fault == "host"


def test_a_kill_at_any_call_loses_no_grant(bed: Bed) -> None:
    """The server ends a refresh token as soon as its successor, or a token that came with it, is used."""
    with_grant(bed)
    settings = bed.write(
        "postward.toml",
        '[host]\nmyhostname = "mail.example.com"\n[[relay]]\nname = "m365"\nhost = "localhost"\n'
        f'username = "{USER}"\n{bed.table("refresh_token")}',
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.oauth2.killing", str(settings), bed.server.url],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(f"\n{int(done.stdout)} kills")  # noqa: T201
    assert int(done.stdout) > 20


def test_a_full_disk_loses_no_grant(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the grant cannot be written, the server is not asked."""
    relay = with_grant(bed)
    monkeypatch.setattr(
        TokenStore, "write_grant", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    assert renewed(relay).problem == "No space left"
    assert bed.server.requests == []


def test_the_agent_exports_what_is_known(bed: Bed) -> None:
    """Ends of token and secret, the age of the grant, renewals by outcome."""
    secret = bed.write("secret", "s3cret-Green")
    lines = f'client_secret_file = "{secret}"\nsecret_expires = "2027-05-01"'
    relay = with_grant(bed, lines, Client("app", "s3cret-Green"))
    renewed(relay)
    head = '[host]\nmyhostname = "mail.example.com"\n[[relay]]\nname = "m365"\nhost = "localhost"\n'
    settings: Settings = load(f'{head}username = "{USER}"\n{bed.table("refresh_token", lines)}')
    assert TokenMetrics(settings).gauges() == {
        "postward_token_expiry_timestamp_seconds": {("m365",): NOW + 3600},
        "postward_token_received_timestamp_seconds": {("m365",): NOW},
        "postward_token_grant_timestamp_seconds": {("m365",): NOW},
        "postward_token_credential_expiry_timestamp_seconds": {("m365",): 1809129600.0},
        "postward_token_renewals_total": {
            ("m365", "renewed"): 1.0,
            ("m365", "refused"): 0.0,
            ("m365", "failed"): 0.0,
        },
    }


def test_a_clock_that_was_set_back_does_not_stop_renewals(bed: Bed) -> None:
    """A token that was asked for in the future is asked for again."""
    relay = with_grant(bed)
    renewed(relay, NOW + 86400)
    renewed(relay, NOW)
    assert len(bed.server.requests) == 2


def test_a_renewal_that_fails_or_is_missing_is_a_condition(bed: Bed) -> None:
    """The agent reads it in the state. A service that does not run is seen two minutes after a renewal was due."""
    relay = with_grant(bed)
    head = '[host]\nmyhostname = "mail.example.com"\n[[relay]]\nname = "m365"\nhost = "localhost"\n'
    settings = load(f'{head}username = "{USER}"\n{bed.table("refresh_token")}')
    clock = [NOW]
    metrics = TokenMetrics(settings, lambda: clock[0])

    def condition() -> str | None:
        return metrics.conditions()["token-not-renewed"]

    assert condition() is None
    clock[0] += 121
    assert (
        condition() == "relay m365: no new token (service): the token service has not asked for one in time"
    )
    state = renewed(relay, clock[0])
    assert condition() is None
    clock[0] = state.due
    bed.server.revoke()
    renewed(relay, clock[0])
    assert (condition() or "").startswith("relay m365: no new token (sign-in): the refresh token has ended")
