"""Texts of replies that say more than their codes: Postfix, Exim, qmail, Sendmail, Exchange, and large providers.

The order decides if a reply has several. `tests/corpus/provider_replies.tsv` names a source for each kind of text.
"""

import re
from functools import cache
from typing import Final, NamedTuple

from postward.parsers.cause.causes import Cause
from postward.parsers.needles import Searches, is_found, searches


class Text(NamedTuple):
    """A cause, and patterns of the texts in lower case that stand for it.

    Attributes:
        command: the only command whose replies have this meaning; "" for all.
        permanent: the only class of replies that have this meaning: True for 5xx, None for both.
    """

    cause: Cause
    patterns: tuple[str, ...]
    command: str = ""
    permanent: bool | None = None

    def matches(self, text: str, command: str, permanent: bool) -> bool:
        """Return whether a reply has one of the texts."""
        if self.command not in ("", command) or self.permanent not in (None, permanent):
            return False
        return is_found(_searches(self.patterns), text, text)


@cache
def _searches(patterns: tuple[str, ...]) -> Searches:
    return searches(map(re.compile, patterns))


_QUOTA: Final = (
    r"(?:daily|monthly) (?:\w+ ){0,4}(?:limit|quota)",
    r"(?:sending|submission|message|email|mail|account) quota",
    r"quota (?:is )?(?:exceeded|used up|reached) for (?:the )?(?:day|month|account|sender)",
    r"credits? exceeded",
    r"exceeded (?:your|the|its) (?:\w+ ){0,3}(?:quota|credits?)",
    r"over the (?:day|month)",
    r"(?:messages|e?-?mails|recipients) per day",
)

