"""What can be made to go wrong at a relay, as plain values: at which step, what happens, how often."""

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
    "end_of_data",  # instead of the 250 that takes responsibility
    "quit",
)
ACTIONS = (
    "reply",  # answer with `reply`; a 421, and any reply instead of the greeting, closes the connection
    "cut",  # close the connection without a word
    "hang",  # say nothing for `seconds`, or until switched off, then cut
    "delay",  # say nothing for `seconds`, then go on as if nothing had been
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. `reply` may have several lines, each complete with its code (a line feed between them).

    `times` is after how many uses the fault mends itself (None: never); `only` restricts it to commands whose
    argument contains this text, such as one recipient's address.
    """

    step: str
    action: str = "reply"
    reply: str | bytes = "451 4.3.0 Try again later"
    seconds: float | None = None
    times: int | None = None
    only: str | None = None

    def __post_init__(self) -> None:
        if self.step not in STEPS:
            raise ValueError(f"step: no such step {self.step!r}; one of {', '.join(STEPS)}")
        if self.action not in ACTIONS:
            raise ValueError(f"action: no such action {self.action!r}; one of {', '.join(ACTIONS)}")
        if self.action == "delay" and self.seconds is None:
            raise ValueError("seconds: a delay needs its length")
        if self.action == "reply" and self.step in ("handshake", "body"):
            raise ValueError(f"action: nothing can be replied at the step {self.step!r}; cut, hang or delay")

    @property
    def reply_bytes(self) -> bytes:
        raw = self.reply if isinstance(self.reply, bytes) else self.reply.encode()
        return b"\r\n".join(line.rstrip(b"\r") for line in raw.strip(b"\r\n").split(b"\n"))

    @property
    def closes(self) -> bool:
        """Tell whether the connection is over after the reply, as SMTP has it."""
        return self.step == "greeting" or self.reply_bytes.startswith(b"421")
