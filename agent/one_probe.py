"""One probe without the agent: what `postward probe`, `postward apply` and the enforcer on its own use.

It follows the log only for its own probe, and counts nothing.
"""

import asyncio
from pathlib import Path

from agent.log_source import find_log
from agent.pipeline import lines_of
from agent.postfix import Postfix
from agent.probe import Prober
from agent.probe_tracker import ProbeResult, ProbeTracker
from agent.source.file import FileSource
from agent.source.watch import Watcher, wake_up
from config.settings import Settings
from parsers import parse


async def one_probe(settings: Settings) -> ProbeResult:
    """Send a probe, follow the log until its result. Raises NoLogError."""
    postfix = Postfix(Path(settings.postfix.config_directory))
    path, _ = find_log(settings.log.source, postfix)
    source, tracker = FileSource(path), ProbeTracker()
    source.read()  # from here on
    with Watcher() as watcher:
        wake = watcher.watch(path.parent, lambda name: name.startswith(path.name))
        following = asyncio.create_task(_follow(source, tracker, wake))
        try:
            return await Prober(settings, postfix, tracker).probe()
        finally:
            following.cancel()
            source.close()


async def _follow(source: FileSource, tracker: ProbeTracker, wake: asyncio.Event) -> None:
    while True:
        for line in lines_of(source.read()):
            record, event = parse(line)
            if record is not None and event is not None:
                tracker.observe(record, event)
        await wake_up(wake, 0.5)
