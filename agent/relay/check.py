"""An SMTP session with a relay that sends no mail: name, connections, greeting, EHLO, TLS, certificate, AUTH, QUIT.

With an envelope, the session also names sender and recipients after the login.

It takes the steps that Postfix would take with these settings, and stops at the first one that fails, with the cause
that the same reply has in the log. An invalid certificate is read over a second connection without verification.
Postfix would go on with such a certificate unless `relay.verify` is set, and so does this check.

Promise: every step has a timeout; addresses, lines and replies are bounded. No password goes to a relay without
encryption (unless the settings allow it), nor to an unverified one if `relay.verify` is set. The transcript holds no
secret. Nothing that a relay or the network does raises an exception.
"""

import asyncio
import base64
import contextlib
import errno
import hmac
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from postward.agent.relay.endpoint import RelayEndpoint
from postward.agent.relay.session import Line, SessionError, SmtpSession, Streams, connected
from postward.agent.relay.tls import certificate_problem, client_context, sent_chain
from postward.agent.relay.x509 import Certificate, parse_certificate
from postward.parsers import Cause, classify
from postward.parsers.scrub import MASK

# The mechanisms that this check can take. A login by another one is left to Postfix.
_MECHANISMS = frozenset({"PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"})
_TOKENS = frozenset({"XOAUTH2", "OAUTHBEARER"})
_MAX_ADDRESSES = 64


@dataclass(frozen=True, slots=True)
class Step:
    """A completed step, and its duration in seconds."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """A connection to one address: its duration in seconds, and why it failed."""

    address: str
    family: str
    seconds: float
    error: str | None


@dataclass(slots=True)
class RelayCheck:
    """The result of a check.

    Attributes:
        step, cause, detail: where it stopped, why, and the reply or reason; step is "" if every step succeeded.
        addresses: the addresses of the name.
        attempts: a connection to the first address of each family.
        capabilities: the EHLO keywords, after TLS if there was TLS; starttls: whether STARTTLS was offered.
        problem: why the certificate is invalid for this host; None if it is valid, or none was sent.
        refused: the address of the envelope that the relay refused.
        sent: whether it took the mail of the endpoint.
        auth: accepted, rejected or untried; auth_detail: the reply, or why no login was attempted.
    """

    relay: str
    host: str
    port: int
    tls: str
    step: str = ""
    cause: Cause | None = None
    detail: str = ""
    addresses: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=list)
    starttls: bool | None = None
    mechanisms: list[str] = field(default_factory=list)
    tls_version: str | None = None
    cipher: str | None = None
    certificate: Certificate | None = None
    chain: list[Certificate] = field(default_factory=list)
    problem: str | None = None
    refused: str = ""
    sent: bool = False
    auth: str = "untried"
    auth_detail: str = ""
    transcript: list[Line] = field(default_factory=list)

    @property
    def server(self) -> str:
        """Host and port, or the path of a socket."""
        return self.host if self.host.startswith("/") else f"{self.host}:{self.port}"

    @property
    def ok(self) -> bool:
        """True if every step succeeded."""
        return not self.step

    @property
    def reachable(self) -> bool:
        """True if the session got as far as the login, whether that was accepted or not."""
        return self.step in {"", "auth", "mail_from", "rcpt_to", "data", "quit"}


async def check_relay(endpoint: RelayEndpoint, clock: Callable[[], float] = time.monotonic) -> RelayCheck:
    """Check a relay. `clock` gives monotonic seconds."""
    return await _Check(endpoint, clock).run()


def _is_name(name: str, wanted: str) -> bool:
    """Return True if a certificate's name is wanted, as smtp(8) compares them (tls/tls_client.c: match_servername)."""
    name, wanted = name.lower(), wanted.lower()
    if wanted.startswith("."):
        return name.endswith(wanted)
    return name == wanted or (name.startswith("*.") and wanted.partition(".")[2] == name[2:])


