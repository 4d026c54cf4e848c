"""Symptoms of this host: processes, files, disk, and conditions that no log line shows."""

import re
from collections.abc import Collection
from typing import Final

from postward.agent.incidents.catalog.symptom import (
    NEVER,
    Candidate,
    Changes,
    Resolution,
    Symptom,
    lacks,
    pattern,
)
from postward.agent.incidents.model import Effect
from postward.parsers import Cause
from postward.parsers.cause import ABOUT_ONE_MAIL

_OWNERS = Candidate(
    id="owners",
    what="a restore, a chown -R or an image changed the owner of Postfix's files",
    setting="the host's files",
    parameter="the file in the line",
    remedy="{permissions}, and chown root the files of /etc/postfix; then postfix check",
    changes=Changes.WRITES,
)


_DAEMON_DIES: Final = Candidate(
    id="daemon-dies",
    what="the daemon's fatal line, which says why, is missing from the log",
    setting="main_cf",
    parameter="main.cf, master.cf",
    remedy="correct what the fatal line names, then {reload}",
    changes=Changes.WRITES,
    check="journalctl -t postfix -p err; postfix check",
)
_FORBIDDEN: Final = "(?:Permission denied|Operation not permitted)"
_MISSING: Final = "No such file or directory"


_OF_SENDERS: Final = (Cause.SENDER_REJECTED, Cause.POLICY, Cause.RELAY_DENIED, Cause.AUTH_REQUIRED)
_OF_ACCOUNTS: Final = (Cause.QUOTA, Cause.RATE_LIMIT, Cause.BLOCKED, Cause.GREYLISTED)


def _of_return(symptom: str, recipient: str) -> tuple[Candidate, ...]:
    """Return the causes for which a relay returns mail that it has accepted; the line has the cause in its first brackets."""

    def of(causes: Collection[Cause]) -> str:
        return rf"\A[^()]*\((?:{'|'.join(causes)})\)"

    def unless(causes: Collection[Cause]) -> re.Pattern[str]:
        return lacks(of((*causes, Cause.OTHER)))

    return (
        Candidate(
            id=f"{symptom}-sender",
            what="the server behind the relay does not accept the sender: its domain's SPF, DKIM or DMARC, or its policy",
            setting="relay.senders, host.rewrite_sender",
            parameter="-",
            refuted_by=unless(_OF_SENDERS),
            remedy="correct what the line names; the records in DNS as postward doctor says",
            changes=Changes.WRITES,
            check="postward doctor",
        ),
        Candidate(
            id=f"{symptom}-account",
            what="the relay's account or address is limited or on a block list",
            setting="nothing in the settings: the account at the relay",
            parameter="-",
            refuted_by=lacks(of(_OF_ACCOUNTS)),
            remedy="raise the limit at the relay's provider, or report the listing to it",
            changes=Changes.READS,
        ),
        Candidate(
            id=f"{symptom}-recipient",
            what="the recipient does not exist, or its mailbox is full or closed",
            setting=recipient,
            parameter="-",
            refuted_by=unless((Cause.RECIPIENT_REJECTED,)),
            remedy="correct the address",
            changes=Changes.WRITES,
        ),
        Candidate(
            id=f"{symptom}-content",
            what="a filter behind the relay refuses the content or the size",
            setting="nothing in the settings: the mail",
            parameter="-",
            refuted_by=unless((Cause.CONTENT, Cause.SIZE)),
            remedy="ask the recipient's provider for the rule that the line names",
            changes=Changes.READS,
        ),
        Candidate(
            id=f"{symptom}-way",
            what="the relay cannot reach the recipient's server",
            setting="nothing in the settings: the relay",
            parameter="-",
            is_unknown=True,
            refuted_by=pattern(of((*_OF_SENDERS, *_OF_ACCOUNTS, *ABOUT_ONE_MAIL))),
            remedy="ask the relay's provider about the line",
            changes=Changes.READS,
        ),
    )


