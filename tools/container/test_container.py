"""The image, with podman: start, delivery, reload, secrets, failures, and the end. `make image-test` runs it."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.support.fault import Fault
from tests.support.waiting import wait_for
from tools.container.conftest import CAPABILITIES, OPTIONS, RESTRICTED, SECRETS, USER, Net
from tools.container.image import NAME, size
from tools.container.podman import Container, Podman

ENTRYPOINT = "/usr/lib/postward/entrypoint.py"
SENT = ("postfix_deliveries_total", "'main'", "'sent'")


def test_the_image_is_one_layer_without_the_tools_of_its_build(podman: Podman) -> None:
    """Package managers, Perl, documents and locales are gone; licences stay. No second layer hides deleted files."""
    print(f"\nimage: {size() / 1e6:.0f} MB")  # noqa: T201
    (image,) = json.loads(podman.run("image", "inspect", NAME))
    assert len(image["RootFS"]["Layers"]) == 1
    gone = "/usr/bin/apt* /usr/bin/dpkg* /usr/bin/perl* /usr/share/man /usr/share/locale /var/lib/apt"
    script = (
        f"ls -d {gone} /var/cache/* /var/log/* 2>/dev/null; find /usr/share/doc -type f ! -name copyright; "
    )
    script += "grep -c ^Package: /var/lib/dpkg/status"
    listed = podman.run(
        "run", "--rm", "--network=none", *podman.limits, "--entrypoint=sh", NAME, "-c", script
    )
    assert re.fullmatch(r"\d+", listed.strip()), listed  # packages, for scanners


def test_every_program_finds_its_libraries(podman: Podman) -> None:
    """No library that Postfix, the shell's tools or Python's modules load was removed with a package."""
    script = (
        "for file in /usr/bin/* /usr/sbin/* /usr/lib/postfix/sbin/* /usr/lib/*/sasl2/*.so /usr/lib/*/*.so.*; do "
        "[ -L $file ] || /lib64/ld-linux-x86-64.so.2 --list $file 2>&1 | grep -H --label=$file 'not found'; done; true"
    )
    listed = podman.run(
        "run", "--rm", "--network=none", *podman.limits, "--entrypoint=sh", NAME, "-c", script
    )
    assert listed == ""


def test_every_module_of_postward_can_be_imported(podman: Podman) -> None:
    """What the image leaves out is used by the extras alone: Dask, and pyarrow."""
    program = (
        "import importlib, pkgutil, postward.agent, postward.config, postward.parsers\n"
        "for package in (postward.agent, postward.config, postward.parsers):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        try:\n"
        "            importlib.import_module(module.name)\n"
        "        except ImportError as error:\n"
        "            print(module.name)\n"
    )
    options = ["run", "--rm", "--network=none", *podman.limits, "--entrypoint=/usr/lib/postward/bin/python"]
    listed = podman.run(*options, NAME, "-I", "-c", program)
    assert set(listed.split()) <= {"postward.agent.report.dask", "postward.agent.export.parquet"}


def test_bad_settings_end_the_container_with_their_messages(podman: Podman) -> None:
    """All problems are reported at once, by the names of the variables, with status 78; no secret is repeated."""
    bad = {
        "POSTWARD_HOST__MYHOSTNAME": "mail",
        "POSTWARD_RELAY__MAIN__USERNAME": "app",
        "POSTWARD_RELAY__MAIN__PASSWORD": "hunter2",
    }
    options = [f"--env={name}={value}" for name, value in bad.items()]
    done = podman.call("run", "--rm", "--network=none", *podman.limits, *OPTIONS, *options, NAME)
    assert done.returncode == 78
    assert "environment: POSTWARD_HOST__MYHOSTNAME: must be a full host name" in done.stderr
    assert "environment: POSTWARD_RELAY__MAIN__HOST: is missing" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_a_read_only_root_without_a_tmpfs_is_reported(podman: Podman) -> None:
    """The message names the mount that is missing."""
    variables = {"HOST__MYHOSTNAME": "mail.example.com", "RELAY__MAIN__HOST": "smtp.example.com"}
    options = [f"--env=POSTWARD_{name}={value}" for name, value in variables.items()]
    done = podman.call("run", "--rm", "--network=none", *podman.limits, "--read-only", *options, NAME)
    assert done.returncode == 1
    assert "Read-only file system; where the root is read-only, mount a tmpfs at /etc/postfix" in done.stderr


def test_the_first_probe_is_delivered_soon_after_the_start(net: Net, postward: Container) -> None:
    """The settings are in force before Postfix starts, and the first probe does not wait for an interval."""
    wait_for(lambda: net.relay.messages_to("probe@relay.test"), 60, "the probe")
    probe = net.relay.messages_to("probe@relay.test")[0]
    print(f"\n{probe.at - postward.started_at:.1f} s from the start to the first delivered probe")  # noqa: T201
    assert (probe.username, probe.tls, probe.helo) == (USER, True, "mail.example.test")
    postward.await_metric(1, "postward_probes_total", "accepted")
    assert postward.metric("postward_config_in_sync") == 1


@pytest.mark.parametrize("port", [25, 587])
def test_mail_of_a_client_reaches_the_relay_with_tls_and_login(
    net: Net, postward: Container, port: int
) -> None:
    """Each delivery is in the container's output and in the metrics."""
    before, counted = net.received(), postward.metric(*SENT)
    net.send(postward, port=port)
    wait_for(lambda: net.received() == before + 1, 30, "the mail")
    message = net.relay.messages_to("user@relay.test")[-1]
    assert (message.username, message.tls) == (USER, True)
    postward.await_metric(counted + 1, *SENT)
    wait_for(lambda: "to=<user@relay.test>" in postward.log(), 10, "the line in the container's output")


