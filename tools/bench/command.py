"""Measure the duration of `postward --help`, the memory of the idle agent, and the delay until a hand-edit is repaired."""

import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support import CA, PostfixInstance, Relay, wait_for
from tests.support.product import POSTWARD, AgentProcess, write_settings

_RUNS = 9


def main() -> None:
    """Print the figures."""
    spent = []
    for _ in range(_RUNS):
        before = time.perf_counter()
        subprocess.run([POSTWARD, "--help"], check=True, stdout=subprocess.DEVNULL)
        spent.append(time.perf_counter() - before)
    print(f"postward --help: {statistics.median(spent) * 1000:.0f} ms, median of {_RUNS}")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        _agent(Path(folder))


def _agent(folder: Path) -> None:
    with Relay(CA(), users={"user": "secret"}) as relay, PostfixInstance(folder / "postfix") as postfix:
        settings = write_settings(folder, relay, postfix, password="secret")
        with AgentProcess(settings, "--enforce") as agent:
            wait_for(lambda: agent.value("postward_probe_success") == 1, what="the first probe")
            status = Path(f"/proc/{agent.pid}/status").read_text()
            resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
            print(f"idle agent that enforces and probes: {resident}")  # noqa: T201
            spent = []
            for _ in range(5):
                postfix.set(smtp_tls_security_level="none")
                before = time.perf_counter()
                wait_for(
                    lambda: (
                        postfix.postconf("smtp_tls_security_level")["smtp_tls_security_level"] == "encrypt"
                    ),
                    what="the repair",
                )
                spent.append(time.perf_counter() - before)
            print(f"repair of a hand-edit: {statistics.median(spent):.2f} s, median of 5")  # noqa: T201
        before_cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([POSTWARD, "plan", "--config", str(settings)], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before_cpu.ru_utime - before_cpu.ru_stime
        print(f"postward plan without drift, its start included: {cpu * 1000:.0f} ms CPU")  # noqa: T201


if __name__ == "__main__":
    main()
