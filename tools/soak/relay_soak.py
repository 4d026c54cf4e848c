"""Random faults of a relay and restarts of Postfix, while an agent sends probes and is killed.

Promise: a round ends only when probes succeed again and the agent shows no open incident that delays or loses mail.
Each probe then has exactly one outcome, each delivery and each line is counted once, and no counter ever decreased
between two scrapes. The seed determines everything random, but not how far the agent gets between two steps.
How it fails: AssertionError with the last counts or incidents and the output of the agent.
"""

import json
import random
import re
import signal
from collections import Counter
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support import CA, PostfixInstance, Relay, wait_for
from tests.support.fault import Fault
from tests.support.product import AgentProcess, write_settings

_USER, _PASSWORD = "API_USER", "s3cret-Gr33n-Fern"
_SENDERS = ("app@client.test", "cron@client.test")
_DEADLINE = 60.0  # seconds; probes are sent every second, and Postfix retries within four
_REPLIES = (
    "421 4.3.2 Service shutting down",
    "450 4.7.1 Greylisted",
    "452 4.2.2 Over quota",
    "454 4.7.0 Temporary authentication failure",
    "530 5.7.0 Authentication required",
    "535 5.7.8 Authentication credentials invalid",
    "550 5.7.1 Rejected by policy",
    "554 5.7.1 Blocked using a list",
)
_STEPS = ("greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "end_of_data", "quit")
_CERTIFICATES = ("expired", "not_yet_valid", "wrong_name", "self_signed")
_POSTFIX = {
    "smtp_tls_security_level": "encrypt",
    "smtp_tls_loglevel": "1",
    "smtp_sasl_auth_enable": "yes",
    "smtp_sasl_security_options": "noanonymous",
    "smtp_sasl_password_maps": f"inline:{{127.0.0.1={_USER}:{_PASSWORD}}}",
    # Short timeouts for a relay that hangs.
    **{f"smtp_{step}_timeout": "5s" for step in ("connect", "helo", "starttls", "mail", "rcpt", "quit")},
    **{f"smtp_data_{step}_timeout": "5s" for step in ("init", "xfer", "done")},
}
_PROBING = "max_auth_attempts_per_hour = 60\nrelay_check_interval_seconds = 3\nlost_after_seconds = 20\n"
# Prefixes of counters that begin at 0 in each process.
_OF_A_PROCESS = ("postward_web_", "postward_events_", "postward_notices_", "process_", "python_")

_NAMED = re.compile(r"/cleanup\[\d+\]: (\w+): message-id=(<\S+>)")
_NOTICE = re.compile(r"\]: (\w+): sender [\w-]+ notification: (\w+)")
_DELIVERED = re.compile(r"\]: (\w+): to=<[^>]*>, .*status=(\w+)")


class RelaySoak:
    """One host and its relay, for any number of rounds.

    Attributes:
        steps: the steps of the current round.
        kills: how often the agent was killed with SIGKILL.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.steps: list[str] = []
        self.kills = 0
        self._random = random.Random(seed)  # noqa: S311 - the seed makes a run repeatable
        self._mails = 0
        self._scrapes = 0
        self._probes = 0
        self._days = 0
        self._name = "demo"
        self._counters: dict[tuple[str, ...], float] = {}
        self._seen = ""
        self._ca = CA()
        self.relay = Relay(self._ca, "relay.example.test", users={_USER: _PASSWORD})
        self.relay.start()
        parameters = {**_POSTFIX, "relayhost": f"[127.0.0.1]:{self.relay.port}"}
        self.postfix = PostfixInstance(folder / "postfix", parameters)
        self._settings = write_settings(
            folder, self.relay, self.postfix, password=_PASSWORD, probe_interval=1
        )
        self._settings.write_text(self._settings.read_text().replace("[probe]\n", f"[probe]\n{_PROBING}"))
        self.agent = AgentProcess(self._settings)
        self.agent.ready_timeout = _DEADLINE
        self.agent.start()  # before the log exists, so that the agent counts all of its lines
        self.postfix.start()
        self._settle()

    def close(self) -> None:
        """Stop the agent, Postfix and the relay."""
        self.agent.stop(signal.SIGKILL)
        self.postfix.stop()
        self._repair_relay()
        self.relay.stop()

    def summary(self) -> str:
        """Return the counts of probes, mails, scrapes and kills as text."""
        return f"{self._probes} probes, {self._mails} mails, {self._scrapes} scrapes, {self.kills} kills"

    # The relay

    def _reply(self) -> None:
        reply = self._random.choice(_REPLIES)
        self._fail(
            Fault(step=self._random.choice(_STEPS), reply=reply, times=self._random.choice((None, 1, 3)))
        )

    def _cut(self) -> None:
        self._fail(Fault(step=self._random.choice((*_STEPS, "handshake", "body")), action="cut"))

    def _hang(self) -> None:
        self._fail(Fault(step=self._random.choice((*_STEPS, "handshake", "body")), action="hang"))

    def _be_slow(self) -> None:
        self._fail(
            Fault(step=self._random.choice(_STEPS), action="delay", seconds=self._random.choice((1, 4, 6)))
        )

    def _fail(self, fault: Fault) -> None:
        self.steps.append(f"({fault.step})")
        self.relay.faults = [*self.relay.faults, fault]

    def _refuse(self) -> None:
        self.relay.refuse = True

    def _strip_starttls(self) -> None:
        self.relay.no_starttls = True

    def _change_password(self) -> None:
        self.relay.users[_USER] = "another"

    def _change_mechanisms(self) -> None:
        self.relay.mechanisms = self._random.choice((("LOGIN",), ("XOAUTH2",)))

    def _change_certificate(self) -> None:
        self.relay.certificate = self._ca.server_context(
            "relay.example.test", **{self._random.choice(_CERTIFICATES): True}
        )

    def _restart_relay(self) -> None:
        self.relay.restart()

    def _repair_relay(self) -> None:
        self.relay.faults, self.relay.refuse, self.relay.no_starttls = [], False, False
        self.relay.users[_USER] = _PASSWORD
        self.relay.mechanisms = ("PLAIN", "LOGIN")

    # Postfix and its log

    def _toggle_postfix(self) -> None:
        if self.postfix.is_running():
            self.postfix.stop()
        else:
            self.postfix.start()

    def _reload(self) -> None:
        if self.postfix.is_running():
            self.postfix.reload()

    def _rotate(self) -> None:
        """Rotate the log as logrotate does with dateext."""
        self._days += 1
        self.postfix.maillog.rename(self.postfix.maillog.with_name(f"mail.log-{20260100 + self._days}"))
        self.postfix.restart()

    def _send(self) -> None:
        for _ in range(self._random.randint(1, 5)):
            self._mails += 1
            self.postfix.sendmail(f"u{self._mails}@dest.test", sender=self._random.choice(_SENDERS))

    # The agent

    def _kill(self) -> None:
        self.kills += 1
        self.agent.stop(signal.SIGKILL)
        self.agent.start()

    def _stop(self) -> None:
        assert self.agent.stop() == 0, "the agent ended with an error"
        self.agent.start()

    def _rename_relay(self) -> None:
        """Give the relay another name in the settings, while probes of the old name may still be under way."""
        former, self._name = self._name, "demo" if self._name == "other-name" else "other-name"
        beside = self._settings.with_suffix(".new")
        beside.write_text(self._settings.read_text().replace(f'name = "{former}"', f'name = "{self._name}"'))
        beside.replace(self._settings)

    # Rounds

    def round(self) -> None:
        """Run random steps, then repair the relay and wait until probes, incidents and counts are correct."""
        actions = [
            self._reply,
            self._reply,
            self._cut,
            self._hang,
            self._be_slow,
            self._refuse,
            self._strip_starttls,
            self._change_password,
            self._change_mechanisms,
            self._change_certificate,
            self._restart_relay,
            self._repair_relay,
            self._toggle_postfix,
            self._reload,
            self._rotate,
            self._send,
            self._send,
            self._kill,
            self._kill,
            self._stop,
            self._rename_relay,
        ]
        self.steps.clear()
        for _ in range(self._random.randint(1, 6)):
            action = self._random.choice(actions)
            self.steps.append(action.__name__.strip("_"))
            action()
            # Let the agent proceed before the next step.
            for _ in range(self._random.choice((0, 10, 60, 150))):
                self._scrape()
        self._settle()

    def _settle(self) -> None:
        self._repair_relay()
        if not self.postfix.is_running():
            self.postfix.start()
        for sender in _SENDERS:
            self._mails += 1
            self.postfix.sendmail(f"u{self._mails}@dest.test", sender=sender)
        self.postfix.flush()
        try:
            wait_for(self._probes_succeed, _DEADLINE, "the probes to succeed")
            wait_for(
                self._no_incident_blocks_mail, _DEADLINE, "the incidents that delay or lose mail to close"
            )
            wait_for(self._counts_equal_the_log, _DEADLINE, "the counts to equal those of the log")
            assert self.agent.get("/status")[0] == 200
            assert "Traceback" not in self.agent.output()
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n{self._seen}\noutput of the agent: {self.agent.output()[-3000:]}"
            ) from None

    def _probes_succeed(self) -> bool:
        return self._scrape().get(("postward_probe_success", self._name)) == 1

    def _no_incident_blocks_mail(self) -> bool:
        self.agent.is_ready()
        status, page = self.agent.get("/api/status")
        open_incidents = (
            [row for row in json.loads(page)["incidents"] if row["closed"] is None] if status == 200 else []
        )
        self._seen = (
            f"incidents: {[(row['symptom'], row['place'], row['evidence'][-1:]) for row in open_incidents]}"
        )
        return status == 200 and all(row["effect"] in {"note", "rejected"} for row in open_incidents)

    def _counts_equal_the_log(self) -> bool:
        shown = self._scrape()
        counted = Counter({"lines": 0, "probes": 0})
        for (name, *labels), value in shown.items():
            if name == "postward_log_lines_total":
                counted["lines"] += int(value)
            elif name == "postward_probes_total":
                counted["probes"] += int(value)
            elif name == "postfix_deliveries_total":
                counted[labels[-1]] += int(value)
        written = self._written()
        self._probes = written["probes"]
        self._seen = f"in the log: {written}\ncounted: {counted}"
        return counted == written

    # Counts of the agent and of the log

    def _scrape(self) -> dict[tuple[str, ...], float]:
        """Return name and labels of every series → value, and check that no counter decreased.

        The result is empty while the settings change.
        """
        self.agent.is_ready()  # fails if the process has ended
        status, page = self.agent.get("/metrics")
        if status != 200:
            return {}
        self._scrapes += 1
        shown = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                key = (sample.name, *(sample.labels[name] for name in sorted(sample.labels)))
                shown[key] = sample.value
                if family.type in {"counter", "histogram"} and not sample.name.startswith(_OF_A_PROCESS):
                    before = self._counters.get(key, 0.0)
                    assert sample.value >= before, f"{key} decreased: {before} → {sample.value}"
                    self._counters[key] = sample.value
        return shown

    def _written(self) -> Counter[str]:
        """Count lines, probes and users' deliveries by status in the log. Bounces of probes are not counted."""
        text = "".join(log.read_text() for log in self._logs())
        named = {queue_id: name for queue_id, name in _NAMED.findall(text) if ".postward-probe@" in name}
        probes = set(named)
        probes |= {notice for queue_id, notice in _NOTICE.findall(text) if queue_id in probes}
        found = Counter(status for queue_id, status in _DELIVERED.findall(text) if queue_id not in probes)
        return found + Counter({"lines": text.count("\n"), "probes": len(set(named.values()))})

    def _logs(self) -> list[Path]:
        return sorted(self.postfix.folder.glob("mail.log*"))
