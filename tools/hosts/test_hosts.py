"""The package on Debian hosts: installed, set up, reloaded, killed, frozen, rebooted, upgraded and purged.

The tests of a release share one host and run in this order: each begins in the state that the previous one left.
"""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from postward.agent.systemd import SETTINGS_REFUSED
from tests.support.waiting import wait_for
from tools.hosts.product import PASSWORD, ROOT, SERVICES, SETTINGS, USER, Installed, next_release
from tools.packages.repository import repository_of

# Highest accepted exposure level of `systemd-analyze security`, measured on both releases.
# A higher one means that the unit lost a restriction.
MOST_EXPOSED = {
    "postward.service": 1.5,
    "postward-enforce.service": 4.0,
    "postward-token.service": 1.5,
    "postward-report.service": 1.5,
}


def _main_pid(installed: Installed) -> str:
    return installed.show("postward.service", "MainPID")[0]


def test_mail_flows_and_is_counted(installed: Installed) -> None:
    """Probes of the sandboxed agent reach the relay with TLS and login. Each of the users' mails is counted once."""
    installed.await_metric(1, "postward_probes_total", "outcome=accepted")
    before, received = installed.sent(), installed.received()
    installed.send(3)
    wait_for(lambda: installed.received() == received + 3, 40, "three mails at the relay")
    installed.await_metric(before + 3, "postfix_deliveries_total", "status=sent")
    assert installed.sent() == before + 3
    assert all(message.tls and message.username == USER for message in installed.relay.messages)
    values = installed.metrics()
    assert values["postfix_up"] == 1
    assert values["postward_config_in_sync"] == 1
    assert values["postward_settings_in_force"] == 1
    assert installed.metric("postfix_queue_messages") >= 0
    installed.await_metric(1, "postward_relay_auth_accepted")


def test_the_agent_has_no_more_rights_than_it_needs(installed: Installed) -> None:
    """The agent cannot read the relay's password or Postfix's copy of it, and cannot write under /etc."""
    for path in ("/etc/postfix/sasl_passwd", "/etc/postward/passwords/relay"):
        assert "Permission denied" in installed.as_agent(f"cat {path}")
    for path in ("/etc/x", "/etc/postfix/main.cf", "/etc/postward/x", SETTINGS):
        error = installed.as_agent(f"echo x >> {path}")
        assert "Read-only file system" in error or "Permission denied" in error, error
    assert installed.show("postward.service", "User", "NoNewPrivileges") == ["postward", "yes"]


def test_remedies_of_doctor_repair_the_host(installed: Installed) -> None:
    """On a healthy host, doctor reports at most that the clock is not synchronized. Its remedies work unchanged."""
    assert set(installed.doctor()) <= {"clock"}
    installed.host.shell(
        "systemctl disable --quiet --now postward-enforce; chmod 0644 /etc/postward/passwords/relay"
    )
    found = installed.doctor()
    assert set(found) - {"clock"} == {"service-stopped", "settings-password-readable"}
    for remedy in found.keys() - {"clock"}:
        installed.host.shell(found[remedy])
    assert set(installed.doctor()) <= {"clock"}


def test_init_writes_nothing_if_the_relay_rejects_the_login(installed: Installed) -> None:
    """A wrong password leaves settings and password file unchanged."""
    files = f"sha256sum {SETTINGS} /etc/postward/passwords/*"
    before = installed.host.shell(files)
    printed = installed.init("wrong", "--force", status=1)
    assert "nothing was written" in printed
    assert "auth_rejected" in printed
    assert PASSWORD not in printed
    assert installed.host.shell(files) == before


@pytest.mark.parametrize("unit", MOST_EXPOSED)
def test_exposure(installed: Installed, unit: str) -> None:
    """The exposure level is at most the measured one. The tests above pass with these restrictions."""
    exposure = installed.exposure(unit)
    print(f"\n{installed.host.release}: {unit} {exposure}")  # noqa: T201
    assert exposure <= MOST_EXPOSED[unit]