def test_it_runs_with_the_least_privileges(postward: Container) -> None:
    """PID 1 has the listed capabilities alone and can gain none; the root is read-only; services are not chrooted."""
    status = Path(f"/proc/{postward.process}/status").read_text()
    (mask,) = re.findall(r"CapBnd:\s+(\w+)", status)
    names = [
        "CHOWN",
        "DAC_OVERRIDE",
        "",
        "FOWNER",
        "",
        "KILL",
        "SETGID",
        "SETUID",
        "",
        "",
        "NET_BIND_SERVICE",
    ]
    assert {names[bit] for bit in range(40) if int(mask, 16) >> bit & 1} == set(CAPABILITIES.split(","))
    assert re.search(r"NoNewPrivs:\s+1", status)
    assert "Read-only file system" in postward.shell("touch /usr/x /etc/x 2>&1 || true")
    assert postward.shell("postconf -F '*/*/chroot' | grep -c ' = n$'") == postward.shell(
        "postconf -M | wc -l"
    )


def test_health_is_that_of_the_agent(net: Net, postward: Container) -> None:
    """The check asks the agent's socket. A relay that is down does not make it fail: no restart repairs a relay."""
    assert postward.run(ENTRYPOINT, "--healthy") == "Postward is ready.\n"
    net.relay.refuse = True
    try:
        assert postward.run(ENTRYPOINT, "--healthy") == "Postward is ready.\n"
    finally:
        net.relay.refuse = False


def test_orphans_are_reaped(postward: Container) -> None:
    """A process whose parent ends first does not stay as a zombie."""
    postward.shell("(sleep 0.2 &) ; true")
    wait_for(lambda: "sleep" not in postward.processes(), 10, "the orphan to be gone")


def test_sighup_reloads_both(postward: Container) -> None:
    """Postfix reloads, the agent re-reads its settings, and the container keeps running."""
    reloads = postward.log().count("reload -- version")
    postward.send("HUP")
    wait_for(lambda: postward.log().count("reload -- version") > reloads, 20, "Postfix to reload")
    assert postward.runs


