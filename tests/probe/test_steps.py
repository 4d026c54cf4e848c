"""A fault at each step of a probe, on a real Postfix and a real relay: the step and the cause."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from postward.agent.probe.once import probe_once
from postward.agent.probe.result import ProbeResult
from postward.config.settings import Settings, load_settings
from tests.support import CA, Fault, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.postfix import free_port

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"

_SETTINGS = """\

[host]
profile = "send-only"
myhostname = "mail.example.test"

[[relay]]
name = "demo"
host = "localhost"
port = {port}
tls = "starttls"
allow_unusual_port = true
username = "{user}"
password = "{password}"

[postfix]
config_directory = "{config_directory}"

[probe]
recipient = "probe@relay.test"
timeout_seconds = 3
{more}

[state]
directory = "{state}"
"""


@dataclass
class Bed:
    """A Postfix that sends through a relay; Postward does not manage its configuration."""

    folder: Path
    relay: Relay
    postfix: PostfixInstance
    ca: CA

    def settings(self, more: str = "") -> Settings:
        """Return Postward's settings."""
        path = self.folder / "postward.toml"
        path.write_text(
            _SETTINGS.format(
                port=self.relay.port,
                user=USER,
                password=PASSWORD,
                config_directory=self.postfix.config_directory,
                more=more,
                state=self.folder,
            )
        )
        return load_settings(path)

    def probe(self, more: str = "") -> ProbeResult:
        """Send one probe."""
        return asyncio.run(probe_once(self.settings(more)))

    @contextmanager
    def configured(self, **parameters: str) -> Iterator[None]:
        """Change parameters for the length of a with block."""
        before = self.postfix.postconf(*parameters)
        self.postfix.set(**parameters)
        self.postfix.reload()
        try:
            yield
        finally:
            self.postfix.set(**before)
            self.postfix.reload()


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A bed for all faults, which end with their tests."""
    require_postfix()
    folder = tmp_path_factory.mktemp("steps")
    ca = CA()
    ca.write(folder)
    with (
        Relay(ca, users={USER: PASSWORD}) as relay,
        PostfixInstance(
            folder / "postfix",
            {
                "relayhost": f"[localhost]:{relay.port}",
                "smtp_tls_security_level": "encrypt",
                "smtp_tls_loglevel": "1",
                "smtp_tls_CAfile": str(ca.path),
                "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_security_options": "noanonymous",
                "smtp_sasl_password_maps": f"inline:{{localhost={USER}:{PASSWORD}}}",
                "smtp_connect_timeout": "5s",
                "smtp_destination_concurrency_failed_cohort_limit": "100",
            },
        ) as postfix,
    ):
        yield Bed(folder, relay, postfix, ca)


@contextmanager
def stopped(bed: Bed, daemon: str) -> Iterator[None]:
    """Stop a daemon of Postfix (SIGSTOP) for the length of a with block."""

    def pids() -> list[int]:
        found = []
        for pid in bed.postfix.pids():
            try:
                if Path(f"/proc/{pid}/comm").read_text().strip() == daemon:
                    found.append(pid)
            except OSError:
                continue
        return found

    halted = wait_for(pids, what=daemon)
    for pid in halted:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in halted:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def changed(bed: Bed, attribute: str, value: object) -> Iterator[None]:
    """Change an attribute of the relay for the length of a with block."""
    before = getattr(bed.relay, attribute)
    setattr(bed.relay, attribute, value)
    try:
        yield
    finally:
        setattr(bed.relay, attribute, before)


@contextmanager
def untrusted(bed: Bed) -> Iterator[None]:
    """Give the relay an expired certificate, and let Postfix verify it."""
    with (
        changed(bed, "certificate", bed.ca.server_context("localhost", expired=True)),
        bed.configured(smtp_tls_security_level="secure", smtp_tls_secure_cert_match="hostname"),
    ):
        yield


def failing(fault: Fault) -> Callable[[Bed], AbstractContextManager[None]]:
    """Return a fault of the relay as a function that switches it on."""
    return lambda bed: bed.relay.failing(fault)


def reply(step: str, text: str) -> Callable[[Bed], AbstractContextManager[None]]:
    """Return a fault: the relay answers a step with this reply."""
    return failing(Fault(step=step, reply=text))


# The name of a fault, the fault, the outcome, the step, and the cause.
FAULTS: list[tuple[str, Callable[[Bed], AbstractContextManager[None]], str, str, str | None]] = [
    ("nothing", lambda _: nullcontext(), "accepted", "", None),
    ("not picked up", lambda bed: stopped(bed, "pickup"), "late", "pickup", "local_config"),
    ("queue stopped", lambda bed: stopped(bed, "qmgr"), "late", "active", "local_config"),
    ("DNS", lambda bed: bed.configured(relayhost="[no-such-host.invalid]"), "failed", "dns", "dns"),
    ("refused", lambda bed: changed(bed, "refuse", value=True), "failed", "connect", "refused"),
    ("greeting", reply("greeting", "554 5.7.1 go away"), "failed", "greeting", "greeting_refused"),
    ("EHLO", reply("ehlo", "550 5.7.1 no EHLO from you"), "failed", "ehlo", "policy"),
    ("no STARTTLS", lambda bed: changed(bed, "no_starttls", value=True), "failed", "tls", "tls_not_offered"),
    ("handshake", failing(Fault(step="handshake", action="cut")), "failed", "tls", "tls_handshake"),
    ("certificate", untrusted, "failed", "tls", "tls_verify"),
    ("AUTH", reply("auth", "535 5.7.8 no"), "failed", "auth", "auth_rejected"),
    (
        "MAIL FROM",
        reply("mail", "553 5.7.1 Sender address rejected: not owned by user"),
        "failed",
        "mail_from",
        "sender_rejected",
    ),
    ("RCPT", reply("rcpt", "550 5.1.1 unknown"), "failed", "rcpt_to", "recipient_rejected"),
    ("DATA end", reply("end_of_data", "554 5.6.0 spam"), "failed", "data", "content"),
    ("hangs", failing(Fault(step="greeting", action="hang")), "late", "greeting", "timeout"),
]


@pytest.mark.parametrize(
    ("fault", "outcome", "step", "cause"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
def test_the_step_and_the_cause(
    bed: Bed, fault: Callable[[Bed], AbstractContextManager[None]], outcome: str, step: str, cause: str | None
) -> None:
    """The probe stops where the fault is, and names the cause."""
    with fault(bed):
        result = bed.probe()
    bed.postfix.delete_all()

    assert (result.outcome, result.step, result.cause) == (outcome, step, cause), result
    seconds = [milestone.seconds for milestone in result.timeline]
    assert seconds == sorted(seconds)


def test_lost_after_acceptance(bed: Bed) -> None:
    """The relay accepts it and it never arrives: late at the step of arrival, with the whole timeline before it."""
    key = bed.folder / "key"
    key.write_text("0123456789abcdef0123456789abcdef")
    result = bed.probe(f'sink_url = "http://127.0.0.1:{free_port()}"\nkey_file = "{key}"')

    assert (result.outcome, result.step, result.cause) == ("late", "arrival", None)
    assert result.relayed
    assert [milestone.step for milestone in result.timeline] == [
        "submitted",
        "picked up",
        "queued",
        "active",
        "connecting",
        "encrypted",
        "authenticated",
        "accepted",
        "removed",
    ]


def test_a_listener_that_refuses_is_the_submit_step(bed: Bed) -> None:
    """Nothing listens at probe.listener."""
    result = bed.probe(f'submit = "smtp"\nlistener = "127.0.0.1:{free_port()}"')

    assert (result.outcome, result.step, result.cause) == ("failed", "submit", "refused")


def test_a_probe_is_submitted_to_a_listener(bed: Bed) -> None:
    """By SMTP, as applications submit mail."""
    result = bed.probe(f'submit = "smtp"\nlistener = "127.0.0.1:{bed.postfix.smtpd_port}"')

    assert result.accepted, result


def test_a_probe_without_the_required_tls_is_not_accepted(bed: Bed) -> None:
    """The relay takes the mail in clear text and without a login; the settings require both."""
    with Relay(bed.ca, tls="none", auth_required=False) as relay:
        clear = {"smtp_tls_security_level": "none", "smtp_sasl_auth_enable": "no"}
        with bed.configured(relayhost=f"[localhost]:{relay.port}", **clear):
            result = replace(bed, relay=relay).probe()
        assert [mail.tls for mail in relay.messages] == [False]
    assert (result.outcome, result.step, result.cause) == ("failed", "tls", "local_config"), result
    assert not result.relayed


def test_a_filter_that_swallows_everything_is_blamed(bed: Bed) -> None:
    """It takes the probe with 250, the relay gets none, and the probe is not accepted."""
    with Relay(bed.ca, tls="none", auth_required=False) as sink:
        hop = f"[127.0.0.1]:{sink.port}"
        with bed.configured(content_filter=f"smtp:{hop}", smtp_tls_policy_maps=f"inline:{{{hop}=none}}"):
            result = bed.probe()
        assert len(sink.messages) == 1
    assert (result.outcome, result.step, result.relayed) == ("late", "return", False)
    assert result.hop == f"127.0.0.1:{sink.port}"
    assert "which is not relay demo" in result.reason
