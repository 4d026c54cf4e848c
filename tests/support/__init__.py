"""The test bed: a private Postfix, a real relay with faults on a switch, and an authority to certify it.

Everything here is the real thing on loopback and remembers what it saw. All of it is a context manager;
what it starts it ends, by process id, also when starting failed half-way or the test run is killed.
A condition that does not come true within its time is an AssertionError that names it.
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