def test_a_bad_settings_file_leaves_the_old_settings(installed: Installed) -> None:
    """Metric, journal and `systemctl status` report it. The corrected file comes into force without a restart."""
    (number,) = installed.show("postward.service", "MainPID")
    installed.edit("interval_seconds = 5", 'interval_seconds = "often"')
    wait_for(
        lambda: installed.metrics().get("postward_settings_in_force") == 0, 20, "the bad file to be reported"
    )
    (status,) = installed.show("postward.service", "StatusText")
    assert SETTINGS_REFUSED in status
    assert "probe.interval_seconds" in status
    assert "the former settings stay in force" in installed.host.run(
        "journalctl", "--no-pager", "-u", "postward"
    )
    before = installed.probed()
    installed.await_metric(before + 1, "postward_probes_total", "outcome=accepted")
    installed.edit('interval_seconds = "often"', "interval_seconds = 4")
    wait_for(lambda: installed.metrics().get("postward_settings_in_force") == 1, 20, "the corrected file")
    assert installed.show("postward.service", "MainPID") == [number]
    assert installed.probed() >= before + 1


def test_reload_by_systemctl(installed: Installed) -> None:
    """`systemctl reload` sends SIGHUP: the process goes on with its counters."""
    before, number = installed.probed(), installed.show("postward.service", "MainPID")
    installed.host.run("systemctl", "reload", "postward.service", "postward-enforce.service")
    installed.await_metric(before + 1, "postward_probes_total", "outcome=accepted")
    assert installed.show("postward.service", "MainPID") == number


def test_events_are_written_where_the_unit_allows(installed: Installed) -> None:
    """Into /var/log/postward, which only the agent's group reads; a file that was moved is replaced on reload."""
    host, file = installed.host, "/var/log/postward/events.json"
    installed.edit("[probe]", f'[events]\ntarget = "{file}"\n\n[probe]')
    wait_for(lambda: host.call("test", "-s", file).returncode == 0, 40, "events")
    assert host.run("stat", "-c", "%A %U %G", "/var/log/postward") == "drwxr-x--- postward postward\n"
    host.run("mv", file, f"{file}.1")
    host.run("systemctl", "reload", "postward.service")
    wait_for(lambda: host.call("test", "-s", file).returncode == 0, 40, "events in the new file")
    assert host.run("stat", "-c", "%A %U", file) == "-rw-r----- postward\n"


@pytest.mark.parametrize("unit", ["postward.service", "postward-enforce.service"])
def test_systemd_restarts_a_killed_service(installed: Installed, unit: str) -> None:
    """After SIGKILL systemd starts the service again. No line is lost or counted twice."""
    before, received = installed.sent(), installed.received()
    (number,) = installed.show(unit, "MainPID")
    installed.host.run("systemctl", "kill", "--signal=KILL", unit)
    installed.send(2)
    wait_for(lambda: installed.show(unit, "ActiveState") == ["active"], 40, f"{unit} to be back")
    assert installed.show(unit, "MainPID") != [number]
    wait_for(lambda: installed.received() == received + 2, 40, "two mails at the relay")
    installed.await_metric(before + 2, "postfix_deliveries_total", "status=sent")
    assert installed.sent() == before + 2


def test_the_watchdog_restarts_a_frozen_agent(installed: Installed) -> None:
    """The watchdog of systemd ends an agent that is stopped. The lines of that time are counted after the restart."""
    before, received = installed.sent(), installed.received()
    (number,) = installed.show("postward.service", "MainPID")
    installed.host.run("systemctl", "kill", "--signal=STOP", "postward.service")
    installed.send(2)
    wait_for(lambda: _main_pid(installed) not in {number, "0"}, 90, "the watchdog")
    wait_for(
        lambda: installed.show("postward.service", "ActiveState") == ["active"], 40, "the agent to be back"
    )
    wait_for(lambda: installed.received() == received + 2, 40, "two mails at the relay")
    installed.await_metric(before + 2, "postfix_deliveries_total", "status=sent")
    assert installed.sent() == before + 2
    assert "watchdog" in installed.host.run("journalctl", "--no-pager", "-u", "postward").lower()


