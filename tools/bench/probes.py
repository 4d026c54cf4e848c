"""Measure one agent that probes two hundred relays, one of which hangs: CPU time, memory, and delay of probes.

A real Postfix sends through two hundred loopback addresses of one server; the agent enforces, probes and checks each.
Nothing is asserted. Run `python -m tools.bench.probes [relays] [seconds] [interval]` as root in the repository's root.
"""

import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from tests.support import CA, PostfixInstance, Relay, wait_for
from tests.support.postfix import free_port
from tests.support.product import AgentProcess

_INTERVAL = int(sys.argv[3]) if len(sys.argv) > 3 else 60  # seconds between two probes, and two conversations
_TIMEOUT = 10

_HEAD = """\
[host]
profile = "send-only"
myhostname = "mail.example.test"
inet_protocols = "ipv4"

[postfix]
config_directory = "{config_directory}"

[enforce]
directory = "{folder}/enforce"
preflight = false

[main_cf]
smtp_helo_timeout = "30s"
default_process_limit = 100

[probe]
recipient = "probe@relay.test"
sender = "postward@r0.test"
interval_seconds = {interval}
relay_check_interval_seconds = {interval}
timeout_seconds = {timeout}

[web]
listen = "127.0.0.1:{web}"

[state]
directory = "{folder}/state"
"""

_RELAY = """\
[[relay]]
name = "r{number}"
host = "{host}"
port = {port}
tls = "starttls"
allow_unusual_port = true
username = "u"
password_file = "{folder}/secret/password"
senders = ["@r{number}.test"]
"""


class _Everywhere(Relay):
    """A relay that listens on all loopback addresses."""

    host = "0.0.0.0"


def main() -> None:
    """Print the figures."""
    relays = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 130.0
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="postward-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            _Everywhere(CA(), users={"u": "a password"}) as relay,
            socket.create_server(("127.0.0.1", 0)) as silent,
            PostfixInstance(folder / "postfix") as postfix,
        ):
            threading.Thread(target=_hang, args=(silent,), daemon=True).start()
            settings = folder / "postward.toml"
            settings.write_text(_settings(folder, postfix, relay.port, silent.getsockname()[1], relays))
            with AgentProcess(settings, "--enforce") as agent:
                _measure(agent, relay, relays, seconds)


def _settings(folder: Path, postfix: PostfixInstance, port: int, silent: int, relays: int) -> str:
    (folder / "secret").mkdir()
    (folder / "secret" / "password").write_text("a password")
    tables = [
        _RELAY.format(number=number, host=f"127.0.1.{number + 1}", port=port, folder=folder)
        for number in range(relays - 1)
    ]
    tables.append(_RELAY.format(number=relays - 1, host="127.0.0.1", port=silent, folder=folder))
    head = _HEAD.format(
        config_directory=postfix.config_directory,
        folder=folder,
        interval=_INTERVAL,
        timeout=_TIMEOUT,
        web=free_port(),
    )
    return head + "".join(tables)


def _hang(silent: socket.socket) -> None:
    """Accept connections and never send anything."""
    taken = []
    while True:
        try:
            taken.append(silent.accept())
        except OSError:
            return


def _measure(agent: AgentProcess, relay: Relay, relays: int, seconds: float) -> None:
    wait_for(
        lambda: len({mail.mail_from for mail in relay.messages}) == relays - 1,
        timeout=120,
        what="a probe by each relay that answers",
    )
    began, cpu = time.monotonic(), _cpu(agent.pid)
    time.sleep(seconds)
    used, passed = _cpu(agent.pid) - cpu, time.monotonic() - began
    arrivals: dict[str, list[float]] = defaultdict(list)
    for mail in relay.messages:
        arrivals[mail.mail_from].append(mail.at)
    gaps = [later - earlier for at in arrivals.values() for earlier, later in pairwise(at)]
    late = [gap - 1.1 * _INTERVAL for gap in gaps]
    print = sys.stdout.write  # noqa: A001 - figures are this program's output
    print(
        f"{relays} relays, one of which hangs, for {passed:.0f} s; a probe and a conversation each {_INTERVAL} s\n"
    )
    print(
        f"probes accepted          {len(relay.messages)} ({len(relay.auth_attempts)} logins with conversations)\n"
    )
    print(f"processor time           {used:.1f} s, {100 * used / passed:.1f} % of a core\n")
    print(f"resident memory          {_memory(agent.pid) / 1024:.0f} MB\n")
    print(
        f"time between two probes  median {sorted(gaps)[len(gaps) // 2]:.1f} s, longest {max(gaps):.1f} s\n"
    )
    print(f"later than the schedule  at most {max(0.0, *late):.1f} s\n")
    failing = relays - agent.value("postward_probe_success")
    print(f"relays not succeeding    {failing:.0f} (one is meant to hang)\n")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


if __name__ == "__main__":
    main()
