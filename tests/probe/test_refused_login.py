"""A relay that rejects the login: probes and checks together do not attempt it often enough to lock an account."""

import asyncio
from pathlib import Path

from postward.agent.logs.discover import find_log, open_source
from postward.agent.logs.lines import lines_of
from postward.agent.logs.watcher import Watcher, wake_up
from postward.agent.metrics.tally import Tally
from postward.agent.postfix.commands import Postfix
from postward.agent.probe.result import ProbeResult
from postward.agent.probe.scheduler import ProbeScheduler
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.monitor import RelayMonitor
from postward.config.settings import Settings, load_settings
from postward.parsers import parse
from tests.support import CA, PostfixInstance, Relay, require_postfix

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"
MAX_PER_HOUR = 2


class Clock:
    """A clock that is set by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Run:
    """The parts of one run of the agent that talk to relays, on a real Postfix."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        postfix = Postfix(Path(settings.postfix.config_directory))
        path = Path(settings.state.directory) / "logins.json"
        throttle = LoginThrottle(path, settings.relay, MAX_PER_HOUR, clock)
        tally = Tally()
        self.verdicts: list[ProbeResult] = []
        self.probes = ProbeScheduler(
            settings,
            postfix,
            tally,
            show=self.verdicts.append,
            judge=self._judge,
            throttle=throttle,
            flush=self._flush,
            has_backlog=lambda: False,
        )
        self.monitor = RelayMonitor(settings, tally, throttle, self._flush)
        self._relay = settings.relay[0]
        self._log = Path(find_log(settings.log.source, postfix)[0][0])
        self._source = open_source(str(self._log))
        self._source.read()

    async def _judge(self, _result: ProbeResult) -> None:
        """Judge nothing."""

    async def _flush(self) -> None:
        """Save nothing."""

    async def _follow(self) -> None:
        with Watcher() as watcher:
            wake = watcher.watch(self._log.parent, lambda _name: True)
            while True:
                for line in lines_of(self._source.read()):
                    record, event = parse(line)
                    if record is not None and event is not None:
                        self.probes.observe(record, event)
                await wake_up(wake, 1.0)

    async def hours(self, clock: Clock, steps: int) -> None:
        """Send a probe and check the relay every ten minutes."""
        following = asyncio.create_task(self._follow())
        for _ in range(steps):
            await self.probes.probe(self.probes.routes[0])
            await self.monitor.check(self._relay)
            clock.now += 600
        await self.probes.settled()
        following.cancel()
        self.close()

    def close(self) -> None:
        """Close the log."""
        self._source.close()


def test_a_day_with_five_restarts_keeps_to_the_limit(tmp_path: Path) -> None:
    """At most two attempts an hour reach the relay; another password in the settings is attempted at once."""
    require_postfix()
    clock = Clock()
    with (
        Relay(CA(), users={USER: "another password"}) as relay,
        PostfixInstance(
            tmp_path / "postfix",
            {
                "relayhost": f"[127.0.0.1]:{relay.port}",
                "smtp_tls_security_level": "encrypt",
                "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_security_options": "noanonymous",
                "smtp_sasl_password_maps": f"inline:{{127.0.0.1={USER}:{PASSWORD}}}",
                "minimal_backoff_time": "300s",
                "maximal_backoff_time": "300s",
            },
        ) as postfix,
    ):
        password = tmp_path / "password"
        password.write_text(PASSWORD)
        path = tmp_path / "postward.toml"
        path.write_text(
            '[host]\nprofile = "send-only"\nmyhostname = "mx.example.test"\n'
            f'[[relay]]\nname = "demo"\nhost = "127.0.0.1"\nport = {relay.port}\n'
            f'tls = "starttls"\nallow_unusual_port = true\nusername = "{USER}"\npassword_file = "{password}"\n'
            f'[postfix]\nconfig_directory = "{postfix.config_directory}"\n'
            f'[probe]\nrecipient = "probe@relay.test"\ntimeout_seconds = 20\n[state]\ndirectory = "{tmp_path}"\n'
        )
        settings = load_settings(path)
        runs = [Run(settings, clock) for _ in range(6)]
        for run in runs:
            asyncio.run(run.hours(clock, 24))

        assert 2 <= len(relay.auth_attempts) <= MAX_PER_HOUR * 24
        assert not any(attempt.accepted for attempt in relay.auth_attempts)
        verdicts = [verdict for run in runs for verdict in run.verdicts]
        assert {(verdict.step, verdict.cause) for verdict in verdicts} == {("auth", "auth_rejected")}
        assert all(run.monitor.gauges()["postward_relay_reachable"] == {("demo",): 1.0} for run in runs)
        before = len(relay.auth_attempts)
        password.write_text("another password")
        last = Run(settings, clock)
        asyncio.run(last.monitor.check(settings.relay[0]))
        last.close()
        assert [attempt.accepted for attempt in relay.auth_attempts[before:]] == [True]