TEXTS: Final[tuple[Text, ...]] = (
    Text(
        Cause.HELO_REJECTED,
        (
            r"helo command rejected",
            r"invalid (?:helo|ehlo)",
            r"(?:helo|ehlo)(?: name| argument| host)? (?:is )?(?:invalid|not accepted|rejected|does not resolve)",
            r"bad helo",
            r"helo/ehlo",
            r"need fully-qualified hostname",
            r"try again later, closing connection\. \(ehlo\)",
        ),
    ),
    Text(
        Cause.LOOP,
        (
            r"too many hops",
            r"hop ?count exceeded",
            r"exceeded \d+ hops",
            r"(?:mail|routing|message) loop",
            r"looping message",
            r"loops back",
        ),
    ),
    Text(
        Cause.GREYLISTED,
        (
            r"gr[ea]y-?\s?list",
            r"temporarily deferred, please try again in \d+ (?:seconds|minutes)",
        ),
    ),
    # SPF, DKIM, DMARC, reverse DNS, and groups of Exchange that accept members only
    Text(
        Cause.POLICY,
        (
            r"resolver\.rst\.",
            r"(?:spf|dkim|dmarc)\b",
            r"required authentication level",
            r"ptr record",
            r"reverse (?:dns|hostname)",
            r"cannot find your hostname",
        ),
    ),
    Text(
        Cause.BLOCKED,
        (
            r"blocked using",
            r"(?:block|black|deny) ?list",
            r"spamhaus|spamcop|barracuda|sorbs|dnsbl|rbl\b",
            r"client host (?:\S+ )?(?:blocked|rejected: (?:blocked|listed))",
            r"listed (?:in|at|by|on) ",
            r"you are banned|banned (?:sending|sender|ip|host|client|address)",
            r"(?:poor|bad|low) reputation",
            r"ip (?:address )?(?:is |has been )?(?:temporarily )?blocked",
            r"ip_reputation|reputation of (?:the )?(?:sending|your)",
            r"permanently deferred",
            r"suspected spam ip",
            r"not authorized to send email directly",
        ),
    ),
    Text(
        Cause.TLS_REQUIRED,
        (
            r"must issue a starttls",
            r"starttls (?:is )?required",
            r"tls (?:is |connection )?required",
            r"requires? (?:encryption|(?:a )?(?:secure|tls|encrypted))",
            r"(?:session )?encryption (?:is )?(?:required|needed)",
        ),
    ),
    Text(
        Cause.AUTH_REQUIRED,
        (
            r"auth(?:entication)? (?:is )?(?:required|needed)",
            r"proper authentication",
            r"(?:must|need to|please|have to|should) (?:first )?(?:authenticate|log ?in\b(?! via))",
            r"need (?:ehlo and )?auth",
            r"sender address rejected: not logged in",
            r"turn (?:on )?(?:smtp )?authentication",
            r"without authentication",
            r"client (?:was )?not authenticated",
            r"(?:don't|do not|didn't|did not) authenticate",
            r"requires? (?:smtp )?auth(?:entication)?\b",
        ),
    ),
    Text(Cause.QUOTA, _QUOTA),
    Text(
        Cause.RATE_LIMIT,
        (
            r"rate.?limit",
            r"(?<!-- )throttl",
            r"too (?:much mail|fast|frequent|quickly)",
            r"too many (?:[\w-]+ ){0,3}(?:connections?|sessions?|messages?|e?-?mails?|recipients?|requests?|errors?|attempts?)",
            r"(?:concurrent|simultaneous) (?:\w+ ){0,2}(?:connections?|sessions?)",
            r"(?:frequency|sending rate|connection|message rate) (?:is )?(?:limited|limit|exceeded)",
            r"frequency of .{1,40} is limited",
            r"maximum sending rate",
            r"unusual rate",
            r"(?:unexpected|excessive) volume",
            r"(?:thread|connection|message|recipient|sending) limit",
            r"limit (?:of \d+ )?\S+ per ",
            r"slow down(?! other)",
            r"receiving mail at a rate",
            r"hourly (?:\w+ ){0,2}limit",
            r"per (?:hour|minute|second)",
            r"exceeded the rate",
            r"(?:max|maximum) messages? per connection",
            r"recipient thread limit",
        ),
    ),
    Text(
        Cause.SIZE,
        (
            r"(?:message|mail|file|attachment)(?: size)? (?:is )?too (?:big|large|long)",
            r"(?:message|mail) ?size (?:limits?|exceeds)",
            r"exceeds? (?:the )?(?:maximum |fixed )?(?:message |mail )size",
            r"exceed\w* \S+ message size limit",
            r"size (?:was |is |limit )?exceed",
            r"too much mail data",
            r"length of data content",
        ),
    ),
    Text(
        Cause.RELAY_DENIED,
        (
            r"relay(?:ing)? (?:access )?(?:is )?(?:denied|not (?:permitted|allowed)|prohibited|refused)",
            r"unable to relay",
            r"not (?:permitted|allowed) to relay|not allowed relay",
            r"denies relay",
            r"list of allowed rcpthosts",
            r"credentials for relay",
            r"(?:don't|do not) relay",
        ),
    ),
    Text(
        Cause.SENDER_REJECTED,
        (
            r"sender address rejected",
            r"sendasdenied",
            r"not (?:allowed|authorized) to send (?:as|from|on behalf)",
            r"domain \S+ is not allowed to send",
            r"not owned by (?!root|postfix|group)",
            r"from address does not match",
            r"verified sender",
            r"email address is not verified",
            r"(?:mail )?from (?:address )?must (?:be same|equal|match)",
            r"must be (?:the )?same as auth",
            r"sender (?:\S+ )?(?:is )?(?:not (?:allowed|authorized|verified|permitted|valid)|rejected|denied|invalid)",
            r"(?:invalid|fake|unacceptable) sender",
            r"sender signature",
            r"domain is not verified",
            r"sender verify failed",
            r"unverified (?:sender|domain)",
            r"unregistered domain",
            r"permissions? to send as",
            r"badmailfrom",
            r"envelope sender",
            r"domain of sender",
            r"from:? (?:domain|address) is (?:invalid|not valid)",
            r"mail from (?:is )?invalid",
            r"unresolvable \S+ from domain",
        ),
    ),
    Text(
        Cause.RECIPIENT_REJECTED,
        (
            r"recipient address rejected",
            r"(?:no such|unknown|invalid) (?:\w+ )?(?:user|recipient|mailbox|rcptto)",
            r"(?:user|recipient|mailbox|account|address)s? (?:\S+ ){0,4}?(?:is |was )?(?:unknown|(?<!service )not (?:found|known|exist))",
            r"(?:user|recipient|mailbox|account|address) (?:\S+ ){0,4}?(?:does not|doesn't) (?:exist|have)",
            r"doesn't have an? .{1,80}account",
            r"no longer valid",
            r"unrouteable address",
            r"no mailbox (?:here )?by that name",
            r"deactivated mailbox|mailbox (?:is )?(?:disabled|inactive|locked|deactivated)",
            r"user (?:is )?(?:locked|disabled|suspended)",
            r"mailbox .{0,60}\bfull\b|mail ?box full",
            r"over ?quota|mailbox quota",
            r"out of storage space",
            r"exceeded storage allocation",
            r"rejected by recipients",
        ),
    ),
    Text(
        Cause.RECIPIENT_REJECTED,
        (r"(?:mailbox|user) (?:currently )?unavailable", r"user rejected"),
        permanent=True,
    ),
    Text(
        Cause.CONTENT,
        (r"(?:flagged|detected|classified|identified|rejected) as spam", r"spam (?:message|content)"),
    ),
    Text(Cause.POLICY, (r"client host rejected", r"(?<!_)policy\b(?! (?:table|lookup)|:)")),
    Text(
        Cause.CONTENT,
        (
            r"(?:spam|junk|virus(?:es)?|malware|phish\w*|infected|trojan)\b",
            r"dt:spm",
            r"content\b",
            r"unsolicited",
            r"suspicious",
            r"banned\b",
            r"attachments?\b",
            r"rfc ?(?:2822|5322)",
            r"bare (?:<lf>|lf)",
            r"rejected by (?:\w+ )?filter",
            r"(?<!delay )template(?! conversion)",
            r"from: header",
        ),
        command="data",
    ),
)

# Replies to AUTH. A 535 refuses the password unless its text names something else.
AUTH_TEXTS: Final[tuple[Text, ...]] = (
    Text(Cause.TLS_REQUIRED, (r"must issue a starttls", r"encryption (?:is )?required")),
    Text(
        Cause.AUTH_MECHANISM,
        (
            r"basic authentication is (?:disabled|not supported)",
            r"smtpclientauthentication is disabled",
            r"(?:unrecognized|unsupported|invalid|unknown) auth(?:entication)? (?:mechanism|type|method|mode)",
            r"auth(?:entication)? (?:mechanism|type|method|mode) (?:is )?(?:not supported|unsupported|too weak|disabled)",
            r"mechanism (?:is )?too weak",
            r"authentication (?:is )?not (?:allowed|enabled|available)",
        ),
    ),
    Text(Cause.QUOTA, _QUOTA),
    Text(Cause.AUTH_TEMPORARY, (r"authentication server", r"temporary (?:auth|system|server|problem)")),
    # The login service works and asks for fewer logins. A 5xx with such a text has locked the account instead.
    Text(
        Cause.RATE_LIMIT,
        (
            r"too many (?:\w+ ){0,2}(?:login|auth)\w*",
            r"too much fail authentication",
            r"too many (?:concurrent |simultaneous )?(?:connections|requests)",
            r"rate.?limit",
            r"throttl",
        ),
        permanent=False,
    ),
)
