"""A relay that refuses the login: probe mails and conversations together do not try it often enough to lock an account."""

import asyncio
from pathlib import Path

from postward.agent.logs.discover import find_log, open_source
from postward.agent.logs.lines import lines_of
from postward.agent.metrics.tally import Tally
from postward.agent.postfix.commands import Postfix
from postward.agent.probe.result import ProbeResult
from postward.agent.probe.scheduler import Probing
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.monitor import RelayMonitor
from postward.config.settings import Settings, load_settings
from postward.parsers import parse
from tests.support import CA, PostfixInstance, Relay, require_postfix

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"
MOST = 2


class Clock:
    """A clock of its own speed."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Run:
    """The parts of one run of the agent that talk to relays, on a real Postfix."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        postfix = Postfix(Path(settings.postfix.config_directory))
        guard = LoginThrottle(Path(settings.state.directory) / "logins.json", settings.relay, MOST, clock)
        tally = Tally()
        self.verdicts: list[ProbeResult] = []
        self.probing = Probing(
            settings,
            postfix,
            tally,
            self.verdicts.append,
            self._judge,
            guard,
            self._written,
            lambda: False,
        )
        self.watch = RelayMonitor(settings, tally, guard, self._written)
        self._relay = settings.relay[0]
        self._source = open_source(find_log(settings.log.source, postfix)[0][0])
        self._source.read()

    async def _judge(self, _result: ProbeResult) -> None:
        """Nothing is new."""

    async def _written(self) -> None:
        """There is no checkpoint."""

    async def _follow(self) -> None:
        while True:
            for line in lines_of(self._source.read()):
                record, event = parse(line)
                if record is not None and event is not None:
                    self.probing.observe(record, event)
            await asyncio.sleep(0.02)

    async def hours(self, clock: Clock, steps: int) -> None:
        """A probe mail and a conversation every ten minutes."""
        following = asyncio.create_task(self._follow())
        for _ in range(steps):
            await self.probing._probe_once(self.probing._prober.routes[0])
            await self.watch.check(self._relay)
            clock.now += 600
        await asyncio.gather(*self.probing._jobs)
        following.cancel()
        self.close()

    def close(self) -> None:
        """Let go of the log."""
        self._source.close()


def test_an_accelerated_day_with_five_restarts_keeps_to_the_number(tmp_path: Path) -> None:
    """At most two tries an hour reach the relay; once the settings have another password, it is tried at once."""
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
            f'[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "127.0.0.1"\nport = {relay.port}\n'
            f'tls = "starttls"\nallow_unusual_port = true\nusername = "{USER}"\npassword_file = "{password}"\n'
            f'[postfix]\nconfig_directory = "{postfix.config_directory}"\n'
            f'[probe]\nrecipient = "probe@relay.test"\ntimeout_seconds = 20\n[state]\ndirectory = "{tmp_path}"\n'
        )
        settings = load_settings(path)
        runs = [Run(settings, clock) for _ in range(6)]
        for run in runs:
            asyncio.run(run.hours(clock, 24))

        assert 2 <= len(relay.auth_attempts) <= MOST * 24
        assert not any(attempt.accepted for attempt in relay.auth_attempts)
        verdicts = [verdict for run in runs for verdict in run.verdicts]
        assert {(verdict.step, verdict.cause) for verdict in verdicts} == {("auth", "auth_rejected")}
        assert all(run.watch.gauges()["postward_relay_reachable"] == {("demo",): 1.0} for run in runs)
        before = len(relay.auth_attempts)
        password.write_text("another password")
        last = Run(settings, clock)
        asyncio.run(last.watch.check(settings.relay[0]))
        last.close()
        assert [attempt.accepted for attempt in relay.auth_attempts[before:]] == [True]
