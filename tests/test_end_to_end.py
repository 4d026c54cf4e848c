"""The main job on real parts: settings enforced on a real Postfix, its log counted, probes through a relay."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import CA, PostfixInstance, Relay, free_port, require_postfix, wait_for
from tests.support.processes import spy_on_processes
from tests.support.product import AgentProcess, run_postward, write_settings

USER, PASSWORD, NEW_PASSWORD = "API_USER", "s3cret-Gr33n-Fern", "s3cret-Bl8e-Moss"


@dataclass
class Bed:
    """A host that Postward manages."""

    folder: Path
    relay: Relay
    postfix: PostfixInstance
    settings_file: Path
    agent: AgentProcess

    def set_password(self, password: str) -> None:
        """Write the relay's password of the settings."""
        (self.folder / "password").write_text(password)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """A relay, a Postfix without relay settings, and the agent that enforces them."""
    require_postfix()
    with (
        Relay(CA(), "relay.example.test", users={USER: PASSWORD}) as relay,
        PostfixInstance(tmp_path / "postfix") as postfix,
    ):
        settings_file = write_settings(tmp_path, relay, postfix, password=PASSWORD)
        with AgentProcess(settings_file, "--enforce", "--deliveries") as agent:
            bed = Bed(tmp_path, relay, postfix, settings_file, agent)
            wait_for(lambda: agent.value("postward_probe_success", relay="demo") == 1, what="the first probe")
            yield bed


def test_the_enforced_instance_equals_the_settings(bed: Bed) -> None:
    """main.cf follows from the settings, only root can read the tables, and the plan is empty."""
    expected = {
        "myhostname": "mail.example.test",
        "mydomain": "example.test",
        "myorigin": "$mydomain",
        "inet_interfaces": "loopback-only",
        "relayhost": f"[127.0.0.1]:{bed.relay.port}",
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": f"hash:{bed.postfix.config_directory}/sasl_passwd",
        "smtp_sasl_security_options": "noanonymous",
        "smtp_sasl_tls_security_options": "noanonymous",
        "smtp_tls_security_level": "encrypt",
        "smtp_tls_wrappermode": "no",
        "queue_run_delay": "2s",
    }
    actual = bed.postfix.postconf(*expected)

    assert expected == actual
    for name in ("sasl_passwd", "sasl_passwd.db"):
        status = (bed.postfix.config_directory / name).stat()
        assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o600, 0, 0)
    assert run_postward("plan", "--config", str(bed.settings_file)).returncode == 0
    assert bed.agent.value("postward_config_in_sync") == 1


def test_hand_edits_are_repaired_and_counted_once(bed: Bed) -> None:
    """A changed parameter, a deleted index and a readable password file are each repaired, once."""
    directory = bed.postfix.config_directory
    applied = bed.agent.value("postward_config_applies_total", result="applied")
    repairs = {
        name: bed.agent.value("postward_config_repairs_total", parameter=name)
        for name in ("smtp_tls_security_level", "sasl_passwd.db", "sasl_passwd")
    }

    def repaired(name: str) -> bool:
        return bed.agent.value("postward_config_repairs_total", parameter=name) == repairs[name] + 1

    bed.postfix.set(smtp_tls_security_level="none")
    wait_for(lambda: repaired("smtp_tls_security_level"), what="the TLS level to be repaired")
    (directory / "sasl_passwd.db").unlink()
    wait_for(lambda: repaired("sasl_passwd.db"), what="the index to be built")
    (directory / "sasl_passwd").chmod(0o644)
    wait_for(lambda: repaired("sasl_passwd"), what="the mode to be repaired")

    assert bed.postfix.postconf("smtp_tls_security_level")["smtp_tls_security_level"] == "encrypt"
    assert (directory / "sasl_passwd").stat().st_mode & 0o777 == 0o600
    assert (directory / "sasl_passwd.db").stat().st_mode & 0o777 == 0o600
    assert applied + 3 == bed.agent.value("postward_config_applies_total", result="applied")
    bed.postfix.sendmail("bob@dest.test")
    wait_for(
        lambda: any("bob@dest.test" in mail.rcpt_tos for mail in bed.relay.messages), what="mail to go out"
    )


def test_comments_and_unmanaged_parameters_survive(tmp_path: Path) -> None:
    """Unmanaged parts of main.cf stay byte by byte, with owner and mode."""
    require_postfix()
    with Relay(CA(), users={USER: PASSWORD}) as relay, PostfixInstance(tmp_path / "postfix") as postfix:
        main_cf = postfix.config_directory / "main.cf"
        main_cf.write_text(main_cf.read_text() + "# kept by hand\nbounce_queue_lifetime =\n    1d\n")
        main_cf.chmod(0o664)
        settings_file = write_settings(tmp_path, relay, postfix, password=PASSWORD, probe_recipient="")
        first = run_postward("apply", "--config", str(settings_file))
        content = main_cf.read_bytes()
        second = run_postward("apply", "--config", str(settings_file))

        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert b"# kept by hand\nbounce_queue_lifetime =\n    1d\n" in content
        assert content == main_cf.read_bytes()
        assert main_cf.stat().st_mode & 0o777 == 0o664


