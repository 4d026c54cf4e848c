"""A conversation with a relay that sends no mail: name, connections, greeting, EHLO, TLS, certificate, AUTH, QUIT.

It goes as Postfix's own would, as far as the settings let it, and stops at the first step that fails, with the cause
that the same words have in the log. The certificate is read also where it is not valid: then a second connection
is made that does not verify. Postfix would go on with it unless `relay.verify` is set, and so does this.

Promise: every step has a deadline; addresses, lines and replies are bounded; never a password to a relay that is not
encrypted (unless the settings allow it) or not verified although they demand it; no secret in the transcript. No
exception for anything that a relay or network does.
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from agent.probing.certificate import Certificate, parse_certificate
from agent.probing.transcript import Line, Transcript
from config.relay import IMPLICIT_TLS_PORTS, Relay, TlsMode
from parsers import Cause, classify

_DEADLINE = 15.0  # seconds a step; RFC 5321 allows minutes, and nobody waits for them
_LONGEST_LINE = 4096  # bytes
_MOST_LINES = 100  # of a reply
_LOOKUPS = 32  # names looked up at once: a resolver that hangs must not hold the others
_CONTEXT_AGE = 3600.0  # seconds
ALTERNATIVE_PORTS = (587, 465, 2525, 25)
# In the order of preference; XOAUTH2 needs tokens, which Postfix gets from elsewhere.
_MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")

_lookups = ThreadPoolExecutor(_LOOKUPS, "lookup")


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was taken, and how long it took in seconds."""

    name: str
    seconds: float
    words: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A connection to one address."""

    address: str
    family: str
    seconds: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to talk to, and how.

    Attributes:
        relay: its name in the settings.
        host, port, tls, verify, ca_file: as there.
        helo: our name.
        username, password: the login; None: none is tried.
        in_clear: the password may go unencrypted.
        families: address families that may be used.
    """

    relay: str
    host: str
    port: int
    tls: TlsMode
    verify: bool = False
    ca_file: str = ""
    helo: str = "localhost"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    in_clear: bool = False
    families: tuple[socket.AddressFamily, ...] = (socket.AF_INET, socket.AF_INET6)
    deadline: float = _DEADLINE


