"""The test bed: a private Postfix, a relay with switchable faults, and a certificate authority.

Everything here is real software on loopback that records what it received. Each part is a context manager. It ends the
processes that it started, by process ID, also if starting failed or the test run is killed. A condition that does not
hold within its time-out is an AssertionError that names it.
"""

from tests.support.ca import CA
from tests.support.fault import ACTIONS, STEPS, Fault
from tests.support.postfix import PostfixError, PostfixInstance, free_port
from tests.support.relay import AuthAttempt, ReceivedMessage, Relay
from tests.support.require import require_postfix
from tests.support.waiting import wait_for, wait_for_async

__all__ = [
    "ACTIONS",
    "CA",
    "STEPS",
    "AuthAttempt",
    "Fault",
    "PostfixError",
    "PostfixInstance",
    "ReceivedMessage",
    "Relay",
    "free_port",
    "require_postfix",
    "wait_for",
    "wait_for_async",
]
