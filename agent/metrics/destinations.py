"""The operator of a recipient's mail server, for mail that no relay takes: a closed set of labels.

A host that delivers directly is accepted or blocked by each large operator for itself, so its counts are kept by operator.
The name of the server decides, since most domains there are customers' own. Sources: the operators' documentation of MX
records, as of November 2026.
"""

from collections.abc import Mapping
from typing import Final

OTHER: Final = "other"
# Domain of a mail server, or of an operator's own mailboxes → operator.
_OPERATORS: Final[Mapping[str, str]] = {
    "google.com": "google",
    "googlemail.com": "google",
    "gmail.com": "google",
    "outlook.com": "microsoft",
    "hotmail.com": "microsoft",
    "live.com": "microsoft",
    "office365.us": "microsoft",
    "mx.microsoft": "microsoft",
    "yahoodns.net": "yahoo",
    "yahoo.com": "yahoo",
    "aol.com": "yahoo",
    "icloud.com": "apple",
    "me.com": "apple",
    "qq.com": "tencent",
    "exmail.qq.com": "tencent",
    "netease.com": "netease",
    "163.com": "netease",
    "126.com": "netease",
    "mxhichina.com": "aliyun",
    "aliyun.com": "aliyun",
    "yandex.ru": "yandex",
    "yandex.net": "yandex",
    "mail.ru": "mailru",
    "gmx.net": "gmx",
    "web.de": "gmx",
    "kundenserver.de": "ionos",
    "t-online.de": "telekom",
    "zoho.com": "zoho",
    "zoho.eu": "zoho",
    "protonmail.ch": "proton",
    "messagingengine.com": "fastmail",
    "amazonaws.com": "amazon",
    "pphosted.com": "proofpoint",
    "ppe-hosted.com": "proofpoint",
    "mimecast.com": "mimecast",
    "iphmx.com": "cisco",
    "barracudanetworks.com": "barracuda",
    "messagelabs.com": "broadcom",
}
OPERATORS: Final = (*dict.fromkeys(_OPERATORS.values()), OTHER)


def operator_of(host: str) -> str:
    """Return the operator of a mail server, or of a domain, by its name; "other" for most."""
    labels = host.lower().rstrip(".").split(".")
    names = (".".join(labels[start:]) for start in range(max(0, len(labels) - 3), len(labels) - 1))
    return next((_OPERATORS[name] for name in names if name in _OPERATORS), OTHER)
