"""`make run`: a demo of Postward with a private Postfix and a demo relay.

All files are in one temporary folder, all sockets on loopback. Ctrl-C ends every process and removes the folder. Files
in the folder control the relay, so that one line in a second terminal can break something.
"""

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tests.support.ca import CA
from tests.support.postfix import PostfixInstance, free_port
from tests.support.product import POSTWARD, write_settings
from tests.support.relay import Relay
from tests.support.require import missing_for_postfix

_USER = "API_USER"
_DEFAULT_PORT = 19787

_INSTRUCTIONS = """
  Postward manages a private Postfix that sends through a demo relay. In a second terminal, break it:

    the relay has another password:    echo other > {folder}/relay-password
    … and the settings have it too:    echo other > {folder}/password
    someone edits main.cf by hand:     postconf -c {config_directory} -e smtp_tls_security_level=none
    someone deletes the compiled map:  rm {config_directory}/sasl_passwd.db
    the relay is down:                 touch {folder}/relay-down
    … and up again:                    rm {folder}/relay-down

  Settings: {folder}/postward.toml      Log: {log}
  Ctrl-C ends all processes and removes the folder.
"""


def main() -> int:
    """Run the demo until Ctrl-C. Return the exit status."""
    if reason := missing_for_postfix():
        return _replay(reason)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    folder = Path(tempfile.mkdtemp(prefix="postward-demo-"))
    folder.chmod(0o755)  # Postfix's user must reach its queue
    try:
        with contextlib.suppress(KeyboardInterrupt):
            return _demo(folder)
        return 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replay(reason: str) -> int:
    """Without Postfix: count a recorded log of real faults, and print its metrics."""
    sys.stderr.write(f"{reason}\nInstead, a recorded log is counted by the same pipeline:\n\n")
    folder = Path(__file__).parent
    files = ["--config", str(folder / "sample.toml"), str(folder / "sample.log")]
    return subprocess.run([POSTWARD, "replay", "--deliveries", *files], check=False).returncode


def _demo(folder: Path) -> int:
    password = secrets.token_hex(8)
    (folder / "relay-password").write_text(password)
    with (
        Relay(CA(), "relay.demo.test", users={_USER: password}) as relay,
        PostfixInstance(folder / "postfix") as postfix,
    ):
        settings = write_settings(
            folder,
            relay,
            postfix,
            password=password,
            probe_interval=20,
            enforce_interval=10,
            web_port=_web_port(),
        )
        sys.stdout.write(
            _INSTRUCTIONS.format(
                folder=folder, config_directory=postfix.config_directory, log=postfix.maillog
            )
        )
        sys.stdout.flush()
        over = threading.Event()
        helpers = [
            threading.Thread(target=_control_relay, args=(relay, folder, over)),
            threading.Thread(target=_send_mail, args=(postfix, relay, over)),
        ]
        agent = subprocess.Popen([POSTWARD, "run", "--enforce", "--deliveries", "--config", str(settings)])
        for helper in helpers:
            helper.start()
        try:
            return agent.wait()
        finally:
            over.set()
            _end(agent)
            for helper in helpers:
                helper.join()


def _end(agent: subprocess.Popen[bytes]) -> None:
    """End the agent, which Ctrl-C reaches too, but SIGTERM to this process does not."""
    with contextlib.suppress(KeyboardInterrupt):
        if agent.poll() is None:
            agent.terminate()
        agent.wait()


def _control_relay(relay: Relay, folder: Path, over: threading.Event) -> None:
    """Apply the files in the folder to the relay until `over`."""
    while not over.wait(0.2):
        with contextlib.suppress(OSError):
            relay.users = {_USER: (folder / "relay-password").read_text().strip()}
        if relay.refuse != (down := (folder / "relay-down").exists()):
            relay.refuse = down


def _send_mail(postfix: PostfixInstance, relay: Relay, over: threading.Event) -> None:
    """Send a mail every few seconds, once the first probe has arrived, until `over`."""
    while not relay.messages and not over.wait(0.2):
        pass
    for number in itertools.count(1):
        if over.wait(3.0):
            return
        with contextlib.suppress(AssertionError):  # a broken configuration stops sendmail too
            postfix.sendmail(f"customer{number}@shop.test", sender="app@demo.test", subject=f"Order {number}")


def _web_port() -> int:
    """Return the default port, as in the README, or a free one if it is taken."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", _DEFAULT_PORT))
        except OSError:
            return free_port()
    return _DEFAULT_PORT


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    sys.exit(main())
