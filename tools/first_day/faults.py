"""The breakages, in the order in which they are staged on a host. Each is repaired before the next one.

A `Fault` must be named. A `Repaired` breakage is ended by Postward or systemd, without an admin.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.support.waiting import wait_for
from tools.first_day.host import FreshHost
from tools.hosts.product import USER

Action = str | Callable[[FreshHost], object]  # a shell script for the host, or a function
_NEW_PASSWORD: Final = "n3w#word"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A breakage that an admin has to repair.

    Attributes:
        switch: stages it.
        repair: does what an admin does then.
        words: `postward status` must print them.
        symptoms: those that `postward why` and notifications may show. The first one must be shown, in `why` as the
            first incident. Empty if no agent runs: `why` must print `words`, and the heartbeat must stop.
        alerts: those that Alertmanager may send; it must send the first.
        only: the release that can have it; "": both.
    """

    switch: Action
    repair: Action
    words: str
    symptoms: tuple[str, ...] = ()
    alerts: tuple[str, ...]
    only: str = ""


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """A breakage that ends by itself.

    Attributes:
        switch: stages it.
        is_over: a shell script that succeeds once it is repaired.
        alerts: those that Alertmanager may send.
        only: the release that can have it; "": both.
    """

    switch: Action
    is_over: str
    alerts: tuple[str, ...] = ()
    only: str = ""


def _change_password(host: FreshHost) -> None:
    host.relay.users[USER] = _NEW_PASSWORD


def _refuse(host: FreshHost) -> None:
    host.relay.refuse = True


def _drop(host: FreshHost) -> None:
    host.relay.drop_packets()


def _listen(host: FreshHost) -> None:
    host.relay.refuse = False
    host.run("postqueue -f")


def _edit(old: str, new: str) -> Action:
    return lambda host: host.installed.edit(old, new)


def _keep_changing(host: FreshHost) -> None:
    """Change a parameter again after each repair, until the enforcer gives up."""

    def gave_up() -> bool:
        return host.installed.metric("postward_config_conflict") == 1

    def is_repaired() -> bool:
        return host.host.call("sh", "-c", _RELAYHOST_IS_BACK).returncode == 0

    while not gave_up():
        host.run(_OTHER_RELAYHOST)
        wait_for(lambda: is_repaired() or gave_up(), 60, "a repair")


_OTHER_RELAYHOST: Final = "postconf -e 'relayhost = [smtp.other.test]:25'"
_RELAYHOST_IS_BACK: Final = "test \"$(postconf -h relayhost)\" != '[smtp.other.test]:25'"
_AGENT, _ENFORCER = "postward.service", "postward-enforce.service"
_RUN: Final = "systemctl enable --quiet --now {0}"
_SILENT_ENFORCER: Final = "the enforcer does not work"
_SILENT_AGENT: Final = "the agent does not answer"
_CHECKPOINT: Final = "/var/lib/postward/checkpoint.json"
_JOURNALD: Final = "/etc/systemd/journald.conf.d/first-day.conf"
_JOURNAL_AGAIN: Final = "systemctl restart systemd-journald"
# Postfix has files open on the file system itself, which then cannot become read-only on request.
_QUEUES: Final = "cd /var/spool/postfix; for queue in maildrop incoming active deferred; do"


def _signal(unit: str, name: str) -> str:
    """Return a script: note the main process of a unit and send it a signal."""
    return f"systemctl show -P MainPID {unit} >/run/former; systemctl kill --signal={name} {unit}"


def _runs_again(unit: str) -> str:
    """Return a script: succeed if another process than the noted one runs the unit and is ready."""
    return (
        f"test $(systemctl show -P ActiveState {unit}) = active && "
        f"test $(systemctl show -P MainPID {unit}) != $(cat /run/former)"
    )


