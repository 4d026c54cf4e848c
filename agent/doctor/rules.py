"""The rules of `postward doctor` over `SystemFacts`: each yields where, what, and the command that mends it here."""

from collections.abc import Iterator

from postward.agent.doctor.system import AGENT, GROUPS, USER, SystemFacts
from postward.agent.systemd import SETTINGS_REFUSED
from postward.config.lint.finding import Fault, Finding, Rule, Severity

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_PROPER_SYSTEMD = 252  # LoadCredential= of a folder, and all that the units ask for
_OLDEST_POSTFIX = (3, 5)
# What keeps the clock, by distribution.
_CLOCK = {
    "debian": "apt-get install systemd-timesyncd",
    "rhel": "dnf install chrony && systemctl enable --now chronyd",
    "suse": "zypper install chrony && systemctl enable --now chronyd",
    "alpine": "apk add chrony && rc-update add chronyd && rc-service chronyd start",
}
_RSYSLOG = {
    "debian": "apt-get install rsyslog",
    "rhel": "dnf install rsyslog && systemctl enable --now rsyslog",
    "suse": "zypper install rsyslog && systemctl enable --now rsyslog",
    "alpine": "apk add rsyslog && rc-update add rsyslog && rc-service rsyslog start",
}


def doctor_findings(facts: SystemFacts) -> list[Finding]:
    """Everything that the rules find, worst first."""
    found = [finding for rule in RULES for finding in rule.findings(facts)]
    order = list(Severity)
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _postfix_stopped(facts: SystemFacts) -> Iterator[Fault]:
    if facts.postfix_runs is False:
        start = "rc-service postfix start" if facts.distribution == "alpine" else "systemctl start postfix"
        yield Fault("Postfix", "its master process does not run", start)


def _unit_missing(facts: SystemFacts) -> Iterator[Fault]:
    for name, unit in (facts.units or {}).items():
        if not unit.loaded:
            yield Fault(
                name,
                "is not installed",
                "install the package postward, or copy systemd/*.service of the source",
            )


def _unit_failed(facts: SystemFacts) -> Iterator[Fault]:
    for name, unit in (facts.units or {}).items():
        if unit.loaded and (unit.active == "failed" or unit.result not in {"success", ""}):
            remedy = f"journalctl -u {name} -n 20, then systemctl restart {name}"
            yield Fault(name, f"has failed ({unit.result})", remedy)


def _unit_stopped(facts: SystemFacts) -> Iterator[Fault]:
    for name, unit in (facts.units or {}).items():
        if unit.loaded and unit.active == "inactive" and unit.result in {"success", ""}:
            yield Fault(name, "does not run", f"systemctl enable --now {name}")


def _unit_disabled(facts: SystemFacts) -> Iterator[Fault]:
    for name, unit in (facts.units or {}).items():
        if unit.loaded and unit.active == "active" and not unit.enabled:
            yield Fault(name, "runs, but will not after a reboot", f"systemctl enable {name}")


def _settings_not_in_force(facts: SystemFacts) -> Iterator[Fault]:
    unit = (facts.units or {}).get(AGENT)
    if unit and SETTINGS_REFUSED in unit.status:
        yield Fault(AGENT, unit.status, "postward check")


def _no_user(facts: SystemFacts) -> Iterator[Fault]:
    if facts.units is not None and facts.uid is None:
        yield Fault(USER, "there is no such user", "systemd-sysusers postward.conf")


def _no_group(facts: SystemFacts) -> Iterator[Fault]:
    for name in facts.missing_groups if facts.units is not None else ():
        others = " ".join(group for group in GROUPS if group not in facts.missing_groups)
        drop_in = f"[Service]\\nSupplementaryGroups=\\nSupplementaryGroups={others}\\n"
        remedy = f"printf '{drop_in}' | systemctl edit --stdin {AGENT}"
        yield Fault(AGENT, f"wants the group {name}, which does not exist here", remedy)


def _settings_unreadable(facts: SystemFacts) -> Iterator[Fault]:
    owned = facts.files.get(facts.settings_file)
    if owned and facts.uid is not None and not owned.allows(facts.uid, facts.gids, 4):
        remedy = f"chgrp {USER} {facts.settings_file} && chmod 0640 {facts.settings_file}"
        yield Fault(facts.settings_file, f"has mode {owned.mode:04o}, and the agent cannot read it", remedy)


