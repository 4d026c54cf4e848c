"""Several instances of Postfix on one host (postmulti(1)), one agent: all is kept apart by instance."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.product import POSTWARD, AgentProcess, run_postward, write_settings

USER, PASSWORD, NEW_PASSWORD = "API_USER", "s3cret-Gr33n-Fern", "s3cret-Bl8e-Moss"
MAIN, OUT = "postfix", "postfix-out"


@dataclass
class Side:
    """An instance of Postfix, its relay, and its settings."""

    name: str
    folder: Path
    relay: Relay
    postfix: PostfixInstance
    settings_file: Path
    files: dict[str, bytes] = field(default_factory=dict)
    master: int | None = None

    def note(self) -> None:
        """Remember the files of the configuration directory, and the master process."""
        self.files, self.master = self.read(), self.postfix.master_pid()

    def read(self) -> dict[str, bytes]:
        """Return the files of the configuration directory."""
        return {path.name: path.read_bytes() for path in self.postfix.config_directory.iterdir()}


@dataclass
class Bed:
    """A host with two instances that log to one file. Postward enforces the main one and observes the other."""

    main: Side
    out: Side
    agent: AgentProcess

    def value(self, name: str, side: Side, **labels: str) -> float:
        """Return the sum of an instance's series."""
        return self.agent.value(name, multi_instance=side.name, **labels)

    def sent(self, side: Side) -> float:
        """Return the number of mails that an instance delivered to its relay."""
        return self.value("postfix_deliveries_total", side, status="sent", relay="demo")

    def is_probed(self, side: Side) -> bool:
        """Return whether the last probe of an instance was accepted."""
        return self.value("postward_probe_success", side, relay="demo") == 1

    def status(self, side: Side) -> dict[str, Any]:
        """Return the status of an instance as the endpoint shows it."""
        code, body = self.agent.get(f"/api/status?instance={side.name}")
        assert code == 200, body
        status: dict[str, Any] = json.loads(body)
        return status

    def incidents(self, side: Side) -> list[dict[str, Any]]:
        """Return an instance's open incidents."""
        return [row for row in self.status(side)["incidents"] if row["closed"] is None]

    def symptoms(self, side: Side) -> set[str]:
        """Return the symptoms of an instance's open incidents."""
        return {row["symptom"] for row in self.incidents(side)}


def write_both(main: Path, out: Path) -> None:
    """Turn two settings files into those of a main and an observed instance."""
    text = main.read_text()
    main.write_text(text.replace("[postfix]\n", f'[postfix]\ninstances = ["{out}"]\n'))
    text = out.read_text().replace("[enforce]\n", '[enforce]\nmode = "observe"\n')
    before, _, after = text.partition("[web]\n")
    out.write_text(before + after.partition("\n\n")[2])


