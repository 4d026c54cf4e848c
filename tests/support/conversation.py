"""The relay's side of one SMTP connection: aiosmtpd's server class with a fault possible at every step.

Only this module uses aiosmtpd, most of which is untyped. The protocol `RelayHooks` is its interface to the relay, which
also receives unexpected exceptions.
"""

import asyncio
import base64
import binascii
import functools
import hmac
import logging
import re
import secrets
import ssl
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword, TLSSetupException

from tests.support.fault import Fault

# aiosmtpd logs every line and its own deprecations; the relay keeps a masked transcript instead.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER")
_XOAUTH2 = re.compile(rb"user=([^\x01]+)\x01auth=Bearer ([^\x01]+)\x01\x01")
_OAUTHBEARER = re.compile(  # RFC 7628, 3.1
    rb"n,a=([^,\x01]+),\x01(?:host=[^\x01]+\x01)?(?:port=\d+\x01)?auth=Bearer ([^\x01]+)\x01\x01"
)
_NEEDS_TLS = ("AUTH", "MAIL", "RCPT", "DATA")
_NEEDS_AUTH = ("MAIL", "RCPT", "DATA")


class RelayHooks(Protocol):
    """The relay as its conversations see it. All calls come from the relay's loop."""

    hostname: str
    users: dict[str, str]
    mechanisms: tuple[str, ...]
    extensions: tuple[str, ...]
    tls: str
    auth_required: bool
    auth_without_tls: bool
    no_starttls: bool
    size_limit: int
    clients: list[str]

    def tls_context(self) -> ssl.SSLContext: ...
    def take_fault(self, step: str, argument: str) -> Fault | None: ...
    def takes_token(self, username: str, token: str) -> bool: ...
    async def wait_out(self, fault: Fault) -> None: ...
    def note_line(self, number: int, text: str) -> None: ...
    def note_auth(self, mechanism: str, username: str, accepted: bool) -> None: ...
    def note_message(
        self, sender: str, recipients: list[str], data: bytes, user: str | None, tls: bool, helo: str
    ) -> None: ...
    def note_tls_failure(self, text: str) -> None: ...
    def note_problem(self, error: BaseException) -> None: ...
    def gone(self, conversation: "Conversation") -> None: ...