def test_drift_is_repaired(installed: Installed) -> None:
    """The sandboxed enforcer edits main.cf and reloads Postfix."""
    installed.host.run("postconf", "-e", "relayhost = [nowhere.example.test]:587")
    relayhost = f"[127.0.0.1]:{installed.relay.port}"
    wait_for(
        lambda: installed.host.run("postconf", "-h", "relayhost").strip() == relayhost,
        40,
        "relayhost to be repaired",
    )
    before = installed.probed()
    installed.await_metric(before + 1, "postward_probes_total", "outcome=accepted")


def test_a_rotated_password_comes_into_force(installed: Installed) -> None:
    """The enforcer reads it from root's file. The agent has the old one and does not try it at the relay again."""
    installed.relay.users[USER] = "n3w#word"
    rejected = [attempt for attempt in installed.relay.auth_attempts if not attempt.accepted]
    installed.host.shell("umask 077; printf 'n3w#word\\n' > /etc/postward/passwords/relay")
    wait_for(
        lambda: "n3w#word" in (installed.host.root / "etc/postfix/sasl_passwd").read_text(), 40, "sasl_passwd"
    )
    before = installed.probed()
    installed.await_metric(before + 2, "postward_probes_total", "outcome=accepted")
    by_agent = [attempt for attempt in installed.relay.auth_attempts if not attempt.accepted][len(rejected) :]
    assert len(by_agent) <= 1  # Postfix itself, between the relay's change and that of sasl_passwd


def test_a_reboot_keeps_services_and_counts(installed: Installed) -> None:
    """Both services start at boot, mail flows, and counters continue."""
    before, probes = installed.sent(), installed.probed()
    installed.host.reboot()
    assert installed.host.run("systemctl", "--failed", "--no-legend") == ""
    installed.await_metric(probes + 1, "postward_probes_total", "outcome=accepted")
    assert installed.sent() == before
    installed.send(1)
    installed.await_metric(before + 1, "postfix_deliveries_total", "status=sent")


def test_postfix_restarts_and_stops(installed: Installed) -> None:
    """The metric postfix_up follows Postfix, and neither service depends on Postfix."""
    installed.host.run("systemctl", "stop", "postfix.service")
    wait_for(lambda: installed.metrics().get("postfix_up") == 0, 20, "postfix_up to be 0")
    installed.host.run("systemctl", "start", "postfix.service")
    wait_for(lambda: installed.metrics().get("postfix_up") == 1, 20, "postfix_up to be 1")
    before = installed.probed()
    installed.await_metric(before + 1, "postward_probes_total", "outcome=accepted")


def test_an_upgrade_keeps_settings_and_counts(installed: Installed, deb: Path) -> None:
    """The new package runs with the old settings, and counters continue."""
    before, probes = installed.sent(), installed.probed()
    settings = installed.host.run("cat", SETTINGS)
    (number,) = installed.show("postward.service", "MainPID")
    installed.install(next_release(deb))
    assert installed.host.run("dpkg-query", "-W", "-f", "${Version}", "postward").endswith("-2")
    assert installed.show("postward.service", "MainPID") != [number]
    assert installed.host.run("cat", SETTINGS) == settings
    installed.await_metric(probes + 1, "postward_probes_total", "outcome=accepted")
    assert installed.sent() == before


def test_an_older_package_keeps_settings_and_counts(installed: Installed, deb: Path) -> None:
    """A downgrade is an upgrade backwards, as long as the state has the same version."""
    before, probes = installed.sent(), installed.probed()
    installed.install(deb)
    assert installed.host.run("dpkg-query", "-W", "-f", "${Version}", "postward").endswith("-1")
    installed.await_metric(probes + 1, "postward_probes_total", "outcome=accepted")
    assert installed.sent() == before


def test_a_signed_repository_upgrades(installed: Installed, deb: Path, tmp_path: Path) -> None:
    """apt-get takes the next release from it, with the one file that docs/install.md names; counters continue."""
    host, url = installed.host, "file:///srv/postward"
    before, probes = installed.sent(), installed.probed()
    repository_of(next_release(deb), host.root / "srv/postward", url, tmp_path)
    host.put(host.root / "srv/postward/apt/postward.sources", "/etc/apt/sources.list.d")

    host.shell("apt-get -qq update && apt-get -qq install --only-upgrade postward >/dev/null 2>&1")

    assert host.run("dpkg-query", "-W", "-f", "${Version}", "postward").endswith("-2")
    assert "/srv/postward/apt stable/main" in host.run("apt-cache", "policy", "postward")
    installed.await_metric(probes + 1, "postward_probes_total", "outcome=accepted")
    assert installed.sent() == before
    host.shell("rm -r /srv/postward /etc/apt/sources.list.d/postward.sources")
    installed.install(deb)