class _Check:
    def __init__(self, endpoint: RelayEndpoint, clock: Callable[[], float]) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._session = SmtpSession(clock, endpoint.timeout)
        self._masked = self._session.transcript.masked
        if endpoint.password:
            self._session.transcript.hide(endpoint.password, f"\0{endpoint.username}\0{endpoint.password}")
        self._presented = True
        self._result = RelayCheck(
            endpoint.relay, endpoint.socket or endpoint.host, endpoint.port, endpoint.tls
        )
        self._verify = not endpoint.fingerprints
        self._current = "dns"

    async def run(self) -> RelayCheck:
        result = self._result
        try:
            address = await self._connect(await self._resolve())
            await self._greet_and_verify(address)
            await self._log_in()
            if await self._try_envelope():
                await self._send_message()
            await self._quit()
        except SessionError as error:
            self._stop(error.cause, str(error))
        except TimeoutError:
            self._stop(Cause.TIMEOUT, f"no answer within {self._endpoint.timeout:.0f} s")
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError) as error:
            self._stop(Cause.LOST, f"the connection was lost ({type(error).__name__})")
        except OSError as error:
            self._stop(Cause.UNREACHABLE, error.strerror or str(error))
        finally:
            self._session.close()
        result.transcript = self._session.transcript.lines
        return result

    def _stop(self, cause: Cause, detail: str) -> None:
        result = self._result
        result.step, result.cause, result.detail = self._current, cause, self._masked(detail)
        self._session.note(f"stopped at {result.step}: {result.detail}")

    @contextmanager
    def _step(self, name: str, *, repeated: bool = False) -> Iterator[None]:
        """Time a step. If it raises, the check stopped there. A repeated step is not recorded."""
        self._current = name
        began = self._clock()
        yield
        if not repeated:
            self._result.steps.append(Step(name, self._clock() - began))

    # --- connecting

    async def _resolve(self) -> dict[socket.AddressFamily, str]:
        """Return the first address of each family, in the resolver's order; a socket's path is its address."""
        endpoint = self._endpoint
        if endpoint.socket:
            return {socket.AF_UNIX: endpoint.socket}
        with self._step("dns"):
            try:
                async with asyncio.timeout(endpoint.timeout):
                    answers = await _look_up(endpoint.host, endpoint.port)
            except (socket.gaierror, UnicodeError) as error:
                reason = error.strerror if isinstance(error, socket.gaierror) else str(error)
                raise SessionError(Cause.DNS, f"{endpoint.host}: {reason}") from error
            except TimeoutError as error:
                raise SessionError(Cause.DNS, f"{endpoint.host}: the resolver does not answer") from error
            pairs: list[tuple[socket.AddressFamily, str]] = [
                (entry[0], str(entry[4][0])) for entry in answers if entry[0] in endpoint.families
            ]
            self._result.addresses = [address for _, address in dict.fromkeys(pairs)][:_MAX_ADDRESSES]
            if not pairs:
                raise SessionError(
                    Cause.DNS, f"{endpoint.host}: no address of a family in host.inet_protocols"
                )
        self._session.note(f"{endpoint.host} is {', '.join(self._result.addresses[:8])}")
        first: dict[socket.AddressFamily, str] = {}
        for family, address in pairs:
            first.setdefault(family, address)
        return first

    async def _connect(self, addresses: dict[socket.AddressFamily, str]) -> str:
        """Connect to an address of each family, and use the first that answers."""
        endpoint, result = self._endpoint, self._result
        with self._step("connect"):
            attempts = await asyncio.gather(*(self._attempt(*address) for address in addresses.items()))
            result.attempts = [attempt for attempt, _ in attempts]
            open_streams = [streams for _, streams in attempts if streams]
            for streams in open_streams[1:]:
                streams[1].close()
            for attempt in result.attempts:
                self._session.note(
                    f"connect to [{attempt.address}]:{endpoint.port}: {attempt.error or 'connected'}"
                )
            if not open_streams:
                first = result.attempts[0]
                reason = f"connect to {endpoint.host}[{first.address}]:{endpoint.port}: {first.error}"
                raise SessionError(classify(reason), reason)
            self._session.use(open_streams[0])
            return endpoint.socket or self._session.peer_address

    async def _attempt(self, family: socket.AddressFamily, address: str) -> tuple[Attempt, Streams | None]:
        began, error, streams = self._clock(), None, None
        try:
            streams = await self._connected(address)
        except TimeoutError:
            error = os.strerror(errno.ETIMEDOUT)
        except OSError as failure:
            error = os.strerror(failure.errno) if failure.errno else str(failure)
        name = {socket.AF_INET6: "IPv6", socket.AF_UNIX: "Unix"}.get(family, "IPv4")
        return Attempt(address, name, self._clock() - began, error), streams

    async def _connected(self, address: str) -> Streams:
        endpoint = self._endpoint
        source = endpoint.bind_address if (":" in address) == (":" in endpoint.bind_address) else ""
        return await connected(address, endpoint.port, endpoint.timeout, source)

    async def _greet_and_verify(self, address: str) -> None:
        """Take greeting, EHLO and TLS; repeat them without verification if the certificate is invalid."""
        try:
            await self._greet_and_encrypt(repeated=False)
        except ssl.SSLCertVerificationError as error:
            self._result.problem = certificate_problem(error)
            self._session.note(
                f"certificate: {self._result.problem}; connecting again without verification to read it"
            )
            self._session.close()
            self._verify = False
            self._current = "connect"
            self._session.use(await self._connected(address))
            await self._greet_and_encrypt(repeated=True)
        if self._result.problem and self._endpoint.verify:
            self._current = "certificate"
            raise SessionError(Cause.TLS_VERIFY, self._result.problem)

    async def _greet_and_encrypt(self, *, repeated: bool) -> None:
        endpoint, result = self._endpoint, self._result
        if endpoint.tls == "implicit":
            await self._start_tls(repeated)
        with self._step("greeting", repeated=repeated):
            code, reply = await self._session.reply()
            if code != 220:
                raise SessionError(classify(f"host {endpoint.host} refused to talk to me: {reply}"), reply)
        await self._ehlo(repeated)
        offered = "STARTTLS" in result.capabilities
        if endpoint.tls != "implicit":
            result.starttls = offered
        if endpoint.tls == "starttls" and not offered:
            self._current = "tls"
            raise SessionError(Cause.TLS_NOT_OFFERED, "STARTTLS is not offered")
        if endpoint.tls in {"starttls", "opportunistic"} and offered:
            self._current = "tls"
            code, reply = await self._session.command("STARTTLS")
            if code != 220:
                raise SessionError(Cause.TLS_NOT_OFFERED, reply)
            await self._session.reject_early_data()
            await self._start_tls(repeated)
            await self._ehlo(repeated=True)

    async def _start_tls(self, repeated: bool) -> None:
        with self._step("tls", repeated=repeated):
            context = self._context()
            self._record_tls(await self._session.start_tls(context, self._endpoint.host))

    def _context(self) -> ssl.SSLContext:
        """Return the TLS context. A client certificate that this user may not read is not presented."""
        endpoint = self._endpoint
        certificate = (endpoint.client_certificate, endpoint.client_key) if self._presented else ("", "")
        try:
            return client_context(
                endpoint.ca_file,
                verify=self._verify,
                certificate=certificate,
                ca_path=endpoint.ca_path,
                check_name=not endpoint.verify_names,
            )
        except PermissionError:
            if not certificate[0]:
                raise SessionError(Cause.LOCAL_CONFIG, "relay.ca_file: Permission denied") from None
        except OSError as error:
            raise SessionError(Cause.LOCAL_CONFIG, f"relay.ca_file or client_certificate: {error}") from error
        self._presented = False
        self._session.note("this user may not read the client certificate: it is not presented")
        return self._context()

    def _record_tls(self, tls: ssl.SSLObject) -> None:
        result = self._result
        result.tls_version = tls.version()
        result.cipher = (tls.cipher() or ("", "", 0))[0]
        for der in sent_chain(tls):
            with contextlib.suppress(ValueError):
                result.chain.append(parse_certificate(der))
        result.certificate = result.chain[0] if result.chain else None
        result.problem = result.problem or self._mismatch(result.certificate)
        self._session.note(f"TLS: {result.tls_version} {result.cipher}")
        if result.certificate:
            leaf = result.certificate
            until = time.strftime("%Y-%m-%d", time.gmtime(leaf.not_after))
            self._session.note(
                f"certificate: {leaf.subject or ', '.join(leaf.names[:3])}; by {leaf.issuer}; until {until}"
            )

    def _mismatch(self, leaf: Certificate | None) -> str | None:
        """Return why a certificate is not one of those that the settings name; None if it is, or they name none."""
        endpoint = self._endpoint
        if endpoint.fingerprints:
            pins = {pin.replace(":", "").lower() for pin in endpoint.fingerprints}
            if leaf is None or not pins & {leaf.fingerprint, leaf.key}:
                shown = leaf.fingerprint if leaf else "missing"
                return f"its fingerprint is {shown}, which relay.fingerprints does not list"
        elif endpoint.verify_names and self._verify:
            names = leaf.names if leaf else ()
            if not any(_is_name(name, wanted) for name in names for wanted in endpoint.verify_names):
                return f"its names are {', '.join(names[:5]) or 'missing'}, and relay.verify_names lists none of them"
        return None

    async def _ehlo(self, repeated: bool) -> None:
        with self._step("ehlo", repeated=repeated):
            hello = "LHLO" if self._endpoint.lmtp else "EHLO"
            code, reply = await self._session.command(f"{hello} {self._endpoint.helo}")
            if code != 250:
                reason = f"host {self._endpoint.host} said: {reply} (in reply to {hello} command)"
                raise SessionError(classify(reason), reply)
        capabilities = [line[4:].strip() for line in self._session.last[1:]]
        self._result.capabilities = [line.split(" ", 1)[0].upper() for line in capabilities if line]
        offered = [line.replace("=", " ").split()[1:] for line in capabilities if line.upper()[:4] == "AUTH"]
        self._result.mechanisms = sorted({name.upper() for names in offered for name in names})

    # --- the login

    async def _log_in(self) -> None:
        endpoint, result = self._endpoint, self._result
        self._current = "auth"
        if endpoint.username is None or endpoint.password is None:
            result.auth_detail = "no login" if endpoint.username is None else "no password available"
            return
        if not result.tls_version and not endpoint.cleartext_password:
            result.auth_detail = "the session is not encrypted"
            return
        if not self._presented:
            result.auth_detail = "this user may not read the client certificate"
            return
        mechanism = endpoint.sasl.choose(result.mechanisms)
        if mechanism is None:
            offered = ", ".join(result.mechanisms) or "none"
            raise SessionError(Cause.AUTH_MECHANISM, f"no common mechanism; offered: {offered}")
        if mechanism not in _MECHANISMS or (mechanism in _TOKENS and "noanonymous" in endpoint.sasl.options):
            result.auth_detail = f"the login by {mechanism} is left to Postfix"
            return
        with self._step("auth"):
            code, reply = await self._authenticate(mechanism, endpoint.username, endpoint.password)
        result.auth_detail = self._masked(reply)
        if code == 235:
            result.auth = "accepted"
            return
        cause = classify(f"SASL authentication failed; server {endpoint.host} said: {reply}")
        if code >= 500 and cause in {Cause.AUTH_REJECTED, Cause.AUTH_MECHANISM}:
            result.auth = "rejected"
        raise SessionError(cause, reply)

    async def _authenticate(self, mechanism: str, username: str, password: str) -> tuple[int, str]:
        if mechanism in _TOKENS:
            return await self._send_token(mechanism, username, password)
        if mechanism == "PLAIN":
            return await self._session.command(
                f"AUTH PLAIN {_base64(f'{chr(0)}{username}{chr(0)}{password}')}", f"AUTH PLAIN {MASK}"
            )
        code, reply = await self._session.command(f"AUTH {mechanism}")
        answers: list[Callable[[bytes], str]] = [lambda _: username, lambda _: password]
        if mechanism == "CRAM-MD5":
            answers = [lambda text: f"{username} {hmac.new(password.encode(), text, 'md5').hexdigest()}"]
        for answer in answers:
            if code != 334:
                break
            try:
                challenge = base64.b64decode(reply[4:].strip() or b"")
            except ValueError:
                return 0, "334 with a challenge that is not base64"
            code, reply = await self._session.command(_base64(answer(challenge)), MASK)
        return code, reply

    async def _send_token(self, mechanism: str, username: str, token: str) -> tuple[int, str]:
        """Log in by XOAUTH2 or OAUTHBEARER (RFC 7628), and answer an error message as the mechanism requires."""
        message, last = f"user={username}\1auth=Bearer {token}\1\1", ""
        if mechanism == "OAUTHBEARER":
            name = username.replace("=", "=3D").replace(",", "=2C")
            message, last = f"n,a={name},\1host={self._endpoint.host}\1auth=Bearer {token}\1\1", "\1"
        self._session.transcript.hide(message)
        code, reply = await self._session.command(f"AUTH {mechanism}")
        if code == 334:
            code, reply = await self._session.command(_base64(message), MASK)
        if code == 334:
            code, reply = await self._session.command(_base64(last))
        return code, reply

    async def _try_envelope(self) -> bool:
        """Name sender and recipients as for a mail, and return whether all were accepted.

        A temporary refusal (greylisting) is not a fault of the relay.
        """
        endpoint, result = self._endpoint, self._result
        if endpoint.username is not None and result.auth != "accepted":
            return False
        for place, address in enumerate(endpoint.envelope):
            if not address.isascii():
                return False
            step, command = ("rcpt_to", "RCPT TO") if place else ("mail_from", "MAIL FROM")
            with self._step(step):
                code, reply = await self._session.command(f"{command}:<{address}>")
            if 400 <= code < 500:
                return False
            if code // 100 != 2:
                result.refused = address
                reason = f"host {endpoint.host} said: {reply} (in reply to {command} command)"
                raise SessionError(classify(reason), reply)
        return True

    async def _send_message(self) -> None:
        """Send the mail of the endpoint, if it has one, to the accepted envelope."""
        if not self._endpoint.message:
            return
        with self._step("data"):
            code, reply = await self._session.command("DATA")
            if code == 354:
                code, reply = await self._session.data(self._endpoint.message)
        if code != 250:
            reason = f"host {self._endpoint.host} said: {reply} (in reply to end of DATA command)"
            raise SessionError(classify(reason), reply)
        self._result.sent = True

    async def _quit(self) -> None:
        """Say QUIT. The result does not depend on the reply."""
        ignored = contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, SessionError)
        with ignored, self._step("quit"):
            await self._session.command("QUIT")


async def _look_up(host: str, port: int) -> list[tuple[Any, ...]]:
    """Resolve a name in a thread of its own, so that a resolver that hangs delays no other look-up."""
    thread = ThreadPoolExecutor(1, "lookup")
    try:
        return await asyncio.get_running_loop().run_in_executor(
            thread, socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM
        )
    finally:
        thread.shutdown(wait=False)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