@dataclass(slots=True)
class RelayCheck:
    """What a conversation showed.

    Attributes:
        step, cause, words: where it stopped, why, and who said so; step is "" if it went through.
        addresses: what the name stands for.
        attempts: a connection to the first address of each family.
        capabilities: what EHLO told, after TLS if there was TLS; starttls: whether STARTTLS was offered.
        problem: why the certificate is not valid for this host; None if it is, or none was seen.
        auth: accepted, rejected or untried; auth_words: the reply, or why it was not tried.
    """

    relay: str
    host: str
    port: int
    tls: str
    step: str = ""
    cause: Cause | None = None
    words: str = ""
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
    auth: str = "untried"
    auth_words: str = ""
    transcript: list[Line] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if every step went through."""
        return not self.step

    @property
    def reachable(self) -> bool:
        """True if the relay talks to us as the settings want it, whatever it thinks of our login."""
        return self.step in {"", "auth", "quit"}


class _StoppedError(Exception):
    """The conversation is over."""

    def __init__(self, cause: Cause, words: str) -> None:
        super().__init__(words)
        self.cause = cause


def target_of(relay: Relay, helo: str, protocols: str, password: str | None) -> Target:
    """A relay of the settings as a target. Without a password no login is tried."""
    families = {"ipv4": (socket.AF_INET,), "ipv6": (socket.AF_INET6,)}
    return Target(
        relay.name,
        relay.host,
        relay.port,
        relay.tls,
        relay.verify,
        relay.ca_file,
        helo,
        relay.username or None,
        password,
        relay.cleartext_password,
        families.get(protocols.strip(), (socket.AF_INET, socket.AF_INET6)),
    )


def on_port(target: Target, port: int) -> Target:
    """The same relay on another port, without a login: only to see what answers there."""
    return Target(
        target.relay,
        target.host,
        port,
        "implicit" if port in IMPLICIT_TLS_PORTS else "opportunistic",
        ca_file=target.ca_file,
        helo=target.helo,
        families=target.families,
        deadline=target.deadline,
    )


async def check_relay(target: Target, clock: Callable[[], float] = time.monotonic) -> RelayCheck:
    """Talk to a relay."""
    return await _Conversation(target, clock).run()


class _Conversation:
    def __init__(self, target: Target, clock: Callable[[], float]) -> None:
        self._target = target
        self._clock = clock
        self._transcript = Transcript(clock())
        if target.password:
            self._transcript.hide(target.password, f"\0{target.username}\0{target.password}")
        self._result = RelayCheck(target.relay, target.host, target.port, target.tls)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._verify = True
        self._at = "dns"
        self._first: dict[socket.AddressFamily, str] = {}
        self._order: list[socket.AddressFamily] = []
        self._last: list[str] = []

    async def run(self) -> RelayCheck:
        result = self._result
        try:
            await self._look_up()
            address = await self._connect_all()
            await self._to_login(address)
            await self._log_in()
            await self._quit()
        except _StoppedError as stop:
            result.step, result.cause = self._at, stop.cause
            result.words = self._transcript.masked(str(stop))
        except TimeoutError:
            result.step, result.cause = self._at, Cause.TIMEOUT
            result.words = f"no answer within {self._target.deadline:.0f} s"
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError) as error:
            result.step, result.cause = self._at, Cause.LOST
            result.words = self._transcript.masked(f"the connection was lost ({type(error).__name__})")
        except OSError as error:
            result.step, result.cause = self._at, Cause.UNREACHABLE
            result.words = self._transcript.masked(error.strerror or str(error))
        finally:
            self._hang_up()
        if not result.ok:
            self._note(f"stopped at {result.step}: {result.words}")
        result.transcript = self._transcript.lines
        return result

    @contextmanager
    def _step(self, name: str, *, again: bool = False) -> Iterator[None]:
        """A step; where it raises, the conversation stopped there."""
        self._at = name
        began = self._clock()
        yield
        if not again:
            self._result.steps.append(Step(name, self._clock() - began))

    # --- to the relay

    async def _look_up(self) -> None:
        target = self._target
        with self._step("dns"):
            lookup = asyncio.get_running_loop().run_in_executor(
                _lookups, socket.getaddrinfo, target.host, target.port, 0, socket.SOCK_STREAM
            )
            try:
                async with asyncio.timeout(target.deadline):
                    found = await lookup
            except (socket.gaierror, UnicodeError) as error:
                words = error.strerror if isinstance(error, socket.gaierror) else str(error)
                raise _StoppedError(Cause.DNS, f"{target.host}: {words}") from error
            except TimeoutError as error:
                raise _StoppedError(Cause.DNS, f"{target.host}: the resolver does not answer") from error
            pairs: list[tuple[socket.AddressFamily, str]] = [
                (entry[0], str(entry[4][0])) for entry in found if entry[0] in target.families
            ]
            self._result.addresses = [address for _, address in dict.fromkeys(pairs)][:64]
            if not pairs:
                raise _StoppedError(Cause.DNS, f"{target.host}: no address of a family that is in use")
            self._first = dict(reversed(pairs))
            self._order = list(dict.fromkeys(family for family, _ in pairs))
        self._note(f"{target.host} is {', '.join(self._result.addresses[:8])}")

    async def _connect_all(self) -> str:
        """Try an address of each family; talk to the first that answers."""
        with self._step("connect"):
            tries = await asyncio.gather(*(self._try(family) for family in self._order))
            self._result.attempts = [attempt for attempt, _ in tries]
            chosen = next((pair for _, pair in tries if pair), None)
            for _, pair in tries:
                if pair and pair is not chosen:
                    pair[1].close()
            for attempt in self._result.attempts:
                self._note(
                    f"connect to [{attempt.address}]:{self._target.port}: {attempt.error or 'connected'}"
                )
            if chosen is None:
                first = self._result.attempts[0]
                words = f"connect to {self._target.host}[{first.address}]:{self._target.port}: {first.error}"
                raise _StoppedError(classify(words), words)
            self._reader, self._writer = chosen
            return str(chosen[1].get_extra_info("peername")[0])

    async def _try(
        self, family: socket.AddressFamily
    ) -> tuple[Attempt, tuple[asyncio.StreamReader, asyncio.StreamWriter] | None]:
        address, began = self._first[family], self._clock()
        error = None
        pair = None
        try:
            async with asyncio.timeout(self._target.deadline):
                pair = await asyncio.open_connection(address, self._target.port, limit=_LONGEST_LINE)
        except TimeoutError:
            error = os.strerror(errno.ETIMEDOUT)
        except OSError as failure:
            error = os.strerror(failure.errno) if failure.errno else str(failure)
        name = "IPv6" if family == socket.AF_INET6 else "IPv4"
        return Attempt(address, name, self._clock() - began, error), pair

    async def _to_login(self, address: str) -> None:
        """Greeting, EHLO and TLS; once more without verification if the certificate is not valid."""
        try:
            await self._greet_and_encrypt(again=False)
        except ssl.SSLCertVerificationError as error:
            self._result.problem = _certificate_problem(error)
            self._note(f"certificate: {self._result.problem}; once more, without verification, to read it")
            self._hang_up()
            self._verify = False
            self._at = "connect"
            async with asyncio.timeout(self._target.deadline):
                self._reader, self._writer = await asyncio.open_connection(
                    address, self._target.port, limit=_LONGEST_LINE
                )
            await self._greet_and_encrypt(again=True)
        if self._result.problem and self._target.verify:
            self._at = "certificate"
            raise _StoppedError(Cause.TLS_VERIFY, self._result.problem)

    async def _greet_and_encrypt(self, *, again: bool) -> None:
        target, result = self._target, self._result
        if target.tls == "implicit":
            await self._start_tls(again)
        with self._step("greeting", again=again):
            code, words = await self._reply()
            if code != 220:
                raise _StoppedError(classify(f"host {target.host} refused to talk to me: {words}"), words)
        await self._ehlo(again)
        offered = "STARTTLS" in result.capabilities
        if target.tls != "implicit":
            result.starttls = offered
        if target.tls == "starttls" and not offered:
            self._at = "tls"
            raise _StoppedError(Cause.TLS_NOT_OFFERED, "STARTTLS is not offered")
        if target.tls in {"starttls", "opportunistic"} and offered:
            self._at = "tls"
            code, words = await self._command("STARTTLS")
            if code != 220:
                raise _StoppedError(Cause.TLS_NOT_OFFERED, words)
            await self._nothing_unasked()
            await self._start_tls(again)
            await self._ehlo(again=True)

    async def _nothing_unasked(self) -> None:
        """Text before the handshake would be taken for what the relay said under TLS."""
        assert self._reader is not None  # noqa: S101 - connected
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                if await self._reader.read(1):
                    raise _StoppedError(Cause.TLS_HANDSHAKE, "the relay said more before TLS than its 220")
                raise ConnectionResetError

    async def _start_tls(self, again: bool) -> None:
        assert self._writer is not None  # noqa: S101 - connected
        with self._step("tls", again=again):
            try:
                context = _context(self._target.ca_file, verify=self._verify)
            except OSError as error:
                raise _StoppedError(Cause.LOCAL_CONFIG, f"relay.ca_file: {error}") from error
            try:
                await self._writer.start_tls(
                    context, server_hostname=self._target.host, ssl_handshake_timeout=self._target.deadline
                )
            except ssl.SSLCertVerificationError:
                raise
            except (ssl.SSLError, ConnectionError) as error:
                reason = getattr(error, "reason", None) or type(error).__name__
                raise _StoppedError(
                    Cause.TLS_HANDSHAKE, f"the handshake failed: {str(reason).replace('_', ' ').lower()}"
                ) from error
            self._look_at_tls(self._writer.get_extra_info("ssl_object"))

    def _look_at_tls(self, tls: ssl.SSLObject) -> None:
        result = self._result
        result.tls_version = tls.version()
        result.cipher = (tls.cipher() or ("", "", 0))[0]
        for der in _chain(tls):
            with contextlib.suppress(ValueError):
                result.chain.append(parse_certificate(der))
        result.certificate = result.chain[0] if result.chain else None
        self._note(f"TLS: {result.tls_version} {result.cipher}")
        if result.certificate:
            leaf = result.certificate
            until = time.strftime("%Y-%m-%d", time.gmtime(leaf.not_after))
            self._note(
                f"certificate: {leaf.subject or ', '.join(leaf.names[:3])}; by {leaf.issuer}; until {until}"
            )

    async def _ehlo(self, again: bool) -> None:
        with self._step("ehlo", again=again):
            code, words = await self._command(f"EHLO {self._target.helo}")
            if code != 250:
                raise _StoppedError(
                    classify(f"host {self._target.host} said: {words} (in reply to EHLO command)"), words
                )
        capabilities = [line[4:].strip() for line in self._last[1:]]
        self._result.capabilities = [line.split(" ", 1)[0].upper() for line in capabilities if line]
        offered = [line.replace("=", " ").split()[1:] for line in capabilities if line.upper()[:4] == "AUTH"]
        self._result.mechanisms = sorted({name.upper() for names in offered for name in names})

    # --- the login

    async def _log_in(self) -> None:
        target, result = self._target, self._result
        self._at = "auth"
        if target.username is None or target.password is None:
            result.auth_words = "no login" if target.username is None else "no password at hand"
            return
        if not result.tls_version and not target.in_clear:
            result.auth_words = "the conversation is not encrypted"
            return
        mechanism = next((name for name in _MECHANISMS if name in result.mechanisms), None)
        if mechanism is None:
            offered = ", ".join(result.mechanisms) or "none"
            raise _StoppedError(Cause.AUTH_MECHANISM, f"no common mechanism; offered: {offered}")
        with self._step("auth"):
            code, words = await self._authenticate(mechanism, target.username, target.password)
        result.auth_words = self._transcript.masked(words)
        if code == 235:
            result.auth = "accepted"
            return
        cause = classify(f"SASL authentication failed; server {target.host} said: {words}")
        if cause is Cause.AUTH_REJECTED:
            result.auth = "rejected"
        raise _StoppedError(cause, words)

    async def _authenticate(self, mechanism: str, username: str, password: str) -> tuple[int, str]:
        if mechanism == "PLAIN":
            return await self._command(
                f"AUTH PLAIN {_base64(f'{chr(0)}{username}{chr(0)}{password}')}", "AUTH PLAIN ****"
            )
        code, words = await self._command(f"AUTH {mechanism}")
        answers: list[Callable[[bytes], str]] = [lambda _: username, lambda _: password]
        if mechanism == "CRAM-MD5":
            answers = [lambda asked: f"{username} {hmac.new(password.encode(), asked, 'md5').hexdigest()}"]
        for answer in answers:
            if code != 334:
                break
            try:
                asked = base64.b64decode(words[4:].strip() or b"")
            except ValueError:
                return 0, "334 with a challenge that is not base64"
            code, words = await self._command(_base64(answer(asked)), "****")
        return code, words

    # --- lines

    async def _quit(self) -> None:
        """Nothing depends on how a relay takes leave."""
        ignored = contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, _StoppedError)
        with ignored, self._step("quit"):
            await self._command("QUIT")

    async def _command(self, text: str, shown: str | None = None) -> tuple[int, str]:
        assert self._writer is not None  # noqa: S101 - connected
        self._transcript.add("C", shown or text, self._clock())
        self._writer.write(f"{text}\r\n".encode())
        async with asyncio.timeout(self._target.deadline):
            await self._writer.drain()
        return await self._reply()

    async def _reply(self) -> tuple[int, str]:
        """The code, and all lines of a reply as one, as Postfix's log has them."""
        assert self._reader is not None  # noqa: S101 - connected
        self._last = []
        async with asyncio.timeout(self._target.deadline):
            while len(self._last) < _MOST_LINES:
                try:
                    data = await self._reader.readuntil(b"\n")
                except asyncio.LimitOverrunError as error:
                    raise _StoppedError(Cause.OTHER, "a line that is too long") from error
                line = data.decode("utf-8", "replace").rstrip("\r\n")
                self._transcript.add("S", line, self._clock())
                self._last.append(line)
                if not (line[:3].isdecimal() and line[:3].isascii()):
                    raise _StoppedError(Cause.OTHER, f"not a reply of SMTP: {line[:100]}")
                if line[3:4] != "-":
                    return int(line[:3]), _joined(self._last)
        raise _StoppedError(Cause.OTHER, "a reply without end")

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    def _note(self, text: str) -> None:
        self._transcript.add("-", text, self._clock())


