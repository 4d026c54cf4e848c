"""A private Dovecot on loopback: IMAP through TLS, for one user whose mail lies in a Maildir.

It has a configuration, state and log of its own in a folder, and ends with the `with` block. A test delivers mails by
writing them into the Maildir, as a delivery agent does, and sees there which flags they have.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from itertools import count
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Final, Self

from joserfc import jwt
from joserfc.jwk import OctKey

from tests.support.ca import CA
from tests.support.postfix import free_port
from tests.support.require import ADMIN_PATH, demand
from tests.support.waiting import wait_for

_OWNER: Final = "nobody"  # Dovecot reads no mail as root
_KEY: Final = b"a key of the test bed for tokens"
_CONFIG: Final = Template(Path(__file__).with_name("dovecot.conf").read_text())
_OAUTH2: Final = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = email
"""


def missing_for_dovecot() -> str | None:
    """Return what a private Dovecot needs and is missing; None if it can run."""
    if os.geteuid() != 0:
        return "only root can start a private Dovecot: run the tests as root (in a container, for instance)"
    if shutil.which("dovecot", path=ADMIN_PATH) is None or not Path("/usr/lib/dovecot/imap").exists():
        return "Dovecot's IMAP server is missing: install the package dovecot-imapd"
    return None


class Dovecot:
    """A server with one user. Use it as a context manager.

    Attributes:
        username, password: its login.
        host: the name in its certificate.
        port, starttls_port: where it listens.
    """

    host: Final = "localhost"
    username: Final = "probe@receiver.test"
    password: Final = "s3cret-M0ss-Päss"

    def __init__(self, ca: CA) -> None:
        demand(missing_for_dovecot())
        self.port, self.starttls_port = free_port(), free_port()
        self._ca = ca
        self._numbers = count()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path()

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="dovecot-", dir="/tmp"))
        self._folder.chmod(0o755)
        self._write()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self) -> None:
        folder = self._folder
        key, certificate = self._ca.server_certificate(self.host)
        (folder / "key.pem").write_bytes(key)
        (folder / "cert.pem").write_bytes(certificate)
        (folder / "users").write_text(f"{self.username}:{self.password}\n")
        (folder / "oauth2").write_text(_OAUTH2.format(folder=folder))
        keys = folder / "keys/default/HS256"
        keys.mkdir(parents=True)
        (keys / "default").write_bytes(b64encode(_KEY))
        config = _CONFIG.substitute(
            folder=folder, port=self.port, starttls_port=self.starttls_port, owner=_OWNER
        )
        (folder / "dovecot.conf").write_text(config)
        for name in ("Maildir", "home"):
            (folder / name).mkdir()
            self._give(folder / name)
        for part in ("cur", "new", "tmp"):
            (self.maildir / part).mkdir()
            self._give(self.maildir / part)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        dovecot = ["dovecot", "-F", "-c", str(self._folder / "dovecot.conf")]
        command = ["setpriv", "--pdeathsig", "KILL", *dovecot]  # a killed test run leaves no server
        environment = os.environ | {"PATH": ADMIN_PATH}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self._listens, what="Dovecot to listen")

    def stop(self) -> None:
        """End it, and with it the connections of its clients."""
        if self._process is not None:
            # A server that is asked to end waits seconds for its children, and leaves open connections alone.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
            self._process = None
            wait_for(lambda: not self._is_open(), what="Dovecot's processes to end")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        return self._is_open()

    def _is_open(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def log(self) -> str:
        """Everything that it has logged."""
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def maildir(self) -> Path:
        """The user's Maildir."""
        return self._folder / "Maildir"

    @property
    def token(self) -> str:
        """A bearer token of the user."""
        now = int(time.time())
        claims = {"email": self.username, "sub": self.username, "iat": now, "exp": now + 3600}
        return jwt.encode({"alg": "HS256", "typ": "JWT"}, claims, OctKey.import_key(_KEY))

    def deliver(self, data: bytes, folder: str = "", *, at: float | None = None) -> str:
        """Put a mail into the inbox or another folder, as of now or another time. Return the name of its file."""
        at = time.time() if at is None else at
        place = self.maildir / (f".{folder}" if folder else ".")
        for part in ("cur", "new", "tmp"):
            (place / part).mkdir(parents=True, exist_ok=True)
            self._give(place / part)
        self._give(place)
        name = f"{int(at)}.M{next(self._numbers)}P1.receiver"
        path = place / "tmp" / name
        path.write_bytes(data)
        self._give(path)
        os.utime(path, (at, at))
        path.rename(place / "new" / name)
        return name

    def files(self) -> dict[str, str]:
        """Return the name of each mail in any folder → its flags."""
        names = [path.name for part in ("new", "cur") for path in self.maildir.glob(f"**/{part}/*")]
        return {name.partition(":")[0]: name.partition(":2,")[2] for name in names}

    @staticmethod
    def _give(path: Path) -> None:
        owner = pwd.getpwnam(_OWNER)
        os.chown(path, owner.pw_uid, owner.pw_gid)