def set_up_observed(relay: Relay, folder: Path) -> dict[str, str]:
    """Return main.cf's parameters of an instance that an admin set up by hand for a relay."""
    folder.mkdir()
    passwords = folder / "passwords"
    passwords.write_text(f"[127.0.0.1]:{relay.port} {USER}:{PASSWORD}\n")
    return {
        "relayhost": f"[127.0.0.1]:{relay.port}",
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": f"texthash:{passwords}",
        "smtp_sasl_security_options": "noanonymous",
        "smtp_tls_security_level": "encrypt",
    }


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Both instances with their relays, and the agent."""
    require_postfix()
    folder = tmp_path_factory.mktemp("host")
    ca = CA()
    users = {USER: PASSWORD}
    with (
        Relay(ca, "relay.example.test", users=dict(users)) as relay,
        Relay(ca, "other.example.test", users=dict(users)) as other,
        PostfixInstance(folder / "in") as primary,
    ):
        shared = {
            **set_up_observed(other, folder / "out"),
            "multi_instance_name": OUT,
            "multi_instance_enable": "yes",
            "syslog_name": "${multi_instance_name?{$multi_instance_name}:{postfix}}",
            "maillog_file": str(primary.maillog),
            "maillog_file_prefixes": str(primary.folder),
        }
        with PostfixInstance(folder / "second", shared, syslog_name=OUT) as secondary:
            primary.set(
                multi_instance_directories=str(secondary.config_directory),
                multi_instance_enable="yes",
                multi_instance_wrapper="${command_directory}/postmulti -p --",
            )
            (folder / "main").mkdir()
            main_file = write_settings(folder / "main", relay, primary, password=PASSWORD)
            out_file = write_settings(folder / "out", other, secondary, password=PASSWORD)
            write_both(main_file, out_file)
            out = Side(OUT, folder / "out", other, secondary, out_file)
            out.note()
            with AgentProcess(main_file, "--enforce") as agent:
                bed = Bed(Side(MAIN, folder / "main", relay, primary, main_file), out, agent)
                for side in (bed.main, bed.out):
                    wait_for(
                        partial(bed.is_probed, side),
                        timeout=AgentProcess.ready_timeout,
                        what=f"the first probe through {side.name}",
                    )
                yield bed


def test_each_instance_counts_its_own_mail(bed: Bed) -> None:
    """Deliveries, arrivals and the queue of an instance are counted under its name alone, from one log."""
    before = bed.sent(bed.main), bed.sent(bed.out)
    for number in range(2):
        bed.main.postfix.sendmail(f"main{number}@dest.test")
    for number in range(3):
        bed.out.postfix.sendmail(f"out{number}@dest.test")

    wait_for(lambda: bed.sent(bed.out) == before[1] + 3, what="the mail of the second instance")
    wait_for(lambda: bed.sent(bed.main) == before[0] + 2, what="the mail of the first instance")
    assert bed.agent.value("postfix_deliveries_total", multi_instance=MAIN, postfix_instance=OUT) == 0
    assert bed.agent.value("postfix_deliveries_total", multi_instance=OUT, postfix_instance=OUT) > 0
    assert bed.value("postward_log_lines_total", bed.main, outcome="unrecognised") == 0
    assert "out2@dest.test" not in {to for mail in bed.main.relay.messages for to in mail.rcpt_tos}
    for side in (bed.main, bed.out):
        assert bed.value("postfix_up", side) == 1
        assert bed.value("postfix_messages_received_total", side) > 0


def test_probes_go_through_each_instance(bed: Bed) -> None:
    """Each relay has accepted a probe of its instance, and the other relay has not."""
    for side in (bed.main, bed.out):
        assert bed.value("postward_probes_total", side, outcome="accepted") >= 1
        assert any("probe@relay.test" in mail.rcpt_tos for mail in side.relay.messages)


def test_one_is_enforced_and_the_other_untouched(bed: Bed) -> None:
    """Drift of the enforced instance is repaired. No byte of the observed one changes, and its master runs on."""
    bed.main.postfix.set(smtp_tls_security_level="none")
    wait_for(
        lambda: (
            bed.value("postward_config_repairs_total", bed.main, parameter="smtp_tls_security_level") >= 1
        ),
        what="the TLS level to be repaired",
    )

    assert bed.main.postfix.postconf("smtp_tls_security_level")["smtp_tls_security_level"] == "encrypt"
    assert bed.out.read() == bed.out.files
    assert bed.out.postfix.master_pid() == bed.out.master
    assert bed.value("postward_config_in_sync", bed.main) == 1
    assert bed.value("postward_config_in_sync", bed.out) == 0
    assert bed.value("postward_config_applies_total", bed.out) == 0
    (drift,) = [row for row in bed.incidents(bed.out) if row["symptom"] == "config-drift"]
    assert drift["causes"][0]["remedy"] == f"postward apply --config {bed.out.settings_file}"


def test_an_incident_belongs_to_one_instance(bed: Bed) -> None:
    """A password that the second relay rejects is an incident of the second instance alone, in all outputs."""
    with rejecting(bed.out):
        bed.out.postfix.sendmail("late@dest.test")
        wait_for(lambda: "login-refused" in bed.symptoms(bed.out), what="the incident")

        assert "login-refused" not in bed.symptoms(bed.main)
        assert bed.value("postward_incident_open", bed.main, symptom="login-refused") == 0
        wait_for(
            lambda: bed.value("postward_incident_open", bed.out, symptom="login-refused") == 1,
            what="the second refused attempt",
        )
        shown = run_postward("status", "--config", str(bed.main.settings_file))
        assert OUT in shown.stdout
        assert shown.returncode == 3
        rows = json.loads(run_postward("why", "--json", "--config", str(bed.main.settings_file)).stdout)
        open_ = [row for row in rows["incidents"] if not row["closed"] and row["symptom"] == "login-refused"]
        assert [row["postfix_instance"] for row in open_] == [OUT]
        alone = json.loads(run_postward("status", "--json", "--config", str(bed.out.settings_file)).stdout)
        assert alone["instance"] == OUT
        assert f"/status?instance={OUT}" in bed.agent.get("/status")[1]
        directory = bed.out.postfix.config_directory
        assert json.loads(bed.agent.get(f"/api/status?instance={directory}")[1])["instance"] == OUT
        assert bed.agent.get("/api/incidents?instance=postfix-in")[0] == 404
        check = run_postward("status", "--format", "check", "--config", str(bed.main.settings_file))
        assert check.returncode == 2
        assert f"; {OUT}: " in check.stdout

    wait_for(lambda: "login-refused" not in bed.symptoms(bed.out), what="the end of the incident")


@contextlib.contextmanager
def rejecting(side: Side) -> Iterator[None]:
    """Let a relay reject the password of its instance meanwhile, then flush the queue."""
    side.relay.users[USER] = NEW_PASSWORD
    try:
        yield
    finally:
        side.relay.users[USER] = PASSWORD
        side.postfix.flush()


def test_a_bad_file_of_one_instance_leaves_the_other_alone(bed: Bed) -> None:
    """The former settings stay in force for that instance; that is an incident of it, and the other goes on."""
    good = bed.out.settings_file.read_text()
    loaded = bed.value("postward_settings_loaded_timestamp_seconds", bed.main)
    bed.out.settings_file.write_text(good.replace('tls = "', 'tls = "no-'))
    wait_for(lambda: "settings-not-in-force" in bed.symptoms(bed.out), what="the incident")

    assert "settings-not-in-force" not in bed.symptoms(bed.main)
    assert bed.value("postward_settings_in_force", bed.main) == 1
    before = bed.sent(bed.out)
    bed.out.postfix.sendmail("meanwhile@dest.test")
    wait_for(lambda: bed.sent(bed.out) > before, what="mail to be counted")

    bed.out.settings_file.write_text(good.replace("timeout_seconds = 10", "timeout_seconds = 11"))
    wait_for(lambda: bed.value("postward_settings_in_force", bed.out) == 1, what="the new settings")
    assert bed.value("postward_settings_loaded_timestamp_seconds", bed.main) == loaded

    loaded = bed.value("postward_settings_loaded_timestamp_seconds", bed.out)
    main = bed.main.settings_file.read_text()
    bed.main.settings_file.write_text(main.replace("timeout_seconds = 10", "timeout_seconds = 12"))
    wait_for(
        lambda: bed.value("postward_settings_loaded_timestamp_seconds", bed.main) > loaded,
        what="new settings of the main instance",
    )
    assert bed.value("postward_settings_loaded_timestamp_seconds", bed.out) == loaded


def test_an_instance_that_cannot_start_is_an_incident(bed: Bed) -> None:
    """An instance whose file was bad from the start is named by the main one, and watched once it is repaired."""
    good, main = bed.out.settings_file.read_text(), bed.main.settings_file.read_text()
    bed.main.settings_file.write_text(main.replace(f'instances = ["{bed.out.settings_file}"]\n', ""))
    wait_for(lambda: bed.agent.value("postfix_up", multi_instance=OUT) == 0, what="the instance to end")
    assert bed.agent.value("postfix_up") == 1
    assert "multi_instance" not in bed.agent.get("/metrics")[1]

    bed.out.settings_file.write_text(good + '\n[web]\nlisten = "127.0.0.1:1"\n')
    bed.main.settings_file.write_text(main)
    wait_for(
        lambda: (
            bed.agent.value("postfix_up", multi_instance=MAIN) == 1
            and "settings-not-in-force" in bed.symptoms(bed.main)
        ),
        what="the incident",
    )
    check = run_postward("check", "--no-host", "--config", str(bed.main.settings_file))
    assert check.returncode == 78
    assert "web: must be left out" in check.stderr

    bed.out.settings_file.write_text(good)
    wait_for(lambda: bed.value("postfix_up", bed.out) == 1, what="the instance to be watched", timeout=30)
    wait_for(lambda: "settings-not-in-force" not in bed.symptoms(bed.main), what="the end of the incident")
    assert bed.out.read() == bed.out.files


def test_the_enforcer_serves_each_instance_by_its_own_mode(tmp_path: Path) -> None:
    """`postward enforce` repairs the second instance, and leaves the main one, which it observes, as it is."""
    require_postfix()
    with Relay(CA(), users={USER: PASSWORD}) as relay:
        main, out = PostfixInstance(tmp_path / "in"), PostfixInstance(tmp_path / "second", syslog_name=OUT)
        files = []
        for name, postfix in (("main", main), ("out", out)):
            (tmp_path / name).mkdir()
            files.append(
                write_settings(
                    tmp_path / name, relay, postfix, password=PASSWORD, probe_recipient="", preflight=False
                )
            )
        write_both(*files)
        observed, enforced = files
        enforced.write_text(enforced.read_text().replace('mode = "observe"\n', ""))
        observed.write_text(observed.read_text().replace("[enforce]\n", '[enforce]\nmode = "observe"\n'))
        before = {path.name: path.read_bytes() for path in main.config_directory.iterdir()}
        relayhost = f"[127.0.0.1]:{relay.port}"
        with EnforcerProcess(observed):
            wait_for(
                lambda: out.postconf("relayhost")["relayhost"] == relayhost,
                timeout=AgentProcess.ready_timeout,
                what="the settings to be applied",
            )
            out.set(relayhost="")
            wait_for(lambda: out.postconf("relayhost")["relayhost"] == relayhost, what="the repair")
            state = tmp_path / "main" / "enforce" / "enforcement.json"
            wait_for(state.exists, what="the state of the observed instance")

        assert {path.name: path.read_bytes() for path in main.config_directory.iterdir()} == before


class EnforcerProcess:
    """`postward enforce` as a process. Use it as a context manager."""

    def __init__(self, settings_file: Path) -> None:
        self._command = [POSTWARD, "enforce", "--config", str(settings_file)]
        self._output = settings_file.with_name("enforcer.out")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(20) == 0
