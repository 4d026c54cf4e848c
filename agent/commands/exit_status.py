"""Exit statuses of the commands; click's own for bad usage is 2."""

from typing import Final

FAILED: Final = 1
DRIFT: Final = 3  # the host is not as it should be: drift, findings, mail that waits
UNREAD: Final = 4  # nothing was read that the answer could be based on, or the agent observes nothing
BAD_SETTINGS: Final = 78  # EX_CONFIG of sysexits.h
