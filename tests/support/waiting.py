"""Waiting for a condition instead of sleeping."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_INTERVAL = 0.02  # seconds


def wait_for(condition: Callable[[], T], timeout: float = 10.0, what: str = "the condition") -> T:
    """Poll until the condition is true. Return its value; AssertionError after the time-out."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}; the last value is {value!r}")
        time.sleep(_POLL_INTERVAL)


async def wait_for_async(
    condition: Callable[[], T],
    timeout: float = 10.0,  # noqa: ASYNC109 - the same signature as wait_for
    what: str = "the condition",
) -> T:
    """Wait as `wait_for` does, while other tasks of the loop run."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}; the last value is {value!r}")
        await asyncio.sleep(_POLL_INTERVAL)
