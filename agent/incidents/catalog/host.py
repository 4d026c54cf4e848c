"""Symptoms of this host: processes, files, disk; and what no line of the log shows."""

from postward.agent.incidents.symptom import Candidate, Certainty, Effect, Resolution, Symptom, words
from postward.parsers import Cause

_OWNERS = Candidate("owners", "a restore, a chown -R or an image gave Postfix's files to somebody else", "the host's files",
                    "the file in the line", "{permissions}, and chown root the files of /etc/postfix; then postfix check")  # fmt: skip


def _condition(name: str, title: str, candidate: Candidate, effect: Effect = Effect.DELAYED,
               certainty: Certainty = Certainty.CERTAIN) -> Symptom:  # fmt: skip
    return Symptom(
        name, title, (candidate,), certainty, says=words(r"(?!)"), effect=effect, proof=Resolution.CONDITION
    )


SYMPTOMS: tuple[Symptom, ...] = (
    # --- disk, memory, files
    Symptom(
        "queue-read-only", "the queue's file system is read-only: no mail can be submitted",
        (Candidate("read-only", "a fault of the file system, or a container without a writable volume", "the host's disk", "queue_directory",
                   "mount -o remount,rw the file system; look at dmesg"),),
        says=words("Read-only file system"), proof=Resolution.SUBMITTED,
    ),
    Symptom(
        "queue-full", "the queue's file system is full: no mail can be submitted",
        (Candidate("disk-full", "no bytes, or no inodes, are left", "the host's disk", "queue_directory",
                   "free space: df -h and df -i on {queue}"),),
        says=words("No space left on device|not enough free space|Insufficient system storage|Disk quota exceeded"), proof=Resolution.SUBMITTED,
    ),
    Symptom(
        "message-too-big", "a program's mail is larger than this host takes",
        (Candidate("message-size-limit", "message_size_limit is smaller than the mail", "main_cf.message_size_limit", "message_size_limit",
                   "{set message_size_limit=52428800}, if the relay takes as much"),),
        says=words("message file too big|File too large"), effect=Effect.REJECTED, proof=Resolution.SUBMITTED,
    ),
    Symptom(
        "submission-forbidden", "programs cannot submit mail: the maildrop folder may not be written",
        (
            Candidate("postdrop-setgid", "postdrop has lost its set-gid bit", "the host's files", "/usr/sbin/postdrop",
                      "{permissions}", "ls -l /usr/sbin/postdrop must show root postdrop and r-xr-sr-x; does the program's "
                      "unit set NoNewPrivileges?", ("postdrop-not-setgid",), ("postdrop-setgid",)),
            Candidate("maildrop-owner", "the maildrop folder has another group or mode", "the host's files", "$queue_directory/maildrop",
                      "{permissions}", "ls -ld \"$(postconf -hx queue_directory)\"/maildrop", ("queue-owner",), ("maildrop-group",)),
        ),
        daemon="postdrop", says=words("maildrop/.*Permission denied"), proof=Resolution.SUBMITTED,
    ),
    Symptom(
        "postdrop-setgid", "postdrop is not set-gid: only root can submit mail",
        (Candidate("postdrop-setgid", "an image build or a copy lost the bit", "the host's files", "/usr/sbin/postdrop",
                   "{permissions}"),),
        daemon="postfix-script", says=words("not set-gid or not owner"), proof=Resolution.STARTED,
    ),
    Symptom(
        "maildrop-group", "a part of the submission does not belong to the group postdrop",
        (Candidate("maildrop-owner", "a restore or a chown -R gave it to somebody else", "the host's files", "the file in the line",
                   "{permissions}"),),
        daemon="postfix-script", says=words("not owned by group"), proof=Resolution.STARTED,
    ),
    Symptom("owners", "files of Postfix belong to somebody else, or others may write them", (_OWNERS,), daemon="postfix-script",
            says=words("not owned by |group or other writable"), effect=Effect.NOTE, proof=Resolution.STARTED),
    Symptom(
        "resources", "this host runs out of memory, processes or descriptors",
        (Candidate("resources", "the line says which", "the host's limits", "-", "free it, or raise the limit"),),
        Certainty.LIKELY, says=words("Cannot allocate memory|Too many open files|Resource temporarily unavailable|out of memory"),
        proof=Resolution.LEFT,
    ),
    Symptom(
        "no-resources", "mail waits because this host has run out of something",
        (Candidate("resources", "disk, inodes, memory or descriptors: the line says which", "the host's limits", "-", "free it"),),
        Certainty.LIKELY, cause=Cause.LOCAL_RESOURCE,
    ),
    # --- processes
    Symptom(
        "postfix-not-running", "Postfix does not run: programs can submit mail, and none goes out",
        (Candidate("postfix-stopped", "it was stopped, has crashed, or never started", "the host's services", "postfix.service",
                   "systemctl start postfix; journalctl -u 'postfix*' says why it stopped"),),
        says=words("mail system is not running|Mail system is down"), daemon="postfix-script|postqueue|postfix", proof=Resolution.STARTED,
    ),
    Symptom(
        "postfix-twice", "Postfix was started while it ran",
        (Candidate("already-running", "two units or scripts start it; nothing is broken", "the host's services", "-", "-"),),
        says=words("mail system is already running"), effect=Effect.NOTE, proof=Resolution.STARTED,
    ),
    Symptom(
        "port-taken", "another mail server has the port",
        (Candidate("port-taken", "exim, sendmail or another Postfix listens there", "the host's services", "master.cf",
                   "stop it, then {restart}", "ss -ltnp"),),
        says=words("bind .*Address already in use"), proof=Resolution.STARTED,
    ),
    Symptom(
        "queue-directory", "Postfix cannot use its queue directory",
        (Candidate("queue-directory", "queue_directory was changed and does not exist, or cannot be entered", "main_cf.queue_directory",
                   "queue_directory", "{remove queue_directory}"),),
        says=words(r"chdir\(|queue_directory|scan_dir_push: open directory"), proof=Resolution.LEFT,
    ),
    Symptom(
        "pickup-missing", "nobody takes submitted mail: Postfix has never started here",
        (Candidate("postfix-stopped", "Postfix does not run, or its queue directory was replaced", "the host's services", "-",
                   "systemctl start postfix"),),
        says=words("unable to look up public/pickup"), proof=Resolution.SUBMITTED,
    ),
    Symptom(
        "process-limit", "a service has as many processes as it may",
        (Candidate("process-limit", "clients wait", "main_cf.default_process_limit", "default_process_limit, master.cf",
                   "{set default_process_limit=200}"),),
        says=words("has reached its process limit"), effect=Effect.NOTE, proof=Resolution.ACCEPTED,
    ),
    Symptom(
        "startup-failed", "Postfix does not start",
        (Candidate("daemon-dies", "master(8)'s own fatal line says why, and is not in what was read", "main_cf", "main.cf, master.cf",
                   "correct what the fatal line names, then {restart}", "journalctl -t postfix/master -p err; postfix check"),),
        Certainty.AMBIGUOUS, daemon="postfix-script", says=words("mail system startup failed"), proof=Resolution.STARTED,
    ),
    Symptom(
        "command-failed", "a command that looks at Postfix's queue or log failed",
        (Candidate("command", "Postfix was just stopping or starting, or the line says why; no mail waits for such a command",
                   "nothing in the settings", "-", "call it again", "read the line"),),
        Certainty.LIKELY, daemon="postqueue|postcat|postlog", says=words(r"\A(?:fatal|panic): "), effect=Effect.NOTE, proof=Resolution.LEFT,
    ),
    Symptom(
        "daemon-fatal", "a daemon of Postfix ends with an error",
        (Candidate("fatal", "the line's own words are all that is known", "main_cf", "the parameter or file in the line",
                   "correct what the line names, then {reload}", "read the line"),),
        Certainty.LIKELY, says=words(r"\A(?:fatal|panic): "),
    ),
    Symptom(
        "daemon-throttled", "a daemon of Postfix dies at its start, again and again",
        (Candidate("daemon-dies", "its own fatal line says why, and is not in what was read", "main_cf", "main.cf, master.cf",
                   "correct what the fatal line names, then {reload}", "journalctl -t postfix -p err; postfix check"),),
        Certainty.AMBIGUOUS, says=words("bad command startup"), daemon="master",
    ),
    Symptom(
        "transport-failed", "a delivery agent dies while it delivers",
        (Candidate("daemon-dies", "its own fatal line says why, and is not in what was read", "main_cf", "main.cf, master.cf",
                   "correct what the fatal line names, then {reload}", "journalctl -t postfix -p err; postfix check"),),
        Certainty.AMBIGUOUS, says=words("socket: malformed response"), daemon="qmgr",
    ),
    # --- fallbacks of deliveries on this host
    Symptom(
        "local-config", "this host's Postfix is set up in a way that mail cannot leave",
        (Candidate("local-config", "the line's own words say what", "main_cf", "main.cf", "correct what the line names, then {reload}",
                   "postward check"),),
        Certainty.LIKELY, cause=Cause.LOCAL_CONFIG,
    ),
    # --- what no line shows: told by other parts of the agent
    _condition("postfix-down", "Postfix does not run: programs can submit mail, and none goes out", Candidate(
        "postfix-stopped", "master(8) is not there", "the host's services", "postfix.service",
        "systemctl start postfix; journalctl -u 'postfix*' says why it stopped")),
    _condition("config-drift", "Postfix's configuration is not what the settings say", Candidate(
        "drift", "it was changed beside Postward, or could not be applied", "postward plan shows it", "main.cf", "postward apply"), Effect.NOTE),
    _condition("log-unreadable", "the mail log cannot be read: what happens to mail is not seen", Candidate(
        "log", "it is missing, or may not be read by this user", "log.source", "maillog_file",
        "put log.source right, or add the user postward to the log's group (adm)"), Effect.NOTE),
    _condition("probe-late", "a probe mail has not come through", Candidate(
        "probe-stuck", "the timeline of the probe shows the step at which it waits", "probe", "-", "postward probe", "postward probe"),
        certainty=Certainty.LIKELY),
    _condition("not-picked-up", "submitted mail is not picked up", Candidate(
        "pickup", "Postfix, or its pickup service, does not run", "the host's services", "master.cf: pickup",
        "systemctl restart postfix", "postfix status; postqueue -p"), certainty=Certainty.LIKELY),
    _condition("silent-delay", "mail waits, and no line of the log says why", Candidate(
        "daemon-dies", "a delivery agent dies before it can say why", "main_cf", "main.cf, master.cf",
        "correct what the fatal line names, then {reload}", "journalctl -t postfix -p err; postfix check"), certainty=Certainty.LIKELY),
)  # fmt: skip