def test_a_changed_password_at_the_relay_is_diagnosed(bed: Bed) -> None:
    """The cause is counted, the probe names the step; with the new password in the settings mail goes out again."""
    bed.relay.users[USER] = NEW_PASSWORD
    bed.postfix.sendmail("bob@dest.test")
    wait_for(
        lambda: bed.agent.value("postfix_delivery_failures_total", cause="auth_rejected", relay="demo") > 0,
        timeout=5,
        what="the refusal to be counted",
    )
    probe = run_postward("probe", "--config", str(bed.settings_file), "--json")
    assert probe.returncode == 1
    assert '"step": "auth"' in probe.stdout
    assert '"cause": "auth_rejected"' in probe.stdout

    bed.set_password(NEW_PASSWORD)
    wait_for(
        lambda: any("bob@dest.test" in mail.rcpt_tos for mail in bed.relay.messages),
        what="the mail to go out",
    )
    wait_for(lambda: bed.agent.value("postward_probe_success", relay="demo") == 1, what="a probe to succeed")
    assert run_postward("probe", "--config", str(bed.settings_file)).returncode == 0


def test_settings_that_the_relay_rejects_are_not_applied(bed: Bed) -> None:
    """Preflight finds a wrong password before anything changes, logs the relay's reply, and does not try again."""
    wait_for(
        lambda: bed.agent.value("postward_config_applies_total", result="confirmed") == 1,
        what="a confirmation",
    )
    table = bed.postfix.config_directory / "sasl_passwd"
    before = table.read_text()
    bed.set_password("not-the-password")
    wait_for(
        lambda: bed.agent.value("postward_config_applies_total", result="refused") == 1, what="the refusal"
    )
    attempts = len(bed.relay.auth_attempts)
    (bed.folder / "password").touch()
    wait_for(lambda: bed.agent.value("postward_config_in_sync") == 0, what="another look")

    assert before == table.read_text()
    assert "at step auth: auth_rejected (" in bed.agent.output()
    assert attempts == len(bed.relay.auth_attempts)
    bed.postfix.sendmail("bob@dest.test")
    wait_for(
        lambda: any("bob@dest.test" in mail.rcpt_tos for mail in bed.relay.messages), what="mail to go out"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('username = "API_USER"', 'username = "another"'),
        ("port = {port}", "port = {closed}"),
        ('host = "127.0.0.1"', 'host = "no-such-relay.invalid"'),
        ('host = "127.0.0.1"', 'host = "localhost"\nverify = true\nca_file = "{ca}"'),
    ],
    ids=["login", "port", "name", "certificate"],
)
def test_settings_that_no_probe_confirms_are_rolled_back(old: str, new: str, tmp_path: Path) -> None:
    """Without preflight: settings with which no mail goes out are replaced by the last ones that worked."""
    require_postfix()
    with (
        Relay(CA(), "localhost", users={USER: PASSWORD}) as relay,
        PostfixInstance(tmp_path / "postfix") as postfix,
    ):
        settings_file = write_settings(tmp_path, relay, postfix, password=PASSWORD, preflight=False)
        values = {"port": relay.port, "closed": free_port(), "ca": CA().write(tmp_path)}
        text = settings_file.read_text()
        assert old.format(**values) in text
        with AgentProcess(settings_file, "--enforce") as agent:
            wait_for(
                lambda: agent.value("postward_config_applies_total", result="confirmed") == 1,
                what="a confirmation",
            )
            before = postfix.postconf("relayhost")
            settings_file.write_text(text.replace(old.format(**values), new.format(**values)))
            wait_for(
                lambda: agent.value("postward_config_applies_total", result="rolled_back") == 1,
                timeout=60,
                what="the roll-back",
            )
            assert before == postfix.postconf("relayhost")
            postfix.sendmail("bob@dest.test")
            wait_for(
                lambda: any("bob@dest.test" in mail.rcpt_tos for mail in relay.messages),
                what="mail to go out",
            )
            assert agent.value("postward_config_in_sync") == 0
        assert "no probe was accepted" in (tmp_path / "enforce" / "enforcement.json").read_text()


def test_a_thousand_mails_are_a_thousand_deliveries(bed: Bed) -> None:
    """postfix_deliveries_total{status="sent"} rises by exactly the number of mails."""
    before = bed.agent.value("postfix_deliveries_total", status="sent")
    bed.postfix.inject(f"user{number}@dest.test" for number in range(1000))

    wait_for(lambda: not bed.postfix.queue(), timeout=60, what="the queue to be empty")
    wait_for(
        lambda: bed.agent.value("postfix_deliveries_total", status="sent") >= before + 1000,
        what="all deliveries to be counted",
    )
    assert before + 1000 == bed.agent.value("postfix_deliveries_total", status="sent", relay="demo")
    assert sum("@dest.test" in mail.rcpt_tos[0] for mail in bed.relay.messages) == 1000
    assert bed.agent.value("postward_log_lines_total", outcome="unrecognised") == 0