def test_a_rotated_secret_takes_effect_without_a_restart(net: Net, postward: Container) -> None:
    """Kubernetes moves one link; the enforcer notices it at once, and Postfix logs in with the new password."""
    master = postward.processes()["master"]
    applied = postward.metric("postward_config_applies_total", "'applied'")
    net.relay.users = {USER: "rotated"}
    net.secret.write("rotated")
    begun = time.monotonic()
    postward.await_metric(applied + 1, "postward_config_applies_total", "'applied'")
    print(f"\n{time.monotonic() - begun:.1f} s from the swap of the link to the new login")  # noqa: T201
    before = net.received()
    net.send(postward)
    wait_for(lambda: net.received() == before + 1, 30, "the mail with the new login")
    assert postward.processes()["master"] == master
    assert "rotated" not in postward.log()


@pytest.mark.parametrize("killed", ["master", "postward"])
def test_the_container_ends_with_either_and_a_restart_delivers_the_queue(
    net: Net, postward: Container, killed: str
) -> None:
    """The exit status is not 0. After the restart, the counters go on, and no parameter counts as repaired."""
    net.relay.refuse = True
    net.send(postward, 3)
    sent = postward.metric(*SENT)
    postward.await_metric(1, "postfix_queue_messages", "'deferred'")
    repairs = postward.metric("postward_config_repairs_total")
    before = net.received()
    os.kill(postward.processes()[killed], signal.SIGKILL)
    assert postward.exit_status not in {0, 78}
    assert f"{'postfix' if killed == 'master' else killed} has ended with status" in postward.log()
    net.relay.refuse = False
    postward.start()
    wait_for(lambda: net.received() == before + 3, 60, "the queued mail")
    postward.await_metric(sent + 3, *SENT)
    assert postward.metric("postward_config_repairs_total") == repairs


def test_sigterm_drains_the_queue_and_saves_the_counts(net: Net, postward: Container) -> None:
    """All mail that a slow relay takes is delivered and counted before the container ends, with status 0."""
    before, sent = net.received(), postward.metric(*SENT)
    with net.relay.failing(Fault(step="end_of_data", action="delay", seconds=0.5)):
        net.send(postward, 8)
        postward.stop()
        assert net.received() == before + 8
    assert postward.exit_status == 0
    assert "mail is still under way" not in postward.log().rpartition("draining the queue")[2]
    postward.start()
    assert postward.await_metric(sent + 8, *SENT) < sent + 8 + 3  # and perhaps a probe


def test_sigterm_keeps_what_cannot_be_delivered(net: Net, postward: Container) -> None:
    """A relay that does not answer holds the end up for POSTWARD_DRAIN_SECONDS; the mail waits on the volume."""
    before = net.received()
    with net.relay.failing(Fault(step="end_of_data", action="hang", seconds=60)):
        net.send(postward)
        wait_for(lambda: postward.shell("ls /var/spool/postfix/active"), 10, "the mail to be active")
        begun = time.monotonic()
        postward.stop()
        assert time.monotonic() - begun < 28
    assert postward.exit_status == 0
    assert "mail is still under way; it stays in the queue" in postward.log()
    postward.start()
    wait_for(lambda: net.received() > before, 60, "the mail after the restart")


def test_without_a_network_in_the_settings_no_other_host_may_send(net: Net) -> None:
    """The image is not an open relay, whatever its network. Its log goes to a file if the settings name one."""
    name, log = f"{net.name}-closed", "/var/log/postfix/mail.log"
    variables = net.variables(POSTWARD_LOG__SOURCE=log)
    del variables["POSTWARD_HOST__MYNETWORKS"]
    options = [*OPTIONS, *net.options("closed"), "--tmpfs=/var/log/postfix"]
    with net.podman.container(name, options, variables) as closed:
        closed.await_metric(1, "postward_probes_total", "accepted")
        with pytest.raises(Exception, match="Relay access denied"):
            net.send(closed)
        assert "status=sent" in closed.run("cat", log)
        assert "status=sent" not in closed.log().replace("  ", "")


