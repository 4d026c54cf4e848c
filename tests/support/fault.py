"""Faults that a relay can be given: at which step, what happens, and how often."""

from dataclasses import dataclass

STEPS = (
    "greeting",  # instead of the 220 banner
    "ehlo",
    "starttls",  # instead of the 220 to STARTTLS
    "handshake",  # after the 220 to STARTTLS, or at once with implicit TLS
    "auth",  # once the credentials have been received
    "mail",
    "rcpt",
    "data",  # instead of the 354
    "body",  # after the 354
    "end_of_data",  # instead of the 250 that accepts the message
    "quit",
)
ACTIONS = (
    "reply",  # send `reply`; a 421, and any reply instead of the greeting, closes the connection
    "cut",  # close the connection without a reply
    "hang",  # send nothing for `seconds`, or until switched off, then cut
    "delay",  # send nothing for `seconds`, then continue normally
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault.

    Attributes:
        step: one of `STEPS`.
        action: one of `ACTIONS`.
        reply: lines separated by line feeds, each with its code.
        seconds: how long a hang or a delay lasts.
        times: how often the fault acts; None: always.
        only: text that a command's argument must contain, such as a recipient's address.
    """

    step: str
    action: str = "reply"
    reply: str | bytes = "451 4.3.0 Try again later"
    seconds: float | None = None
    times: int | None = None
    only: str | None = None

    def __post_init__(self) -> None:
        if self.step not in STEPS:
            raise ValueError(f"step: {self.step!r} is unknown; must be one of {', '.join(STEPS)}")
        if self.action not in ACTIONS:
            raise ValueError(f"action: {self.action!r} is unknown; must be one of {', '.join(ACTIONS)}")
        if self.action == "delay" and self.seconds is None:
            raise ValueError("seconds: is required for a delay")
        if self.action == "reply" and self.step in ("handshake", "body"):
            raise ValueError(f"action: must be cut, hang or delay at the step {self.step!r}")

    @property
    def reply_bytes(self) -> bytes:
        """The reply as SMTP sends it, without the last line end."""
        raw = self.reply if isinstance(self.reply, bytes) else self.reply.encode()
        return b"\r\n".join(line.rstrip(b"\r") for line in raw.strip(b"\r\n").split(b"\n"))

    @property
    def closes(self) -> bool:
        """True if SMTP closes the connection after the reply."""
        return self.step == "greeting" or self.reply_bytes.startswith(b"421")
