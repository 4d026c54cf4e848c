"""Symptoms of Postfix's own configuration: next hops, tables, transports, parameters."""

from postward.agent.incidents.catalog.symptom import Candidate, Changes, Resolution, Symptom, pattern
from postward.agent.incidents.model import Effect
from postward.parsers import Cause

_NEXT_HOP = "write the next hop as [name]:port, such as [smtp.example.com]:587, then {reload}"
_PARAMETER = pattern(
    r"(?:parameter|configuration:|length \d+ [<>] \d+:|unknown|bad string length) (?P<PARAMETER>[a-z]\w*_\w+)"
)
_HOPS = "relayhost, smtp_fallback_relay, or the table that names the next hop"

SYMPTOMS: tuple[Symptom, ...] = (
    # Next hops that make smtp(8) exit
    Symptom(
        id="relayhost-bracket",
        title="smtp(8) exits: a next hop has an unbalanced bracket",
        text=pattern(r'missing "\]" in server description'),
        candidates=(
            Candidate(
                id="relayhost-bracket",
                what="a next hop has a `[` without a `]`",
                setting="relay.host, relay.port",
                parameter=_HOPS,
                certain_by=pattern(r'missing "\]" in server description'),
                remedy=_NEXT_HOP,
                changes=Changes.WRITES,
                lint_decides=("relayhost-bracket-unbalanced",),
            ),
        ),
    ),
    Symptom(
        id="relayhost-url",
        title="smtp(8) exits: a next hop is written as a URL",
        text=pattern(r"server description: \S*://"),
        candidates=(
            Candidate(
                id="relayhost-url",
                what="a next hop cannot be a URL",
                setting="relay.host, relay.port",
                parameter=_HOPS,
                certain_by=pattern(r"server description: \S*://"),
                remedy=_NEXT_HOP,
                changes=Changes.WRITES,
                lint_decides=("relayhost-as-url",),
            ),
        ),
    ),
    Symptom(
        id="relayhost-transport",
        title="smtp(8) exits: a next hop begins with a transport",
        text=pattern(r"server description: [a-z]+:\["),
        candidates=(
            Candidate(
                id="relayhost-transport",
                what="smtp: belongs in transport_maps or default_transport, not in relayhost",
                setting="relay.host, relay.port",
                parameter=_HOPS,
                certain_by=pattern(r"server description: [a-z]+:\["),
                remedy=_NEXT_HOP,
                changes=Changes.WRITES,
                lint_decides=("relayhost-with-transport",),
            ),
        ),
    ),
    Symptom(
        id="relayhost-port-inside",
        title="smtp(8) exits: the port of a next hop is inside the brackets",
        text=pattern(r"server description: \[[^\]]*:\w+\]"),
        candidates=(
            Candidate(
                id="relayhost-port-inside",
                what="the port belongs after the bracket",
                setting="relay.host, relay.port",
                parameter=_HOPS,
                certain_by=pattern(r"server description: \[[^\]]*:\w+\]"),
                remedy=_NEXT_HOP,
                changes=Changes.WRITES,
                lint_decides=("relayhost-port-in-brackets",),
            ),
        ),
    ),
    Symptom(
        id="relayhost-quoted",
        title="smtp(8) exits: a next hop is in quotes",
        text=pattern('server description: "'),
        candidates=(
            Candidate(
                id="relayhost-quoted",
                what="main.cf does not support quotes",
                setting="relay.host, relay.port",
                parameter=_HOPS,
                certain_by=pattern(r'server description: "'),
                remedy=_NEXT_HOP,
                changes=Changes.WRITES,
                lint_decides=("quoted-value",),
            ),
        ),
    ),
    Symptom(
        id="relayhost-comment",
        title="smtp(8) exits: a next hop is followed by a comment",
        text=pattern("server description: #"),
        candidates=(
            Candidate(
                id="relayhost-comment",
                what=(
                    "main.cf does not support comments after a value: `#` is read as a second relay, which "
                    "Postfix tries when the first fails"
                ),
                setting="relay.host, relay.port",
                parameter=_HOPS,
                certain_by=pattern(r"server description: #"),
                remedy=_NEXT_HOP,
                changes=Changes.WRITES,
                lint_decides=("inline-comment",),
            ),
        ),
    ),
    Symptom(
        id="relayhost-port-name",
        title="smtp(8) exits: the port of a next hop is an unknown service name",
        daemon="smtp|lmtp",
        text=pattern(r"unknown service: \S+/tcp"),
        names=(pattern(r"unknown service: (?P<NAME>[\w.-]+)/tcp"),),
        candidates=(
            Candidate(
                id="relayhost-port-name",
                what="the port {line NAME|in the line} is not in /etc/services, or not in the chroot's copy of it",
                setting="relay.host, relay.port",
                parameter=_HOPS,
                certain_by=pattern(r"unknown service: \S+/tcp"),
                remedy=_NEXT_HOP,
                changes=Changes.WRITES,
                lint_decides=("relayhost-port-name-unknown",),
            ),
        ),
    ),
    Symptom(
        id="relayhost-syntax",
        title="smtp(8) exits: it cannot parse a next hop",
        text=pattern("in server description"),
        candidates=(
            Candidate(
                id="relayhost-syntax",
                what="the next hop is misspelt",
                setting="relay.host, relay.port",
                parameter=_HOPS,
                certain_by=pattern(r"in server description"),
                remedy=_NEXT_HOP,
                changes=Changes.WRITES,
                lint_decides=("relayhost-no-host",),
            ),
        ),
    ),
    # Transports
    Symptom(
        id="transport-dead-end",
        title="mail for other hosts is bounced on purpose: the transport is error",
        cause=Cause.LOCAL_CONFIG,
        daemon="error",
        text=pattern("^status=bounced"),
        effect=Effect.LOST,
        candidates=(
            Candidate(
                id="default-transport",
                what="default_transport or relay_transport is error, as in some cloud images",
                setting="main_cf.default_transport",
                parameter="default_transport, relay_transport",
                remedy="{remove default_transport}",
                changes=Changes.WRITES,
                check="postconf -h default_transport relay_transport",
                lint_decides=("default-transport-dead-end",),
            ),
            Candidate(
                id="transport-entry",
                what="an entry of transport_maps sends this domain to the transport error",
                setting="main_cf.transport_maps",
                parameter="transport_maps",
                remedy="remove the entry, then {rebuild transport_maps}",
                changes=Changes.WRITES,
                check='postmap -q DOMAIN "$(postconf -h transport_maps)"',
                required_parameters=("transport_maps",),
            ),
        ),
    ),
    Symptom(
        id="transport-deferred",
        title="mail is held back on purpose: its transport is deferred",
        cause=Cause.LOCAL_CONFIG,
        text=pattern("deferred transport"),
        candidates=(
            Candidate(
                id="defer-transports",
                what="the transport is listed in defer_transports",
                setting="main_cf.defer_transports",
                parameter="defer_transports",
                certain_by=pattern(r"deferred transport"),
                remedy="{remove defer_transports} && {flush}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="resolver-failed",
        title="Postfix cannot determine the next hop of mail",
        cause=Cause.LOCAL_CONFIG,
        text=pattern("address resolver (?:failure|loop)"),
        candidates=(
            Candidate(
                id="routing-table",
                what="a routing table cannot be read",
                setting="main_cf.transport_maps",
                parameter="transport_maps, sender_dependent_relayhost_maps",
                remedy="postmap the table that trivial-rewrite(8) names, then {reload}",
                changes=Changes.RESTARTS,
                check="the warnings of trivial-rewrite(8) before this line name the table",
            ),
            Candidate(
                id="rewrite-dies",
                what="trivial-rewrite(8) exits or does not answer",
                setting="main_cf",
                parameter="main.cf, master.cf",
                remedy="correct what its fatal line names, then {reload}",
                changes=Changes.WRITES,
                check="journalctl -t postfix/trivial-rewrite -p err",
            ),
        ),
    ),
    Symptom(
        id="transport-unavailable",
        title="mail waits for a transport that is missing from master.cf or does not run",
        cause=Cause.LOCAL_CONFIG,
        text=pattern("mail transport unavailable|unknown mail transport"),
        candidates=(
            Candidate(
                id="transport-unknown",
                what=(
                    "transport_maps, default_transport or similar names a service that is missing from "
                    "master.cf, or that exits"
                ),
                setting="main_cf.default_transport",
                parameter="master.cf",
                remedy="correct the name, or add the service to master.cf; then {reload}",
                changes=Changes.WRITES,
                check="qmgr's warning names the service",
                lint_decides=("transport-unknown",),
            ),
        ),
    ),
    # Parameters
    Symptom(
        id="bad-boolean",
        names=(_PARAMETER,),
        title="a daemon exits: a parameter is neither yes nor no",
        text=pattern("bad boolean configuration"),
        candidates=(
            Candidate(
                id="bad-boolean",
                what="Postfix accepts yes and no, but not true, 1 or on",
                setting="main_cf",
                parameter="{line PARAMETER|the parameter in the line}",
                certain_by=pattern(r"bad boolean configuration"),
                remedy="write yes or no as value of {line PARAMETER|the parameter}, then {reload}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="bad-number",
        names=(_PARAMETER,),
        title="a program exits: a parameter must be a number or a time",
        text=pattern(
            "bad numerical configuration|invalid .*time (?:value|unit)|bad time configuration|"
            r"parameter \S+: bad time value|unknown time unit"
        ),
        resolution=Resolution.LEFT,
        candidates=(
            Candidate(
                id="bad-number",
                what="Postfix expects a plain number, or for times a number with s, m, h, d or w",
                setting="main_cf",
                parameter="{line PARAMETER|the parameter in the line}",
                certain_by=pattern(
                    r"bad numerical configuration|invalid .*time (?:value|unit)|bad time (?:configuration|value)|"
                    "unknown time unit"
                ),
                remedy="write a valid value, then {reload}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="empty-value",
        names=(_PARAMETER,),
        title="a daemon exits: a parameter is empty, too short or too long",
        text=pattern("bad string length"),
        candidates=(
            Candidate(
                id="undefined-name",
                what="the value is empty or too short, as when it is a $name that does not exist",
                setting="main_cf",
                parameter="{line PARAMETER|the parameter in the line}",
                certain_by=pattern(r"bad string length \(?\d+ <"),
                remedy="correct the value, then {reload}",
                changes=Changes.WRITES,
            ),
            Candidate(
                id="value-too-long",
                what="the value is longer than Postfix allows",
                setting="main_cf",
                parameter="{line PARAMETER|the parameter in the line}",
                certain_by=pattern(r"bad string length \(?\d+ >"),
                remedy="shorten the value, then {reload}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="master-option-blanks",
        title="a daemon exits: a -o setting in master.cf has blanks around =",
        text=pattern(r'invalid "-o \S+" option value'),
        candidates=(
            Candidate(
                id="master-option",
                what="the setting is not name=value: Postfix reads -o name = value as three words",
                setting="-",
                parameter="master.cf",
                certain_by=pattern(r'invalid "-o \S+" option value'),
                remedy="write -o name=value, then {reload}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="master-fields",
        title="Postfix cannot read master.cf",
        text=pattern(r"bad field count|cannot execute \S*postconf|fatal: \S*master\.cf: line \d+: "),
        resolution=Resolution.LEFT,
        candidates=(
            Candidate(
                id="master-line",
                what="a line of master.cf has too few columns, or a column has an invalid value",
                setting="-",
                parameter="master.cf",
                certain_by=pattern(r"bad field count|fatal: \S*master\.cf: line \d+: "),
                remedy="correct the line that `postconf -M` names, then {reload}",
                changes=Changes.WRITES,
                check="does postconf -M print an error?",
            ),
            # conf/postfix-script
            Candidate(
                id="main-cf",
                what="main.cf cannot be read: a line is not name = value, or the file is missing or not readable",
                setting="main_cf",
                parameter="main.cf",
                refuted_by=pattern(r"bad field count|fatal: \S*master\.cf: line \d+: "),
                remedy="correct what `postconf -n` prints as an error",
                changes=Changes.WRITES,
                check="does postconf -n print an error?",
            ),
            Candidate(
                id="postconf-program",
                what="the program postconf does not run: a library is missing, or its file may not be executed",
                setting="the host's packages",
                parameter="command_directory",
                refuted_by=pattern(r"bad field count|fatal: \S*master\.cf: line \d+: "),
                remedy="install Postfix again",
                changes=Changes.WRITES,
                check="does postconf -d mail_version run?",
            ),
        ),
    ),
    Symptom(
        id="indented-line",
        title="a line of main.cf begins with a blank and was appended to the line above",
        text=pattern(r"unknown \S+ value \"\w+\" in \"[^\"]*\s\w+ = "),
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="indented-parameter",
                what=(
                    "a line that begins with a blank continues the line above, so its own parameter is not "
                    "set"
                ),
                setting="main_cf",
                parameter="main.cf",
                certain_by=pattern(r"unknown \S+ value \"\w+\" in \"[^\"]*\s\w+ = "),
                remedy="remove the blank, then {reload}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="mynetworks-host-bits",
        title="smtpd(8) answers clients with an error: a list of networks is invalid",
        daemon="smtpd",
        names=(pattern(r"(?P<PARAMETER>[a-z]\w*): non-null host address bits"),),
        text=pattern("non-null host address bits"),
        resolution=Resolution.ACCEPTED,
        candidates=(
            Candidate(
                id="mynetworks",
                what="an address in mynetworks has bits set after its prefix",
                setting="host.mynetworks",
                parameter="mynetworks",
                certain_by=pattern(r"mynetworks: non-null host address bits"),
                remedy="write the network that the line names, then {apply}",
                changes=Changes.WRITES,
            ),
            # util/cidr_match.c
            Candidate(
                id="network-list",
                what="an address in {line PARAMETER|the list that the line names} has bits set after its prefix",
                setting="main_cf",
                parameter="{line PARAMETER|the parameter in the line}",
                refuted_by=pattern(r"mynetworks: non-null host address bits"),
                remedy="write the network that the line names, then {reload}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="client-not-allowed",
        title="clients that submit over SMTP are refused",
        daemon="smtpd",
        text=pattern("reject: RCPT .*Relay access denied"),
        names=(pattern(r"from \S*\[(?P<CLIENT>[0-9a-f.:]+)\]"),),
        effect=Effect.REJECTED,
        resolution=Resolution.ACCEPTED,
        candidates=(
            Candidate(
                id="client-without-login",
                what="the client {line CLIENT|in the line} should log in, and does not",
                setting="nothing in the settings: the client",
                parameter="-",
                remedy="give the client a login and the submission port",
                changes=Changes.WRITES,
                check="does the client log in, and is it one of yours?",
            ),
            Candidate(
                id="mynetworks-missing",
                what="the client {line CLIENT|in the line} is not in mynetworks",
                setting="host.mynetworks",
                parameter="mynetworks",
                remedy="add the address {line CLIENT|in the line} to host.mynetworks, then {apply}",
                changes=Changes.OPENS,
                check="is {line CLIENT|the client} a host of yours that may send mail through this one?",
            ),
        ),
    ),
    Symptom(
        id="client-lookup-failed",
        title="clients that submit over SMTP are deferred: a lookup fails",
        daemon="smtpd",
        text=pattern("reject: .*Temporary lookup failure"),
        resolution=Resolution.ACCEPTED,
        candidates=(
            Candidate(
                id="smtpd-table",
                what="a table or list of smtpd(8) cannot be used",
                setting="host.mynetworks",
                parameter="mynetworks and the tables of smtpd(8)",
                remedy="correct what the warnings of smtpd(8) name, then {reload}",
                changes=Changes.WRITES,
                check="read the warnings of smtpd(8) before this line",
            ),
        ),
    ),
    Symptom(
        id="inet-interfaces",
        title="Postfix does not start: inet_interfaces names an address that this host does not have",
        text=pattern("inet_interfaces: (?:no local interface|host not found)"),
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="inet-interfaces",
                what="the address or name does not belong to this host, or IPv6 is off",
                setting="host.inet_interfaces, host.inet_protocols",
                parameter="inet_interfaces, inet_protocols",
                remedy="{set inet_interfaces=loopback-only}; without IPv6 {set inet_protocols=ipv4}",
                changes=Changes.WRITES,
                check="ip address: does this host have the address, and does the name resolve to it?",
                lint_proves=(
                    "inet-interfaces-name",
                    "inet-interfaces-not-local",
                    "inet-interfaces-without-ipv6",
                ),
            ),
            # global/own_inet_addr.c reads the addresses and resolves the names once, at the start.
            Candidate(
                id="network-late",
                what="the interface or the name server was not ready when Postfix started, as during boot",
                setting="the host's services",
                parameter="postfix.service",
                remedy="{restart}, and let the unit start after network-online.target",
                changes=Changes.RESTARTS,
                check="did Postfix start with the host? Does it start now?",
            ),
        ),
    ),
    Symptom(
        id="inet-protocols",
        title="Postfix does not start: inet_protocols is misspelt",
        text=pattern("unknown inet_protocols value"),
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="inet-protocols",
                what="the valid values are all, ipv4 and ipv6",
                setting="host.inet_protocols",
                parameter="inet_protocols",
                certain_by=pattern(r"unknown inet_protocols value"),
                remedy="{set inet_protocols=all}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="main-cf-syntax",
        title="Postfix cannot read main.cf",
        text=pattern("main\\.cf, line \\d+: missing (?:'=' after )?attribute name|macro processing error"),
        resolution=Resolution.READ,
        candidates=(
            Candidate(
                id="main-cf",
                what="a line of main.cf is not name = value, or a value refers to itself or ends within a $name",
                setting="main_cf",
                parameter="main.cf",
                certain_by=pattern("missing (?:'=' after )?attribute name|macro processing error"),
                remedy="correct the line that the log names",
                changes=Changes.WRITES,
            ),
        ),
    ),
    # util/dict.c: the files of ldap, mysql, pgsql and sqlite tables have the form of main.cf.
    Symptom(
        id="table-file-syntax",
        title="Postfix cannot read {line FILE|a table's file}",
        names=(pattern(r"(?P<FILE>/[\w./-]+), line \d+: missing (?:'='|attribute)"),),
        text=pattern(r"/(?!main\.cf)[^/\s]+, line \d+: missing (?:'=' after )?attribute name"),
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="table-file",
                what="a line of {line FILE|a table's file} is not name = value",
                setting="main_cf",
                parameter="{line FILE|the file in the line}",
                certain_by=pattern("missing (?:'=' after )?attribute name"),
                remedy="correct the line that the log names, then {reload}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="myorigin-file",
        title="Postfix cannot read its configuration: the file that myorigin names is missing or empty",
        text=pattern("myorigin file|mailname: cannot open"),
        resolution=Resolution.READ,
        candidates=(
            Candidate(
                id="mailname",
                what="Debian's myorigin = /etc/mailname requires that file",
                setting="host.myorigin",
                parameter="myorigin",
                remedy="write host.myorigin, then {apply}; or hostname -f > /etc/mailname",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="mailbox-limit",
        title="local(8) exits: mailbox_size_limit is smaller than message_size_limit",
        text=pattern("mailbox_size_limit is smaller"),
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="mailbox-limit",
                what="the mailbox limit must not be below the message limit",
                setting="main_cf.mailbox_size_limit",
                parameter="mailbox_size_limit",
                certain_by=pattern(r"mailbox_size_limit is smaller"),
                remedy="{set mailbox_size_limit=0}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    # Notes: mail goes out
    Symptom(
        id="restart-needed",
        title="a changed parameter is not in force: Postfix must be stopped and started",
        daemon="master",
        text=pattern(r"ignoring inet_\w+ (?:parameter value )?change|to change inet_\w+, stop and start"),
        effect=Effect.NOTE,
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="restart",
                what="a reload does not change inet_interfaces and inet_protocols",
                setting="host.inet_interfaces, host.inet_protocols",
                parameter="inet_interfaces, inet_protocols",
                certain_by=pattern(
                    r"ignoring inet_\w+ (?:parameter value )?change|to change inet_\w+, stop and start"
                ),
                remedy="{restart}",
                changes=Changes.RESTARTS,
            ),
        ),
    ),
    Symptom(
        id="master-duplicate",
        title="a service appears twice in master.cf",
        text=pattern("duplicate master.cf entry"),
        effect=Effect.NOTE,
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="master-duplicate",
                what="the last line is used, and edits of the other have no effect",
                setting="-",
                parameter="master.cf",
                certain_by=pattern(r"duplicate master.cf entry"),
                remedy="delete one of the lines, then {reload}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="bind-address",
        title="smtp(8) cannot send from the address that the configuration names",
        text=pattern("smtp_connect_addr: bind "),
        effect=Effect.NOTE,
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="bind-address",
                what="the address is not on an interface that is up, as one left from another host; Postfix sends without it",
                setting="main_cf.smtp_bind_address",
                parameter="smtp_bind_address, smtp_bind_address6",
                remedy="{remove smtp_bind_address}",
                changes=Changes.WRITES,
                check="postconf -n smtp_bind_address smtp_bind_address6; ip address",
                required_parameters=("smtp_bind_address", "smtp_bind_address6"),
            ),
            # smtp/smtp_connect.c binds to the address of inet_interfaces if it has only one.
            Candidate(
                id="single-interface",
                what="inet_interfaces has one address, from which smtp(8) sends, and which this host does not have now",
                setting="host.inet_interfaces",
                parameter="inet_interfaces",
                remedy="correct host.inet_interfaces, then {apply}",
                changes=Changes.WRITES,
                check="postconf -n inet_interfaces; ip address",
                required_parameters=("inet_interfaces",),
            ),
        ),
    ),
    Symptom(
        id="compatibility",
        title="Postfix uses backwards-compatible defaults",
        text=pattern("backwards-compatible default setting|disable backwards compatibility"),
        names=(pattern(r"compatibility_level=(?P<LEVEL>[\d.]+)"),),
        effect=Effect.NOTE,
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="compatibility-level",
                what="compatibility_level is not set, or lower than this release of Postfix",
                setting="main_cf.compatibility_level",
                parameter="compatibility_level",
                certain_by=pattern(
                    "disable backwards compatibility use|backwards-compatible default setting"
                ),
                remedy="{set compatibility_level={line LEVEL|3.6}}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="chroot-copy-differs",
        title="the chroot's copy of a file from /etc is outdated",
        daemon="postfix-script",
        text=pattern(r" and /(?!usr/sbin/sendmail )\S+ differ"),
        names=(pattern(r" and (?P<FILE>/\S+) differ"),),
        effect=Effect.NOTE,
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="chroot-copy",
                what="daemons in the chroot read the old copy and may not resolve names",
                setting="the host's files",
                parameter="$queue_directory/etc",
                certain_by=pattern(r" and /(?!usr/sbin/sendmail )\S+ differ"),
                remedy="cp {line FILE|the file in the line} {queue}{line FILE|, to the same place} && {reload}",
                changes=Changes.WRITES,
            ),
        ),
    ),
)
