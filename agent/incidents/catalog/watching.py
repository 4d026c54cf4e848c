"""Symptoms of Postward itself: a part that is stopped, blind, or without permission. No log line shows them.

The parts of the agent report them as conditions (`Part.conditions`), with the reason as evidence.
"""

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

_FULL = r"No space left on device|Disk quota exceeded"

SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        id="log-unreadable",
        title="the mail log cannot be read: deliveries are not observed",
        text=NEVER,
        effect=Effect.BLIND,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="log",
                what="the log is missing, or this user may not read it",
                setting="log.source",
                parameter="maillog_file",
                remedy="correct log.source, or add the user postward to the log's group (adm)",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="log-silent",
        title="the mail log has stopped: deliveries are not observed",
        text=NEVER,
        effect=Effect.BLIND,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="log-daemon",
                what="no syslog daemon runs, so the lines of Postfix reach no file",
                setting="the host's services",
                parameter="rsyslog.service",
                certain_by=pattern("no syslog daemon runs"),
                refuted_by=lacks("no syslog daemon runs"),
                remedy="systemctl restart syslog.socket rsyslog",
                changes=Changes.RESTARTS,
                check="systemctl status rsyslog",
            ),
            Candidate(
                id="log-disk",
                what="the log's file system is full",
                setting="the host's disk",
                parameter="-",
                certain_by=pattern("has no free space"),
                refuted_by=lacks("has no free space"),
                remedy="free space; with maillog_file, also {reload}",
                changes=Changes.READS,
                check="df -h on the log's directory",
            ),
            Candidate(
                id="log-elsewhere",
                what="Postfix logs to another place, or the syslog daemon hangs or still writes to a file that was rotated",
                setting="log.source",
                parameter="maillog_file, or the configuration of the syslog daemon",
                remedy="systemctl restart rsyslog, or write the place into log.source",
                changes=Changes.RESTARTS,
                check="postlog -p info hello; then look for it in the log, and with journalctl -t postfix",
            ),
        ),
    ),
    Symptom(
        id="enforcer-silent",
        title="the enforcer does not work: whether Postfix's configuration is as the settings say is unknown",
        text=NEVER,
        effect=Effect.DEGRADED,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="enforcer-disk",
                what="the enforcer cannot write its state, because the disk is full",
                setting="the host's disk",
                parameter="enforce.directory",
                certain_by=pattern("has no free space"),
                refuted_by=lacks("has no free space"),
                remedy="free space on the file system of enforce.directory",
                changes=Changes.READS,
                check="df -h on enforce.directory",
            ),
            Candidate(
                id="enforcer-stopped",
                what="the enforcer is stopped, disabled or frozen, or its state cannot be read",
                setting="the host's services",
                parameter="postward-enforce.service",
                remedy="systemctl enable postward-enforce && systemctl restart postward-enforce",
                changes=Changes.RESTARTS,
                check="systemctl status postward-enforce",
            ),
        ),
    ),
    Symptom(
        id="config-conflict",
        title="another tool keeps changing Postfix's configuration, and Postward has stopped repairing it",
        text=NEVER,
        effect=Effect.DEGRADED,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="other-tool",
                what="a cron job, a script or configuration management writes its own value",
                setting="the settings that postward plan lists",
                parameter="main.cf",
                remedy="stop that tool or let it write the settings file instead, then postward apply",
                changes=Changes.WRITES,
                check="which program changes main.cf: journalctl at the times of the repairs, crontab -l",
            ),
        ),
    ),
    Symptom(
        id="config-drift",
        title="Postfix's configuration differs from the settings",
        text=NEVER,
        effect=Effect.NOTE,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="drift",
                what="it was changed outside Postward, or could not be applied",
                setting="the settings that postward plan lists",
                parameter="main.cf",
                remedy="postward apply",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="settings-not-in-force",
        title="the settings file has errors: its last change is not in force",
        text=NEVER,
        effect=Effect.DEGRADED,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="settings-bad",
                what="the former settings stay in force until a restart, which would fail",
                setting="the settings file",
                parameter="-",
                remedy="correct what the line names; postward check shows all errors",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="state-unwritable",
        title="Postward cannot save its state: after a crash, counts and incidents would be older",
        text=NEVER,
        effect=Effect.DEGRADED,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="state-disk",
                what="the file system of state.directory is full",
                setting="the host's disk",
                parameter="state.directory",
                certain_by=pattern(_FULL),
                refuted_by=lacks(_FULL),
                remedy="free space on the file system of state.directory (df -h, df -i)",
                changes=Changes.READS,
            ),
            Candidate(
                id="state-permission",
                what="the agent's user may not write to state.directory",
                setting="the host's files",
                parameter="state.directory",
                refuted_by=pattern(_FULL),
                remedy="chown -R postward:postward /var/lib/postward",
                changes=Changes.WRITES,
                check="ls -ld on state.directory; findmnt -T shows whether it is read-only",
            ),
        ),
    ),
    Symptom(
        id="part-failing",
        title="a part of the agent fails and is tried again",
        text=NEVER,
        effect=Effect.DEGRADED,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="part",
                what="a resource of this host is exhausted, or the agent has a fault",
                setting="the host's limits",
                parameter="-",
                remedy="systemctl restart postward; if it fails again, report the line",
                changes=Changes.RESTARTS,
                check="journalctl -u postward -p err; are memory, disk and file descriptors left?",
            ),
        ),
    ),
    Symptom(
        id="notify-failing",
        title="notifications cannot be delivered",
        text=NEVER,
        effect=Effect.DEGRADED,
        resolution=Resolution.CONDITION,
        candidates=(
            Candidate(
                id="notify-server",
                what="the server of the web hook or of the heartbeat does not answer, or refuses the request",
                setting="notify.webhook_url, notify.heartbeat_url",
                parameter="-",
                remedy="correct the URL, or repair the way to the server",
                changes=Changes.WRITES,
                check="curl -sv on the address that the settings name, from this host",
            ),
        ),
    ),
)
