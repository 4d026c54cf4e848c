"""A layout, running: its files rendered, its hops and Postfix started, its mails sent and found, its files compared."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from postward.config.settings import Settings, load_settings
from postward.parsers.postconf import split_list
from tests.enforce.living.hops import Filter, directory, milter
from tests.enforce.living.layouts import Arrival, Hop, Mail, layout
from tests.support import CA, PostfixInstance, Relay, free_port, require_postfix, wait_for
from tests.support.require import ADMIN_PATH

# Where this Postfix lives, and what makes it quick. A host has these from its package.
_PLACES = """\
# the test bed
queue_directory = {queue}
data_directory = {data}
maillog_file_prefixes = {folder}, /dev/stdout
smtp_tcp_port = {world}
in_flow_delay = 0
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 1s
# the host
"""
_SETTINGS = """\
[host]
myhostname = "{myhostname}"

[[relay]]
name = "demo"
host = "{host}"
port = {port}
tls = "{tls}"
allow_unusual_port = true
username = "user"
password = "secret"
{more}

[postfix]
config_directory = "{etc}"

[enforce]
directory = "{folder}/enforce"

[probe]
recipient = "probe@relay.example"
timeout_seconds = {probe_timeout}

[log]
source = "{log}"
"""
_NAME = re.compile(r"<(\w+)( port)?>")


class File(NamedTuple):
    """A file of Postfix's directory."""

    content: bytes
    mode: int
    owner: tuple[int, int]


