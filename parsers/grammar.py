"""Fragments of regular expressions that the rules of several daemons share, with the source that prints them.

They find tokens and do not validate them again. Every repetition that could backtrack is possessive, or ends at
a character that it cannot contain. So the time of a match grows linearly with the length of the line, even for
text that a remote server or client wrote.
"""

from typing import Final


def until(char: str, ahead: str) -> str:
    """Return a pattern for all text before the first ``char`` followed by ``ahead``; it never backtracks."""
    return rf"[^{char}]*+(?:{char}(?!{ahead})[^{char}]*+)*+"


# The process names of Postfix in syslog tags.
DAEMONS: Final = frozenset(
    {
        # Services of master.cf, and master itself.
        "anvil",
        "bounce",
        "cleanup",
        "defer",
        "discard",
        "dnsblog",
        "error",
        "flush",
        "lmtp",
        "local",
        "master",
        "nbdb_reindexd",
        "nqmgr",
        "oqmgr",
        "pickup",
        "pipe",
        "postlogd",
        "postscreen",
        "proxymap",
        "proxywrite",
        "qmgr",
        "qmqpd",
        "relay",
        "retry",
        "scache",
        "showq",
        "smtp",
        "smtpd",
        "spawn",
        "tlsmgr",
        "tlsproxy",
        "trace",
        "trivial-rewrite",
        "verify",
        "virtual",
        # Commands.
        "postalias",
        "postcat",
        "postconf",
        "postdrop",
        "postfix",
        "postkick",
        "postlock",
        "postlog",
        "postmap",
        "postmulti",
        "postqueue",
        "postsuper",
        "posttls-finger",
        "sendmail",
        # Shell scripts.
        "post-install",
        "postfix-files",
        "postfix-script",
        "postfix-tls-script",
        "postfix-wrapper",
    }
)

# global/mail_queue.h: upper-case hexadecimal, or base 52 without vowels. The pattern accepts more, because
# anonymised logs hold other queue IDs.
QUEUE_ID: Final = r"[0-9A-Za-z]++"
# For rules that match any text: "localhost: ..." must not be taken for a queue ID.
STRICT_QUEUE_ID: Final = r"(?:[0-9A-Z]{5,}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{15,})"

# global/info_log_addr_form.c, external form (3.5 and later): the local part is quoted where necessary, so
# ">", "<" and "\" occur only inside quotes. An unclosed quote or bracket ends the match at once. So the attempts
# to match the addresses of one line never overlap.
ADDRESS: Final = r'[^"<>\[\\]*+(?:(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|\[[^\]<]*+\])[^"<>\[\\]*+)*+'

# smtp/smtp_session.c namaddrport: host[address]:port; util/host_port.c.
PEER: Final = r"[^\s\[\]]*+\[[^\]\s]*+\](?::[\w-]++)?"
# smtpd/smtpd_peer.c namaddr: host[address]; postscreen/postscreen.c: [address]:port.
CLIENT: Final = r"[^\s\[\]]*+\[[^\]\s]*+\](?::[0-9]++)?"

# global/log_adhoc.c: the text ends at the last parenthesis of the line, which a truncated line does not have.
REASON: Final = r"\((?P<reason>.*(?=\)\Z)|.*)\)?"

# smtpd/smtpd_check.c log_whatsup, cleanup/cleanup_milter.c: the fields after the text of a reject; postscreen/
# postscreen_smtpd.c separates them by commas. smtpd replaces "<", ">" and the like in HELO names (smtpd/smtpd.c).
AFTER_TEXT: Final = r" (?:from=<|to=<|proto=|helo=<|sasl_\w+=)|\Z"
ENVELOPE: Final = (
    rf"(?: from=<(?P<from_>{ADDRESS})>)?(?:,? to=<(?P<to>{ADDRESS})>)?(?:,? proto=(?P<proto>[^\s,:]*+))?"
    r"(?:,? helo=<(?P<helo>[^<>]*+)>)?"
)
SASL_FIELDS: Final = (
    r"(?: sasl_method=(?P<sasl_method>\S*+))?"
    r"(?: sasl_username=<?(?P<sasl_username>[^ <>]*+(?: (?!sasl_sender=)[^ <>]*+)*+)>?)?"
    r"(?: sasl_sender=(?P<sasl_sender>[^<>]*+))?"
)

# Table types that Postfix can be built with (util/dict_open.c). Without the list, "HOST: text" would match as a table.
TABLE_TYPE: Final = (
    r"(?:btree|cdb|cidr|dbm|debug|environ|fail|hash|inline|internal|ldap|lmdb|memcache|mongodb|mysql|netinfo|nis|nisplus"
    r"|pcre|pgsql|pipemap|proxy|randmap|regexp|sdbm|socketmap|sqlite|static|tcp|texthash|unionmap|unix)"
)
