"""Fragments that the patterns of several daemons share, each after the function that prints it.

They find tokens; they do not validate what Postfix has already validated. Every repetition that could give
characters back is possessive or bounded by a character that cannot be in it, so the time a pattern takes
grows with the line's length and no faster, whatever a stranger writes.
"""

from typing import Final


def until(char: str, ahead: str) -> str:
    """Everything up to the first ``char`` that ``ahead`` follows, whichever comes after: never given back."""
    return rf"[^{char}]*+(?:{char}(?!{ahead})[^{char}]*+)*+"


# The process names of the Postfix tree: master.cf's daemons, the commands that log, and the shell scripts.
DAEMONS: Final = frozenset({
    "anvil", "bounce", "cleanup", "defer", "discard", "dnsblog", "error", "flush", "lmtp", "local", "master",
    "nbdb_reindexd", "nqmgr", "oqmgr", "pickup", "pipe", "postalias", "postcat", "postconf", "postdrop",
    "postfix", "postfix-files", "postfix-script", "postfix-tls-script", "postfix-wrapper", "post-install",
    "postkick", "postlock", "postlog", "postlogd", "postmap", "postmulti", "postqueue", "postscreen",
    "postsuper", "posttls-finger", "proxymap", "proxywrite", "qmgr", "qmqpd", "relay", "retry", "scache",
    "sendmail", "showq", "smtp", "smtpd", "spawn", "tlsmgr", "tlsproxy", "trace", "trivial-rewrite",
    "verify", "virtual",
})  # fmt: skip

# global/mail_queue.h: upper-case hexadecimal, or base 52 without vowels. Looser here, because Postfix has
# printed it already and anonymised logs break anything stricter.
QUEUE_ID: Final = r"[0-9A-Za-z]++"
# For rules whose text may be anything: "localhost: ..." must not pass for a queue ID.
STRICT_QUEUE_ID: Final = r"(?:[0-9A-Z]{5,}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{15,})"

# global/info_log_addr_form.c, external form (3.5 and later): the local part is quoted where it must be, so
# ">", "<" and "\" stand inside quotes only. A part that cannot be closed stops the match at once: no two tries
# at one address can overlap, however many a line holds.
ADDRESS: Final = r'[^"<>\[\\]*+(?:(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|\[[^\]<]*+\])[^"<>\[\\]*+)*+'

# smtp/smtp_session.c namaddrport: host[address]:port; util/host_port.c.
PEER: Final = r"[^\s\[\]]*+\[[^\]\s]*+\](?::[\w-]++)?"
# smtpd/smtpd_peer.c namaddr: host[address]; postscreen/postscreen.c: [address]:port.
CLIENT: Final = r"[^\s\[\]]*+\[[^\]\s]*+\](?::[0-9]++)?"

# global/log_adhoc.c: the text runs to the line's last parenthesis, which is missing where the line was cut.
REASON: Final = r"\((?P<reason>.*(?=\)\Z)|.*)\)?"

# smtpd/smtpd_check.c log_whatsup, cleanup/cleanup_milter.c: the fields after a verdict's text; postscreen/
# postscreen_smtpd.c puts commas between. HELO names of smtpd are rid of "<>; before (smtpd/smtpd.c).
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
