"""Waiting, in a thread, for what nothing tells of: a lock, another process."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_INTERVAL = 0.01  # seconds


def wait_until(condition: Callable[[], T], seconds: float) -> T:
    """Look again and again, `seconds` long at the most: the first value that is true, or the last one."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(_POLL_INTERVAL)
    return value
