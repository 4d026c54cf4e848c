"""Wait for a condition instead of sleeping: returns its first true value, or fails naming what was awaited."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.02


def wait_for(condition: Callable[[], T], timeout: float = 10.0, what: str = "the condition") -> T:
    """Poll until the condition is truthy and return that value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}; last seen: {value!r}")
        time.sleep(_PAUSE)


async def wait_for_async(
    condition: Callable[[], T],
    timeout: float = 10.0,  # noqa: ASYNC109 - the same signature as wait_for
    what: str = "the condition",
) -> T:
    """As wait_for, for a test that is itself a coroutine: other tasks go on meanwhile."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}; last seen: {value!r}")
        await asyncio.sleep(_PAUSE)
