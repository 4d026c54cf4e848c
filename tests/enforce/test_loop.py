"""The enforcing loop: which files wake it, and how it ends."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.loop import EnforceLoop
from postward.agent.logs.watcher import Watcher
from postward.agent.postfix.commands import Postfix
from postward.config.settings import Settings, parse_settings
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for, wait_for_async
from tests.support.product import AgentProcess, write_settings


class RecordingEnforcer(Enforcer):
    """An enforcer that counts its convergences instead of changing anything."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, Postfix(Path(settings.postfix.config_directory)))
        self.begun = self.completed = 0
        self.may_complete = threading.Event()
        self.may_complete.set()

    def converge(self, *, on_request: bool = False) -> bool:
        """Count, and wait until the test lets it complete."""
        self.begun += 1
        self.may_complete.wait(10)
        self.completed += 1
        return False

    @property
    def pause(self) -> float:
        """No pause."""
        return 0.0


def settings(tmp_path: Path) -> Settings:
    """Two relays whose passwords are in two directories, and a long interval."""
    for name in ("postfix", "a", "b"):
        (tmp_path / name).mkdir()
    relays = [
        {
            "name": name,
            "host": f"{name}.relay.test",
            "username": "user",
            "password_file": str(tmp_path / name / f"{name}-password"),
            "senders": [] if name == "a" else ["@b.test"],
        }
        for name in ("a", "b")
    ]
    raw = {
        "host": {"myhostname": "mail.example.test"},
        "relay": relays,
        "postfix": {"config_directory": str(tmp_path / "postfix")},
        "enforce": {"directory": str(tmp_path / "enforce"), "interval_seconds": 3600},
    }
    return parse_settings(raw, "test")


async def ignore(_: bool) -> None:
    """Send no probe."""


class RecordingWatcher(Watcher):
    """A watcher that remembers which files wake the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: list[tuple[Path, Callable[[str], bool]]] = []

    def watch(
        self, directory: Path, concerns: Callable[[str], bool], wake: asyncio.Event | None = None
    ) -> asyncio.Event:
        """Watch as usual."""
        self.watched.append((directory, concerns))
        return super().watch(directory, concerns, wake)

    def wakes(self, path: Path) -> bool:
        """True if a change of this file wakes the loop."""
        return any(path.parent == directory and concerns(path.name) for directory, concerns in self.watched)


def test_each_directory_is_watched_for_its_own_files(tmp_path: Path) -> None:
    """Configuration files and passwords wake the loop; temporary files, and names that belong elsewhere, do not."""

    async def scenario() -> None:
        given = settings(tmp_path)
        enforcer = RecordingEnforcer(given)
        with RecordingWatcher() as watcher:
            task = asyncio.create_task(EnforceLoop(given, enforcer, watcher, ignore).run())
            await wait_for_async(lambda: enforcer.completed == 1, what="the first convergence")
            (tmp_path / "b" / "b-password").write_text("new")
            await wait_for_async(lambda: enforcer.completed > 1, what="the password to wake it")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for name in ("postfix/main.cf", "postfix/sasl_passwd.db", "a/a-password", "b/b-password"):
                assert watcher.wakes(tmp_path / name), name
            for name in ("postfix/.main.cf.postward", "postfix/main.cf.tmp", "a/b-password", "b/a-password"):
                assert not watcher.wakes(tmp_path / name), name

    asyncio.run(scenario())


def test_a_secret_of_kubernetes_wakes_it_when_its_link_is_moved(tmp_path: Path) -> None:
    """The password is a link through `..data`: no event names the password itself."""

    async def scenario() -> None:
        given = settings(tmp_path)
        folder = tmp_path / "a"
        for version in ("..1", "..2"):
            (folder / version).mkdir()
            (folder / version / "a-password").write_text(version)
        (folder / "..data").symlink_to("..1")
        (folder / "a-password").symlink_to("..data/a-password")
        enforcer = RecordingEnforcer(given)
        with Watcher() as watcher:
            task = asyncio.create_task(EnforceLoop(given, enforcer, watcher, ignore).run())
            await wait_for_async(lambda: enforcer.completed == 1, what="the first convergence")
            (folder / "..data_tmp").symlink_to("..2")
            (folder / "..data_tmp").rename(folder / "..data")
            await wait_for_async(lambda: enforcer.completed > 1, what="the secret to wake it")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_the_first_convergence_asks_for_a_probe(tmp_path: Path) -> None:
    """Settings may have been applied before the start, as in a container: the first probe waits for no interval."""

    async def scenario() -> None:
        given = settings(tmp_path)
        requested: list[bool] = []

        async def request(new: bool) -> None:
            requested.append(new)

        enforcer = RecordingEnforcer(given)
        with Watcher() as watcher:
            task = asyncio.create_task(EnforceLoop(given, enforcer, watcher, request).run())
            await wait_for_async(lambda: requested == [True], what="the first request")
            (tmp_path / "b" / "b-password").write_text("new")
            await wait_for_async(
                lambda: requested[:2] == [True, False], what="a convergence without a request"
            )
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_a_convergence_under_way_is_completed(tmp_path: Path) -> None:
    """Cancelling the loop does not leave a change half-done, and no other convergence begins."""

    async def scenario() -> None:
        given = settings(tmp_path)
        enforcer = RecordingEnforcer(given)
        enforcer.may_complete.clear()
        with Watcher() as watcher:
            task = asyncio.create_task(EnforceLoop(given, enforcer, watcher, ignore).run())
            await wait_for_async(lambda: enforcer.begun == 1, what="the convergence")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            enforcer.may_complete.set()
            await wait_for_async(lambda: enforcer.completed == 1, what="its completion")
        assert enforcer.begun == 1

    asyncio.run(scenario())


def test_the_first_apply_opens_no_incident(tmp_path: Path) -> None:
    """It restarts Postfix for its listeners, and that is not an outage."""
    require_postfix()
    with Relay(CA()) as relay, PostfixInstance(tmp_path / "postfix", {"inet_interfaces": "all"}) as postfix:
        master = postfix.master_pid()
        file = write_settings(tmp_path, relay, postfix, password="secret")
        with AgentProcess(file, "--enforce", "--allow", "end-inbound") as agent:
            wait_for(
                lambda: agent.value("postward_config_applies_total", result="confirmed") == 1,
                timeout=30,
                what="the confirmation",
            )
            assert postfix.master_pid() != master
            assert agent.value("postward_incident_open", symptom="postfix-down") == 0
            assert "does not run" not in agent.output()