def _log_missing(facts: SystemFacts) -> Iterator[Fault]:
    if facts.log_problem:
        yield Fault(
            "log.source",
            facts.log_problem.removeprefix("log.source: "),
            _RSYSLOG.get(facts.distribution, "install rsyslog"),
        )


def _log_unreadable(facts: SystemFacts) -> Iterator[Fault]:
    for path in facts.logs:
        owned = facts.files.get(path)
        if owned and facts.uid is not None and not owned.allows(facts.uid, facts.gids, 4):
            remedy = f"setfacl -m u:{USER}:r {path} && printf 'create 0640 root adm\\n' # into logrotate's section of {path}"
            yield Fault(path, f"has mode {owned.mode:04o}, and the agent cannot read it", remedy)


def _state_not_ours(facts: SystemFacts) -> Iterator[Fault]:
    for path, owned in facts.files.items():
        if path.rstrip("/").endswith("/postward") and facts.uid is not None and owned.uid != facts.uid:
            yield Fault(path, f"belongs to uid {owned.uid}", f"chown -R {USER}:{USER} {path}")


def _endpoint_silent(facts: SystemFacts) -> Iterator[Fault]:
    if facts.endpoint:
        yield Fault("web.listen", f"does not answer: {facts.endpoint}", f"systemctl restart {AGENT}")


def _clock_wrong(facts: SystemFacts) -> Iterator[Fault]:
    if facts.clock_right is False:
        yield Fault("clock", "is not kept by a time server", _CLOCK.get(facts.distribution, "install chrony"))


def _old_versions(facts: SystemFacts) -> Iterator[Fault]:
    numbers = [int(word) for word in facts.versions.get("postfix", "").split(".")[:2] if word.isdecimal()]
    if len(numbers) == 2 and tuple(numbers) < _OLDEST_POSTFIX:
        yield Fault(
            "Postfix", f"is {facts.versions['postfix']}", "upgrade to a release with Postfix 3.5 or later"
        )
    systemd = facts.versions.get("systemd", "").partition(".")[0]
    if systemd.isdecimal() and int(systemd) < _PROPER_SYSTEMD and facts.units is not None:
        yield Fault("systemd", f"is {systemd}", "upgrade to a release with systemd 252 or later")


RULES: tuple[Rule[SystemFacts], ...] = (
    Rule("postfix-stopped", _E, _postfix_stopped, "Mail is taken from nobody, and none goes out."),
    Rule("service-missing", _E, _unit_missing, "Nothing watches this host."),
    Rule(
        "service-failed",
        _E,
        _unit_failed,
        "Nothing watches this host, or its configuration is kept by nobody.",
    ),
    Rule(
        "service-stopped",
        _W,
        _unit_stopped,
        "Nothing watches this host, or its configuration is kept by nobody.",
    ),
    Rule("service-disabled", _W, _unit_disabled, "After a reboot nobody would notice that mail stops."),
    Rule("settings-not-in-force", _E, _settings_not_in_force, "What was changed last has no effect."),
    Rule("user-missing", _E, _no_user, "The agent's service cannot start (status 217/USER)."),
    Rule("group-missing", _E, _no_group, "The agent's service cannot start (status 216/GROUP)."),
    Rule("settings-unreadable", _E, _settings_unreadable, "The agent cannot start."),
    Rule("log-missing", _E, _log_missing, "What becomes of mail is told by the log alone."),
    Rule("log-unreadable", _E, _log_unreadable, "What becomes of mail is told by the log alone."),
    Rule("state-not-ours", _E, _state_not_ours, "Counts cannot be saved, and start again at each restart."),
    Rule("endpoint-silent", _W, _endpoint_silent, "Prometheus sees nothing of this host."),
    Rule(
        "clock", _W, _clock_wrong, "Certificates seem not yet or no longer valid, and relays refuse old mail."
    ),
    Rule("version", _N, _old_versions, "Postward is not tested with it."),
)
