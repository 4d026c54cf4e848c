"""Symptoms of services that mail passes before it is queued, and of daemons that crash.

While one of them is down, no mail can be submitted, and no delivery says so.
"""

from postward.agent.incidents.catalog.symptom import Candidate, Changes, Resolution, Symptom, pattern
from postward.agent.incidents.model import Effect

_SERVER_NAMES = (
    pattern(r"(?:problem talking to server|Milter service|connect to) (?P<SERVER>[\w.:/@-]+?):? "),
)
_DOWN = r"(?:Connection refused|No such file|timed out|time limit|Connection reset|Broken pipe|lost connection|No route)"

_POLICY_DOWN = Candidate(
    id="policy-server",
    what="the policy server {line SERVER|of check_policy_service} is down or does not answer",
    setting="main_cf.smtpd_recipient_restrictions",
    parameter="check_policy_service in the smtpd restrictions",
    certain_by=pattern(rf"problem talking to server (?!private/).*{_DOWN}"),
    remedy="start the policy server {line SERVER|in the line}",
    changes=Changes.RESTARTS,
    check="ss -ltnx: does a program listen at the address in the line?",
)
_POLICY_SPAWNED = Candidate(
    id="policy-spawned",
    what="the policy server {line SERVER|} is a service of master.cf, and its program exits or is missing",
    setting="-",
    parameter="master.cf: the spawn service in the line",
    certain_by=pattern(rf"problem talking to server private/(?!anvil|tlsmgr|scache|verify).*{_DOWN}"),
    remedy="correct the service in master.cf, or install its program; then {reload}",
    changes=Changes.WRITES,
    check="what do spawn(8) and master(8) log about it?",
)
_POLICY_SOCKET = Candidate(
    id="policy-socket",
    what="Postfix may not use the socket of the policy server {line SERVER|}",
    setting="the host's files",
    parameter="the socket in the line",
    certain_by=pattern(r"problem talking to server \S+: Permission denied"),
    remedy="let the user postfix use the socket, then {reload}",
    changes=Changes.RESTARTS,
    check="namei -l on the socket's path",
)
_PERMISSIONS = Candidate(
    id="queue-owner",
    what="a directory of the queue has a wrong owner or mode, as after a copy, a restore or a chown -R",
    setting="the host's files",
    parameter="$queue_directory",
    remedy="{permissions}, then {restart}",
    changes=Changes.WRITES,
    check='ls -l "$(postconf -hx queue_directory)": does postfix own the directories?',
    lint_proves=("queue-owner",),
)
_ACCESS_RULE = Candidate(
    id="access-rule",
    what="SELinux, AppArmor or the container forbids access to the queue",
    setting="the host's files",
    parameter="$queue_directory",
    remedy="correct the rule, or restore the labels with restorecon -R on the queue directory",
    changes=Changes.WRITES,
    check="ausearch -m avc -ts recent; dmesg | grep -i denied",
)
_LIBRARY = Candidate(
    id="library",
    what="a library of the daemon crashes it: the C library, OpenSSL, or a table's client",
    setting="the host's packages",
    parameter="{line DAEMON|the daemon in the line}",
    remedy="upgrade Postfix and its libraries to versions built for each other, then {restart}",
    changes=Changes.RESTARTS,
    check="coredumpctl info, or dmesg: which library does the crash name?",
)
_PLUGIN = Candidate(
    id="sasl-plugin",
    what="a SASL plug-in crashes the daemon (signal {line SIGNAL|in the line})",
    setting="the host's packages",
    parameter="libsasl2",
    remedy="remove the plug-ins that the login does not need, then {restart}",
    changes=Changes.WRITES,
    check="does it crash only when it logs in? ls /usr/lib*/sasl2 /usr/lib/*/sasl2",
)
_BUILD = Candidate(
    id="daemon-bug",
    what="a fault in this release of Postfix, which a setting or a reply triggers",
    setting="-",
    parameter="{line DAEMON|the daemon in the line}",
    remedy="upgrade Postfix",
    changes=Changes.READS,
    check="what did the same process log just before?",
)

SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        id="daemon-crashed",
        title="{line DAEMON|a Postfix daemon} crashes (signal {line SIGNAL|in the line})",
        daemon="master",
        text=pattern(r"killed by signal (?:4|5|6|7|8|11|31)\b"),
        names=(pattern(r"process \S*/(?P<DAEMON>[\w-]+) pid \d+ killed by signal (?P<SIGNAL>\d+)"),),
        resolution=Resolution.LEFT,
        candidates=(_LIBRARY, _PLUGIN, _BUILD),
    ),
    Symptom(
        id="daemon-killed",
        title="a Postfix daemon was killed (signal 9)",
        daemon="master",
        text=pattern(r"killed by signal 9\b"),
        names=(pattern(r"process \S*/(?P<DAEMON>[\w-]+) pid"),),
        effect=Effect.NOTE,
        resolution=Resolution.LEFT,
        candidates=(
            Candidate(
                id="out-of-memory",
                what="the kernel killed {line DAEMON|it} because the host or container ran out of memory",
                setting="the host's limits",
                parameter="-",
                remedy="give the host or container more memory",
                changes=Changes.READS,
                check="dmesg | grep -i 'killed process'",
            ),
            Candidate(
                id="killed-by-hand",
                what="a person or a program killed {line DAEMON|it}",
                setting="-",
                parameter="-",
                remedy="-",
                changes=Changes.READS,
                check="who was logged in at that time?",
            ),
        ),
    ),
    Symptom(
        id="policy-server-down",
        title="a policy server does not answer: smtpd(8) defers every client",
        daemon="smtpd",
        text=pattern(r"problem talking to server (?!private/(?:anvil|tlsmgr|scache|verify))"),
        names=_SERVER_NAMES,
        resolution=Resolution.ACCEPTED,
        candidates=(
            _POLICY_DOWN,
            _POLICY_SPAWNED,
            _POLICY_SOCKET,
            Candidate(
                id="policy-protocol",
                what="the policy server {line SERVER|} answers, but not in the policy protocol",
                setting="main_cf.smtpd_recipient_restrictions",
                parameter="check_policy_service in the smtpd restrictions",
                remedy="correct the address, or read the policy server's own log",
                changes=Changes.WRITES,
                check="what does the policy server log?",
            ),
        ),
    ),
    Symptom(
        id="restriction-unknown",
        title="smtpd(8) answers every client with an error: a restriction is misspelt",
        daemon="smtpd",
        text=pattern(r"unknown smtpd restriction|bad command parameter|restriction \S+ requires"),
        names=(pattern(r'(?:restriction: "|restriction )(?P<NAME>[\w.-]+)'),),
        resolution=Resolution.ACCEPTED,
        candidates=(
            Candidate(
                id="restriction-name",
                what="Postfix does not know the restriction {line NAME|in the line}",
                setting="main_cf.smtpd_recipient_restrictions",
                parameter="the smtpd restrictions",
                certain_by=pattern("unknown smtpd restriction"),
                remedy="correct the restriction {line NAME|in the line}, then {reload}",
                changes=Changes.WRITES,
                check="postconf -n | grep restrictions",
            ),
            # smtpd/smtpd_check.c
            Candidate(
                id="restriction-argument",
                what="the restriction {line NAME|in the line} has a wrong argument, or lacks one",
                setting="main_cf.smtpd_recipient_restrictions",
                parameter="the smtpd restrictions",
                certain_by=pattern(r"bad command parameter|restriction \S+ requires"),
                refuted_by=pattern("unknown smtpd restriction"),
                remedy="correct the argument of {line NAME|the restriction}, then {reload}",
                changes=Changes.WRITES,
                check="postconf -n | grep restrictions",
            ),
        ),
    ),
    Symptom(
        id="smtpd-misconfigured",
        title="smtpd(8) answers clients that its own configuration is wrong",
        daemon="smtpd",
        text=pattern("reject: .*451 4.3.[05] .*Server configuration (?:problem|error)"),
        resolution=Resolution.ACCEPTED,
        candidates=(
            _POLICY_DOWN,
            _POLICY_SPAWNED,
            _POLICY_SOCKET,
            Candidate(
                id="restriction-name",
                what="a restriction or a list of smtpd(8) is misspelt",
                setting="main_cf.smtpd_recipient_restrictions",
                parameter="the smtpd restrictions",
                remedy="correct what the warnings of smtpd(8) name, then {reload}",
                changes=Changes.WRITES,
                check="the warnings of smtpd(8) before this line",
            ),
        ),
    ),
    Symptom(
        id="milter-down",
        title="a mail filter (milter) does not answer: mail is refused at submission",
        daemon="cleanup|smtpd",
        text=pattern("connect to Milter service|milter.*(?:unreadable|can't)|Milter service"),
        names=_SERVER_NAMES,
        resolution=Resolution.LEFT,
        candidates=(
            Candidate(
                id="milter",
                what="the filter {line SERVER|in the line} is down, or does not listen at this address",
                setting="main_cf.non_smtpd_milters",
                parameter="non_smtpd_milters, smtpd_milters",
                certain_by=pattern(rf"connect to Milter service \S+: .*{_DOWN}"),
                remedy="start the filter {line SERVER|in the line}",
                changes=Changes.RESTARTS,
                check="ss -ltnx: does the filter listen at this address, inside the chroot if it is a socket?",
            ),
            Candidate(
                id="milter-socket",
                what="Postfix may not use the filter's socket {line SERVER|}",
                setting="the host's files",
                parameter="the socket in the line",
                certain_by=pattern(r"connect to Milter service \S+: .*Permission denied"),
                remedy="add the user postfix to the filter's group, or let the filter create its socket for it",
                changes=Changes.WRITES,
                check="namei -l on the socket's path",
            ),
            Candidate(
                id="milter-protocol",
                what="the filter {line SERVER|} stopped during a conversation, or speaks another version",
                setting="main_cf.milter_protocol",
                parameter="milter_protocol",
                refuted_by=pattern("connect to Milter service"),
                remedy="read the filter's log; restart the filter",
                changes=Changes.RESTARTS,
                check="the filter's log",
            ),
        ),
    ),
    Symptom(
        id="queue-permission",
        title="Postfix may not write to its queue: no mail can be submitted or sent",
        daemon="cleanup|qmgr|pickup|bounce|defer|showq|smtp|local",
        text=pattern(
            r"(?:mail_queue_\w+: |scan_dir_push: |create file |open (?:directory )?|rename |maildrop/\S+: |"
            r"incoming/\S+ |remove |chmod ).{0,160}(?:Permission denied|Operation not permitted)"
        ),
        resolution=Resolution.LEFT,
        candidates=(_PERMISSIONS, _ACCESS_RULE),
    ),
    Symptom(
        id="pickup-write",
        title="submitted mail cannot be queued: cleanup(8) does not accept it",
        daemon="pickup|postdrop|sendmail",
        text=pattern("error writing .*|queue file write error"),
        resolution=Resolution.SUBMITTED,
        candidates=(
            Candidate(
                id="cleanup-table",
                what="cleanup(8) cannot look up a table",
                setting="main_cf",
                parameter="canonical_maps, virtual_alias_maps and other tables of cleanup(8)",
                remedy="correct what the warnings of cleanup(8) name",
                changes=Changes.WRITES,
                check="the warnings of cleanup(8) about the same queue ID",
            ),
            Candidate(
                id="cleanup-filter",
                what="a mail filter (milter) refuses the mail or is down",
                setting="main_cf.non_smtpd_milters",
                parameter="non_smtpd_milters",
                remedy="start the filter",
                changes=Changes.RESTARTS,
                check="the warnings of cleanup(8) about the same queue ID",
            ),
            Candidate(
                id="queue-write",
                what="the queue is full, read-only, or has wrong owners",
                setting="the host's disk",
                parameter="$queue_directory",
                remedy="free space, or {permissions}",
                changes=Changes.WRITES,
                check="df -h, df -i and ls -l on the queue directory",
            ),
        ),
    ),
    Symptom(
        id="queue-directory",
        title="Postfix cannot use its queue directory",
        text=pattern(r"chdir\(|chdir |queue_directory|scan_dir_push: open directory"),
        resolution=Resolution.LEFT,
        names=(pattern(r"(?:chdir\(?|open directory) ?(?P<DIRECTORY>/[\w./-]+)"),),
        candidates=(
            Candidate(
                id="queue-permissions",
                what=(
                    "Postfix may not enter {line DIRECTORY|the queue directory}: its owner or mode was changed, or SELinux, "
                    "AppArmor or a container forbids it"
                ),
                setting="the host's files",
                parameter="{line DIRECTORY|queue_directory}",
                certain_by=pattern("Permission denied"),
                remedy="{permissions}",
                changes=Changes.WRITES,
                check="namei -l {line DIRECTORY|/var/spool/postfix}",
            ),
            Candidate(
                id="queue-directory",
                what="queue_directory was changed, and the new directory does not exist",
                setting="main_cf.queue_directory",
                parameter="queue_directory",
                certain_by=pattern("No such file or directory"),
                refuted_by=pattern("Permission denied"),
                remedy="{remove queue_directory}",
                changes=Changes.STRANDS,
                check=(
                    "ls -ld on the directory in the line; does a former queue directory hold mail? Move that "
                    "mail with Postfix stopped"
                ),
            ),
        ),
    ),
)
