"""Each fault of a login by token, staged on a running host: named within a minute, by its cause, before or when mail waits.

The agent runs with its enforcer, so that it renews tokens itself. A grant that is written again makes it renew at once,
while the present token is still good. With `-s`, each fault prints a row: seconds until it was named, the cause, whether
mail went out then, and by how much the counter of the alert PostwardTokenRefused had risen.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from postward.agent.oauth2.store import Grant, TokenStore
from postward.config.settings import load_settings
from tests.oauth2 import USER, Bed
from tests.support import PostfixInstance, Relay, require_postfix, wait_for
from tests.support.authorization import Client, refusal
from tests.support.fault import Fault
from tests.support.postfix import free_port
from tests.support.product import AgentProcess, run_postward
from tests.support.sasl import plugin_path, with_plugin

_SECRET = "s3cret-Green"
_DISABLED = "535 5.7.139 Authentication unsuccessful, basic authentication is disabled."
_CRITERIA = (
    "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated "
    "successfully. Contact your administrator."
)


@dataclass
class Site:
    """A host that sends by token."""

    bed: Bed
    relay: Relay
    postfix: PostfixInstance
    agent: AgentProcess
    store: TokenStore

    def sends(self, name: str) -> bool:
        """Send a mail, and return whether the relay took it."""
        self.postfix.sendmail(f"{name}@dest.test")
        wait_for(lambda: self.postfix.log_lines(f"to=<{name}@dest.test>"), 40, "an attempt")
        return "status=sent" in self.postfix.log_lines(f"to=<{name}@dest.test>")[0]

    def renew(self) -> None:
        """Write the grant again, so that it is used at once."""
        grant = self.store.read_grant()
        assert grant is not None
        self.store.write_grant(grant)

    def causes(self) -> list[tuple[str, str, str]]:
        """Return (symptom, certainty, causes) of the open incidents, as `postward why` has them."""
        done = run_postward("why", "--json", "--config", str(self.agent.settings_file))
        rows = json.loads(done.stdout)["incidents"] if done.stdout.startswith("{") else []
        return [
            (row["symptom"], row["certainty"], " ".join(cause["id"] for cause in row["causes"]))
            for row in rows
        ]

    def refused(self) -> float:
        """Return the counter of the alert PostwardTokenRefused."""
        return self.agent.value("postward_token_renewals_total", outcome="refused")


def _revoke(site: Site) -> None:
    site.bed.server.revoke()


def _secret_ends(site: Site) -> None:
    site.bed.server.faults = [refusal("invalid_client", 7000222)] * 99


def _is_down(site: Site) -> None:
    site.bed.server.down = True


def _clock_is_off(site: Site) -> None:
    site.bed.server.faults = [refusal("invalid_client", 700024)] * 99


def _certificate_of_tomorrow(site: Site) -> None:
    """Let a clock that is behind see the server's certificate."""
    site.bed.ca.certify(site.bed.server.certificate, not_yet_valid=True)


def _other_tenant(site: Site) -> None:
    site.bed.server.path = "/another"


def _conditional_access(site: Site) -> None:
    site.bed.server.faults = [refusal("interaction_required", 53003)] * 99


def _relay_refuses(reply: str) -> Callable[[Site], None]:
    def stage(site: Site) -> None:
        site.relay.fault = Fault(step="auth", reply=reply)

    return stage


# Name → stage, symptom, causes, certainty, and whether mail still goes out when it is named.
_TOKEN = "token-not-renewed"
FAULTS = {
    "refresh token revoked": (_revoke, _TOKEN, "token-sign-in", "certain", True),
    "client secret expired": (_secret_ends, _TOKEN, "token-secret", "certain", True),
    "token endpoint down": (_is_down, _TOKEN, "token-server", "certain", True),
    "clock off, by an assertion": (_clock_is_off, _TOKEN, "token-clock", "certain", True),
    "clock off, by a certificate": (_certificate_of_tomorrow, _TOKEN, "token-clock", "certain", True),
    "wrong tenant": (_other_tenant, _TOKEN, "token-settings", "certain", True),
    "Conditional Access, no token": (_conditional_access, _TOKEN, "token-policy", "certain", True),
    "Conditional Access, no login": (
        _relay_refuses(_CRITERIA),
        "login-conditional-access",
        "conditional-access",
        "likely",
        False,
    ),
    "password login switched off": (
        _relay_refuses(_DISABLED),
        "login-basic-retired",
        "tenant",
        "likely",
        False,
    ),
}


@pytest.fixture
def site(bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A host whose first mail went out."""
    require_postfix()
    monkeypatch.setenv("SASL_PATH", plugin_path())
    bed.server.clients["app"] = Client("app", _SECRET)
    secret = bed.write("secret", _SECRET)
    with (
        Relay(bed.ca, mechanisms=("LOGIN", "XOAUTH2")) as relay,
        PostfixInstance(tmp_path / "postfix", with_plugin()) as postfix,
    ):
        relay.tokens = bed.server.accepts
        settings = bed.write(
            "postward.toml",
            '[host]\nprofile = "send-only"\nmyhostname = "mail.example.test"\ninet_protocols = "ipv4"\n'
            f'[[relay]]\nname = "m365"\nhost = "127.0.0.1"\nport = {relay.port}\ntls = "starttls"\n'
            f'username = "{USER}"\n{bed.table("refresh_token", f"client_secret_file = {json.dumps(str(secret))}")}'
            f'[postfix]\nconfig_directory = "{postfix.config_directory}"\n'
            f'[enforce]\ndirectory = "{tmp_path}/enforce"\n[state]\ndirectory = "{tmp_path}/state"\n'
            f'[web]\nlisten = "127.0.0.1:{free_port()}"\n',
        )
        store = TokenStore(load_settings(settings).relay[0])
        store.write_grant(Grant(bed.server.issue("app", USER), time.time()))
        with AgentProcess(settings, "--enforce") as agent:
            site = Site(bed, relay, postfix, agent, store)
            wait_for(lambda: agent.value("postward_config_in_sync") == 1, 40, "the configuration")
            assert site.sends("first")
            yield site


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_within_a_minute(site: Site, name: str) -> None:
    """By symptom and cause. A fault of the token is named before mail waits, and a refusal has raised its counter."""
    stage, symptom, cause, certainty, goes_out = FAULTS[name]
    expected, refused = (symptom, certainty, cause), site.refused()
    stage(site)
    begun = time.monotonic()
    if goes_out:
        site.renew()
    else:
        assert not site.sends("second")
    wait_for(lambda: expected in site.causes(), 60, f"{expected}, not {site.causes()}")
    seconds = time.monotonic() - begun
    risen = site.refused() - refused
    print(f"\n| {name} | {seconds:.0f} s | {symptom}: {cause} | {certainty} | {goes_out} | +{risen:.0f} |")  # noqa: T201
    assert site.sends("third") is goes_out
    assert (risen > 0) is (goes_out and cause != "token-server" and "certificate" not in name)
