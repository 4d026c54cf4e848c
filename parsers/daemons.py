"""Which rules serve which daemon: one literal table, a daemon's own and frequent rules first.

A daemon that is missing here has no lines of its own beyond those that any Postfix program may log.
"""

from typing import Final

from postward.parsers import (
    bounce,
    cleanup,
    commands,
    local,
    master,
    pickup,
    postscreen,
    qmgr,
    rewrite,
    smtp,
    smtpd,
)
from postward.parsers.common import COMMON
from postward.parsers.delivery import DELIVERY
from postward.parsers.grammar import DAEMONS
from postward.parsers.milter import MILTER
from postward.parsers.rules import Rule
from postward.parsers.tls import ESTABLISHED, TLS
from postward.parsers.verbose import VERBOSE

_CLIENT: Final = (DELIVERY[0], ESTABLISHED, *smtp.RULES[1:], *TLS[1:], *COMMON, smtp.ATTEMPT)
_SERVER: Final = (*smtpd.RULES, *TLS, *MILTER, *COMMON)
_QMGR: Final = (*qmgr.RULES, *COMMON)
_BOUNCE: Final = (*bounce.RULES, *DELIVERY, *COMMON)
_LOCAL: Final = (*local.RULES, *COMMON)
_SUBMISSION: Final = (*COMMON, *commands.SUBMISSION)

_OWN: Final[dict[str, tuple[Rule, ...]]] = {
    "bounce": _BOUNCE,
    "cleanup": (*cleanup.RULES, *MILTER, *COMMON),
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
    "pickup": (*pickup.RULES, *COMMON),
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
    "sendmail": _SUBMISSION,
    "smtp": _CLIENT,
    "smtpd": _SERVER,
    "tlsmgr": (*TLS, *COMMON),
    "tlsproxy": (*postscreen.TLSPROXY, *TLS, *COMMON),
    "trace": _BOUNCE,
    "trivial-rewrite": (*rewrite.RULES, *COMMON),
    "virtual": _LOCAL,
}

TABLE: Final[dict[str, tuple[Rule, ...]]] = {
    daemon: (*_OWN.get(daemon, COMMON), *VERBOSE) for daemon in sorted(DAEMONS)
}
