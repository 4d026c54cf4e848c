"""Debug messages: the lines that Postfix programs log with -v, or for a peer of debug_peer_list.

One delivery can print hundreds of them. Other events hold the same information in a better form. These lines are
recognised so that a host with debugging switched on does not show a high rate of unrecognised lines. Most begin
with the name of a C function, which contains an underscore. The others are recognised by their first words.
"""

from typing import Final

from postward.parsers.events import Verbose
from postward.parsers.grammar import STRICT_QUEUE_ID
from postward.parsers.rules import Rule, rule

_FUNCTION: Final = r"[A-Za-z0-9]*+_\w++(?=[:\[ (]|\Z)|myflock\("
# The first words of lines without a function name.
_FIRST_WORDS: Final = (
    r"abort all milters|begin tls_|chdir /|chroot /|client (?:flags = |socket not found)",
    r"connect to subsystem|connecting to \S+ service|connection (?:closed|established)",
    r"daemon started|defer (?:site|transport)|disconnect event to all milters|disposing SASL",
    r"done \w+ queue scan|enable (?:site|transport)|(?:start|end) move queue",
    r"expanded and quoted query|(?:extracted|initial) envelope|fd=\d+: ",
    r"free (?:all milters|milter)|got sigchld|host name lookup methods|idle timeout --",
    r"input attribute|inspect content by all milters|loaded |lookup \S+ type|masquerade: ",
    r"master disconnect --|milter \S+: event mask|(?:old-style scan )?record \S+ |open |origin=",
    r"pausing to let |process generation: |query milter states|read \d+ bytes from entropy",
    r"receive \d+ milters|received master trigger|reply: \S+ data",
    r"report (?:connect|data|helo|recipient|sender|unknown command) to all milters",
    r"request(?: ignored|: )|send(?: \d+ milters| attr )|server (?:features|flags)|setugid: ",
    r"site \S+ to path",
    r"skipping (?:address family|event|non-protocol event|reply for event|\S+ setting)|source=",
    r"spawn command|start conditional timer|starting new SASL",
    r"throttl(?:e released for|ing) command|time to retire --|unhold |wakeup \S+ after|wildcard_",
    r"v6_target=|Compiled against Berkeley DB|Relaying allowed for",
    r"SASL authentication (?:debug|info|pass|trace)|Using \w+ PIPELINING|(?:GOT|PUT|PROBE) ",
    r"(?:POP|PUSH) boundary|(?:UN)?(?:PASS|FAIL) \[|flags for |MX name '",
    r"(?:before|after) .*: cleanup flags|(?:enter|leave) \w+\Z|forward delivered=",
    r"removed? (?:file|directory|subdirectory) |`[^']*+' (?:-> )?`[^']*+' -> [(`]",
    r"(?:start|end) sorted recipient list|cleanup flags = |allowlisting |fsspace: ",
)
# pickup/pickup.c and qmgr: a queue ID and a record of the queue file, which may be text of the message.
_FILE: Final = rf"{STRICT_QUEUE_ID}: (?:read [A-Za-z] |recipient limit \d|enabling VERP|placed in )"
# local/deliver_attr.c: one line for each attribute of a delivery.
_ATTRIBUTE: Final = (
    r"(?:level|path|fp|offset|sender|recipient|domain|local|user|extension|unmatched|owner|delivered|relay|why): "
    r"|spool_uid/gid "
)
# util/attr_scan0.c and other readers of streams: the name of a socket or file, then the operation.
_STREAM: Final = (
    r"(?:(?:private|public)/\S+(?: socket)?|[\w-]+ socket):? (?:(?:wanted|input) attribute|got|read|write|stream disconnect)"
    r"|unknown_stream:? "
)

# The part of a debug message that holds no value of a table, a dialogue or a mail.
DEBUG_LABEL: Final = (
    rf"(?:[<>] |>>> |--- |{_FUNCTION}|{'|'.join(_FIRST_WORDS)}|{_STREAM}|{_FILE}|{_ATTRIBUTE})"
)

VERBOSE: Final[tuple[Rule, ...]] = (
    rule(
        rf"(?P<text>{DEBUG_LABEL}.*|\S+ TLS level: .*|\S+ asciified to .*)",
        Verbose,
        "util/msg.c",
        "util/attr_print0.c",
        "local/deliver_attr.c",
        "util/attr_scan0.c",
        "smtp/smtp_chat.c",
        "smtpd/smtpd_chat.c",
        "global/debug_peer.c",
    ),
)