def _joined(lines: Sequence[str]) -> str:
    """A reply of several lines with its code once."""
    return " ".join([f"{lines[0][:3]} {lines[0][4:]}", *(line[4:] for line in lines[1:])])


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _context(ca_file: str, *, verify: bool) -> ssl.SSLContext:
    """A client's context; Postfix is not stricter than OpenSSL's default, so neither is this. Raises OSError."""
    state = Path(ca_file).stat().st_mtime_ns if ca_file and verify else 0
    return _made_context(ca_file, state, verify, time.time() // _CONTEXT_AGE)


@lru_cache(maxsize=8)
def _made_context(ca_file: str, _state: int, verify: bool, _age: float) -> ssl.SSLContext:
    """Reading a host's authorities takes a hundred times as long as a handshake: once an hour, or when they change."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    return context


def _chain(tls: Any) -> list[bytes]:
    """The certificates that the relay sent, in DER, its own first."""
    owner = tls if hasattr(tls, "get_unverified_chain") else getattr(tls, "_sslobj", None)
    with contextlib.suppress(AttributeError, ValueError, ssl.SSLError):
        sent = owner.get_unverified_chain() if owner is not None else None
        # Public, and in bytes, since Python 3.13.
        found = [entry if isinstance(entry, bytes) else _der(entry) for entry in sent or ()]
        if found:
            return found[:10]
    leaf = tls.getpeercert(binary_form=True)
    return [leaf] if leaf else []


def _der(certificate: Any) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.public_bytes())


def _certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    """OpenSSL's words."""
    return error.verify_message or "the certificate cannot be verified"
