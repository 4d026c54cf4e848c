"""The rules of each daemon, in the order in which they are tried: a daemon's own and frequent rules first.

A daemon without an entry of its own has the rules for the libraries that every Postfix program links.
"""

from typing import Final

from postward.parsers.daemons import bounce, commands, local, master, postscreen, qmgr, smtp, smtpd
from postward.parsers.daemons.cleanup import CLEANUP, PICKUP, REWRITE
from postward.parsers.daemons.common import COMMON, MILTER
from postward.parsers.daemons.delivery import DELIVERY
from postward.parsers.daemons.tls import ESTABLISHED, TLS
from postward.parsers.grammar import DAEMONS
from postward.parsers.rules import Rule
from postward.parsers.verbose import VERBOSE

_CLIENT: Final = (DELIVERY[0], ESTABLISHED, *smtp.RULES[1:], *TLS[1:], *COMMON, smtp.ATTEMPT)
_SERVER: Final = (*smtpd.RULES, *TLS, *MILTER, *COMMON)
_QMGR: Final = (*qmgr.RULES, *COMMON)
_BOUNCE: Final = (*bounce.RULES, *DELIVERY, *COMMON)
_LOCAL: Final = (*local.RULES, *COMMON)
_SUBMISSION: Final = (*COMMON, *commands.SUBMISSION)

_OWN: Final[dict[str, tuple[Rule, ...]]] = {
    "bounce": _BOUNCE,
    "cleanup": (*CLEANUP, *MILTER, *COMMON),
    "defer": _BOUNCE,
    "discard": (*DELIVERY, *COMMON),
    "dnsblog": (*postscreen.DNSBLOG, *COMMON),
    "error": (*DELIVERY, *COMMON),
    "lmtp": _CLIENT,
    "local": _LOCAL,
    "master": (*master.RULES, *COMMON),
    "nbdb_reindexd": (*commands.REINDEX, *COMMON),
    "nqmgr": _QMGR,
    "oqmgr": _QMGR,
    "pickup": (*PICKUP, *COMMON),
    "pipe": _LOCAL,
    "postdrop": _SUBMISSION,
    "postfix": (*commands.POSTFIX, *COMMON),
    "postfix-script": (*COMMON, *commands.SCRIPT),
    "postlog": (*commands.POSTLOG, *COMMON),
    "postqueue": (*commands.POSTQUEUE, *COMMON),
    "postscreen": (*postscreen.POSTSCREEN, *COMMON),
    "postsuper": (*commands.POSTSUPER, *COMMON),
    "qmgr": _QMGR,
    "qmqpd": _SERVER,
    "relay": _CLIENT,
    "retry": (*DELIVERY, *COMMON),
    "sendmail": (commands.SUBMISSION[0], *_SUBMISSION),
    "smtp": _CLIENT,
    "smtpd": _SERVER,
    "tlsmgr": (*TLS, *COMMON),
    "tlsproxy": (*postscreen.TLSPROXY, *TLS, *COMMON),
    "trace": _BOUNCE,
    "trivial-rewrite": (*REWRITE, *COMMON),
    "virtual": _LOCAL,
}

TABLE: Final[dict[str, tuple[Rule, ...]]] = {
    daemon: (*_OWN.get(daemon, COMMON), *VERBOSE) for daemon in sorted(DAEMONS)
}