def test_no_secret_appears_anywhere(bed: Bed) -> None:
    """Not in output, log, metrics, errors, diffs, readable files, nor in any process's arguments or environment."""
    with spy_on_processes() as processes:
        secrets = [PASSWORD, NEW_PASSWORD]
        bed.relay.users[USER] = NEW_PASSWORD
        bed.set_password(NEW_PASSWORD)
        wait_for(
            lambda: NEW_PASSWORD in (bed.postfix.config_directory / "sasl_passwd").read_text(),
            what="the change",
        )
        arguments = ["--config", str(bed.settings_file)]
        bed.set_password("bad password ")
        texts = [run_postward("plan", *arguments), run_postward("apply", *arguments)]
        bed.set_password(NEW_PASSWORD)
        (bed.postfix.config_directory / "sasl_passwd.db").unlink(missing_ok=True)
        texts += [
            run_postward(*command, *arguments)
            for command in (
                ["plan"],
                ["plan", "--json"],
                ["check"],
                ["check", "--json"],
                ["probe"],
                ["apply"],
            )
        ]
        with_env = run_postward("check", *arguments, env={"POSTWARD_RELAY__DEMO__PASSWORD": PASSWORD})
    # The test itself gives one command a password in its environment.
    seen = [text for text in processes if "POSTWARD_RELAY__DEMO__PASSWORD" not in text]
    shown = [text for done in [*texts, with_env] for text in (done.stdout, done.stderr)]
    shown += [bed.agent.output(), bed.agent.get("/metrics")[1], bed.postfix.log(), *seen]
    readable = [
        path.read_text(errors="replace")
        for folder in ("state", "enforce")
        for path in (bed.folder / folder).rglob("*")
        if path.is_file() and path.stat().st_mode & 0o077
    ]

    for secret in [*secrets, "bad password"]:
        assert [text for text in [*shown, *readable] if secret in text] == []
    assert len(processes) > 10


def test_counts_survive_a_restart(bed: Bed) -> None:
    """Mail is delivered while the agent is stopped: counters go on, and those lines are counted."""
    before = bed.agent.value("postfix_deliveries_total", status="sent")
    assert bed.agent.stop() == 0
    bed.postfix.inject(f"user{number}@dest.test" for number in range(10))
    wait_for(lambda: not bed.postfix.queue(), what="the queue to be empty")
    bed.agent.start()

    wait_for(
        lambda: bed.agent.value("postfix_deliveries_total", status="sent") >= before + 10, what="the count"
    )
    assert (
        before + 10 <= bed.agent.value("postfix_deliveries_total", status="sent") <= before + 11
    )  # and a probe


def test_the_idle_agent_is_small(bed: Bed) -> None:
    """Resident memory stays below 64 MB."""
    status = Path(f"/proc/{bed.agent.pid}/status").read_text()
    kilobytes = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    assert kilobytes < 64 * 1024


def test_the_endpoint_has_these_paths(bed: Bed) -> None:
    """Metrics, health, readiness and a landing page; 404 elsewhere."""
    answers = {
        path: bed.agent.get(path)[0]
        for path in ("/", "/metrics", "/-/healthy", "/-/ready", "/healthz", "/metrics/x")
    }

    assert answers == {
        "/": 200,
        "/metrics": 200,
        "/-/healthy": 200,
        "/-/ready": 200,
        "/healthz": 404,
        "/metrics/x": 404,
    }


def test_the_demo_shows_a_probe_and_leaves_nothing(tmp_path: Path) -> None:
    """`make run` applies the settings, sends a probe and names /metrics within 15 s; Ctrl-C leaves no file or process."""
    require_postfix()
    screen = tmp_path / "screen"
    with screen.open("wb") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "tools.demo"],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(
            lambda: "probe accepted by relay demo" in screen.read_text(), timeout=15, what="an accepted probe"
        )
        text = screen.read_text()
        folder = Path(text.partition("Settings: ")[2].split()[0]).parent
        assert folder.is_dir()
        for expected in ("/metrics", "set relayhost", "removed", "echo other >"):
            assert expected in text
    finally:
        os.killpg(demo.pid, signal.SIGINT)  # what Ctrl-C does: the whole foreground group
        demo.wait(20)

    assert not folder.exists()
    assert _processes_of(str(folder)) == []


def _processes_of(folder: str) -> list[str]:
    texts = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                text = (entry / "cmdline").read_bytes().decode(errors="replace") + str(
                    (entry / "cwd").readlink()
                )
            except OSError:
                continue
            if folder in text:
                texts.append(text)
    return texts
