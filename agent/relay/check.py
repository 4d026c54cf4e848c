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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from postward.agent.relay.session import SmtpSession, StoppedError, Streams, connected
from postward.agent.relay.target import Target
from postward.agent.relay.tls import certificate_problem, client_context, sent_chain
from postward.agent.relay.transcript import Line
from postward.agent.relay.x509 import Certificate, parse_certificate
from postward.parsers import Cause, classify

_LOOKUPS = 32  # names looked up at once: a resolver that hangs must not hold the others
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


async def check_relay(target: Target, clock: Callable[[], float] = time.monotonic) -> RelayCheck:
    """Talk to a relay."""
    return await _Conversation(target, clock).run()


class _Conversation:
    def __init__(self, target: Target, clock: Callable[[], float]) -> None:
        self._target = target
        self._clock = clock
        self._wire = SmtpSession(clock, target.deadline)
        if target.password:
            self._wire.transcript.hide(target.password, f"\0{target.username}\0{target.password}")
        self._result = RelayCheck(target.relay, target.host, target.port, target.tls)
        self._verify = True
        self._at = "dns"
        self._first: dict[socket.AddressFamily, str] = {}
        self._order: list[socket.AddressFamily] = []

    async def run(self) -> RelayCheck:
        result = self._result
        try:
            await self._look_up()
            address = await self._connect_all()
            await self._to_login(address)
            await self._log_in()
            await self._quit()
        except StoppedError as stop:
            result.step, result.cause = self._at, stop.cause
            result.words = self._wire.transcript.masked(str(stop))
        except TimeoutError:
            result.step, result.cause = self._at, Cause.TIMEOUT
            result.words = f"no answer within {self._target.deadline:.0f} s"
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError) as error:
            result.step, result.cause = self._at, Cause.LOST
            result.words = self._wire.transcript.masked(f"the connection was lost ({type(error).__name__})")
        except OSError as error:
            result.step, result.cause = self._at, Cause.UNREACHABLE
            result.words = self._wire.transcript.masked(error.strerror or str(error))
        finally:
            self._wire.hang_up()
        if not result.ok:
            self._wire.note(f"stopped at {result.step}: {result.words}")
        result.transcript = self._wire.transcript.lines
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
                raise StoppedError(Cause.DNS, f"{target.host}: {words}") from error
            except TimeoutError as error:
                raise StoppedError(Cause.DNS, f"{target.host}: the resolver does not answer") from error
            pairs: list[tuple[socket.AddressFamily, str]] = [
                (entry[0], str(entry[4][0])) for entry in found if entry[0] in target.families
            ]
            self._result.addresses = [address for _, address in dict.fromkeys(pairs)][:64]
            if not pairs:
                raise StoppedError(Cause.DNS, f"{target.host}: no address of a family that is in use")
            self._first = dict(reversed(pairs))
            self._order = list(dict.fromkeys(family for family, _ in pairs))
        self._wire.note(f"{target.host} is {', '.join(self._result.addresses[:8])}")

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
                self._wire.note(
                    f"connect to [{attempt.address}]:{self._target.port}: {attempt.error or 'connected'}"
                )
            if chosen is None:
                first = self._result.attempts[0]
                words = f"connect to {self._target.host}[{first.address}]:{self._target.port}: {first.error}"
                raise StoppedError(classify(words), words)
            self._wire.use(chosen)
            return self._wire.peer_address

    async def _try(self, family: socket.AddressFamily) -> tuple[Attempt, Streams | None]:
        address, began = self._first[family], self._clock()
        error = None
        pair = None
        try:
            pair = await connected(address, self._target.port, self._target.deadline)
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
            self._result.problem = certificate_problem(error)
            self._wire.note(
                f"certificate: {self._result.problem}; once more, without verification, to read it"
            )
            self._wire.hang_up()
            self._verify = False
            self._at = "connect"
            self._wire.use(await connected(address, self._target.port, self._target.deadline))
            await self._greet_and_encrypt(again=True)
        if self._result.problem and self._target.verify:
            self._at = "certificate"
            raise StoppedError(Cause.TLS_VERIFY, self._result.problem)

    async def _greet_and_encrypt(self, *, again: bool) -> None:
        target, result = self._target, self._result
        if target.tls == "implicit":
            await self._start_tls(again)
        with self._step("greeting", again=again):
            code, words = await self._wire.reply()
            if code != 220:
                raise StoppedError(classify(f"host {target.host} refused to talk to me: {words}"), words)
        await self._ehlo(again)
        offered = "STARTTLS" in result.capabilities
        if target.tls != "implicit":
            result.starttls = offered
        if target.tls == "starttls" and not offered:
            self._at = "tls"
            raise StoppedError(Cause.TLS_NOT_OFFERED, "STARTTLS is not offered")
        if target.tls in {"starttls", "opportunistic"} and offered:
            self._at = "tls"
            code, words = await self._wire.command("STARTTLS")
            if code != 220:
                raise StoppedError(Cause.TLS_NOT_OFFERED, words)
            await self._wire.reject_early_data()
            await self._start_tls(again)
            await self._ehlo(again=True)

    async def _start_tls(self, again: bool) -> None:
        with self._step("tls", again=again):
            try:
                context = client_context(self._target.ca_file, verify=self._verify)
            except OSError as error:
                raise StoppedError(Cause.LOCAL_CONFIG, f"relay.ca_file: {error}") from error
            self._look_at_tls(await self._wire.start_tls(context, self._target.host))

    def _look_at_tls(self, tls: ssl.SSLObject) -> None:
        result = self._result
        result.tls_version = tls.version()
        result.cipher = (tls.cipher() or ("", "", 0))[0]
        for der in sent_chain(tls):
            with contextlib.suppress(ValueError):
                result.chain.append(parse_certificate(der))
        result.certificate = result.chain[0] if result.chain else None
        self._wire.note(f"TLS: {result.tls_version} {result.cipher}")
        if result.certificate:
            leaf = result.certificate
            until = time.strftime("%Y-%m-%d", time.gmtime(leaf.not_after))
            self._wire.note(
                f"certificate: {leaf.subject or ', '.join(leaf.names[:3])}; by {leaf.issuer}; until {until}"
            )

    async def _ehlo(self, again: bool) -> None:
        with self._step("ehlo", again=again):
            code, words = await self._wire.command(f"EHLO {self._target.helo}")
            if code != 250:
                raise StoppedError(
                    classify(f"host {self._target.host} said: {words} (in reply to EHLO command)"), words
                )
        capabilities = [line[4:].strip() for line in self._wire.last[1:]]
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
            raise StoppedError(Cause.AUTH_MECHANISM, f"no common mechanism; offered: {offered}")
        with self._step("auth"):
            code, words = await self._authenticate(mechanism, target.username, target.password)
        result.auth_words = self._wire.transcript.masked(words)
        if code == 235:
            result.auth = "accepted"
            return
        cause = classify(f"SASL authentication failed; server {target.host} said: {words}")
        if cause is Cause.AUTH_REJECTED:
            result.auth = "rejected"
        raise StoppedError(cause, words)

    async def _authenticate(self, mechanism: str, username: str, password: str) -> tuple[int, str]:
        if mechanism == "PLAIN":
            return await self._wire.command(
                f"AUTH PLAIN {_base64(f'{chr(0)}{username}{chr(0)}{password}')}", "AUTH PLAIN ****"
            )
        code, words = await self._wire.command(f"AUTH {mechanism}")
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
            code, words = await self._wire.command(_base64(answer(asked)), "****")
        return code, words

    # --- lines

    async def _quit(self) -> None:
        """Nothing depends on how a relay takes leave."""
        ignored = contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, StoppedError)
        with ignored, self._step("quit"):
            await self._wire.command("QUIT")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