def test_packages_change_amid_work(installed: Installed, deb: Path) -> None:
    """One after the other, while settings are applied and the agent is killed: no count is lost, and all is in force."""
    host = installed.host
    before, received, sent = installed.sent(), installed.received(), 0
    settings = host.run("cat", SETTINGS)
    packages = [host.put(package, "/root") for package in (next_release(deb), deb)]
    with ThreadPoolExecutor(1) as pool:
        for package in packages:
            action = pool.submit(host.run, "dpkg", "--install", package)
            while not action.done():
                host.run("postconf", "-e", "myhostname = other.example.test")
                host.call("postward", "apply")  # its program changes meanwhile, so it may fail
                installed.send(1)
                sent += 1
                host.run("systemctl", "kill", "--signal=KILL", "postward.service")
                wait_for(
                    lambda: installed.show("postward.service", "ActiveState") == ["active"], 60, "the agent"
                )
            action.result()
    host.run("rm", *packages)
    wait_for(lambda: host.call("postward", "plan").returncode == 0, 90, "the settings to be in force")
    assert host.run("postconf", "-h", "myhostname") == "host.example.test\n"
    assert host.run("cat", SETTINGS) == settings
    assert host.run("dpkg", "--audit") == ""
    # systemd waits RestartSec after the last kill; a service that cannot start stays out of this state.
    wait_for(
        lambda: host.call("systemctl", "is-active", *SERVICES).stdout == "active\nactive\n",
        60,
        "both services",
    )
    wait_for(lambda: installed.received() == received + sent, 40, f"{sent} mails at the relay")
    installed.await_metric(before + sent, "postfix_deliveries_total", "status=sent")
    assert installed.sent() == before + sent
    assert set(installed.doctor()) <= {"clock"}


def test_state_of_a_newer_version_is_refused_and_kept(installed: Installed) -> None:
    """The service does not stay up, doctor quotes the reason, commands do not say that all is well."""
    host, file = installed.host, installed.host.root / "var/lib/postward/checkpoint.json"
    host.run("systemctl", "stop", "postward.service")
    for command in ("status", "why"):
        assert "the agent does not answer" in host.shell(f"postward {command} 2>&1", status=4)
    kept = file.read_bytes()
    newer = kept.replace(b'"version":3', b'"version":4')
    with file.open("wb") as stream:  # keeps the owner
        stream.write(newer)
    host.run("systemctl", "start", "--no-block", "postward.service")
    wait_for(lambda: "service-failed" in installed.doctor(), 40, "doctor to see the loop")
    assert "has version 4, and this Postward uses version 3" in host.shell(
        "postward doctor --no-relay", status=3
    )
    assert file.read_bytes() == newer
    with file.open("wb") as stream:
        stream.write(kept)
    wait_for(lambda: installed.show("postward.service", "ActiveState") == ["active"], 40, "the agent")


def test_a_run_by_root_leaves_the_state_to_the_service(installed: Installed) -> None:
    """The service continues with the counts of `postward run` by hand."""
    host = installed.host
    before = installed.probed()
    host.run("systemctl", "stop", "postward.service")
    host.shell("timeout --preserve-status -s INT 12 postward run")
    assert host.shell("find /var/lib/postward ! -user postward") == ""
    host.run("systemctl", "start", "postward.service")
    installed.await_metric(before + 1, "postward_probes_total", "outcome=accepted")
    host.shell("systemctl stop postward; chown root: /var/lib/postward/checkpoint.json")
    host.run("systemctl", "start", "--no-block", "postward.service")
    wait_for(lambda: {"service-failed", "state-not-ours"} <= set(installed.doctor()), 40, "both findings")
    host.shell(installed.doctor()["state-not-ours"])
    wait_for(lambda: installed.show("postward.service", "ActiveState") == ["active"], 40, "the agent")


