"""Narrow forms of what `grammar.py` finds, for patterns that walk over a whole block of lines at once.

Promise: each matches less than the rules do, never more: plain addresses, instances that begin as Postfix's do, nothing that a
stranger could write, and nothing beyond the end of a line. What they leave out is for the rules. Where a part may be missing,
``(?:part|)`` is meant as ``(?:part)?`` and takes half as long.
"""

from typing import Final

INSTANCE: Final = r"postfix[^ /\[\]:\n]*+(?:/[^ /\[\]:\n]++(?=/))?+"
PID: Final = r"\[[0-9]{1,10}\]: "
QUEUE_ID: Final = r"[0-9A-Z][0-9A-Za-z]*+"  # a severity label ("warning: ") begins with a small letter
ADDRESS: Final = r'[^<>"\[\\ \n]*+'
CLIENT: Final = r"[0-9A-Za-z._-]++\[[0-9A-Fa-f.:]++\]"
SECONDS: Final = r"[0-9]{1,8}+\.?+[0-9]{0,9}+"
# log_adhoc.c: the groups delay, a, b, c, d, dsn and status.
DELAYS: Final = (
    rf"(?:, conn_use=[0-9]++|), delay=(?P<delay>{SECONDS}), delays=(?P<a>{SECONDS})/(?P<b>{SECONDS})"
    rf"/(?P<c>{SECONDS})/(?P<d>{SECONDS}), dsn=(?P<dsn>[0-9.]++), status=(?P<status>sent|deferred|bounced)"
)
_ALGORITHM: Final = r"[!-'*-~]++(?: \([ -'*-~]*+\)|)"


def peer(of: str) -> str:
    """A server as in host[address]:port, of which host and port are groups of this name."""
    return rf"(?P<{of}_host>[0-9A-Za-z._-]++)\[[0-9A-Fa-f.:]++\]:(?P<{of}_port>[0-9]{{1,5}})"


# tls_misc.c: the groups trust, tls_host, tls_port and tls, the protocol.
TLS_SESSION: Final = (
    rf"smtp{PID}(?P<trust>[A-Z][a-z]++) TLS connection established to {peer('tls')}: "
    r"(?P<tls>TLSv1(?:\.[123]|)) with cipher [!-~]++ \([0-9]++/[0-9]++ bits\)"
    rf"(?: key-exchange {_ALGORITHM}|)(?: server-signature {_ALGORITHM}|)(?: server-digest [!-~]++|)\n"
)