SYMPTOMS: tuple[Symptom, ...] = (
    # Disk, memory, files
    Symptom(
        id="queue-read-only",
        title="a file system that Postfix writes to is read-only",
        text=pattern("Read-only file system"),
        resolution=Resolution.SUBMITTED,
        candidates=(
            Candidate(
                id="read-only",
                what="the file system has a fault, or a container has no writable volume",
                setting="the host's disk",
                parameter="queue_directory",
                certain_by=pattern(r"/(?!postdrop|sendmail)[\w-]+\[\d+\]: .*Read-only file system"),
                remedy="read dmesg and repair the file system; mount -o remount,rw only then",
                changes=Changes.WRITES,
                check="findmnt -T on the queue directory; dmesg",
            ),
            # postdrop runs within the unit of the program that submits.
            Candidate(
                id="sandbox",
                what="the unit of the submitting program sees /var as read-only (ProtectSystem=strict)",
                setting="the host's services",
                parameter="ReadWritePaths= of the program's unit",
                refuted_by=pattern(r"/(?!postdrop|sendmail)[\w-]+\[\d+\]: .*Read-only file system"),
                remedy="add ReadWritePaths=/var/spool/postfix/maildrop to the program's unit, and restart it",
                changes=Changes.RESTARTS,
                check="does sendmail work from a shell on this host?",
            ),
        ),
    ),
    Symptom(
        id="queue-full",
        title="the queue has too little free space: no mail can be submitted",
        text=pattern(
            "No space left on device|not enough free space|Insufficient system storage|Disk quota exceeded"
        ),
        resolution=Resolution.SUBMITTED,
        candidates=(
            Candidate(
                id="disk-full",
                what="no space or no inodes are left",
                setting="the host's disk",
                parameter="queue_directory",
                certain_by=pattern(r"No space left on device|Disk quota exceeded"),
                remedy="free space: df -h and df -i on {queue}",
                changes=Changes.READS,
                check="df -h and df -i on {queue}",
            ),
            # smtpd/smtpd_check.c compares free space with queue_minfree and with 1.5 times message_size_limit.
            Candidate(
                id="free-space-limit",
                what="queue_minfree, or 1.5 times message_size_limit, is more than the disk usually has free",
                setting="main_cf.message_size_limit",
                parameter="message_size_limit, queue_minfree",
                refuted_by=pattern(r"No space left on device|Disk quota exceeded"),
                remedy="lower the parameter, then {reload}",
                changes=Changes.WRITES,
                check="postconf -h message_size_limit queue_minfree; df -h on {queue}",
            ),
        ),
    ),
    Symptom(
        id="message-too-big",
        title="a program submits a mail that is larger than this host accepts",
        text=pattern("message file too big|File too large"),
        effect=Effect.REJECTED,
        resolution=Resolution.SUBMITTED,
        candidates=(
            Candidate(
                id="message-size-limit",
                what="message_size_limit is smaller than the mail",
                setting="main_cf.message_size_limit",
                parameter="message_size_limit",
                certain_by=pattern(r"message file too big"),
                remedy="{set message_size_limit=52428800}, if the relay accepts this size",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="submission-forbidden",
        title="programs cannot submit mail: the maildrop directory is not writable",
        daemon="postdrop",
        text=pattern("maildrop/.*Permission denied"),
        resolution=Resolution.SUBMITTED,
        candidates=(
            Candidate(
                id="postdrop-setgid",
                what="postdrop has lost its set-gid bit",
                setting="the host's files",
                parameter="/usr/sbin/postdrop",
                remedy="{permissions}",
                changes=Changes.WRITES,
                check=(
                    "ls -l /usr/sbin/postdrop must show root postdrop and r-xr-sr-x; does the program's "
                    "unit set NoNewPrivileges?"
                ),
                lint_decides=("postdrop-not-setgid",),
                proving_symptoms=("postdrop-setgid",),
            ),
            Candidate(
                id="maildrop-owner",
                what="the maildrop directory has a wrong group or mode",
                setting="the host's files",
                parameter="$queue_directory/maildrop",
                remedy="{permissions}",
                changes=Changes.WRITES,
                check='ls -ld "$(postconf -hx queue_directory)"/maildrop',
                lint_decides=("queue-owner",),
                proving_symptoms=("maildrop-group",),
            ),
        ),
    ),
    Symptom(
        id="postdrop-setgid",
        title="postdrop is not set-gid: only root can submit mail",
        daemon="postfix-script",
        text=pattern("not set-gid or not owner"),
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="postdrop-setgid",
                what="the set-gid bit or a permission to execute is missing, as after an image build or a copy",
                setting="the host's files",
                parameter="/usr/sbin/postdrop",
                certain_by=pattern(r"not set-gid or not owner"),
                remedy="{permissions}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="maildrop-group",
        title="a file for mail submission does not belong to the group postdrop",
        daemon="postfix-script",
        text=pattern("not owned by group"),
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="maildrop-owner",
                what="a restore or a chown -R changed its owner",
                setting="the host's files",
                parameter="the file in the line",
                certain_by=pattern(r"not owned by group"),
                remedy="{permissions}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="owners",
        title="files of Postfix have a wrong owner, or are writable by others",
        daemon="postfix-script",
        text=pattern("not owned by |group or other writable"),
        effect=Effect.NOTE,
        resolution=Resolution.STARTED,
        candidates=(_OWNERS,),
    ),
    Symptom(
        id="resources",
        title="this host runs out of memory, processes or file descriptors",
        text=pattern(
            "Cannot allocate memory|Too many open files|Resource temporarily unavailable|out of memory"
        ),
        resolution=Resolution.LEFT,
        candidates=(
            Candidate(
                id="resources",
                what="the line says which resource",
                setting="the host's limits",
                parameter="-",
                remedy="free the resource, or raise the limit",
                changes=Changes.READS,
            ),
        ),
    ),
    Symptom(
        id="no-resources",
        title="mail waits because a resource of this host is exhausted",
        cause=Cause.LOCAL_RESOURCE,
        candidates=(
            Candidate(
                id="resources",
                what="disk space, inodes, memory or file descriptors: the line says which",
                setting="the host's limits",
                parameter="-",
                remedy="free the resource",
                changes=Changes.READS,
            ),
        ),
    ),
    # Processes
    Symptom(
        id="postfix-not-running",
        title="Postfix is not running: programs can submit mail, but none goes out",
        daemon="postfix-script|postqueue|postfix",
        text=pattern("mail system is not running|Mail system is down"),
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="postfix-stopped",
                what="Postfix was stopped, has crashed, or never started",
                setting="the host's services",
                parameter="postfix.service",
                certain_by=pattern(r"mail system is not running"),
                remedy="systemctl start postfix; journalctl -u 'postfix*' says why it stopped",
                changes=Changes.RESTARTS,
                check="postfix status",
            ),
            # postqueue/postqueue.c
            Candidate(
                id="showq-missing",
                what="Postfix runs, and its service showq does not answer: master.cf lacks it, or the instance is another",
                setting="-",
                parameter="master.cf: showq",
                refuted_by=pattern(r"mail system is not running"),
                remedy="add the service showq to master.cf, then {reload}",
                changes=Changes.WRITES,
                check="postfix status; postconf -M showq/unix",
            ),
        ),
    ),
    Symptom(
        id="postfix-twice",
        title="Postfix was started while it was running",
        text=pattern("mail system is already running"),
        effect=Effect.NOTE,
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="already-running",
                what="two units or scripts start it; mail is not affected",
                setting="the host's services",
                parameter="-",
                certain_by=pattern(r"mail system is already running"),
                remedy="let one unit or script start it",
                changes=Changes.READS,
            ),
        ),
    ),
    Symptom(
        id="port-taken",
        title="another mail server uses the port",
        text=pattern("bind .*Address already in use"),
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="port-taken",
                what=(
                    "exim, sendmail or another Postfix listens on it; rarely, two lines of master.cf name the same port, as "
                    "smtp and 25"
                ),
                setting="the host's services",
                parameter="master.cf",
                remedy="stop the other program, then {restart}",
                changes=Changes.RESTARTS,
                check="ss -ltnp",
            ),
        ),
    ),
    Symptom(
        id="pickup-missing",
        title="submitted mail is not picked up: Postfix has never started here",
        text=pattern("unable to look up public/pickup"),
        resolution=Resolution.SUBMITTED,
        candidates=(
            Candidate(
                id="postfix-stopped",
                what="Postfix is not running, or its queue directory was replaced",
                setting="the host's services",
                parameter="-",
                remedy="systemctl start postfix",
                changes=Changes.RESTARTS,
                check="postfix status",
            ),
            Candidate(
                id="pickup-service",
                what="Postfix runs, and master.cf has no service pickup",
                setting="-",
                parameter="master.cf: pickup",
                remedy="add the service pickup to master.cf, then {reload}",
                changes=Changes.WRITES,
                check="postconf -M pickup/unix",
            ),
        ),
    ),
    Symptom(
        id="process-limit",
        title="a service has reached its process limit",
        text=pattern("has reached its process limit"),
        effect=Effect.NOTE,
        resolution=Resolution.ACCEPTED,
        candidates=(
            Candidate(
                id="process-limit",
                what="more clients than the limit are connected, and further ones wait",
                setting="main_cf.default_process_limit",
                parameter="default_process_limit, master.cf",
                remedy="{set default_process_limit=200}",
                changes=Changes.WRITES,
                check="ss -tn shows the clients: are they yours, and as many as the limit?",
            ),
            Candidate(
                id="processes-hang",
                what="the processes wait for a slow filter, policy server, table or name server",
                setting="main_cf.smtpd_milters",
                parameter="smtpd_milters, check_policy_service, /etc/resolv.conf",
                remedy="repair the service that they wait for",
                changes=Changes.RESTARTS,
                check="do the log lines of one client take seconds? strace -p on a process of the service",
            ),
        ),
    ),
    Symptom(
        id="startup-failed",
        title="Postfix does not start",
        daemon="postfix-script",
        text=pattern("mail system startup failed"),
        resolution=Resolution.STARTED,
        candidates=(
            Candidate(
                id="daemon-dies",
                what="the fatal line of master(8), which says why, is missing from the log",
                setting="main_cf",
                parameter="main.cf, master.cf",
                remedy="correct what the fatal line names, then {restart}",
                changes=Changes.WRITES,
                check="journalctl -t postfix/master -p err; postfix check",
            ),
        ),
    ),
    Symptom(
        id="command-failed",
        title="a command that reads Postfix's queue or log failed",
        daemon="postqueue|postcat|postlog",
        text=pattern(r"\A(?:fatal|panic): "),
        effect=Effect.NOTE,
        resolution=Resolution.LEFT,
        candidates=(
            Candidate(
                id="command",
                what=(
                    "Postfix was stopping or starting, or the line says why; mail does not wait for such a "
                    "command"
                ),
                setting="nothing in the settings",
                parameter="-",
                remedy="run the command again",
                changes=Changes.READS,
                check="read the line",
            ),
        ),
    ),
    Symptom(
        id="unexplained",
        title="Postfix complains, and the log has no delivery that shows what follows",
        text=NEVER,
        effect=Effect.NOTE,
        candidates=(
            Candidate(
                id="unknown",
                what="only the text of the line is known",
                setting="-",
                parameter="-",
                remedy="read the line",
                changes=Changes.READS,
                check="a longer part of the log, with the deliveries after this line",
                is_unknown=True,
            ),
        ),
    ),
    Symptom(
        id="relay-restrictions-missing",
        title="smtpd(8) exits: no restriction keeps strangers from relaying",
        daemon="smtpd",
        text=pattern("specify at least one working instance of"),
        candidates=(
            Candidate(
                id="unauth-destination-missing",
                what="neither smtpd_relay_restrictions nor smtpd_recipient_restrictions has reject_unauth_destination",
                setting="main_cf.smtpd_relay_restrictions",
                parameter="smtpd_relay_restrictions, smtpd_recipient_restrictions",
                certain_by=pattern("specify at least one working instance of"),
                remedy="{set smtpd_relay_restrictions=permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="daemon-file",
        title="a Postfix daemon exits: it cannot use a file",
        text=pattern(rf"\A(?:fatal|panic): .*: (?:{_FORBIDDEN}|{_MISSING})\Z"),
        names=(pattern(rf"(?P<FILE>/[\w./-]+)[^/]*: (?:{_FORBIDDEN}|{_MISSING})\Z"),),
        candidates=(
            Candidate(
                id="file-forbidden",
                what="Postfix may not use {line FILE|the file in the line}: wrong owner or mode, or a policy forbids it",
                setting="the host's files",
                parameter="{line FILE|the file or directory in the line}",
                certain_by=pattern(rf"{_FORBIDDEN}\Z"),
                remedy="{permissions} sets the owners and modes of Postfix's own files and directories",
                changes=Changes.WRITES,
                check="namei -l {line FILE|the path in the line}; does SELinux or AppArmor log a denial?",
            ),
            Candidate(
                id="file-missing",
                what="{line FILE|the file in the line} does not exist",
                setting="the host's files",
                parameter="{line FILE|the file or directory in the line}",
                certain_by=pattern(rf"{_MISSING}\Z"),
                remedy="create it, or correct the parameter that names it, then {reload}",
                changes=Changes.WRITES,
                check="postconf -n: which parameter names it?",
            ),
        ),
    ),
    Symptom(
        id="daemon-fatal",
        title="a Postfix daemon exits with an error",
        text=pattern(r"\A(?:fatal|panic): "),
        candidates=(
            Candidate(
                id="fatal",
                what="only the text of the line is known",
                setting="main_cf",
                parameter="the parameter or file in the line",
                remedy="correct what the line names, then {reload}",
                changes=Changes.WRITES,
                check="read the line",
                is_unknown=True,
            ),
        ),
    ),
    Symptom(
        id="daemon-throttled",
        title="a Postfix daemon exits at startup, repeatedly",
        daemon="master",
        text=pattern("bad command startup"),
        candidates=(_DAEMON_DIES,),
    ),
    Symptom(
        id="transport-failed",
        title="a delivery agent exits during a delivery",
        daemon="qmgr",
        text=pattern("socket: malformed response"),
        candidates=(_DAEMON_DIES,),
    ),
    # Fallbacks of deliveries on this host
    Symptom(
        id="local-config",
        title="Postfix's configuration on this host prevents mail from going out",
        cause=Cause.LOCAL_CONFIG,
        candidates=(
            Candidate(
                id="local-config",
                what="the text of the line says which part",
                is_unknown=True,
                setting="main_cf",
                parameter="main.cf",
                remedy="correct what the line names, then {reload}",
                changes=Changes.WRITES,
                check="postward check",
            ),
        ),
    ),
    # Conditions that no line shows: other parts of the agent report them
    Symptom(
        id="permissions",
        title="Postfix's own files have wrong owners or modes: mail cannot be submitted or sent",
        text=NEVER,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="main-cf-mode",
                what="main.cf or its directory is readable for some users only: a umask, a restore or a deploy tool",
                setting="the host's files",
                parameter="main.cf",
                certain_by=pattern(r"only some users may read it"),
                refuted_by=lacks(r"only some users may read it"),
                remedy="chmod go+rX {config} {config}/main.cf",
                changes=Changes.WRITES,
            ),
            Candidate(
                id="postdrop-setgid",
                what="postdrop has lost its set-gid bit or its group: an image build, a copy, or chmod",
                setting="the host's files",
                parameter="/usr/sbin/postdrop",
                certain_by=pattern(r"/postdrop (?:has mode|does not)"),
                refuted_by=lacks(r"/postdrop (?:has mode|does not)"),
                remedy="{permissions}",
                changes=Changes.WRITES,
            ),
            Candidate(
                id="queue-owner",
                what="a restore or a chown -R changed directories of the queue",
                setting="the host's files",
                parameter="$queue_directory",
                certain_by=pattern(r"/(?:incoming|active|deferred|maildrop|public) (?:is owned|has)"),
                refuted_by=lacks(r"/(?:incoming|active|deferred|maildrop|public) (?:is owned|has)"),
                remedy="{permissions}",
                changes=Changes.WRITES,
            ),
            Candidate(
                id="data-owner",
                what="data_directory does not belong to Postfix's user",
                setting="the host's files",
                parameter="$data_directory",
                refuted_by=pattern(
                    r"/postdrop |only some users|/(?:incoming|active|deferred|maildrop|public) "
                ),
                remedy="{permissions}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="postfix-down",
        title="Postfix is not running: programs can submit mail, but none goes out",
        text=NEVER,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="postfix-stopped",
                what="master(8) is not running",
                setting="the host's services",
                parameter="postfix.service",
                remedy="systemctl start postfix; journalctl -u 'postfix*' says why it stopped",
                changes=Changes.RESTARTS,
            ),
        ),
    ),
    Symptom(
        id="probe-late",
        title="a probe mail was not accepted",
        text=NEVER,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="probe-stuck",
                what="the timeline of the probe shows the step at which it waits",
                setting="probe",
                parameter="-",
                remedy="postward probe",
                changes=Changes.READS,
                check="postward probe",
            ),
        ),
    ),
    Symptom(
        id="probe-not-arrived",
        title="the relay accepts probe mails, and they do not arrive as they should",
        text=NEVER,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="probe-kept",
                what="the relay or the receiver keeps, drops, doubles or changes the mail behind this host",
                setting="nothing in the settings: the relay's provider, or the receiver",
                parameter="-",
                remedy="look the probe up by its Message-ID in the provider's list of sent mail; postward probe shows both",
                changes=Changes.READS,
                check="postward probe --json",
            ),
        ),
    ),
    Symptom(
        id="probe-in-spam",
        title="probe mails arrive in a folder for spam",
        text=NEVER,
        effect=Effect.NOTE,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="spam-authentication",
                what="the receiver cannot authenticate the mail by SPF, DKIM or DMARC",
                setting="the records of the sender's domain",
                parameter="-",
                remedy="correct the records in DNS as postward doctor says; let the relay sign with DKIM for the domain",
                changes=Changes.WRITES,
                proving_symptoms=("probe-unauthenticated",),
                check="postward doctor; postward probe --json shows the verdicts",
            ),
            Candidate(
                id="spam-reputation",
                what="the receiver does not trust the relay's address, the sender's domain or the content",
                setting="nothing in the settings: the reputation at the receiver",
                parameter="-",
                remedy="ask the relay's provider for another address, and mark the probes as no spam in the mailbox",
                changes=Changes.READS,
                check="the receiver's tools for senders, such as Google Postmaster Tools",
            ),
        ),
    ),
    Symptom(
        id="probe-returned",
        title="probe mails are accepted by the relay, and come back",
        text=NEVER,
        effect=Effect.LOST,
        resolution=Resolution.CONDITION,
        candidates=_of_return("probe-returned", "probe.recipient"),
    ),
    Symptom(
        id="mail-returned",
        title="mail is accepted by the relay, and comes back",
        text=NEVER,
        effect=Effect.LOST,
        resolution=Resolution.CONDITION,
        candidates=_of_return("mail-returned", "nothing in the settings: the recipients"),
    ),
    Symptom(
        id="probe-unauthenticated",
        title="the receiver's checks of SPF, DKIM or DMARC fail for probe mails",
        text=NEVER,
        effect=Effect.NOTE,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="unauthenticated-spf",
                what="the SPF record of the sender's domain does not cover the relay",
                setting="probe.sender",
                parameter="-",
                refuted_by=pattern(r"says: (?!.*SPF)"),
                remedy="add the relay to the SPF record of the sender's domain, as its provider says",
                changes=Changes.WRITES,
                check="postward doctor",
            ),
            Candidate(
                id="unauthenticated-dkim",
                what="the relay's DKIM signature is not valid: its key is not in DNS, or the mail was changed after it",
                setting="nothing in the settings: the relay signs",
                parameter="-",
                refuted_by=pattern(r"says: (?!.*DKIM)"),
                remedy="publish the DKIM key that the relay's provider names, for the sender's domain",
                changes=Changes.WRITES,
                check="postward probe --json shows whether the mail was altered",
            ),
            Candidate(
                id="unauthenticated-dmarc",
                what="neither SPF nor DKIM passes for the domain in From",
                setting="probe.sender",
                parameter="-",
                refuted_by=pattern(r"says: (?!.*DMARC)"),
                remedy="let the relay sign with the domain of From, or use an envelope sender of that domain",
                changes=Changes.WRITES,
                check="postward doctor",
            ),
        ),
    ),
    Symptom(
        id="not-picked-up",
        title="submitted mail is not picked up",
        text=NEVER,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="pickup",
                what="Postfix or its pickup service is not running",
                setting="the host's services",
                parameter="master.cf: pickup",
                remedy="systemctl restart postfix",
                changes=Changes.RESTARTS,
                check="postfix status; postqueue -p",
            ),
        ),
    ),
    Symptom(
        id="silent-delay",
        title="mail waits, and the log does not say why",
        text=NEVER,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="daemon-dies",
                what="a delivery agent exits before it logs a reason",
                setting="main_cf",
                parameter="main.cf, master.cf",
                remedy="correct what the fatal line names, then {reload}",
                changes=Changes.WRITES,
                check="journalctl -t postfix -p err; postfix check",
            ),
        ),
    ),
)