def test_init_says_that_postfix_is_stopped(installed: Installed) -> None:
    """The settings are written and the services run, but the status is 1."""
    host = installed.host
    host.shell(f"systemctl stop postfix; cp {SETTINGS} /root/kept.toml")
    printed = installed.init(installed.relay.users[USER], "--force", status=1)
    assert "Postfix does not run, and no probe was sent; next: systemctl start postfix" in printed
    assert "queue_events" not in printed
    host.shell(f"systemctl start postfix; cat /root/kept.toml > {SETTINGS}; systemctl restart postward")
    wait_for(installed.metrics, 40, "the agent")


def test_a_removal_and_an_installation_bring_the_services_back(installed: Installed, deb: Path) -> None:
    """As they were: the enabled one runs again, and the disabled one is named. It is the call of the README."""
    host = installed.host
    before = installed.sent()
    host.run("systemctl", "disable", "--quiet", "--now", "postward-enforce.service")
    host.run("dpkg", "--remove", "postward")
    assert host.run("systemctl", "is-active", "postward.service", status=None) == "inactive\n"
    host.put(deb, "/root")
    (call,) = re.findall(r"(?m)^(apt-get install \S+deb)", (ROOT / "README.md").read_text())
    printed = host.shell(f"cd /root; {call.replace('amd64', deb.stem.rpartition('_')[2])} && rm *.deb")
    assert "systemctl enable --now postward-enforce.service" in printed
    enabled = host.run("systemctl", "is-enabled", "postward.service", "postward-enforce.service", status=None)
    assert enabled == "enabled\ndisabled\n"
    wait_for(installed.metrics, 40, "the agent")
    assert installed.sent() == before
    host.run("systemctl", "enable", "--quiet", "--now", "postward-enforce.service")


def test_a_purge_leaves_nothing(installed: Installed) -> None:
    """No file, user or unit of Postward is left. Postfix keeps its configuration and sends mail."""
    installed.host.run("dpkg", "--purge", "postward")
    left = installed.files() - installed.files_before
    ours = {path for path in left if "postward" in path}
    assert ours == set()
    assert {path for path in left if not path.startswith(("/etc/postfix", "/var/cache", "/root"))} == set()
    assert installed.host.shell("getent passwd postward; getent group postward", status=2) == ""
    assert "postward" not in installed.host.shell(
        "systemctl list-unit-files --no-legend; systemctl --failed --no-legend"
    )
    received = installed.received()
    installed.send(1)
    wait_for(lambda: installed.received() == received + 1, 40, "a mail at the relay")


def test_the_installation_elsewhere(installed: Installed) -> None:
    """From a checkout by pipx, with the commands of docs/install.md, on the host that the purge left."""
    host = installed.host
    source = host.root / "root/source"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in files.decode().split("\0")[:-1]:
        if not (ROOT / name).is_symlink():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    environment = "DEBIAN_FRONTEND=noninteractive"
    if authorities := os.environ.get("PIP_CERT"):  # of a network that inspects TLS
        environment += f" PIP_CERT={host.put(Path(authorities), '/root')}"
    host.shell("apt-get -qq update; apt-get -qq install --no-install-recommends pipx >/dev/null 2>&1")
    block = re.findall(r"(?ms)^```sh\n(.*?)^```$", (ROOT / "docs/install.md").read_text())[2]
    assert block.endswith("\npostward init\n")
    commands = block.removesuffix("postward init\n")
    host.shell(f"set -e; export {environment}; cd /root/source; {commands}")
    installed.init(installed.relay.users[USER], "--no-start")
    installed.edit(
        "[probe]", f'[web]\nlisten = "127.0.0.1:{installed.port}"\n\n[probe]\ninterval_seconds = 5'
    )
    host.run("systemctl", "enable", "--quiet", "--now", "postward.service", "postward-enforce.service")
    installed.await_metric(1, "postward_probes_total", "outcome=accepted")
    assert set(installed.doctor()) <= {"clock"}
