"""A delivery status notification as a value."""

from typing import Final, NamedTuple

# RFC 3464, 2.3.3.
ACTIONS: Final = ("failed", "delayed", "delivered", "relayed", "expanded")


class Recipient(NamedTuple):
    """The fate of one recipient.

    Attributes:
        address: the recipient; "" if the notification does not name it.
        action: one of ACTIONS.
        status: the enhanced status code (RFC 3463), as in "5.1.1"; "" if none is known.
        diagnostic: the reply or error text behind it, in one line; "" if there is none.
        remote: the server that gave it; "" if it is not named.
    """

    address: str
    action: str
    status: str = ""
    diagnostic: str = ""
    remote: str = ""

    @property
    def words(self) -> str:
        """The reason in a line: the diagnostic, or else the status."""
        return self.diagnostic or self.status or "no reason"


class Dsn(NamedTuple):
    """A notification.

    Attributes:
        message_ids: Message-IDs of the mail that it is about, with their brackets, the surest first.
        recipients: the fate of each recipient, at least one.
    """

    message_ids: tuple[str, ...]
    recipients: tuple[Recipient, ...]