BREAKAGES: Final[dict[str, Fault | Repaired]] = {
    "password changed at the relay": Fault(
        switch=_change_password,
        repair=f"umask 077; echo '{_NEW_PASSWORD}' >/etc/postward/passwords/relay",
        words="the relay refuses this login",
        symptoms=("login-refused",),
        alerts=("PostfixRelayAuthRejected",),
    ),
    "index of sasl_passwd deleted": Repaired(
        switch="rm /etc/postfix/sasl_passwd.*",
        is_over="ls /etc/postfix/sasl_passwd.*",
        # Mail of that moment, and the repairs of this hour.
        alerts=("PostfixTableBroken", "PostfixLocalFault", "PostwardConfigConflict"),
    ),
    "sasl_passwd readable by all": Repaired(
        switch="chmod 644 /etc/postfix/sasl_passwd*",
        is_over="! stat -c %a /etc/postfix/sasl_passwd* | grep -v 600",
    ),
    "sasl_passwd owned by another": Repaired(
        switch="chown www-data /etc/postfix/sasl_passwd*",
        is_over="! stat -c %U /etc/postfix/sasl_passwd* | grep -v root",
    ),
    "main.cf cannot be parsed": Repaired(
        switch="echo 'relayhost [smtp.other.test]:25' >>/etc/postfix/main.cf", is_over="postconf -h relayhost"
    ),
    "main.cf readable by root only": Repaired(
        switch="chmod 600 /etc/postfix/main.cf", is_over="test $(stat -c %a /etc/postfix/main.cf) = 644"
    ),
    "relayhost changed by hand": Repaired(
        switch=f"{_OTHER_RELAYHOST}; systemctl reload postfix", is_over=_RELAYHOST_IS_BACK
    ),
    "relay refuses connections": Fault(
        switch=_refuse,
        repair=_listen,
        words="the relay refuses connections",
        symptoms=("connection-refused", "connection-lost"),  # of a session that the relay's end cuts off
        alerts=("PostfixRelayUnreachable",),
    ),
    "firewall drops packets": Fault(
        switch=_drop,
        repair=_listen,
        words="connections to the relay time out",
        symptoms=("connect-timeout",),
        alerts=("PostfixRelayUnreachable",),
    ),
    "Postfix stopped": Fault(
        switch="systemctl stop postfix",
        repair="systemctl start postfix",
        words="Postfix is not running",
        symptoms=("postfix-down", "postfix-not-running"),
        alerts=("PostfixDown",),
    ),
    "queue's disk full": Fault(
        switch="head -c 1G /dev/zero >/var/spool/postfix/filler || true",
        repair="rm /var/spool/postfix/filler",
        words="the queue has too little free space",
        symptoms=("queue-full",),
        alerts=("PostfixResourcesExhausted",),
    ),
    "master.cf without smtp": Fault(
        switch="postconf -M# smtp/unix; systemctl reload postfix",
        repair="sed -i 's/^#smtp  *unix/smtp unix/' /etc/postfix/master.cf; systemctl reload postfix; postqueue -f",
        words="mail waits for a transport that is missing from master.cf",
        symptoms=("transport-unavailable",),
        alerts=("PostfixLocalFault",),
    ),
    "rsyslog stopped": Fault(
        switch="systemctl stop syslog.socket rsyslog.service",
        repair="systemctl start rsyslog",
        words="the mail log has stopped",
        symptoms=("log-silent",),
        alerts=("PostwardTestLineLost", "PostwardLogSilent"),
        only="bookworm",
    ),
    "journal keeps nothing": Fault(
        switch=(
            f"mkdir -p $(dirname {_JOURNALD}); printf '[Journal]\\nStorage=none\\n' >{_JOURNALD}; {_JOURNAL_AGAIN}"
        ),
        repair=f"rm {_JOURNALD}; {_JOURNAL_AGAIN}",
        words="the mail log has stopped",
        symptoms=("log-silent",),
        alerts=("PostwardTestLineLost", "PostwardLogSilent"),
        only="trixie",
    ),
    "settings with a typo": Fault(
        switch=_edit("[probe]", "[prob]"),
        repair=_edit("[prob]", "[probe]"),
        words="the settings file has errors",
        symptoms=("settings-not-in-force",),
        alerts=("PostwardSettingsNotInForce",),
    ),
    "queue read-only": Fault(
        switch=f"{_QUEUES} mount --bind $queue $queue && mount -o remount,bind,ro $queue || exit; done",
        repair=f"{_QUEUES} umount --lazy $queue || exit; done",
        words="a file system that Postfix writes to is read-only",
        symptoms=("queue-read-only",),
        alerts=("PostfixResourcesExhausted", "PostwardProbeFailing"),
    ),
    # Long before "another tool", whose incidents are the same: one that comes back is notified once in ten minutes.
    "enforcer disabled, then drift": Fault(
        switch=f"systemctl disable --quiet --now {_ENFORCER}; {_OTHER_RELAYHOST}; systemctl reload postfix",
        repair=f"{_RUN.format(_ENFORCER)}; postqueue -f",
        words="Postfix's configuration differs from the settings",
        symptoms=("config-drift", "enforcer-silent", "dns-unknown"),
        alerts=("PostwardEnforcerDown", "PostfixRelayUnreachable"),
    ),
    "agent killed": Repaired(switch=_signal(_AGENT, "KILL"), is_over=_runs_again(_AGENT)),
    "agent frozen": Repaired(
        switch=_signal(_AGENT, "STOP"), is_over=_runs_again(_AGENT), alerts=("PostwardDown",)
    ),
    "agent stopped": Fault(
        switch=f"systemctl stop {_AGENT}",
        repair=f"systemctl start {_AGENT}",
        words=_SILENT_AGENT,
        alerts=("PostwardDown",),
    ),
    "enforcer killed": Repaired(switch=_signal(_ENFORCER, "KILL"), is_over=_runs_again(_ENFORCER)),
    "enforcer frozen": Repaired(
        switch=_signal(_ENFORCER, "STOP"), is_over=_runs_again(_ENFORCER), alerts=("PostwardEnforcerDown",)
    ),
    "enforcer stopped": Fault(
        switch=f"systemctl stop {_ENFORCER}",
        repair=f"systemctl start {_ENFORCER}",
        words=_SILENT_ENFORCER,
        symptoms=("enforcer-silent",),
        alerts=("PostwardEnforcerDown",),
    ),
    # systemd corrects the owner of the folder, with all in it, but not that of a file in a folder with the right owner.
    "agent's checkpoint is root's": Fault(
        switch=f"systemctl stop {_AGENT}; chown root: {_CHECKPOINT}; systemctl start --no-block {_AGENT}",
        repair=f"chown postward: {_CHECKPOINT}; systemctl restart {_AGENT}",
        words=_SILENT_AGENT,
        alerts=("PostwardDown",),
    ),
    "another tool": Fault(
        switch=_keep_changing,
        repair=f"rm /var/lib/postward-enforce/enforcement.json; systemctl restart {_ENFORCER}",
        words="another tool keeps changing Postfix's configuration",
        symptoms=("config-conflict", "config-drift", "dns-unknown"),
        alerts=("PostwardConfigConflict", "PostfixRelayUnreachable"),
    ),
    "agent disabled": Fault(
        switch=f"systemctl disable --quiet --now {_AGENT}",
        repair=_RUN.format(_AGENT),
        words=_SILENT_AGENT,
        alerts=("PostwardDown",),
    ),
}
