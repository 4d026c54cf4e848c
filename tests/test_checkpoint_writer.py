"""A crash takes back nothing that the log does not tell again: probes and what is counted of them are saved at once."""

import asyncio
import signal
from pathlib import Path

from postward.agent.checkpoint import Checkpoint, read_checkpoint
from postward.agent.metrics.tally import Tally
from postward.agent.saving import CheckpointWriter
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.product import AgentProcess, write_settings

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"


def test_who_asks_waits_for_a_save_of_what_is_true_then(tmp_path: Path) -> None:
    """Not for one that had begun before; many who ask at once share one."""
    path, tally, saves = tmp_path / "checkpoint.json", Tally(), 0
    begun = asyncio.Event()

    def checkpoint() -> Checkpoint:
        nonlocal saves
        saves += 1
        begun.set()
        return Checkpoint({}, tally)

    async def scenario() -> None:
        saving, looked = CheckpointWriter(path, tally, checkpoint, lambda: lambda: None), asyncio.Event()
        looked.set()
        running = asyncio.create_task(saving.run(looked))
        async with asyncio.timeout(4):  # less than the time to the next save
            await begun.wait()
            tally.add("postward_probes_total", ("demo", "accepted", ""))  # the first save goes on
            await asyncio.gather(*(saving.written() for _ in range(100)))
        running.cancel()

    asyncio.run(scenario())
    saved = read_checkpoint(path)

    assert saved is not None
    assert saved.tally.counters["postward_probes_total"] == {("demo", "accepted", ""): 1}
    assert saves == 2


def test_a_probe_that_was_sent_just_before_a_crash_is_counted(tmp_path: Path) -> None:
    """Each probe of two runs, although the first was killed as soon as the relay had its probe."""
    require_postfix()
    tmp_path.chmod(0o755)
    with (
        Relay(CA(), users={USER: PASSWORD}) as relay,
        PostfixInstance(
            tmp_path / "postfix",
            {"relayhost": f"[127.0.0.1]:{relay.port}", "smtp_tls_security_level": "encrypt"},
        ) as postfix,
    ):
        relay.auth_required = False
        agent = AgentProcess(write_settings(tmp_path, relay, postfix, password=PASSWORD))
        agent.launch()
        wait_for(lambda: relay.messages, what="a probe at the relay")
        agent.stop(signal.SIGKILL)
        with agent:
            wait_for(
                lambda: agent.value("postward_probes_total", outcome="accepted") == 2, what="two outcomes"
            )
