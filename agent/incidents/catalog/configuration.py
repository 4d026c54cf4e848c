"""Symptoms of Postfix's own configuration: next hops, tables, transports, parameters."""

from postward.agent.incidents.symptom import Candidate, Certainty, Effect, Resolution, Symptom, words
from postward.parsers import Cause

_HOST = "relay.host, relay.port"


def _next_hop(
    name: str, title: str, says: str, what: str, proof: str, remedy: str = "{set relayhost=[HOST]:PORT}"
) -> Symptom:
    return Symptom(
        name, title, (Candidate(name, what, _HOST, "relayhost", remedy, proofs=(proof,)),), says=words(says)
    )


_NOTE = Effect.NOTE


def _fatal(
    name: str,
    title: str,
    says: str,
    candidate: Candidate,
    *,
    daemon: str = "",
    proof: Resolution = Resolution.STARTED,
    effect: Effect = Effect.DELAYED,
) -> Symptom:
    return Symptom(name, title, (candidate,), daemon=daemon, says=words(says), proof=proof, effect=effect)


SYMPTOMS: tuple[Symptom, ...] = (
    # --- next hops that smtp(8) dies of
    _next_hop("relayhost-bracket", "smtp(8) dies: a bracket is missing in relayhost", r'missing "\]" in server description',
              "`[` without `]`", "relayhost-bracket-unbalanced"),
    _next_hop("relayhost-url", "smtp(8) dies: relayhost is written as a URL", r"server description: \S*://", "relayhost takes no URL",
              "relayhost-as-url"),
    _next_hop("relayhost-transport", "smtp(8) dies: relayhost begins with a transport", r"server description: [a-z]+:\[",
              "smtp: belongs into transport_maps or default_transport, not into relayhost", "relayhost-with-transport"),
    _next_hop("relayhost-port-inside", "smtp(8) dies: the port of relayhost stands inside the brackets",
              r"server description: \[[^\]]*:\w+\]", "the port stands behind the bracket", "relayhost-port-in-brackets"),
    _next_hop("relayhost-quoted", "smtp(8) dies: relayhost stands in quotes", r'server description: "', "main.cf knows no quotes",
              "quoted-value"),
    _next_hop("relayhost-comment", "smtp(8) dies: a comment stands behind relayhost", r"server description: #",
              "main.cf knows no comments behind a value: `#` is taken for a second relay, and tried when the first one fails",
              "inline-comment"),
    _next_hop("relayhost-port-name", "smtp(8) dies: the port of relayhost is a name that nobody knows", r"unknown service: \S+/tcp",
              "the name is not in /etc/services, or not in the chroot's copy", "relayhost-port-name-unknown"),
    _next_hop("relayhost-syntax", "smtp(8) dies of a next hop that it does not understand", r"in server description", "the next hop is "
              "misspelt", "relayhost-no-host"),
    # --- transports
    Symptom(
        "transport-dead-end", "mail for other hosts is bounced on purpose: the transport is error",
        (Candidate("default-transport", "default_transport or relay_transport = error, as some cloud images have it",
                   "main_cf.default_transport", "default_transport, relay_transport", "{remove default_transport}",
                   proofs=("default-transport-dead-end",)),),
        cause=Cause.LOCAL_CONFIG, daemon="error", says=words(r"^status=bounced"), effect=Effect.LOST,
    ),
    Symptom(
        "transport-deferred", "mail is kept back on purpose: its transport is deferred",
        (Candidate("defer-transports", "the transport stands in defer_transports", "main_cf.defer_transports", "defer_transports",
                   "{remove defer_transports} && {flush}"),),
        cause=Cause.LOCAL_CONFIG, says=words("deferred transport"),
    ),
    Symptom(
        "resolver-failed", "Postfix cannot find out where mail goes",
        (Candidate("routing-table", "a table of routes cannot be read", "main_cf.transport_maps", "transport_maps, "
                   "sender_dependent_relayhost_maps", "postmap the table that trivial-rewrite(8) names, then {reload}",
                   "the warnings of trivial-rewrite(8) before this line name the table"),),
        Certainty.LIKELY, Cause.LOCAL_CONFIG, says=words("address resolver (?:failure|loop)"),
    ),
    Symptom(
        "transport-unavailable", "mail waits for a transport that master.cf does not have, or that does not run",
        (Candidate("transport-unknown", "transport_maps, default_transport or the like name a service that is not in master.cf, or that dies",
                   "main_cf.default_transport", "master.cf", "correct the name, or add the service to master.cf; then {reload}",
                   "qmgr's warning names the service", ("transport-unknown",)),),
        Certainty.LIKELY, Cause.LOCAL_CONFIG, says=words("mail transport unavailable|unknown mail transport"),
    ),
    # --- tables
    Symptom(
        "alias-table", "the aliases cannot be looked up: mail for this host waits",
        (Candidate("alias-index", "newaliases was never run, or the index is damaged", "/etc/aliases", "alias_maps", "{newaliases}"),),
        cause=Cause.LOCAL_CONFIG, says=words("alias database unavailable"),
    ),
    _fatal("routing-table", "a table of relays by sender cannot be read: mail waits", r"sender_dependent_relayhost_maps (?:lookup|map)|"
           r"(?:transport_maps|sender_dependent_default_transport_maps) lookup",
           Candidate("index-missing", "the table's index is missing or damaged", "relay.senders", "sender_dependent_relayhost_maps",
                     "{rebuild sender_dependent_relayhost_maps}"), daemon="trivial-rewrite", proof=Resolution.LEFT),
    Symptom(
        "generic-table", "smtp(8) dies: smtp_generic_maps cannot be looked up",
        (Candidate("index-missing", "the table's index is missing or damaged", "host.rewrite_sender", "smtp_generic_maps",
                   "{postmap smtp_generic_maps}"),),
        says=words("smtp_generic_maps map lookup problem"),
    ),
    Symptom(
        "map-without-type", "a daemon dies: a table is named without its type",
        (Candidate("map-type-missing", "Postfix expects type:name, as in hash:/etc/postfix/sasl_passwd", "relay.password_file",
                   "the parameter that names the table", "write the type in front, then {reload}", proofs=("map-without-type",)),),
        says=words(r'expecting "type:name" form'),
    ),
    _fatal("table-syntax", "a line of a table of patterns is wrong, and skipped", r"(?:regexp|pcre|cidr) map \S+ line \d+",
           Candidate("table-line", "Postfix leaves the rule out, and mail goes out without it", "main_cf", "the table that the line names",
                     "correct the line, then {reload}"), effect=_NOTE),
    # --- parameters
    Symptom(
        "bad-boolean", "a daemon dies: a parameter is neither yes nor no",
        (Candidate("bad-boolean", "Postfix knows yes and no, and not true, 1 or on", "main_cf", "the parameter in the line",
                   "write yes or no, then {reload}"),),
        says=words("bad boolean configuration"),
    ),
    _fatal("bad-number", "a program dies: a parameter is no number, or no time", r"bad numerical configuration|invalid .*time (?:value|unit)"
           r"|bad time configuration|parameter \S+: bad time value|unknown time unit",
           Candidate("bad-number", "Postfix wants a plain number, or a number with s, m, h, d or w", "main_cf", "the parameter in the line",
                     "write the number, then {reload}"), proof=Resolution.LEFT),
    Symptom(
        "empty-value", "a daemon dies: a parameter is empty, or too short or long",
        (Candidate("undefined-name", "a $name in it does not exist, so that nothing is left", "main_cf", "the parameter in the line",
                   "correct the value, then {reload}"),),
        says=words("bad string length"),
    ),
    Symptom(
        "master-option-blanks", "a daemon dies: a -o setting of master.cf has blanks around =",
        (Candidate("master-option", "-o name = value is three words", "-", "master.cf", "write -o name=value, then {reload}"),),
        says=words(r'invalid "-o \S+" option value'),
    ),
    _fatal("master-fields", "Postfix cannot read master.cf", r"bad field count|cannot execute \S*postconf",
           Candidate("master-line", "a line of master.cf has too few columns", "-", "master.cf", "correct the line that "
                     "`postconf -M` names, then {reload}"), proof=Resolution.LEFT),
    _fatal("indented-line", "a line of main.cf begins with a blank and went into the one above", r"unknown \S+ value \"\w+\" in \"[^\"]*\s\w+ = ",
           Candidate("indented-parameter", "a line that begins with a blank continues the line above, so that its own parameter is not set",
                     "main_cf", "main.cf", "take the blank away, then {reload}")),
    _fatal("mynetworks-host-bits", "Postfix answers every client with an error: mynetworks is wrong", "non-null host address bits",
           Candidate("mynetworks", "an address of mynetworks has bits behind its prefix", "host.mynetworks", "mynetworks",
                     "write the network that the line names, then {apply}"), daemon="smtpd", proof=Resolution.ACCEPTED),
    Symptom(
        "client-not-allowed", "programs that submit by SMTP are refused",
        (Candidate("mynetworks-missing", "the client's network is not in mynetworks", "host.mynetworks", "mynetworks",
                   "add the network in the line to host.mynetworks, then {apply}"),),
        daemon="smtpd", says=words(r"reject: RCPT .*Relay access denied"), effect=Effect.REJECTED, proof=Resolution.ACCEPTED,
    ),
    Symptom(
        "client-lookup-failed", "programs that submit by SMTP are put off: a lookup fails",
        (Candidate("smtpd-table", "a table or list of smtpd(8) cannot be used", "host.mynetworks", "mynetworks and the tables of smtpd(8)",
                   "correct what the warnings of smtpd(8) name, then {reload}", "the warnings of smtpd(8) before this line"),),
        Certainty.LIKELY, daemon="smtpd", says=words(r"reject: .*Temporary lookup failure"), proof=Resolution.ACCEPTED,
    ),
    _fatal("inet-interfaces", "Postfix does not start: inet_interfaces names an address that this host does not have",
           r"inet_interfaces: (?:no local interface|host not found)",
           Candidate("inet-interfaces", "the address or name is not of this host, or IPv6 is off", "host.inet_interfaces, host.inet_protocols",
                     "inet_interfaces, inet_protocols", "{set inet_interfaces=loopback-only}; without IPv6 {set inet_protocols=ipv4}")),
    _fatal("inet-protocols", "Postfix does not start: inet_protocols is misspelt", r"unknown inet_protocols value",
           Candidate("inet-protocols", "Postfix knows all, ipv4 and ipv6", "host.inet_protocols", "inet_protocols", "{set inet_protocols=all}")),
    _fatal("main-cf-syntax", "Postfix cannot read main.cf", r"missing '=' after attribute name|macro processing error",
           Candidate("main-cf", "a line of main.cf is no name = value, or a value refers to itself", "main_cf", "main.cf",
                     "correct the line that the log names")),
    _fatal("myorigin-file", "Postfix cannot read its configuration: the file that myorigin names is missing or empty",
           r"myorigin file|mailname: cannot open",
           Candidate("mailname", "Debian's myorigin = /etc/mailname needs that file", "host.myorigin", "myorigin",
                     "write host.myorigin, then {apply}; or hostname -f > /etc/mailname")),
    _fatal("mailbox-limit", "local(8) dies: mailbox_size_limit is smaller than message_size_limit", "mailbox_size_limit is smaller",
           Candidate("mailbox-limit", "the limit of a mailbox must not be below that of a message", "main_cf.mailbox_size_limit",
                     "mailbox_size_limit", "{set mailbox_size_limit=0}")),
    Symptom(
        "milter-down", "a mail filter (milter) does not answer: mail is refused at submission",
        (Candidate("milter", "the filter's service is down, or its socket is out of reach", "main_cf.non_smtpd_milters",
                   "non_smtpd_milters, smtpd_milters", "start the filter, or {set milter_default_action=accept}"),),
        says=words(r"connect to Milter service|milter.*(?:unreadable|can't)"), daemon="cleanup|smtpd", proof=Resolution.LEFT,
    ),
    # --- worth knowing, mail goes out
    Symptom(
        "restart-needed", "a changed parameter is not in force: Postfix must be stopped and started",
        (Candidate("restart", "a reload does not change inet_interfaces and inet_protocols", "host.inet_interfaces, host.inet_protocols",
                   "inet_interfaces, inet_protocols", "{restart}"),),
        daemon="master", says=words(r"ignoring inet_\w+ (?:parameter value )?change|to change inet_\w+, stop and start"),
        effect=_NOTE, proof=Resolution.STARTED,
    ),
    Symptom(
        "master-duplicate", "a service stands twice in master.cf",
        (Candidate("master-duplicate", "the last line holds, and edits of the other do nothing", "-", "master.cf",
                   "delete one of them, then {reload}"),),
        says=words("duplicate master.cf entry"), effect=_NOTE, proof=Resolution.STARTED,
    ),
    Symptom(
        "bind-address", "smtp_bind_address is not an address of this host",
        (Candidate("bind-address", "it is left over from another host; Postfix sends without it", "main_cf.smtp_bind_address",
                   "smtp_bind_address", "{remove smtp_bind_address}"),),
        says=words(r"smtp_connect_addr: bind "), effect=_NOTE, proof=Resolution.STARTED,
    ),
    Symptom(
        "compatibility", "Postfix uses old defaults",
        (Candidate("compatibility-level", "compatibility_level is not set", "main_cf.compatibility_level", "compatibility_level",
                   "{set compatibility_level=3.6}"),),
        says=words(r"backwards-compatible default setting"), effect=_NOTE, proof=Resolution.STARTED,
    ),
    Symptom(
        "chroot-copy-differs", "the chroot's copy of a file of /etc is out of date",
        (Candidate("chroot-copy", "daemons in the chroot read the old copy: names may not be found", "the host's files",
                   "$queue_directory/etc", "copy the file anew (cp /etc/resolv.conf {queue}/etc/), then {reload}"),),
        daemon="postfix-script", says=words(r" and \S+ differ"), effect=_NOTE, proof=Resolution.STARTED,
    ),
)  # fmt: skip
