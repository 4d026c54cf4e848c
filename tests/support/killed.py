"""Starts a private Postfix, and kills its own process: `python -m tests.support.killed FOLDER SIGNAL`."""

import os
import signal
import sys
from pathlib import Path

from tests.support.postfix import PostfixInstance


def main(folder: str, name: str) -> None:
    """Print the instance's directory before the end."""
    postfix = PostfixInstance(Path(folder))
    postfix.start()
    print(postfix.folder, flush=True)  # noqa: T201 - read by the test
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    os.kill(os.getpid(), signal.Signals[name])
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
