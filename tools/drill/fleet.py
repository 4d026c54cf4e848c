"""The hosts of the drill: each has a private Postfix, a relay and an agent, and one fault that is switched on.

A fault is outside Postward: at the relay, on the network, or an edit by an admin of this host.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support import CA, Fault, PostfixError, PostfixInstance, Relay, wait_for
from tests.support.product import AgentProcess, run_postward, write_settings

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"
# Failed mail is retried as on a real host, but sooner.
_BACKOFF: Final = {"minimal_backoff_time": "15s", "maximal_backoff_time": "10m", "queue_run_delay": "15s"}
_RESOLVES: Final = {"smtp_host_lookup": "native"}


class Host:
    """A host of the drill. Use it as a context manager; mail is sent from the start."""

    def __init__(self, name: str, folder: Path, scenario: "Scenario", pause: float) -> None:
        self.name = name
        self.folder = folder
        self.pause = pause
        self.scenario = scenario
        self.ca = CA()
        self.relay = Relay(self.ca, "localhost", users={USER: PASSWORD})
        self.over = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.relay)
            self.postfix = stack.enter_context(PostfixInstance(self.folder / "postfix", dict(_RESOLVES)))
            self._set_up()
            self.agent = AgentProcess(self.settings, *self.scenario.options)
            stack.callback(self.agent.stop)
            try:
                self.agent.start()
            except AssertionError:  # eighteen hosts start on one machine
                wait_for(
                    self.agent.is_ready, timeout=60, what=f"the agent of {self.name}: {self.agent.output()}"
                )
            self.sender = threading.Thread(target=self._send, daemon=True)
            self.sender.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self.sender.join(60)
        self._stack.close()

    def _set_up(self) -> None:
        self.settings = write_settings(
            self.folder,
            self.relay,
            self.postfix,
            password=PASSWORD,
            probe_interval=20,
            enforce_interval=5,
            preflight=False,
        )
        text = self.settings.read_text()
        for name, value in (_BACKOFF | dict(self.scenario.main_cf)).items():
            text = "\n".join(line for line in text.split("\n") if not line.startswith(f"{name} "))
            text = text.replace("[main_cf]\n", f'[main_cf]\n{name} = "{value}"\n')
        text = text.replace('host = "127.0.0.1"', 'host = "localhost"')
        if self.scenario.verify:
            ca_file = self.ca.write(self.postfix.config_directory)
            text = text.replace(
                "allow_unusual_port", f'verify = true\nca_file = "{ca_file}"\nallow_unusual_port'
            )
        self.settings.write_text(text)
        done = run_postward("apply", "--config", str(self.settings))
        assert done.returncode == 0, done.stdout + done.stderr
        if "--enforce" in self.scenario.options:
            self.settings.write_text(text.replace("[enforce]\n", '[enforce]\nmode = "observe"\n'))

    @property
    def target(self) -> tuple[str, str]:
        """Name and address, as Prometheus scrapes it."""
        return self.name, self.agent._address

    def _send(self) -> None:
        """Send the mail of the host's users until `over`."""
        while not self.over.wait(self.pause):
            try:
                self.postfix.inject(self.scenario.recipients, sender="app@client.example.test")
            except (OSError, PostfixError):
                continue  # Postfix is stopped, which is one of the faults


@dataclass(frozen=True)
class Scenario:
    """A fault: how it is switched on, and the alert that it must raise ("" for the healthy host)."""

    alert: str
    fault: Callable[[Host], None]
    cause: str | None = None
    verify: bool = False
    options: tuple[str, ...] = ()
    main_cf: Mapping[str, str] = field(default_factory=dict)
    recipients: tuple[str, ...] = ("bob@dest.test",)


def _nothing(_host: Host) -> None:
    """Switch nothing on."""


def _password(host: Host) -> None:
    host.relay.users = {USER: "another"}


def _mechanisms(host: Host) -> None:
    host.relay.mechanisms = ("XOAUTH2",)


def _certificate(*, expired: bool = False, self_signed: bool = False) -> Callable[[Host], None]:
    def switch(host: Host) -> None:
        host.relay.certificate = host.ca.server_context("localhost", expired=expired, self_signed=self_signed)

    return switch