class Handler:
    """aiosmtpd's hooks, which call the conversation."""

    def __init__(self, relay: RelayHooks) -> None:
        self._relay = relay

    async def handle_EHLO(  # noqa: N802 - aiosmtpd finds its hooks by these names
        self, server: "Conversation", session: Any, _envelope: Any, hostname: str, _answer: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return server.greet_back()

    async def handle_AUTH(  # noqa: N802
        self, server: "Conversation", session: Any, _envelope: Any, args: list[str]
    ) -> str | None:
        return await server.authenticate(session, args)

    async def handle_DATA(self, server: "Conversation", session: Any, envelope: Any) -> str:  # noqa: N802
        return await server.receive(session, envelope)

    async def handle_exception(self, error: Exception) -> str:
        self._relay.note_problem(error)
        return "451 4.3.0 The test bed's relay failed"


class Conversation(SMTP):
    """One connection."""

    session: Any
    transport: Any
    _original_transport: Any
    raw: Any = None  # the TCP transport, below TLS

    command_size_limit = 16384  # an XOAUTH2 token is longer than a line of RFC 5321
    line_length_limit = 16384
    AuthLoginUsernameChallenge = "Username:"
    AuthLoginPasswordChallenge = "Password:"

    def __init__(self, relay: RelayHooks, number: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            Handler(relay),
            hostname=relay.hostname,
            ident="ESMTP",
            data_size_limit=relay.size_limit,
            authenticator=self._check_login,
            loop=loop,
        )
        self._relay = relay
        self.number = number
        # Not arguments, because aiosmtpd warns of AUTH without STARTTLS, and does not recognise implicit TLS.
        self._auth_require_tls = False
        self._auth_required = relay.auth_required
        self._smtp_methods = {
            name: functools.partial(self._command, name, method)
            for name, method in self._smtp_methods.items()
        }

    # The connection

    @property
    def encrypted(self) -> bool:
        """True if the connection is under TLS."""
        return self._relay.tls == "implicit" or self._tls_protocol is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.raw = self.raw or transport
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._relay.gone(self)
        super().connection_lost(error)

    def cut(self) -> None:
        """Abort the connection below TLS, without a reply."""
        if self.raw is not None:
            self.raw.abort()
        self.transport = None  # commands that have arrived are not served any more

    def _hang_up(self) -> None:
        """Close the connection after pending replies have been sent."""
        if self.transport is not None:
            self.transport.close()
        self.transport = None

    async def push(self, status: str | bytes) -> None:
        raw = status if isinstance(status, bytes) else status.encode()
        if not raw:  # aiosmtpd sends whatever a hook returns, also after a fault has replied
            return
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError
        for line in raw.split(b"\r\n"):
            self._relay.note_line(self.number, f"S: {line.decode(errors='replace')}")
        await super().push(raw)

    async def _handle_client(self) -> None:
        try:
            if await self._fails("greeting"):
                return
            await super()._handle_client()
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            self.cut()
        except Exception as error:
            self._relay.note_problem(error)
            self.cut()

    async def _fails(self, step: str, argument: str = "") -> bool:
        """Apply the fault of this step, if one is on. Return True if that ends the step."""
        fault = self._relay.take_fault(step, argument)
        if fault is None:
            return False
        self._relay.note_line(self.number, f"-- fault: {fault.action} at {step}")
        if fault.action in ("hang", "delay"):
            await self._relay.wait_out(fault)
        if fault.action == "delay":
            return False
        if fault.action == "reply":
            await self.push(fault.reply_bytes)
            if fault.closes:
                self._hang_up()
        else:
            self.cut()
        return True

    # Commands

    async def _command(
        self, name: str, method: Callable[[str | None], Awaitable[None]], argument: str | None
    ) -> None:
        shown = f"{argument.split()[0]} ****" if name == "AUTH" and argument else argument or ""
        self._relay.note_line(self.number, f"C: {name} {shown}".rstrip())
        refusal = self._refusal(name)
        if refusal is not None:
            await self.push(refusal)
        elif name == "STARTTLS":
            await self._start_tls(method, argument)
        elif name in ("AUTH", "DATA") or not await self._fails(_STEP_OF.get(name, ""), argument or ""):
            if name == "DATA" and (await self._fails("data") or await self._body_fails()):
                return
            await method(argument)

    def _refusal(self, name: str) -> str | None:
        starttls_awaited = self._relay.tls == "starttls" and not self.encrypted
        if starttls_awaited and not self._relay.no_starttls and name in _NEEDS_TLS:
            return "530 5.7.0 Must issue a STARTTLS command first"
        if name == "AUTH" and not self._offers_auth():
            return "503 5.5.1 Error: authentication not enabled"
        if name in _NEEDS_AUTH and self._auth_required and not self.session.authenticated:
            return "530 5.7.0 Authentication required"
        if name == "STARTTLS" and not self._offers_starttls():
            return "502 5.5.1 Error: command not implemented"
        return None

    def _offers_starttls(self) -> bool:
        return self._relay.tls == "starttls" and not self.encrypted and not self._relay.no_starttls

    def _offers_auth(self) -> bool:
        return bool(self._relay.mechanisms) and (
            self.encrypted or self._relay.tls == "none" or self._relay.auth_without_tls
        )

    def greet_back(self) -> list[str]:
        """Return the reply to EHLO."""
        lines = [self.hostname, f"SIZE {self._relay.size_limit}", "8BITMIME", *self._relay.extensions]
        if self._offers_starttls():
            lines.append("STARTTLS")
        if self._offers_auth():
            lines.append("AUTH " + " ".join(self._relay.mechanisms))
        return [f"250{' ' if line is lines[-1] else '-'}{line}" for line in lines]

    async def smtp_LHLO(self, name: str) -> None:  # noqa: N802 - aiosmtpd finds commands by these names
        """Serve LMTP too, for mails with one recipient (RFC 2033)."""
        await super().smtp_EHLO(name)

    # TLS

    async def _start_tls(self, method: Callable[[str | None], Awaitable[None]], argument: str | None) -> None:
        if await self._fails("starttls"):
            return
        fault = self._relay.take_fault("handshake", "")
        if fault is not None:
            await self.push("220 2.0.0 Ready to start TLS")
            self._relay.note_line(self.number, f"-- fault: {fault.action} at handshake")
            if fault.action != "cut":
                await self._relay.wait_out(fault)
            self.cut()
            return
        self.tls_context = self._relay.tls_context()
        try:
            await method(argument)
        except TLSSetupException as error:
            self._relay.note_tls_failure(str(error.__cause__))
            self.cut()
            self.connection_lost(None)  # asyncio does not call it after a failed handshake

    # AUTH

    async def authenticate(self, session: Any, args: list[str]) -> str | None:
        """Perform one AUTH exchange. Return the reply, or None if it has been sent."""
        mechanism = args[0].upper()
        if mechanism not in self._relay.mechanisms:
            return "504 5.5.4 Unrecognized authentication type"
        result = await self._auth_methods[mechanism].method(self, args)
        if not isinstance(result, AuthResult):
            return None  # aborted or not base64: already replied
        username = result.auth_data or ""
        fault_acted = await self._fails("auth", username)
        accepted = bool(result.success) and not fault_acted
        self._relay.note_auth(mechanism, username, accepted)
        if fault_acted:
            return None
        if not accepted:
            return "535 5.7.8 Authentication credentials invalid"
        session.authenticated = True
        session.auth_data = username
        return "235 2.7.0 Authentication successful"

    def _check_login(
        self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, given: LoginPassword
    ) -> AuthResult:
        return self._compare(given.login.decode(errors="replace"), given.password)

    def _compare(self, username: str, secret: bytes) -> AuthResult:
        known = self._relay.users.get(username)
        good = known is not None and hmac.compare_digest(known.encode(), secret)
        return AuthResult(success=good, handled=False, auth_data=username)

    async def auth_CRAM__MD5(self, _server: Any, _args: list[str]) -> Any:  # noqa: N802 - named for aiosmtpd
        challenge = f"<{secrets.token_hex(8)}@{self.hostname}>".encode()
        answer = await self.challenge_auth(challenge)
        if not isinstance(answer, bytes):
            return None
        username, _, digest = answer.decode(errors="replace").rpartition(" ")
        password = self._relay.users.get(username)
        good = password is not None and hmac.compare_digest(
            hmac.new(password.encode(), challenge, "md5").hexdigest(), digest
        )
        return AuthResult(success=good, handled=False, auth_data=username)

    async def auth_XOAUTH2(self, _server: Any, args: list[str]) -> Any:  # noqa: N802 - named for aiosmtpd
        return await self._bearer_login(args, _XOAUTH2, b"")

    async def auth_OAUTHBEARER(self, _server: Any, args: list[str]) -> Any:  # noqa: N802
        return await self._bearer_login(args, _OAUTHBEARER, b"\x01")

    async def _bearer_login(self, args: list[str], form: re.Pattern[bytes], last: bytes) -> Any:
        """Take a token; answer a refused one with an error message, which the client must answer with `last`."""
        if len(args) > 1:
            try:
                answer: Any = base64.b64decode(args[1], validate=True)
            except binascii.Error:
                await self.push("501 5.5.2 Can't decode base64")
                return None
        else:
            answer = await self.challenge_auth(b"")
        match = form.fullmatch(answer) if isinstance(answer, bytes) else None
        if match is None:
            await self.push("501 5.5.124 Invalid XOAUTH2 auth data")
            return None
        username = match[1].decode().replace("=2C", ",").replace("=3D", "=")
        good = self._relay.takes_token(username, match[2].decode())
        if not good:
            reply = await self.challenge_auth(b'{"status":"400","schemes":"bearer","scope":"mail"}')
            if reply != last:
                await self.push("501 5.5.2 Not the answer to an error message")
                return None
        return AuthResult(success=good, handled=False, auth_data=username)

    # Mail

    async def _body_fails(self) -> bool:
        fault = self._relay.take_fault("body", "")
        if fault is None:
            return False
        self._relay.note_line(self.number, f"-- fault: {fault.action} at body")
        if fault.action == "delay":
            await self._relay.wait_out(fault)
            return False
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        if fault.action == "hang":
            await self._relay.wait_out(fault)
        else:
            await self._reader.readline()
        self.cut()
        return True

    async def receive(self, session: Any, envelope: Any) -> str:
        """Accept one message, unless a fault is on. Return the reply."""
        if await self._fails("end_of_data", " ".join(envelope.rcpt_tos)):
            return ""
        user = session.auth_data if session.authenticated else None
        sender = "" if envelope.mail_from == "<>" else envelope.mail_from
        self._relay.clients.append(session.peer[0])
        self._relay.note_message(
            sender,
            list(envelope.rcpt_tos),
            bytes(envelope.content),
            user,
            self.encrypted,
            self.session.host_name,
        )
        return f"250 2.0.0 Ok: queued as {secrets.token_hex(5).upper()}"


_STEP_OF = {"EHLO": "ehlo", "HELO": "ehlo", "MAIL": "mail", "RCPT": "rcpt", "QUIT": "quit"}


class _ImplicitTLS(sslproto.SSLProtocol):
    def connection_made(self, transport: Any) -> None:
        self.conversation.raw = transport
        super().connection_made(transport)

    def __init__(
        self, conversation: Conversation, handshake: asyncio.Future[None], context: ssl.SSLContext
    ) -> None:
        self.conversation = conversation
        super().__init__(conversation.loop, conversation, context, handshake, server_side=True)


def under_tls(conversation: Conversation, relay: RelayHooks, context: ssl.SSLContext) -> asyncio.BaseProtocol:
    """Wrap a conversation in TLS from the first byte, with the relay's present certificate."""

    def note(done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:  # asyncio does not call it after a failed handshake
            relay.note_tls_failure(str(error))
            relay.gone(conversation)

    handshake: asyncio.Future[None] = conversation.loop.create_future()
    handshake.add_done_callback(note)
    return _ImplicitTLS(conversation, handshake, context)
