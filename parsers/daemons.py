"""Which rules serve which daemon: one literal table, frequent rules first."""

from typing import Final

from parsers import bounce, cleanup, master, pickup, qmgr, smtp, smtpd
from parsers.delivery import DELIVERY
from parsers.rules import Rule
from parsers.tls import TLS

TABLE: Final[dict[str, tuple[Rule, ...]]] = {
    "bounce": bounce.RULES,
    "cleanup": cleanup.RULES,
    "error": DELIVERY,
    "retry": DELIVERY,
    "local": DELIVERY,
    "virtual": DELIVERY,
    "pipe": DELIVERY,
    "discard": DELIVERY,
    "lmtp": (*smtp.RULES, *TLS),
    "master": master.RULES,
    "pickup": pickup.RULES,
    "qmgr": qmgr.RULES,
    "smtp": (*TLS, *smtp.RULES),
    "smtpd": (*smtpd.RULES, *TLS),
}
