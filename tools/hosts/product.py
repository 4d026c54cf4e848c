"""Postward's package on a host: built once for all tests, installed as an admin does, looked at from outside."""

import json
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.relay import Relay
from tests.support.waiting import wait_for
from tools.hosts.host import Host

ROOT = Path(__file__).parents[2]
USER, PASSWORD = "API_USER", "s3cret#word"
RECIPIENT = "probe@relay.test"
SETTINGS = "/etc/postward/postward.toml"
_SERVICES = ("postward.service", "postward-enforce.service")


def build(folder: Path) -> Path:
    """The .deb of this checkout."""
    command = [str(ROOT / "systemd/package/build"), str(folder), "1", "deb"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("postward_*-1_*.deb"))


def next_release(deb: Path) -> Path:
    """The same package with the number of the next release."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "tree")
        subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
        control = tree / "DEBIAN/control"
        control.write_text(re.sub(r"(?m)^(Version: .*)-1$", r"\1-2", control.read_text()))
        other = deb.with_name(deb.name.replace("-1_", "-2_"))
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, other],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return other


class Installed:
    """Postward on a host, as its metrics, its services and its journal show it."""

    def __init__(self, host: Host, relay: Relay, port: int) -> None:
        self.host = host
        self.relay = relay
        self.port = port
        self.files_before: set[str] = set()

    def install(self, deb: Path) -> None:
        """Install or upgrade; the package is all that is needed: apt gets no chance to fetch something."""
        there = self.host.put(deb, "/root")
        self.host.run("dpkg", "--install", there)
        self.host.run("rm", there)

    def set_up(self) -> float:
        """`postward init` without a question. The seconds that it took, to a delivered probe and started services."""
        begun = time.monotonic()
        self.init(PASSWORD, "--no-start")
        seconds = time.monotonic() - begun
        # The machine's network is shared: other hosts have the usual port.
        self.edit("[probe]", f'[web]\nlisten = "127.0.0.1:{self.port}"\n\n[probe]\ninterval_seconds = 5')
        self.host.run("systemctl", "enable", "--now", *_SERVICES)
        return seconds

    def init(self, password: str, *options: str, status: int = 0) -> str:
        """`postward init` without a question; what it printed."""
        command = [
            "postward",
            "init",
            "--yes",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.relay.port),
            "--tls",
            "starttls",
        ]
        command += ["--username", USER, "--password-file", "-", "--myhostname", "host.example.test"]
        command += ["--recipient", RECIPIENT, *options]
        return self.host.run("sh", "-c", '"$@" 2>&1', "sh", *command, input=f"{password}\n", status=status)

    def doctor(self) -> dict[str, str]:
        """What `postward doctor` finds that is worse than a note: identifier → remedy."""
        found = json.loads(self.host.run("postward", "doctor", "--no-relay", "--json", status=None))
        return {row["id"]: row["remedy"] for row in found["findings"] if row["severity"] != "note"}

    def edit(self, old: str, new: str) -> None:
        """Change the settings file, as an editor does: another file in its place."""
        file = self.host.root / SETTINGS.lstrip("/")
        text = file.read_text()
        assert old in text
        beside = file.with_suffix(".new")
        beside.write_text(text.replace(old, new))
        beside.chmod(0o644)
        beside.replace(file)

    def metrics(self) -> dict[str, float]:
        """`name{label="value"}` → value; empty while the endpoint is not ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}
        return {
            sample.name
            + "".join(f"{{{key}={value}}}" for key, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def metric(self, *words: str) -> float:
        """The sum of the samples whose name and labels have all these words."""
        return sum(value for name, value in self.metrics().items() if all(word in name for word in words))

    def await_metric(self, least: float, *words: str, seconds: float = 40) -> float:
        """Wait until such a sum is at least so much; the sum."""
        wait_for(lambda: self.metric(*words) >= least, seconds, f"{words} to be {least}")
        return self.metric(*words)

    def sent(self) -> float:
        """Users' mails that the relay took, as counted."""
        return self.metric("postfix_deliveries_total", "status=sent")

    def probed(self) -> float:
        """Probes that the relay took, as counted."""
        return self.metric("postward_probes_total", "outcome=accepted")

    def send(self, number: int) -> None:
        """Mails as cron sends them."""
        for _ in range(number):
            self.host.run(
                "sendmail",
                "-f",
                "cron@example.test",
                "user@relay.test",
                input="Subject: done\n\nAll is well.\n",
            )

    def received(self) -> int:
        """Users' mails at the relay."""
        return sum("user@relay.test" in message.rcpt_tos for message in list(self.relay.messages))

    def show(self, unit: str, *properties: str) -> list[str]:
        """What systemd knows of a unit."""
        options = [f"--property={name}" for name in properties]
        printed = self.host.run("systemctl", "show", unit, *options)
        pairs = dict(line.split("=", 1) for line in printed.splitlines())
        return [pairs.get(name, "") for name in properties]

    def exposure(self, unit: str) -> float:
        """The overall figure of systemd-analyze security for the unit as it runs."""
        printed = self.host.run("systemd-analyze", "security", "--no-pager", unit)
        found = re.search(r"exposure level for \S+: ([\d.]+)", printed)
        assert found, printed
        return float(found[1])

    def as_agent(self, command: str, status: int | None = None) -> str:
        """Run a command where the agent runs: its namespaces, its user and groups, no privileges."""
        (number,) = self.show("postward.service", "MainPID")
        groups = self.host.shell(f"sed -n 's/^Groups:\\s*//p' /proc/{number}/status").split()
        enter = f"nsenter --target {number} --mount setpriv --reuid postward --regid postward"
        inside = f"{enter} --groups {','.join(groups)} --no-new-privs --bounding-set=-all"
        return self.host.run("sh", "-c", f"{inside} sh -c '{command}' 2>&1", status=status)
