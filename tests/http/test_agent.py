"""The whole agent on a real Postfix: queue, legacy metrics, events, a second address, and a reload."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.postfix import free_port
from tests.support.product import AgentProcess, run_postward, write_reading_settings, write_settings
from tests.support.require import required

PASSWORD = "s3cret-Gr33n-Fern"


def test_queue_events_and_legacy_names(tmp_path: Path) -> None:
    """Deferred mail by cause, JSON lines without addresses, and both sets of names; promtool accepts ours."""
    require_postfix()
    promtool = required("promtool", "prometheus")
    second, events = free_port(), tmp_path / "events.json"
    with (
        Relay(CA(), "relay.example.test", users={"API_USER": PASSWORD}) as relay,
        PostfixInstance(tmp_path / "postfix") as postfix,
    ):
        settings = write_settings(
            tmp_path, relay, postfix, password=PASSWORD, probe_recipient="", preflight=False
        )
        text = settings.read_text()
        web = f'[web]\nalso_listen = ["127.0.0.1:{second}"]\nlegacy_metrics = true\nreload = true\n'
        settings.write_text(text.replace("[web]\n", web) + f'\n[events]\ntarget = "{events}"\n')
        assert run_postward("apply", "--config", str(settings)).returncode == 0
        with AgentProcess(settings) as agent:
            relay.refuse = True
            postfix.inject([f"user{number}@dest.test" for number in range(3)])
            wait_for(
                lambda: agent.value("postfix_queue_messages", queue="deferred", cause="refused") == 3,
                timeout=20,
                what="the queue by cause",
            )
            assert agent.value("postfix_smtp_status_deferred") >= 3
            assert agent.value("postfix_showq_queue_depth", queue="deferred") == 3
            checked = subprocess.run(
                [promtool, "check", "metrics"],
                input=agent.get("/metrics")[1],
                capture_output=True,
                text=True,
                check=False,
            )
            faults = [
                line for line in checked.stderr.splitlines() if "postfix_smtp_status_deferred" not in line
            ]
            assert [line for line in faults if "postfix_qmgr_messages_inserted" not in line] == []
            wait_for(lambda: '"cause": "refused"' in events.read_text(), what="the event")
            assert "@" not in events.read_text()
            assert all(json.loads(line)["schema"] == 1 for line in events.read_text().splitlines())

            events.rename(tmp_path / "events.1")
            subprocess.run(["/bin/kill", f"-{signal.SIGHUP.value}", str(agent.pid)], check=True)
            relay.refuse = False
            postfix.flush()
            wait_for(
                lambda: events.exists() and '"sent"' in events.read_text(), timeout=20, what="the new file"
            )
            agent._address = f"127.0.0.1:{second}"
            assert agent.is_ready()


def test_a_reload_drops_no_scrape(tmp_path: Path) -> None:
    """Three clients ask without a pause while the settings change six times; every request is answered."""
    require_postfix()
    over = threading.Event()
    with PostfixInstance(tmp_path / "postfix") as postfix:
        settings = write_reading_settings(tmp_path, postfix)
        with AgentProcess(settings) as agent:

            def ask() -> int:
                answers = 0
                while not over.is_set():
                    assert agent.get("/-/healthy")[0] == 200
                    answers += 1
                return answers

            def change(number: int) -> None:
                text = settings.read_text()
                settings.write_text(re.sub('username = ".*"', f'username = "user{number}"', text))
                wait_for(
                    lambda: agent.output().count("re-reading it") == number, what="the settings to be read"
                )

            with ThreadPoolExecutor(3) as clients:
                asking = [clients.submit(ask) for _ in range(3)]
                try:
                    for number in range(1, 7):
                        change(number)
                finally:
                    over.set()
                assert all(client.result() for client in asking)


def test_post_reload_reads_settings_web_config_and_events_file(tmp_path: Path) -> None:
    """It answers 500 with the problem of a bad file, and 200 once all files are good; the events file is reopened."""
    require_postfix()
    web_config, events = tmp_path / "web.yml", tmp_path / "events.json"
    web_config.write_text("")
    with PostfixInstance(tmp_path / "postfix") as postfix:
        settings = write_reading_settings(tmp_path, postfix)
        web = f'[web]\nreload = true\nconfig_file = "{web_config}"\n'
        good = settings.read_text().replace("[web]\n", web) + f'\n[events]\ntarget = "{events}"\n'
        settings.write_text(good)
        with AgentProcess(settings) as agent:

            def reload() -> tuple[int, str]:
                return agent.get("/-/reload", "POST")

            settings.write_text(good.replace("port = 9\n", 'port = "nine"\n'))
            bad_settings, in_force = reload(), agent.value("postward_settings_in_force")
            settings.write_text(good)
            web_config.write_text("tls: yes\n")
            bad_web_config = reload()
            web_config.write_text("")
            events.unlink()
            good_files = reload()
            # A page of metrics is kept for a moment.
            wait_for(lambda: agent.value("postward_settings_in_force") == 1, what="the good settings")

    assert bad_settings[0] == 500
    assert "relay.demo.port: must be an integer" in bad_settings[1]
    assert in_force == 0
    assert bad_web_config[0] == 500
    assert bad_web_config[1].startswith("web.config_file: ")
    assert good_files == (200, "reloaded\n")
    assert events.exists()


def test_systemd_hears_of_the_stop_before_parts_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY=1 comes at the start. After STOPPING=1 the agent still answers a request that had begun."""
    require_postfix()
    with (
        PostfixInstance(tmp_path / "postfix") as postfix,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
    ):
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def heard(assignment: bytes) -> bool:
            return any(systemd.recv(4096) == assignment for _ in range(20))

        with AgentProcess(write_reading_settings(tmp_path, postfix)) as agent:
            assert heard(b"READY=1")
            with socket.create_connection(agent.address, timeout=10) as client:
                client.sendall(b"GET /-/healthy HTTP/1.1\r\n")
                agent.get("/-/healthy")  # the connection before this one has been accepted
                os.kill(agent.pid, signal.SIGTERM)
                assert heard(b"STOPPING=1")
                client.sendall(b"Host: t\r\n\r\n")
                answer = client.recv(4096)
            assert agent.stop() == 0

    assert answer.startswith(b"HTTP/1.1 200 ")
