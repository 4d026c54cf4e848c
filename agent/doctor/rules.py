"""The rules of `postward doctor` over `SystemFacts`: each yields the place, the fact and the remedy on this host."""

from collections.abc import Iterator

from postward.agent.doctor.system import AGENT, GROUPS, USER, SystemFacts
from postward.agent.systemd import SETTINGS_REFUSED
from postward.config.lint.finding import Fault, Finding, Rule, Severity

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
MIN_SYSTEMD = 252  # supports LoadCredential= for a folder, and all other options of the units
MIN_POSTFIX = (3, 5)
# Distribution → the command that installs an NTP client.
_INSTALL_NTP = {
    "debian": "apt-get install systemd-timesyncd",
    "rhel": "dnf install chrony && systemctl enable --now chronyd",
    "suse": "zypper install chrony && systemctl enable --now chronyd",
    "alpine": "apk add chrony && rc-update add chronyd && rc-service chronyd start",
}
_INSTALL_RSYSLOG = {
    "debian": "apt-get install rsyslog",
    "rhel": "dnf install rsyslog && systemctl enable --now rsyslog",
    "suse": "zypper install rsyslog && systemctl enable --now rsyslog",
    "alpine": "apk add rsyslog && rc-update add rsyslog && rc-service rsyslog start",
}


def doctor_findings(facts: SystemFacts) -> list[Finding]:
    """Return the findings of all rules, worst first."""
    found = [finding for rule in RULES for finding in rule.findings(facts)]
    order = list(Severity)
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _postfix_stopped(facts: SystemFacts) -> Iterator[Fault]:
    if facts.postfix_runs is False:
        start = "rc-service postfix start" if facts.distribution == "alpine" else "systemctl start postfix"
        yield Fault("Postfix", "is not running", start)


def _postfix_unconfigured(facts: SystemFacts) -> Iterator[Fault]:
    if facts.main_cf and facts.main_cf not in facts.files:
        copy = f"cp /usr/share/postfix/main.cf.debian {facts.main_cf} && systemctl restart postfix"
        remedy = copy if facts.distribution == "debian" else "install the package postfix again"
        yield Fault(facts.main_cf, "does not exist", remedy)


def _unit_missing(facts: SystemFacts) -> Iterator[Fault]:
    for name, unit in (facts.units or {}).items():
        if not unit.loaded:
            yield Fault(
                name,
                "is not installed",
                "install the package postward, or copy systemd/*.service from the source tree",
            )


def _unit_failed(facts: SystemFacts) -> Iterator[Fault]:
    for name, unit in (facts.units or {}).items():
        if unit.loaded and unit.is_down:
            remedy = f"journalctl -u {name} -n 20, then systemctl restart {name}"
            loop = f"does not stay up (restarts by systemd: {unit.restarts})"
            what = f"has failed ({unit.result})" if unit.active == "failed" else loop
            yield Fault(name, f"{what}; its last line: {unit.last_line}" if unit.last_line else what, remedy)


def _unit_stopped(facts: SystemFacts) -> Iterator[Fault]:
    for name, unit in (facts.units or {}).items():
        if unit.loaded and unit.active == "inactive" and not unit.is_down:
            start = f"systemctl enable --now {name}"
            yield Fault(
                name, "is not running", start if facts.files.keys() & set(facts.sources) else "postward init"
            )


def _unit_disabled(facts: SystemFacts) -> Iterator[Fault]:
    for name, unit in (facts.units or {}).items():
        if unit.loaded and unit.active == "active" and not unit.enabled:
            yield Fault(name, "is running, but is not enabled", f"systemctl enable {name}")


def _settings_not_in_force(facts: SystemFacts) -> Iterator[Fault]:
    unit = (facts.units or {}).get(AGENT)
    if unit and SETTINGS_REFUSED in unit.status:
        yield Fault(AGENT, unit.status, "postward check")


def _no_user(facts: SystemFacts) -> Iterator[Fault]:
    if facts.units is not None and facts.uid is None:
        yield Fault(
            f"user {USER}",
            "does not exist",
            f"systemd-sysusers --inline 'u {USER} - \"Postward mail monitoring\" /var/lib/postward'",
        )


def _no_group(facts: SystemFacts) -> Iterator[Fault]:
    for name in facts.missing_groups if facts.units is not None else ():
        others = " ".join(group for group in GROUPS if group not in facts.missing_groups)
        drop_in = f"[Service]\\nSupplementaryGroups=\\nSupplementaryGroups={others}\\n"
        remedy = f"printf '{drop_in}' | systemctl edit --stdin {AGENT}"
        yield Fault(AGENT, f"requires the group {name}, which does not exist on this host", remedy)


