"""Postward's package on a host: built once, installed with dpkg, and observed from outside."""

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
SERVICES = ("postward.service", "postward-enforce.service")


def build(folder: Path) -> Path:
    """Build the .deb of this checkout and return its path."""
    command = [str(ROOT / "systemd/package/build"), str(folder), "1", "deb"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("postward_*-1_*.deb"))


def next_release(deb: Path) -> Path:
    """Copy a package under the next package revision and return the path of the copy."""
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
    """Postward on a host, observed by its metrics, its services and its journal.

    Args:
        host: the host.
        relay: the relay that it sends through.
        port: port of Postward's HTTP endpoint.
    """

    def __init__(self, host: Host, relay: Relay, port: int) -> None:
        self.host = host
        self.relay = relay
        self.port = port
        self.files_before: set[str] = set()

    def files(self) -> set[str]:
        """Return the paths of all files, except where other programs write all the time."""
        others = ("apt", "dpkg", "postfix", "systemd")
        folders = ["/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/spool/postfix"]  # noqa: S108 - on the host
        folders += [f"/var/lib/{name}" for name in others]
        skip = " -o ".join(f"-path {folder}" for folder in folders)
        return set(self.host.shell(f"find / \\( {skip} \\) -prune -o -print").splitlines())

    def install(self, deb: Path) -> None:
        """Install or upgrade the package with dpkg, which cannot download dependencies: the package must suffice."""
        there = self.host.put(deb, "/root")
        self.host.run("dpkg", "--install", there)
        self.host.run("rm", there)

    def set_up(self) -> float:
        """Run `postward init` without questions, start the services, and return the seconds that `postward init` took.

        `postward init` ends after the first delivered probe.
        """
        begun = time.monotonic()
        self.init(PASSWORD, "--no-start")
        seconds = time.monotonic() - begun
        # Hosts share the machine's network, so each needs its own port.
        self.edit("[probe]", f'[web]\nlisten = "127.0.0.1:{self.port}"\n\n[probe]\ninterval_seconds = 5')
        self.host.run("systemctl", "enable", "--now", *SERVICES)
        return seconds

    def init(self, password: str, *options: str, status: int = 0) -> str:
        """Run `postward init` without questions and return its output."""
        command = [
            "postward",
            "init",
            "--send-only",
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
        """Return the warnings and errors of `postward doctor`: identifier → remedy."""
        found = json.loads(self.host.run("postward", "doctor", "--no-relay", "--json", status=None))
        return {row["id"]: row["remedy"] for row in found["findings"] if row["severity"] != "note"}

    def edit(self, old: str, new: str) -> None:
        """Change the settings file as an editor does: write a new file and rename it over the old one."""
        file = self.host.root / SETTINGS.lstrip("/")
        text = file.read_text()
        assert old in text
        beside = file.with_suffix(".new")
        beside.write_text(text.replace(old, new))
        beside.chmod(0o644)
        beside.replace(file)

    def metrics(self) -> dict[str, float]:
        """Return `name{label=value}…` → value; empty while the endpoint is not ready."""
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

    def metric(self, *parts: str) -> float:
        """Return the sum of the samples whose name and labels contain all these parts."""
        return sum(value for name, value in self.metrics().items() if all(part in name for part in parts))

    def await_metric(self, least: float, *parts: str, seconds: float = 40) -> float:
        """Wait until the sum that `metric` returns is at least `least`, and return it."""
        wait_for(lambda: self.metric(*parts) >= least, seconds, f"{parts} to be at least {least}")
        return self.metric(*parts)

    def sent(self) -> float:
        """Return the counted deliveries of users' mail to the relay."""
        return self.metric("postfix_deliveries_total", "status=sent")

    def probed(self) -> float:
        """Return the counted probes that the relay accepted."""
        return self.metric("postward_probes_total", "outcome=accepted")

    def send(self, number: int) -> None:
        """Send mails as cron does."""
        for _ in range(number):
            self.host.run(
                "sendmail",
                "-f",
                "cron@example.test",
                "user@relay.test",
                input="Subject: done\n\nAll is well.\n",
            )

    def received(self) -> int:
        """Return the number of users' mails that the relay received."""
        return sum("user@relay.test" in message.rcpt_tos for message in list(self.relay.messages))

    def show(self, unit: str, *properties: str) -> list[str]:
        """Return properties of a unit, as `systemctl show` prints them; "" for an unknown one."""
        options = [f"--property={name}" for name in properties]
        printed = self.host.run("systemctl", "show", unit, *options)
        pairs = dict(line.split("=", 1) for line in printed.splitlines())
        return [pairs.get(name, "") for name in properties]

    def exposure(self, unit: str) -> float:
        """Return the overall exposure level that `systemd-analyze security` gives the loaded unit."""
        printed = self.host.run("systemd-analyze", "security", "--no-pager", unit)
        found = re.search(r"exposure level for \S+: ([\d.]+)", printed)
        assert found, printed
        return float(found[1])

    def as_agent(self, command: str, status: int | None = None) -> str:
        """Run a command with the agent's mount namespace, user and groups, without privileges."""
        (number,) = self.show("postward.service", "MainPID")
        groups = self.host.shell(f"sed -n 's/^Groups:\\s*//p' /proc/{number}/status").split()
        enter = f"nsenter --target {number} --mount setpriv --reuid postward --regid postward"
        inside = f"{enter} --groups {','.join(groups)} --no-new-privs --bounding-set=-all"
        return self.host.run("sh", "-c", f"{inside} sh -c '{command}' 2>&1", status=status)
