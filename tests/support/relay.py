"""A mail relay like a provider's, on loopback, with switchable faults. It records what it receives.

It is an aiosmtpd server in a thread and loop of its own, so that synchronous and asyncio tests can use it. It requires
STARTTLS and AUTH, and offers AUTH only under TLS. Passwords are in no transcript and no repr. An exception inside the
server is kept in `problems`, and `stop` raises it.
"""

import asyncio
import contextlib
import re
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.support.ca import CA
from tests.support.conversation import MECHANISMS, Conversation, under_tls
from tests.support.fault import Fault

_MESSAGE_ID = re.compile(rb"^message-id:[ \t\r\n]*(\S+)", re.IGNORECASE | re.MULTILINE)
_TIMEOUT = 10.0  # seconds for the other thread to react
_LOOP_TURNS = 5  # iterations of the loop until an accepted connection is a conversation


@dataclass(frozen=True, kw_only=True)
class ReceivedMessage:
    """A mail that the relay accepted. `at` is in seconds since the epoch; a bounce has the sender ""."""

    mail_from: str
    rcpt_tos: list[str]
    data: bytes = field(repr=False)
    message_id: str | None
    username: str | None
    tls: bool
    helo: str
    at: float


class AuthAttempt(NamedTuple):
    """An AUTH command for which credentials were received, without the password."""

    mechanism: str
    username: str
    accepted: bool


