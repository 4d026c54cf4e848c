"""The hosts: each has a private Postfix, a relay, an agent and an enforcer, and one fault of Postward itself."""

import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.support.mounts import fill, small_disk
from tests.support.product import POSTWARD
from tests.support.waiting import wait_for
from tools.drill.fleet import Host, Scenario

# File modes then apply to root too.
_WITHOUT_ROOT_ACCESS: Final = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
_INTERVAL: Final = 5  # seconds between two looks of the enforcer


@dataclass(frozen=True)
class Fault:
    """A fault of Postward: how it is switched on, and words that `postward status` must print then.

    Attributes:
        words: the words.
        switch: switches the fault on.
        settings: lines that are replaced in the settings: former text and new text.
        disk: directory of the host that is a small file system.
        unprivileged: whether file modes apply to the agent.
    """

    words: str
    switch: Callable[["Watched"], object]
    settings: tuple[str, str] = ("", "")
    disk: str = ""
    unprivileged: bool = False


class Watched(Host):
    """A host with an enforcer of its own. Use it as a context manager."""

    def __init__(self, name: str, folder: Path, fault: Fault) -> None:
        super().__init__(name, folder, Scenario("", lambda _: None), pause=5.0)
        self.fault = fault
        if fault.disk:
            small_disk(folder / fault.disk, "512k")

    def __enter__(self) -> Self:
        super().__enter__()
        if self.fault.unprivileged:
            self.agent.stop()
            self.agent.launcher, self.agent.ready_timeout = _WITHOUT_ROOT_ACCESS, 60.0
            self.agent.start()
        with (self.folder / "enforcer.out").open("wb") as output:
            self.enforcer = subprocess.Popen(
                [POSTWARD, "enforce", "--config", str(self.settings)], stdout=output, stderr=output
            )
        self._stack.callback(self._stop_enforcer)
        wait_for(lambda: self.agent.value("postward_enforcer_up") == 1, timeout=60, what="a first look")
        return self

    def _set_up(self) -> None:
        super()._set_up()
        former, new = self.fault.settings
        self.settings.write_text(self.settings.read_text().replace(former, new, 1))

    def _stop_enforcer(self) -> None:
        self.enforcer.send_signal(signal.SIGCONT)
        self.enforcer.terminate()
        self.enforcer.wait(30)

    def freeze_agent(self) -> None:
        """Freeze the agent; it is woken before the host ends."""
        self.agent.freeze()
        self._stack.callback(self.agent.wake)

    def repeat_edit(self) -> None:
        """Change a managed parameter again and again, as another tool does."""
        for _ in range(2):
            self.postfix.set(relayhost="[other.example.test]:25")
            wait_for(
                lambda: "127.0.0.1" in self._relayhost() or self._is_conflict(), timeout=60, what="a repair"
            )

    def _relayhost(self) -> str:
        return self.postfix.postconf("relayhost")["relayhost"].replace("localhost", "127.0.0.1")

    def _is_conflict(self) -> bool:
        return self.agent.value("postward_config_conflict") == 1


def _elsewhere(host: Watched) -> None:
    host.postfix.set(maillog_file=str(host.postfix.folder / "elsewhere.log"))
    host.postfix.reload()


FAULTS: Final[dict[str, Fault]] = {
    "nothing": Fault("mail goes out", lambda _: None),
    "enforcer stopped": Fault("the enforcer does not work", lambda host: host.enforcer.terminate()),
    "enforcer frozen": Fault(
        "the enforcer does not work", lambda host: host.enforcer.send_signal(signal.SIGSTOP)
    ),
    "enforcer without disk": Fault(
        "cannot write its state", lambda host: fill(host.folder / "enforce"), disk="enforce"
    ),
    "enforcer's state unreadable": Fault(
        "the enforcer does not work", lambda host: (host.folder / "enforce").chmod(0), unprivileged=True
    ),
    "agent stopped": Fault("the agent does not answer", lambda host: host.agent.stop()),
    "agent killed": Fault("the agent does not answer", lambda host: host.agent.stop(signal.SIGKILL)),
    "agent frozen": Fault("the agent does not answer", Watched.freeze_agent),
    "agent without disk": Fault(
        "cannot save its state", lambda host: fill(host.folder / "state"), disk="state"
    ),
    "agent may not write": Fault(
        "cannot save its state", lambda host: (host.folder / "state").chmod(0o500), unprivileged=True
    ),
    "log unreadable": Fault(
        "the mail log cannot be read", lambda host: host.postfix.maillog.chmod(0), unprivileged=True
    ),
    "log stopped": Fault("the mail log has stopped", _elsewhere),
    "settings with an error": Fault(
        "the settings file has errors",
        lambda host: host.settings.write_text(host.settings.read_text().replace("[web]", "[wep]")),
    ),
    "another tool": Fault(
        "another tool keeps changing",
        Watched.repeat_edit,
        settings=("[enforce]\n", "[enforce]\nmax_repairs_per_hour = 1\n"),
    ),
    "notifications": Fault(
        "notifications cannot be delivered",
        lambda _: None,
        settings=("[web]\n", '[notify]\nheartbeat_url = "http://127.0.0.1:9/ping"\n\n[web]\n'),
    ),
    "main.cf unreadable": Fault(
        "Postfix's own files", lambda host: (host.postfix.config_directory).chmod(0o700)
    ),
    "queue's owner": Fault(
        "Postfix's own files",
        lambda host: subprocess.run(["chown", "root", host.postfix.queue_directory / "incoming"], check=True),
    ),
}