def _settings_unreadable(facts: SystemFacts) -> Iterator[Fault]:
    for file in facts.sources:
        owned = facts.files.get(file)
        if owned and facts.uid is not None and not owned.allows(facts.uid, facts.gids, 4):
            readable = f"chgrp {USER} {file} && chmod 0640 {file}"
            remedy = f"chmod 0755 {file}" if file.endswith(".d") else readable
            yield Fault(file, f"has mode {owned.mode:04o}, and the agent cannot read it", remedy)


def _log_missing(facts: SystemFacts) -> Iterator[Fault]:
    if facts.log_problem:
        yield Fault(
            "log.source",
            facts.log_problem.removeprefix("log.source: "),
            _INSTALL_RSYSLOG.get(facts.distribution, "install rsyslog"),
        )


def _log_unreadable(facts: SystemFacts) -> Iterator[Fault]:
    for path in facts.logs:
        owned = facts.files.get(path)
        if owned and facts.uid is not None and not owned.allows(facts.uid, facts.gids, 4):
            remedy = f"setfacl -m u:{USER}:r {path} && printf 'create 0640 root adm\\n' # into logrotate's section of {path}"
            yield Fault(path, f"has mode {owned.mode:04o}, and the agent cannot read it", remedy)


def _state_not_ours(facts: SystemFacts) -> Iterator[Fault]:
    if facts.uid is None or facts.units is None:
        return
    for path in facts.state:
        owned = facts.files.get(path)
        if owned and owned.uid != facts.uid:
            yield Fault(path, f"belongs to uid {owned.uid}", f"chown -R {USER}:{USER} {facts.state[0]}")
            return


def _state_disk_full(facts: SystemFacts) -> Iterator[Fault]:
    for folder in facts.full:
        yield Fault(folder, "is on a file system without free space", f"free space: df -h {folder}")


def _endpoint_silent(facts: SystemFacts) -> Iterator[Fault]:
    if facts.endpoint:
        remedy = f"systemctl restart {AGENT}" if facts.units is not None else "start the agent: postward run"
        yield Fault("web.listen", f"does not answer: {facts.endpoint}", remedy)


def _clock_not_synchronised(facts: SystemFacts) -> Iterator[Fault]:
    if facts.clock_synchronised is False:
        remedy = _INSTALL_NTP.get(facts.distribution, "install chrony")
        yield Fault("clock", "is not synchronised with a time server", remedy)


def _old_versions(facts: SystemFacts) -> Iterator[Fault]:
    numbers = [int(word) for word in facts.versions.get("postfix", "").split(".")[:2] if word.isdecimal()]
    if len(numbers) == 2 and tuple(numbers) < MIN_POSTFIX:
        yield Fault(
            "Postfix", f"is {facts.versions['postfix']}", "upgrade to a release with Postfix 3.5 or later"
        )
    systemd = facts.versions.get("systemd", "").partition(".")[0]
    if systemd.isdecimal() and int(systemd) < MIN_SYSTEMD and facts.units is not None:
        yield Fault("systemd", f"is {systemd}", "upgrade to a release with systemd 252 or later")


_NO_SERVICE = "The service does not run: this host is not monitored, or its configuration is not enforced."
_NO_LOG = "Without the log, the agent cannot see the results of deliveries."

RULES: tuple[Rule[SystemFacts], ...] = (
    Rule("postfix-stopped", _E, _postfix_stopped, "This host neither accepts nor delivers mail."),
    Rule("postfix-unconfigured", _E, _postfix_unconfigured, "Without main.cf, Postfix does not start."),
    Rule("service-missing", _E, _unit_missing, _NO_SERVICE),
    Rule("service-failed", _E, _unit_failed, _NO_SERVICE),
    Rule("service-stopped", _W, _unit_stopped, _NO_SERVICE),
    Rule("service-disabled", _W, _unit_disabled, "After a reboot the service does not start."),
    Rule(
        "settings-not-in-force", _E, _settings_not_in_force, "The last change of the settings has no effect."
    ),
    Rule("user-missing", _E, _no_user, "The agent's service cannot start (status 217/USER)."),
    Rule("group-missing", _E, _no_group, "The agent's service cannot start (status 216/GROUP)."),
    Rule("settings-unreadable", _E, _settings_unreadable, "The agent cannot start."),
    Rule("log-missing", _E, _log_missing, _NO_LOG),
    Rule("log-unreadable", _E, _log_unreadable, _NO_LOG),
    Rule("state-not-ours", _E, _state_not_ours, "The agent cannot read or save its counts, or cannot start."),
    Rule(
        "state-disk-full", _E, _state_disk_full, "Neither counts nor the state of enforcement can be saved."
    ),
    Rule("endpoint-silent", _W, _endpoint_silent, "Prometheus gets no metrics of this host."),
    Rule(
        "clock",
        _W,
        _clock_not_synchronised,
        "Valid certificates may seem invalid, and relays may refuse mail by its date.",
    ),
    Rule("version", _N, _old_versions, "Postward is not tested with this version."),
)
