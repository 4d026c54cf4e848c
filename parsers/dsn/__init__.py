"""Delivery status notifications: the mails by which a server reports what became of a mail that it had accepted.

``may_be_dsn`` judges the header, and is cheap; ``read_dsn`` reads the mail: RFC 3464, and the servers' own formats in
prose. Pure: no input makes them raise, and time and memory are bounded by the length of the input.
"""

from postward.parsers.dsn.model import ACTIONS, Dsn, Recipient
from postward.parsers.dsn.read import DSN_FIELDS, MAX_DSN, may_be_dsn, read_dsn

__all__ = ["ACTIONS", "DSN_FIELDS", "MAX_DSN", "Dsn", "Recipient", "may_be_dsn", "read_dsn"]
