"""What any Postfix program logs with -v, or for a peer of debug_peer_list: hundreds of lines a delivery.

They say nothing that an event of its own does not say better, and are known so that a host under examination does not
look like one whose log is not understood. Function names are told by their underscore, the rest by how it begins.
"""

from typing import Final

from postward.parsers.events import Verbose
from postward.parsers.grammar import STRICT_QUEUE_ID
from postward.parsers.rules import Rule, rule

_FUNCTION: Final = r"[A-Za-z0-9]*+_\w++(?=[:\[ (]|\Z)|myflock\("
# How the lines begin that name no function.
_WORDS: Final = (
    r"abort all milters|begin tls_|chdir /|chroot /|client (?:flags = |socket not found)|connect to subsystem"
    r"|connecting to \S+ service|connection (?:closed|established)|daemon started|defer (?:site|transport)"
    r"|disconnect event to all milters|disposing SASL|done \w+ queue scan|enable (?:site|transport)"
    r"|(?:start|end) move queue|expanded and quoted query|(?:extracted|initial) envelope|fd=\d+: |free (?:all milters|milter)"
    r"|got sigchld|host name lookup methods|idle timeout --|input attribute|inspect content by all milters|loaded "
    r"|lookup \S+ type|masquerade: |master disconnect --|milter \S+: event mask|(?:old-style scan )?record \S+ |open "
    r"|origin=|pausing to let |process generation: |query milter states|read \d+ bytes from entropy|receive \d+ milters"
    r"|received master trigger|reply: \S+ data|report (?:connect|data|helo|recipient|sender|unknown command) to all milters"
    r"|request(?: ignored|: )|send(?: \d+ milters| attr )|server (?:features|flags)|setugid: |site \S+ to path"
    r"|skipping (?:address family|event|non-protocol event|reply for event|\S+ setting)|source=|spawn command"
    r"|start conditional timer|starting new SASL|throttl(?:e released for|ing) command|time to retire --|unhold |wakeup \S+ after"
    r"|wildcard_|v6_target=|Compiled against Berkeley DB|Relaying allowed for|SASL authentication (?:debug|info|pass|trace)"
    r"|Using \w+ PIPELINING|(?:GOT|PUT|PROBE) |(?:POP|PUSH) boundary|(?:UN)?(?:PASS|FAIL) \[|flags for |MX name '"
    r"|(?:before|after) .*: cleanup flags|(?:enter|leave) \w+\Z|forward delivered=|removed? (?:file|directory|subdirectory) "
    r"|`[^']*+' (?:-> )?`[^']*+' -> [(`]|(?:start|end) sorted recipient list|cleanup flags = |allowlisting |fsspace: "
)
# pickup/pickup.c and qmgr: a queue ID, then what is read of the file, the mail's own text included.
_FILE: Final = rf"{STRICT_QUEUE_ID}: (?:read [A-Za-z] |recipient limit \d|enabling VERP|placed in )"
# local/deliver_attr.c: one line for each attribute of a delivery.
_ATTRIBUTE: Final = (
    r"(?:level|path|fp|offset|sender|recipient|domain|local|user|extension|unmatched|owner|delivered|relay|why): "
    r"|spool_uid/gid "
)
# util/attr_scan0.c and the readers of streams: a socket's or file's name, then what was done.
_STREAM: Final = (
    r"(?:(?:private|public)/\S+(?: socket)?|[\w-]+ socket):? (?:wanted attribute|got|read|write|stream disconnect)"
    r"|unknown_stream:? "
)

VERBOSE: Final[tuple[Rule, ...]] = (
    rule(
        rf"(?P<text>(?:[<>] |>>> |--- |{_FUNCTION}|{_WORDS}|{_STREAM}|{_FILE}|{_ATTRIBUTE}).*|\S+ TLS level: .*|\S+ asciified to .*)",
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
