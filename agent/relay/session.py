"""The lines of an SMTP conversation (RFC 5321, 4.2): commands out, replies in, all of it in the transcript.

Promise: every line has a deadline, lines and replies are bounded, and nothing that is shown holds a secret.
How it fails: `StoppedError` for what is no reply of SMTP, TimeoutError past a deadline, OSError, IncompleteReadError or
ssl.SSLError where the connection is lost.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence

from postward.agent.relay.transcript import Transcript
from postward.parsers import Cause

_LONGEST_LINE = 4096  # bytes
_MAX_LINES = 100  # of a reply


class StoppedError(Exception):
    """The conversation is over."""

    def __init__(self, cause: Cause, words: str) -> None:
        super().__init__(words)
        self.cause = cause


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(address: str, port: int, deadline: float) -> Streams:
    """A connection to an address."""
    async with asyncio.timeout(deadline):
        return await asyncio.open_connection(address, port, limit=_LONGEST_LINE)


class SmtpSession:
    """What goes over a connection, and over the one after it.

    Args:
        clock: monotonic seconds.
        deadline: seconds for each line.

    Attributes:
        transcript: all of it.
        last: the lines of the last reply.
    """

    def __init__(self, clock: Callable[[], float], deadline: float) -> None:
        self._clock = clock
        self._deadline = deadline
        self.transcript = Transcript(clock())
        self.last: list[str] = []
        self._streams: Streams | None = None

    def use(self, streams: Streams) -> None:
        """Go on over this connection."""
        self._streams = streams

    @property
    def _reader(self) -> asyncio.StreamReader:
        assert self._streams is not None, "not connected"  # noqa: S101 - the conversation's order
        return self._streams[0]

    @property
    def _writer(self) -> asyncio.StreamWriter:
        assert self._streams is not None, "not connected"  # noqa: S101 - the conversation's order
        return self._streams[1]

    @property
    def peer_address(self) -> str:
        """Of the other side."""
        return str(self._writer.get_extra_info("peername")[0])

    async def command(self, text: str, shown: str | None = None) -> tuple[int, str]:
        """Send a command, and give its reply. The transcript has what is to be shown instead of it."""
        self.transcript.add("C", shown or text, self._clock())
        self._writer.write(f"{text}\r\n".encode())
        async with asyncio.timeout(self._deadline):
            await self._writer.drain()
        return await self.reply()

    async def reply(self) -> tuple[int, str]:
        """The code, and all lines of a reply as one, as Postfix's log has them."""
        self.last = []
        async with asyncio.timeout(self._deadline):
            while len(self.last) < _MAX_LINES:
                try:
                    data = await self._reader.readuntil(b"\n")
                except asyncio.LimitOverrunError as error:
                    raise StoppedError(Cause.OTHER, "a line that is too long") from error
                line = data.decode("utf-8", "replace").rstrip("\r\n")
                self.transcript.add("S", line, self._clock())
                self.last.append(line)
                if not (line[:3].isdecimal() and line[:3].isascii()):
                    raise StoppedError(Cause.OTHER, f"not a reply of SMTP: {line[:100]}")
                if line[3:4] != "-":
                    return int(line[:3]), _joined(self.last)
        raise StoppedError(Cause.OTHER, "a reply without end")

    async def reject_early_data(self) -> None:
        """Text before the handshake would be taken for what the relay said under TLS."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                if await self._reader.read(1):
                    raise StoppedError(Cause.TLS_HANDSHAKE, "the relay said more before TLS than its 220")
                raise ConnectionResetError

    async def start_tls(self, context: ssl.SSLContext, host: str) -> ssl.SSLObject:
        """Encrypt from here on. A certificate that is not valid raises ssl.SSLCertVerificationError."""
        try:
            await self._writer.start_tls(context, server_hostname=host, ssl_handshake_timeout=self._deadline)
        except ssl.SSLCertVerificationError:
            raise
        except (ssl.SSLError, ConnectionError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise StoppedError(
                Cause.TLS_HANDSHAKE, f"the handshake failed: {str(reason).replace('_', ' ').lower()}"
            ) from error
        tls: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return tls

    def hang_up(self) -> None:
        """End the connection, if there is one."""
        if self._streams is not None:
            self._writer.transport.abort()
            self._streams = None

    def note(self, text: str) -> None:
        """What is worth knowing and was not said."""
        self.transcript.add("-", text, self._clock())


def _joined(lines: Sequence[str]) -> str:
    """A reply of several lines with its code once."""
    return " ".join([f"{lines[0][:3]} {lines[0][4:]}", *(line[4:] for line in lines[1:])])