class Host:
    """A layout as a running host. Use it as a context manager.

    Args:
        name: the layout.
        folder: its directory.
        probe_timeout: seconds after which a probe is late.

    Attributes:
        hops: name → server, for those that take mail.
        postfix: the instance that Postward manages.
        settings_file: the settings.
    """

    def __init__(self, name: str, folder: Path, probe_timeout: int = 10) -> None:
        require_postfix()
        self.layout = layout(name)
        self.postfix = (_Foreground if self.layout.foreground else PostfixInstance)(folder / "postfix")
        self._other = PostfixInstance(folder / "other") if self.layout.other else None
        self._folder = self.postfix.folder
        self._mail = self._folder / "mail"
        self._ca = CA()
        self._ports = {"back": free_port(), "smtpd": self.postfix.smtpd_port}
        self._hosts: dict[str, str] = {}
        self._stack = ExitStack()
        self._probe_timeout = probe_timeout
        self.hops: dict[str, Relay] = {}
        self.settings_file = folder / "postward.toml"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for name, hop in self.layout.hops.items():
                self._start_hop(stack, name, hop)
            self._ca.write(self._folder)
            self._mail.mkdir()
            self._mail.chmod(0o1777)
            if "directory" in self._ports:
                entries = self.rendered(self.layout.entries)
                stack.enter_context(directory(self._folder / "slapd", self._ports["directory"], entries))
            self._write()
            for instance in filter(None, (self.postfix, self._other)):
                stack.enter_context(instance)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start_hop(self, stack: ExitStack, name: str, hop: Hop) -> None:
        self._hosts[name] = hop.host
        if hop.kind == "milter":
            self._ports[name] = stack.enter_context(milter())
            return
        if hop.kind == "ldap":
            self._ports[name] = free_port()
            return
        if hop.kind == "filter":
            server: Relay = Filter(self._ports["back"])
        else:
            # Mail exchangers share one port, as in the rest of the world.
            port = self._ports.get("world", 0) if hop.host != Relay.host else 0
            server = Relay(
                self._ca, users=dict(hop.users), tls=hop.tls, auth_required=bool(hop.users), port=port
            )
        server.host = hop.host
        self.hops[name] = stack.enter_context(server)
        self._ports[name] = server.port

    # Files

    def rendered(self, text: str) -> str:
        """Return a text of the layout with its names replaced."""
        places = {"etc": self.postfix.config_directory, "mail": self._mail, "ca": self._ca_path}

        def value(match: re.Match[str]) -> str:
            name, port = match.groups()
            if name in places:
                return str(places[name])
            number = self._ports[name]
            return str(number) if port else f"[{self._hosts.get(name, '127.0.0.1')}]:{number}"

        return _NAME.sub(value, text)

    @property
    def _ca_path(self) -> Path:
        return self._folder / "ca.pem"

    def _write(self) -> None:
        """Write the files of both instances and the settings."""
        host, etc = self.layout, self.postfix.config_directory
        self._write_instance(self.postfix, host.main_cf, host.master_cf)
        if self._other:
            self._write_instance(self._other, host.other, "")
        for name, text in host.tables.items():
            (etc / name).write_text(self.rendered(text))
        for kind, name in re.findall(r"\b(hash|lmdb):<etc>/(\w+)", host.main_cf):
            program = "postalias" if name == "aliases" else "postmap"
            self.postfix._run(program, "-c", str(etc), f"{kind}:{etc / name}")
        relay = host.hops["relay"]
        myhostname = re.search(r"^myhostname ?= ?(\S+)", host.main_cf, re.MULTILINE)
        assert myhostname
        self.settings_file.write_text(
            _SETTINGS.format(
                myhostname=myhostname[1],
                host=host.relay_host,
                port=self._ports["relay"],
                tls=relay.tls,
                more=self.rendered(host.relay),
                etc=etc,
                folder=self._folder,
                probe_timeout=self._probe_timeout,
                log=self.postfix.maillog,
            )
        )
        self.settings_file.chmod(0o600)

    def _write_instance(self, instance: PostfixInstance, main_cf: str, services: str) -> None:
        """Write main.cf as the layout has it, and master.cf with its services at the end."""
        places = _PLACES.format(
            queue=instance.queue_directory,
            data=instance.data_directory,
            folder=instance.folder,
            world=self._ports.get("world", 9),
        )
        if "maillog_file" not in main_cf:
            places += f"maillog_file = {instance.maillog}\n"
        text = f"{places}{self.rendered(main_cf)}"
        (instance.config_directory / "main.cf").write_text(text, newline="\r\n" if self.layout.crlf else "\n")
        with (instance.config_directory / "master.cf").open("a") as master_cf:
            master_cf.write(self.rendered(services))
        instance.settle()

    @property
    def settings(self) -> Settings:
        """The settings."""
        return load_settings(self.settings_file)

    def files(self) -> dict[str, File]:
        """Return the files of Postfix's directory, and of the other instance's."""
        folders = [self.postfix.config_directory, *([self._other.config_directory] if self._other else [])]
        paths = [path for folder in folders for path in sorted(folder.iterdir())]
        return {
            path.name if path.parent == folders[0] else f"other {path.name}": _file(path) for path in paths
        }

    def meanings(self) -> dict[str, list[str]]:
        """Return what Postfix reads: each parameter and each service with its expanded value, as a list of items."""
        etc = str(self.postfix.config_directory)
        values = self.postfix.postconf("-x")
        services = self.postfix._run("postconf", "-c", etc, "-M").splitlines()
        names = {f"{line.split()[0]}/{line.split()[1]}": " ".join(line.split()) for line in services}
        return {name: split_list(value) for name, value in {**values, **names}.items()}

    def edit(self, former: File) -> None:
        """Edit main.cf by hand, as the layout says, or copy the former one back."""
        if self.layout.edit:
            self.postfix.set(**{name: self.rendered(value) for name, value in self.layout.edit.items()})
        else:
            (self.postfix.config_directory / "main.cf").write_bytes(former.content)
            self.postfix.settle()

    # Mail

    def send_all(self, *, managed: bool) -> int:
        """Send a mail on each route, and require that each arrives where it should, once. Return their number."""
        sent = [(mail, self._send(mail)) for mail in self.layout.mails]
        for mail, message_id in sent:
            expected = mail.arrival(managed=managed)
            found = wait_for(
                lambda message_id=message_id: list(self._arrivals(message_id)),  # type: ignore[misc]
                what=f"the mail from {mail.sender} to {mail.to} at {expected.at}:\n{self._log_tail()}",
            )
            wanted = expected if expected.helo else expected._replace(helo=found[0][0].helo)
            assert [arrival for arrival, _ in found] == [wanted], (mail, self._log_tail())
            assert not mail.mark or f"\n{mail.mark}:" in f"\n{found[0][1]}", mail
        return len(sent)

    def _send(self, mail: Mail) -> str:
        if mail.via == "smtp":
            return self.postfix.inject([mail.to], mail.sender)[0]
        instance = self._other if mail.via == "other" and self._other else self.postfix
        return instance.sendmail(mail.to, mail.sender)

    def _arrivals(self, message_id: str) -> Iterator[tuple[Arrival, str]]:
        """Yield where a mail has arrived, and its text. A filter is on the way."""
        for name, hop in self.hops.items():
            for mail in hop.messages:
                if mail.message_id == message_id and not isinstance(hop, Filter):
                    yield Arrival(name, mail.username, mail.tls, mail.helo), mail.data.decode()
        for mailbox in (path for path in self._mail.iterdir() if path.suffix != ".lock"):
            text = mailbox.read_text()
            if message_id in text:
                # virtual(8) and local(8) append; a mail begins with its "From " line.
                yield Arrival(mailbox.name), text[text.rfind("\nFrom ", 0, text.index(message_id)) + 1 :]

    def _log_tail(self) -> str:
        return "\n".join(self.postfix.log_lines()[-25:])


def _file(path: Path) -> File:
    status = path.stat()
    return File(path.read_bytes(), status.st_mode, (status.st_uid, status.st_gid))


class _Foreground(PostfixInstance):
    """A Postfix that runs in the foreground and logs to standard output, as in a container."""

    def start(self) -> None:
        """Start, and wait until master(8) runs."""
        self._start_guardian()
        command = ["postfix", "-c", str(self.config_directory), "start-fg"]
        environment = {**os.environ, "PATH": ADMIN_PATH}
        with self.maillog.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", env=environment, start_new_session=True
            )
        wait_for(self.is_running, what="the Postfix master")

    def stop(self) -> None:
        """Stop it as `docker stop` does."""
        super().stop()
        self._process.wait(10)