def _no_starttls(host: Host) -> None:
    host.relay.no_starttls = True


def _refuse(host: Host) -> None:
    host.relay.refuse = True


def _resolver(host: Host) -> None:
    host.postfix.set(smtp_host_lookup="dns")
    host.postfix.reload()


def _relay_replies(step: str, reply: str) -> Callable[[Host], None]:
    def switch(host: Host) -> None:
        host.relay.fault = Fault(step=step, reply=reply)

    return switch


def _relay_does(step: str, action: str) -> Callable[[Host], None]:
    def switch(host: Host) -> None:
        host.relay.fault = Fault(step=step, action=action)

    return switch


def _by_hand(host: Host) -> None:
    host.postfix.set(minimal_backoff_time="16s")


def _log_elsewhere(host: Host) -> None:
    host.postfix.set(maillog_file=str(host.postfix.folder / "elsewhere.log"))
    host.postfix.reload()


def _stop(host: Host) -> None:
    host.postfix.stop()


def _slow_domain(host: Host) -> None:
    host.relay.fault = Fault(step="rcpt", reply="451 4.3.0 Try again later", only="slow.test")
    host.postfix.inject([f"user{number}@slow.test" for number in range(45)] + ["bob@dest.test"] * 250)


SCENARIOS: Final[dict[str, Scenario]] = {
    "healthy": Scenario("", _nothing),
    "password": Scenario("PostfixRelayAuthRejected", _password, "auth_rejected"),
    "plugin": Scenario("PostfixRelayAuthImpossible", _mechanisms, "auth_mechanism"),
    "handshake": Scenario("PostfixRelayTlsBroken", _relay_does("handshake", "cut"), "tls_handshake"),
    "expired": Scenario("PostfixRelayTlsBroken", _certificate(expired=True), "tls_verify", verify=True),
    "untrusted": Scenario("PostfixRelayTlsBroken", _certificate(self_signed=True), "tls_verify", verify=True),
    "no-starttls": Scenario("PostfixRelayTlsBroken", _no_starttls, "tls_not_offered"),
    "refused": Scenario("PostfixRelayUnreachable", _refuse, "refused"),
    "timeout": Scenario("PostfixRelayUnreachable", _relay_does("greeting", "hang"), "timeout"),
    "dns": Scenario("PostfixRelayUnreachable", _resolver, "dns"),
    "greeting-421": Scenario(
        "PostfixRelayRefusesHost", _relay_replies("greeting", "421 4.3.2 Service not available"), "greeting_refused"
    ),
    "rate-limit": Scenario(
        "PostfixRelayRateLimited",
        _relay_replies("mail", "454 4.7.0 Throttling failure: Maximum sending rate exceeded"),
        "rate_limit",
    ),
    "quota": Scenario("PostfixRelayQuotaUsedUp", _relay_replies("rcpt", "550 5.4.5 Daily user sending quota exceeded"), "quota"),
    "sender": Scenario(
        "PostfixRelaySenderRejected",
        _relay_replies("mail", "553 5.7.1 Sender address rejected: not owned by user API_USER"),
        "sender_rejected",
    ),
    "drift": Scenario("PostwardConfigDrift", _by_hand, options=("--enforce",)),
    "log-stopped": Scenario("PostwardLogSilent", _log_elsewhere),
    "stopped": Scenario("PostfixDown", _stop),
    "queue": Scenario(
        "PostfixQueueGrowing",
        _slow_domain,
        main_cf={"minimal_backoff_time": "1h", "maximal_backoff_time": "2h"},
        recipients=("carol@slow.test", *["bob@dest.test"] * 8),
    ),
}  # fmt: skip

# The hosts of the drill in CI, where the times of the rules are twenty times shorter.
SHORT: Final = ("healthy", "password", "no-starttls", "refused", "stopped")


def switch_on(hosts: Mapping[str, Host]) -> dict[str, float]:
    """Switch all faults on. Return when each was, in monotonic seconds."""
    moments = {}
    for name, host in hosts.items():
        moments[name] = time.monotonic()
        host.scenario.fault(host)
    return moments
