"""Patterns that scan a block of lines at once, from narrower forms of the fragments in `grammar.py`.

`block_pattern` matches each line that needs counting and skips the others inside the match of the next. The fragments name
their groups; the last group of each is the name of the kind.

Each fragment matches a subset of its rule: plain addresses, instances whose name starts with "postfix", no text that a
remote host chooses freely, and no line end. The rules handle the remaining lines. `(?:part|)` stands for `(?:part)?`; it
takes half as long.
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
    """Match host[address]:port, with the groups `{of}_host` and `{of}_port`."""
    return rf"(?P<{of}_host>[0-9A-Za-z._-]++)\[[0-9A-Fa-f.:]++\]:(?P<{of}_port>[0-9]{{1,5}})"


# Lines that need no counting, and "removed", which is counted by its suffix. No other pattern here may end in it.
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
    """Return the pattern that scans a block.

    All lines of a match have one host and instance, in groups of these names. The stamp of the match's last line is in
    `stamp2`, or in `stamp1` without `stamp2`. Kinds besides those of the fragments: `rest`, another line of
    Postfix, and `strange`, any other line. Both are left to the rules.

    Args:
        plain: lines to skip; their groups are dropped.
        counted: lines to stop at.
    """
    plain = re.sub(r"\(\?P<[a-z_]+>", "(?:", plain)
    return re.compile(
        rf"(?P<stamp1>{_STAMP})(?P<origin> (?P<host>[^ \n]++) (?P<instance>{_INSTANCE})/)"
        rf"(?:(?:{plain})(?P<stamp2>{_STAMP})(?P=origin))*+"
        rf"(?:{'|'.join(counted)}|{plain}|(?P<rest>.*)\n)|(?P<strange>.*)\n"
    )