class _Active:
    """A fault that is on, and how often it may still act."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times
        self.off = asyncio.Event()


class Relay:
    """A relay on 127.0.0.1. Its attributes may be changed while it runs."""

    host = "127.0.0.1"

    def __init__(
        self,
        ca: CA,
        hostname: str = "localhost",
        *,
        users: dict[str, str] | None = None,
        tls: str = "starttls",
        auth_required: bool = True,
        mechanisms: Iterable[str] = ("PLAIN", "LOGIN"),
        port: int = 0,
        extensions: Iterable[str] = (),
    ) -> None:
        if tls not in ("starttls", "implicit", "none"):
            raise ValueError(f"tls: {tls!r} must be starttls, implicit or none")
        self.mechanisms = tuple(mechanisms)
        unknown = set(self.mechanisms) - set(MECHANISMS)
        if unknown:
            raise ValueError(f"mechanisms: unknown {sorted(unknown)}; known are {', '.join(MECHANISMS)}")
        self.hostname = hostname
        self.users = {"user": "secret"} if users is None else users
        self.tls = tls
        self.auth_required = auth_required
        self.extensions = tuple(extensions)
        self.port = port
        self.auth_without_tls = False
        self.tokens: Callable[[str, str], bool] | None = None
        self.no_starttls = False
        self.size_limit = 2**25
        self.certificate = ca.server_context(hostname)
        self.messages: list[ReceivedMessage] = []
        self.auth_attempts: list[AuthAttempt] = []
        self.tls_failures: list[str] = []
        self.transcript: deque[str] = deque(maxlen=5000)
        self.problems: list[BaseException] = []
        self.on_message: Callable[[bytes], object] | None = None  # passes accepted mail on
        self.connections = 0
        self.clients: list[str] = []  # the address from which each mail came
        self._active: list[_Active] = []
        self._open: set[Conversation] = set()
        self._refuse = False
        self._placeholder: socket.socket | None = None
        self._waiting: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<Relay {self.hostname} at {self.host}:{self.port}, {len(self.messages)} messages>"

    # Starting and stopping

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the port of the last start if there was one."""
        if self._thread is not None:
            raise RuntimeError("the relay runs already")
        ready = threading.Event()
        failure: list[BaseException] = []
        self._thread = threading.Thread(
            target=lambda: self._serve(ready, failure), name=f"relay {self.hostname}", daemon=True
        )
        self._thread.start()
        ready.wait(_TIMEOUT)
        if failure:
            self._thread.join(_TIMEOUT)
            self._thread = None
            raise failure[0]

    def stop(self) -> None:
        """Close the port and abort all connections. The next start uses the same port."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        assert self._loop is not None
        assert self._ended is not None
        self._loop.call_soon_threadsafe(self._ended.set)
        thread.join(_TIMEOUT)
        if thread.is_alive():
            raise RuntimeError("the relay's thread did not end")
        if self.problems:
            raise ExceptionGroup("inside the relay", [e for e in self.problems if isinstance(e, Exception)])

    def restart(self) -> None:
        """Stop and start, on the same port."""
        self.stop()
        self.start()

    def _serve(self, ready: threading.Event, failure: list[BaseException]) -> None:
        try:
            asyncio.run(self._main(ready))
        except BaseException as error:
            failure.append(error)
        finally:
            ready.set()

    async def _main(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._note_loop_problem)
        self._ended = asyncio.Event()
        try:
            await self._listen(not self._refuse)
            ready.set()
            await self._ended.wait()
        finally:
            await self._unlisten()
            await self._cut_all()

    async def _listen(self, accepting: bool) -> None:
        """Bind the port and listen; if not `accepting`, only bind it, so that the kernel refuses connections."""
        bound = socket.socket()
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self.host, self.port))
            self.port = int(bound.getsockname()[1])
            if accepting:
                assert self._loop is not None
                self._server = await self._loop.create_server(self._converse, sock=bound, backlog=1024)
            else:
                self._placeholder = bound
        except BaseException:
            bound.close()
            raise

    async def _unlisten(self) -> None:
        if self._server is not None:
            assert self._loop is not None
            for listener in self._server.sockets:
                self._loop.remove_reader(listener.fileno())
            # Closing a server loses connections that are accepted and have no transport yet.
            for _ in range(_LOOP_TURNS):
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None

    async def _cut_all(self) -> None:
        for active in self._active:
            active.off.set()
        for _ in range(50):
            for conversation in list(self._open):
                conversation.cut()
            await asyncio.sleep(0)  # lets the loop call connection_lost
            if not self._open:
                break

    def _converse(self) -> asyncio.BaseProtocol:
        assert self._loop is not None
        self.connections += 1
        conversation = Conversation(self, self.connections, self._loop)
        self._open.add(conversation)
        if self.tls != "implicit":
            return conversation
        fault = self.take_fault("handshake", "")
        if fault is None:
            return under_tls(conversation, self, self.certificate)
        self._open.discard(conversation)
        return _FailingHandshake(self, fault)

    def _in_loop(self, coroutine: Any) -> None:
        if self._thread is None:
            coroutine.close()
            return
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_TIMEOUT)

    # Switches

    @property
    def fault(self) -> Fault | None:
        """The fault that is on. Setting it replaces all faults; None removes them."""
        faults = self.faults
        return faults[0] if faults else None

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self.faults = [] if fault is None else [fault]

    @property
    def faults(self) -> list[Fault]:
        """All faults that are on."""
        return [active.fault for active in self._active if active.left != 0]

    @faults.setter
    def faults(self, faults: Iterable[Fault]) -> None:
        former, self._active = self._active, [_Active(fault) for fault in faults]
        if self._thread is not None and self._loop is not None:
            for active in former:
                self._loop.call_soon_threadsafe(active.off.set)

    @contextlib.contextmanager
    def failing(self, *faults: Fault) -> Iterator[None]:
        """Switch faults on for the length of a `with` block."""
        former, self.faults = self.faults, list(faults)
        try:
            yield
        finally:
            self.faults = former

    @property
    def refuse(self) -> bool:
        """True if connections are refused. Setting it aborts open connections, and keeps the port."""
        return self._refuse

    @refuse.setter
    def refuse(self, refuse: bool) -> None:
        if refuse != self._refuse:
            self._refuse = refuse
            self._in_loop(self._switch_listener())

    async def _switch_listener(self) -> None:
        await self._unlisten()
        if self._refuse:
            await self._cut_all()
        await self._listen(not self._refuse)

    def drop_packets(self) -> None:
        """Make connections time out, as behind a firewall, until `refuse` is set to False.

        The kernel drops connection requests to a listener whose queue of waiting connections is full (listen(2)).
        """
        self.refuse = True
        assert self._placeholder is not None
        self._placeholder.listen(0)
        self._waiting = socket.create_connection((self.host, self.port))

    def messages_to(self, recipient: str) -> list[ReceivedMessage]:
        """Return the mails to one recipient. On a relay that tests share, mail of an earlier test can still arrive."""
        return [message for message in self.messages if recipient in message.rcpt_tos]

    def forget(self) -> None:
        """Clear everything recorded, for the next test on the same relay."""
        for memory in (self.messages, self.auth_attempts, self.tls_failures, self.transcript, self.clients):
            memory.clear()

    # Called by conversations, in the relay's loop (`RelayHooks`)

    def tls_context(self) -> ssl.SSLContext:
        return self.certificate

    def take_fault(self, step: str, argument: str) -> Fault | None:
        for active in self._active:
            fault = active.fault
            if fault.step == step and active.left != 0 and (fault.only is None or fault.only in argument):
                if active.left is not None:
                    active.left -= 1
                return fault
        return None

    def takes_token(self, username: str, token: str) -> bool:
        """Return whether a token is good: by `tokens` if it is set, else by `users`."""
        return self.tokens(username, token) if self.tokens else self.users.get(username) == token

    async def wait_out(self, fault: Fault) -> None:
        """Wait until the fault's time has passed or it is switched off."""
        for active in self._active:
            if active.fault is fault:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(active.off.wait(), fault.seconds)
                return

    def note_line(self, number: int, text: str) -> None:
        self.transcript.append(f"{number} {text}")

    def note_auth(self, mechanism: str, username: str, accepted: bool) -> None:
        self.auth_attempts.append(AuthAttempt(mechanism, username, accepted))

    def note_message(
        self, sender: str, recipients: list[str], data: bytes, user: str | None, tls: bool, helo: str
    ) -> None:
        if self.on_message is not None:
            self.on_message(data)
        match = _MESSAGE_ID.search(data.partition(b"\r\n\r\n")[0])
        self.messages.append(
            ReceivedMessage(
                mail_from=sender,
                rcpt_tos=recipients,
                data=data,
                message_id=match[1].decode(errors="replace") if match else None,
                username=user,
                tls=tls,
                helo=helo,
                at=time.time(),
            )
        )

    def note_tls_failure(self, text: str) -> None:
        self.tls_failures.append(text)

    def note_problem(self, error: BaseException) -> None:
        self.problems.append(error)

    def gone(self, conversation: Conversation) -> None:
        self._open.discard(conversation)

    def _note_loop_problem(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, ssl.SSLError):
            self.note_tls_failure(str(error))
        elif not isinstance(error, ConnectionError | TimeoutError):
            self.problems.append(error or RuntimeError(context["message"]))


class _FailingHandshake(asyncio.Protocol):
    """An implicit-TLS connection whose handshake fails."""

    def __init__(self, relay: Relay, fault: Fault) -> None:
        self._relay = relay
        self._fault = fault
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._task = asyncio.get_running_loop().create_task(self._act(transport))

    async def _act(self, transport: asyncio.BaseTransport) -> None:
        try:
            if self._fault.action != "cut":
                await self._relay.wait_out(self._fault)
        finally:
            assert isinstance(transport, asyncio.Transport)
            transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
