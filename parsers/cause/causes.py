"""The closed list of causes; each failed attempt has exactly one."""

from enum import StrEnum
from typing import Final


class Cause(StrEnum):
    """Why an attempt failed. The values are metric labels and names of runbooks."""

    AUTH_REJECTED = "auth_rejected"
    AUTH_REQUIRED = "auth_required"
    AUTH_MECHANISM = "auth_mechanism"
    AUTH_TEMPORARY = "auth_temporary"
    TLS_VERIFY = "tls_verify"
    TLS_HANDSHAKE = "tls_handshake"
    TLS_NOT_OFFERED = "tls_not_offered"
    TLS_REQUIRED = "tls_required"
    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    LOST = "lost"
    GREETING_REFUSED = "greeting_refused"
    HELO_REJECTED = "helo_rejected"
    BLOCKED = "blocked"
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    GREYLISTED = "greylisted"
    SENDER_REJECTED = "sender_rejected"
    RECIPIENT_REJECTED = "recipient_rejected"
    RELAY_DENIED = "relay_denied"
    POLICY = "policy"
    CONTENT = "content"
    SIZE = "size"
    LOOP = "loop"
    LOCAL_CONFIG = "local_config"
    LOCAL_RESOURCE = "local_resource"
    REMOTE_TEMPORARY = "remote_temporary"
    OTHER = "other"


# Causes that concern one mail, and say nothing of the relay.
ABOUT_ONE_MAIL: Final = frozenset({Cause.RECIPIENT_REJECTED, Cause.CONTENT, Cause.SIZE})
