"""The beat of the agent: parts that look every two seconds wake the process together."""

import asyncio
import math
from typing import Final

BEAT: Final = 2.0  # seconds


async def next_beat(seconds: float = BEAT) -> None:
    """Sleep until the clock of the event loop shows the next multiple of `seconds`.

    A wake-up costs more than what most parts do at it, and those of the same moment are one.
    """
    now = asyncio.get_running_loop().time()
    await asyncio.sleep((math.floor(now / seconds) + 1) * seconds - now)
