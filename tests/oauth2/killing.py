"""Renews a token again and again, killed at each file system call: `python -m tests.oauth2.killing SETTINGS URL`.

It is a program, because a process with threads, such as the authorization server's, must not fork. It prints the number
of kills. After each, the relay uses the token that is published, and a renewal must succeed.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

from postward.agent.http_client import HttpError, request
from postward.agent.oauth2.keeper import renew
from postward.agent.oauth2.store import TokenStore
from postward.config.relay import Relay
from postward.config.settings import load_settings
from tests.enforce.killing import KILLED, die_at


def renew_now(relay: Relay, store: TokenStore) -> None:
    """Renew, and exit with a fault if that fails."""
    store.write_state(replace(store.read_state(), due=0.0))
    state = renew(relay, store, time.time(), 1.0)
    if state.problem:
        sys.stderr.write(f"{state.problem}\n")
        os._exit(1)


def use(relay: Relay, url: str) -> None:
    """Use the published token, as Postfix does; an old one may have ended."""
    form = urlencode({"user": relay.username, "token": relay.read_password()}).encode()
    try:
        request(f"{url}/use", form, deadline=10)
    except HttpError as error:
        if error.status != 401:
            raise


def killed_at(number: int, relay: Relay, store: TokenStore) -> bool:
    """Renew in a child that exits at its Nth call. Return True if it did not get to its end."""
    child = os.fork()
    if child == 0:
        die_at(number)
        renew_now(relay, store)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, KILLED}
    return code == KILLED


def main(settings: str, url: str) -> None:
    """Kill a renewal at its first call, its second, …, until one gets to its end."""
    (relay,) = load_settings(Path(settings)).relay
    store = TokenStore(relay)
    renew_now(relay, store)
    number = 1
    while killed_at(number, relay, store):
        use(relay, url)
        renew_now(relay, store)
        number += 1
    print(number - 1)  # noqa: T201 -- read by the test


if __name__ == "__main__":
    main(*sys.argv[1:])
