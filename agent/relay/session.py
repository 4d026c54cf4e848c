"""An SMTP session (RFC 5321, 4.2): commands out, replies in, and a transcript of both without secrets.

Promise: every line has a timeout; lines, replies and the transcript are bounded. No secret that was named (`hide`), nor
its base64, is in the transcript, also where the server repeats it; control characters are replaced.

How it fails: SessionError for replies that are not SMTP, TimeoutError past a timeout, and OSError, IncompleteReadError
or ssl.SSLError where the connection is lost.
"""

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from postward.parsers import Cause
from postward.parsers.scrub import MASK, printable

_MAX_LINE = 4096  # bytes
_MAX_REPLY_LINES = 100
_MAX_TRANSCRIPT_LINES = 200
_MAX_TRANSCRIPT_LINE = 500  # characters


class SessionError(Exception):
    """The session cannot go on; the text is the server's reply or the reason."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(
    address: str,
    port: int,
    timeout: float,  # noqa: ASYNC109 -- as open_connection
    source: str = "",
) -> Streams:
    """Connect to an address, or to a Unix socket if it is a path. Raises TimeoutError or OSError.

    Args:
        address: the address, or the path.
        port: the port.
        timeout: seconds.
        source: the address from which to connect; "" for the system's choice.
    """
    async with asyncio.timeout(timeout):
        if address.startswith("/"):
            return await asyncio.open_unix_connection(address, limit=_MAX_LINE)
        local = (source, 0) if source else None
        return await asyncio.open_connection(address, port, limit=_MAX_LINE, local_addr=local)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a transcript.

    Attributes:
        seconds: since the beginning.
        by: "C" for the client, "S" for the server, "-" for a remark.
        text: the line, without secrets.
    """

    seconds: float
    by: str
    text: str


@dataclass(slots=True)
class Transcript:
    """The lines of a session in their order. Pure: the time is an argument."""

    started: float
    lines: list[Line] = field(default_factory=list)
    _secrets: set[str] = field(default_factory=set, repr=False)

    def hide(self, *secrets: str) -> None:
        """Mask these texts, and their base64, from now on."""
        for secret in filter(None, secrets):
            self._secrets |= {secret, base64.b64encode(secret.encode()).decode()}

    def add(self, by: str, text: str, now: float) -> None:
        """Add a line, unless the transcript is full."""
        if len(self.lines) < _MAX_TRANSCRIPT_LINES:
            self.lines.append(Line(max(0.0, now - self.started), by, self.masked(text)))

    def masked(self, text: str) -> str:
        """Return a text without secrets and control characters, and shortened."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        text = printable(text)
        return text if len(text) <= _MAX_TRANSCRIPT_LINE else f"{text[:_MAX_TRANSCRIPT_LINE]}…"


class SmtpSession:
    """Commands and replies over a connection, and over the connection that replaces it.

    Args:
        clock: monotonic seconds.
        timeout: seconds a line.

    Attributes:
        transcript: all lines of all connections.
        last: the lines of the last reply.
    """

    def __init__(self, clock: Callable[[], float], timeout: float) -> None:
        self._clock = clock
        self._timeout = timeout
        self.transcript = Transcript(clock())
        self.last: list[str] = []
        self._streams: Streams | None = None

    def use(self, streams: Streams) -> None:
        """Go on over this connection."""
        self._streams = streams

    @property
    def _reader(self) -> asyncio.StreamReader:
        assert self._streams is not None, "not connected"  # noqa: S101 -- the order of the steps
        return self._streams[0]

    @property
    def _writer(self) -> asyncio.StreamWriter:
        assert self._streams is not None, "not connected"  # noqa: S101 -- the order of the steps
        return self._streams[1]

    @property
    def peer_address(self) -> str:
        """The server's address."""
        return str(self._writer.get_extra_info("peername")[0])

    async def command(self, text: str, shown: str | None = None) -> tuple[int, str]:
        """Send a command and return its reply. The transcript shows `shown` in place of a command with a secret."""
        self.transcript.add("C", shown or text, self._clock())
        self._writer.write(f"{text}\r\n".encode())
        async with asyncio.timeout(self._timeout):
            await self._writer.drain()
        return await self.reply()

    async def data(self, message: bytes) -> tuple[int, str]:
        """Send a mail after a 354, and return the reply. Lines that begin with a dot get another (RFC 5321, 4.5.2)."""
        self.transcript.add("C", f"a mail of {len(message)} bytes", self._clock())
        dotted = re.sub(rb"^\.", b"..", message, flags=re.MULTILINE)
        self._writer.write(dotted + (b"" if dotted.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        async with asyncio.timeout(self._timeout):
            await self._writer.drain()
        return await self.reply()

    async def reply(self) -> tuple[int, str]:
        """Return the code, and all lines of a reply joined as in Postfix's log."""
        self.last = []
        async with asyncio.timeout(self._timeout):
            while len(self.last) < _MAX_REPLY_LINES:
                try:
                    data = await self._reader.readuntil(b"\n")
                except asyncio.LimitOverrunError as error:
                    raise SessionError(Cause.OTHER, "a line that is too long") from error
                line = data.decode("utf-8", "replace").rstrip("\r\n")
                self.transcript.add("S", line, self._clock())
                self.last.append(line)
                if not (line[:3].isdecimal() and line[:3].isascii()):
                    raise SessionError(Cause.OTHER, f"not an SMTP reply: {line[:100]}")
                if line[3:4] != "-":
                    return int(line[:3]), _joined(self.last)
        raise SessionError(Cause.OTHER, f"a reply of more than {_MAX_REPLY_LINES} lines")

    async def reject_early_data(self) -> None:
        """Reject plaintext after the 220: it would be read as if sent under TLS (response injection)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                if await self._reader.read(1):
                    raise SessionError(Cause.TLS_HANDSHAKE, "the relay sent more than its 220 before TLS")
                raise ConnectionResetError

    async def start_tls(self, context: ssl.SSLContext, host: str) -> ssl.SSLObject:
        """Encrypt from here on. Raises ssl.SSLCertVerificationError for an invalid certificate."""
        try:
            await self._writer.start_tls(context, server_hostname=host, ssl_handshake_timeout=self._timeout)
        except ssl.SSLCertVerificationError:
            raise
        except (ssl.SSLError, ConnectionError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise SessionError(
                Cause.TLS_HANDSHAKE, f"the handshake failed: {str(reason).replace('_', ' ').lower()}"
            ) from error
        tls: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return tls

    def close(self) -> None:
        """Cut the connection, if there is one."""
        if self._streams is not None:
            self._writer.transport.abort()
            self._streams = None

    def note(self, text: str) -> None:
        """Add a remark to the transcript."""
        self.transcript.add("-", text, self._clock())


def _joined(lines: Sequence[str]) -> str:
    """Join the lines of a reply, with its code once."""
    return " ".join([f"{lines[0][:3]} {lines[0][4:]}", *(line[4:] for line in lines[1:])])
