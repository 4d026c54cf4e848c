"""Patterns that walk over a block of lines at once, made of narrow forms of what `grammar.py` finds.

`block_pattern` gives a match for each line that counts for more than a line, and passes over the others inside the match
of the next. The pieces name their groups; the last group of each is the kind's name.

Promise: each piece matches less than the rules do, never more: plain addresses, instances that begin as Postfix's do, nothing
that a stranger could write, and nothing beyond the end of a line. What they leave out is for the rules. Where a part may
be missing, ``(?:part|)`` is meant as ``(?:part)?`` and takes half as long.
"""

import re
from typing import Final

_INSTANCE: Final = r"postfix[^ /\[\]:\n]*+(?:/[^ /\[\]:\n]++(?=/))?+"
_STAMP: Final = r"[A-Z][a-z]{2} .{11}|[0-9]{4}-[0-9][^ \n]++"
_PID: Final = r"\[[0-9]{1,10}\]: "
_QUEUE_ID: Final = r"[0-9A-Z][0-9A-Za-z]*+"  # a severity label ("warning: ") begins with a small letter
_CLIENT: Final = r"[0-9A-Za-z._-]++\[[0-9A-Fa-f.:]++\]"
_SECONDS: Final = r"[0-9.]{1,18}+"
_ALGORITHM: Final = r"[!-'*-~]++(?: \([ -'*-~]*+\)|)"
ADDRESS: Final = r'[^<>"\[\\ \n]*+'


def _peer(of: str) -> str:
    """A server as in host[address]:port, of which host and port are groups of this name."""
    return rf"(?P<{of}_host>[0-9A-Za-z._-]++)\[[0-9A-Fa-f.:]++\]:(?P<{of}_port>[0-9]{{1,5}})"


# Lines that count for nothing else, and "removed", which is counted by how it ends: so none of the others may end so.
PLAIN: Final = (
    rf"smtpd{_PID}(?:connect from {_CLIENT}|disconnect from {_CLIENT}(?: [a-z_0-9=/ ]*+|))\n"
    rf"|cleanup{_PID}{_QUEUE_ID}: message-id=.*(?<!: removed)\n"
    rf"|qmgr{_PID}{_QUEUE_ID}: removed\n"
)
REMOVED: Final = ": removed\n"

# smtpd/smtpd.c, pickup/pickup.c, bounce/bounce_notify_service.c: the queue ID.
RECEIVED: Final = (
    rf"smtpd{_PID}(?P<client>{_QUEUE_ID}): client={_CLIENT}\n"
    rf"|pickup{_PID}(?P<uid>{_QUEUE_ID}): uid=[0-9]++ from=<{ADDRESS}>\n"
    rf"|bounce{_PID}(?P<bounce>{_QUEUE_ID}): sender non-delivery notification: [0-9A-Za-z]++\n"
)
# tls/tls_misc.c: the groups trust, tls_host, tls_port and tls, the protocol.
TLS_SESSION: Final = (
    rf"smtp{_PID}(?P<trust>[A-Z][a-z]++) TLS connection established to {_peer('tls')}: "
    r"(?P<tls>TLSv1(?:\.[123]|)) with cipher [!-~]++ \([0-9]++/[0-9]++ bits\)"
    rf"(?: key-exchange {_ALGORITHM}|)(?: server-signature {_ALGORITHM}|)(?: server-digest [!-~]++|)\n"
)


def queue_active(sender: str = ADDRESS) -> str:
    """qmgr/qmgr_active.c: the groups active_id, size and active, the number of recipients."""
    return (
        rf"qmgr{_PID}(?P<active_id>{_QUEUE_ID}): from=<{sender}>, size=(?P<size>[0-9]{{1,18}}), "
        r"nrcpt=(?P<active>[0-9]++) \(queue active\)\n"
    )


def delivery(recipient: str = ADDRESS) -> str:
    """global/log_adhoc.c: the groups queue_id, relay_host, relay_port, delay, a, b, c, d, dsn, status and reason."""
    return (
        rf"smtp{_PID}(?P<queue_id>{_QUEUE_ID}): to=<{recipient}>(?:, orig_to=<{ADDRESS}>|), relay={_peer('relay')}"
        rf"(?:, conn_use=[0-9]++|), delay=(?P<delay>{_SECONDS}), delays=(?P<a>{_SECONDS})/(?P<b>{_SECONDS})"
        rf"/(?P<c>{_SECONDS})/(?P<d>{_SECONDS})(?:, tls=[!-+.-~]++|), dsn=(?P<dsn>[0-9.]++), status=(?P<status>sent|deferred|bounced)"
        r" \((?!forwarded as )(?P<reason>.*+)(?<=\))\n"
    )


def block_pattern(plain: str, *counted: str) -> re.Pattern[str]:
    """The pattern that walks over a block.

    The lines of a match are all of one host and instance, and groups of these names; stamp2, if there is one, is the stamp of the
    match's last line, else stamp1 is. Kinds besides those of the pieces: ``rest``, a line of Postfix that no piece
    knows, and ``strange``, any other; both are for the rules.

    Args:
        plain: lines to pass over; their groups are not kept.
        counted: lines to stop at.
    """
    plain = re.sub(r"\(\?P<[a-z_]+>", "(?:", plain)
    return re.compile(
        rf"(?P<stamp1>{_STAMP})(?P<origin> (?P<host>[^ \n]++) (?P<instance>{_INSTANCE})/)"
        rf"(?:(?:{plain})(?P<stamp2>{_STAMP})(?P=origin))*+"
        rf"(?:{'|'.join(counted)}|{plain}|(?P<rest>.*)\n)|(?P<strange>.*)\n"
    )
