"""A relay that knows this host by its certificate, or by Kerberos: preflight, probe, expiry, with a real Postfix."""

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.postfix import free_port
from tests.support.product import AgentProcess, run_postward


@pytest.fixture
def relay() -> Iterator[tuple[CA, Relay]]:
    """A relay that takes mail from whom has a certificate of its authority, without a login."""
    require_postfix()
    ca = CA()
    with Relay(ca, auth_required=False, mechanisms=()) as relay:
        relay.certificate.load_verify_locations(cadata=ca.pem.decode())
        relay.certificate.verify_mode = ssl.CERT_REQUIRED
        yield ca, relay


def write_settings(folder: Path, relay: Relay, postfix: PostfixInstance, lines: str) -> Path:
    """Write settings for a relay, with these lines in its table."""
    path = folder / "postward.toml"
    path.write_text(
        '[host]\nprofile = "send-only"\nmyhostname = "mail.example.test"\ninet_protocols = "ipv4"\n'
        f'[[relay]]\nname = "tenant"\nhost = "127.0.0.1"\nport = {relay.port}\ntls = "starttls"\n{lines}\n'
        f'[postfix]\nconfig_directory = "{postfix.config_directory}"\n[probe]\nrecipient = "probe@relay.test"\n'
        f'interval_seconds = 5\n[enforce]\ndirectory = "{folder}/enforce"\n[state]\ndirectory = "{folder}/state"\n'
        f'[web]\nlisten = "127.0.0.1:{free_port()}"\n'
    )
    return path


@pytest.mark.parametrize("place", ["settings", "main.cf"])
def test_a_relay_that_asks_for_a_certificate(place: str, tmp_path: Path, relay: tuple[CA, Relay]) -> None:
    """Without it the preflight fails and changes nothing; with it the probe is accepted, and its end is exported."""
    ca, running = relay
    files = tmp_path / "client.key", tmp_path / "client.pem"
    for path, content in zip(files, ca.client_certificate("mail.example.test"), strict=True):
        path.write_bytes(content)
    lines = f'client_key = "{files[0]}"\nclient_certificate = "{files[1]}"'
    with PostfixInstance(tmp_path / "postfix", chroot=True) as postfix:
        done = run_postward("apply", "--config", str(write_settings(tmp_path, running, postfix, "")))
        assert done.returncode == 1, done.stdout
        assert not running.messages
        if place == "main.cf":
            postfix.set(smtp_tls_key_file=str(files[0]), smtp_tls_cert_file=str(files[1]))
        settings = write_settings(tmp_path, running, postfix, lines if place == "settings" else "")
        done = run_postward("apply", "--config", str(settings))
        assert done.returncode == 0, done.stderr
        with AgentProcess(settings) as agent:
            wait_for(lambda: agent.value("postward_probes_total", outcome="accepted") >= 1, 40, "a probe")
            wait_for(lambda: agent.value("postward_relay_reachable") == 1, 40, "a check of the relay")
            end = agent.value("postward_relay_client_certificate_expiry_timestamp_seconds", relay="tenant")
    assert end > time.time()
    assert running.messages
    assert not running.auth_attempts


def test_a_setting_of_gssapi_is_kept(tmp_path: Path) -> None:
    """The check stops after EHLO and says so; Postfix's filter has the mechanism, and no password is sent.

    The plug-in of this test is an empty file: it stands for the installed package, and no Postfix runs.
    """
    require_postfix()
    (tmp_path / "libgssapiv2.so").touch()
    environment = {"SASL_PATH": str(tmp_path)}
    relay = Relay(CA(), mechanisms=("PLAIN", "LOGIN"), auth_required=False, extensions=("AUTH GSSAPI",))
    with relay, PostfixInstance(tmp_path / "postfix") as postfix:
        postfix.stop()
        settings = write_settings(tmp_path, relay, postfix, 'username = "host"\nauth = "gssapi"')
        checked = run_postward("relay", "--json", "--config", str(settings), env=environment)
        applied = run_postward("apply", "--no-verify", "--config", str(settings), env=environment)
        kept = postfix.postconf("smtp_sasl_mechanism_filter")
    assert "the login by GSSAPI is left to Postfix" in checked.stdout, checked.stdout
    assert applied.returncode == 0, applied.stderr
    assert kept == {"smtp_sasl_mechanism_filter": "gssapi"}
    assert relay.auth_attempts == []