def test_a_refused_login_lets_no_mail_leave(net: Net) -> None:
    """Postfix starts and takes mail. It waits until the secret is right, and never leaves without the relay."""
    name = f"{net.name}-refused"
    right = next(iter(net.relay.users.values()))
    net.secret.write("wrong")
    variables = net.variables(POSTWARD_ENFORCE__INTERVAL_SECONDS="3600")
    with net.podman.container(name, [*OPTIONS, *net.options("refused")], variables) as refused:
        wait_for(lambda: "auth_rejected" in refused.log(), 40, "the refusal")
        refused.await_metric(1, "postfix_up")
        before = net.received()
        net.send(refused)
        refused.await_metric(1, "postfix_queue_messages", "'deferred'")
        assert net.received() == before
        net.secret.write(right)
        wait_for(lambda: net.received() > before, 60, "the mail after the right password")


def test_the_sidecar_watches_another_postfix_without_privileges(net: Net) -> None:
    """The agent alone, as its own user, with a read-only root and no capability, reads the log on a shared volume."""
    name = f"{net.name}-other"
    volumes = [
        f"--volume={name}-{volume}:{path}"
        for volume, path in (("log", "/var/log/postfix"), ("etc", "/etc/postfix"))
    ]
    # Another image's Postfix: its own main.cf, with the relay that its admin gave it.
    script = (
        "cp -R /usr/lib/postward/postfix/. /etc/postfix/ && postconf -F '*/*/chroot=n' && postconf -e "
        f"maillog_file=/var/log/postfix/mail.log relayhost=[{net.relay.host}]:{net.relay.port} myhostname=mail.example.test "
        "smtp_tls_security_level=encrypt smtp_sasl_auth_enable=yes smtp_sasl_security_options=noanonymous "
        f"smtp_sasl_password_maps=static:{USER}:$(cat {SECRETS}/password) && chmod 755 /var/log/postfix && exec postfix start-fg"
    )
    password = Path(net.secret.folder, "password")
    password.chmod(0o644)
    other = net.podman.container(name, [*net.options("other"), *volumes, "--entrypoint=sh"], {}, "-c", script)
    variables = net.variables(
        POSTWARD_LOG__SOURCE="/var/log/postfix/mail.log",
        POSTWARD_LOG__TEST_INTERVAL_SECONDS="0",
        POSTWARD_QUEUE__ENABLED="false",
        POSTWARD_PROBE__SUBMIT="smtp",
        POSTWARD_PROBE__INTERVAL_SECONDS="3",
    )
    options = [
        *RESTRICTED,
        "--user=9787:9787",
        f"--network=container:{name}",
        *(f"{volume}:ro" for volume in volumes),
    ]
    options += [f"--volume={net.secret.folder}:{SECRETS}:ro", f"--volume={name}-agent:/var/lib/postward"]
    options.append(f"--volume={name}-queue:/var/spool/postfix:ro")
    with other as mail_server:
        if net.podman.shares_processes:
            options.append(f"--pid=container:{name}")
        with net.podman.container(f"{name}-agent", options, variables, "run") as agent:
            _watch(mail_server, agent)
            # Without the PID namespace of the other container, the agent sees no master process.
            assert mail_server.metric("postfix_up") == net.podman.shares_processes


def _watch(mail_server: Container, agent: Container) -> None:
    # They share the address.
    mail_server.await_metric(1, "postward_probes_total", "accepted")
    mail_server.run("sendmail", "-f", "app@example.test", "other@relay.test", text="Subject: one\n\nText.\n")
    mail_server.await_metric(1, *SENT)
    assert mail_server.metric("postward_incident_open", "permissions") == 0
    status = Path(f"/proc/{agent.process}/status").read_text()
    assert re.search(r"Uid:\s+9787\s+9787", status)
    assert re.search(r"CapBnd:\s+0+\n", status)
    agent.stop()
    assert agent.exit_status == 0
