"""`make run`: the product at work, on a private Postfix and a relay of its own, for a human to watch and to break.

Everything lives in one scratch folder on loopback. Ctrl-C ends every process and removes the folder. The relay
in this process is told what to do by files in the scratch folder, so that a second terminal can break things
with one line.
"""

import contextlib
import itertools
import os
import secrets
import shutil
import signal
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
_DEFAULT_PORT = 9787

_OFFERS = """
  Postward keeps a private Postfix alive that sends through a demo relay. In a second terminal, break it:

    the relay wants another password   echo other > {folder}/relay-password
    … and the settings learn it        echo other > {folder}/password
    someone edits main.cf by hand      postconf -c {config_directory} -e smtp_tls_security_level=none
    someone deletes the compiled map   rm {config_directory}/sasl_passwd.db
    the relay is down                  touch {folder}/relay-down
    … and up again                     rm {folder}/relay-down

  Settings: {folder}/postward.toml      Log: {log}
  Ctrl-C ends everything and leaves nothing.
"""


def main() -> int:
    """Run the demo until Ctrl-C; the exit status."""
    if reason := missing_for_postfix():
        return _replay(reason)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    folder = Path(tempfile.mkdtemp(prefix="postward-demo-"))
    folder.chmod(0o755)  # Postfix's own user must get to its queue
    try:
        with contextlib.suppress(KeyboardInterrupt):
            return _demo(folder)
        return 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replay(reason: str) -> int:
    """Where no Postfix can run: a log of real faults through the same pipeline, and the metrics that come of it."""
    sys.stderr.write(f"{reason}\nInstead, a recorded log goes through the same pipeline:\n\n")
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
            _OFFERS.format(folder=folder, config_directory=postfix.config_directory, log=postfix.maillog)
        )
        sys.stdout.flush()
        over = threading.Event()
        helpers = [
            threading.Thread(target=_obey, args=(relay, folder, over)),
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
    """Ctrl-C reaches the agent too; a SIGTERM to this process alone does not."""
    with contextlib.suppress(KeyboardInterrupt):
        if agent.poll() is None:
            agent.terminate()
        agent.wait()


def _obey(relay: Relay, folder: Path, over: threading.Event) -> None:
    """Make the relay what the files in the folder say."""
    while not over.wait(0.2):
        with contextlib.suppress(OSError):
            relay.users = {_USER: (folder / "relay-password").read_text().strip()}
        if relay.refuse != (down := (folder / "relay-down").exists()):
            relay.refuse = down


def _send_mail(postfix: PostfixInstance, relay: Relay, over: threading.Event) -> None:
    """The users of the host: a mail every few seconds, once the first probe has shown that mail goes out."""
    while not relay.messages and not over.wait(0.2):
        pass
    for number in itertools.count(1):
        if over.wait(3.0):
            return
        with contextlib.suppress(
            AssertionError
        ):  # a broken configuration stops sendmail too: that is to be seen
            postfix.sendmail(f"customer{number}@shop.test", sender="app@demo.test", subject=f"Order {number}")


def _web_port() -> int:
    """The default port, so that the README's commands fit; another one if it is taken."""
    import socket

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
