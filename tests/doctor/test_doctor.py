"""The rules of `postward doctor`: each finds its fault and prints the remedy."""

from dataclasses import replace

import pytest

from postward.agent.doctor.rules import RULES, doctor_findings
from postward.agent.doctor.system import AGENT, ENFORCER, Owned, SystemFacts, Unit, parse_unit
from postward.agent.systemd import SETTINGS_REFUSED

_RUNS = Unit(loaded=True, active="active", enabled=True, status="settings of today are in force")
_HEALTHY = SystemFacts(
    distribution="debian",
    settings_file="/etc/postward/postward.toml",
    sources=("/etc/postward/postward.toml",),
    units={AGENT: _RUNS, ENFORCER: _RUNS},
    uid=997,
    gids=frozenset({997, 4}),
    files={
        "/etc/postward/postward.toml": Owned(0o644, 0, 0),
        "/etc/postward/passwords/demo": Owned(0o600, 0, 0),
        "/var/lib/postward": Owned(0o755, 997, 997),
        "/var/log/mail.log": Owned(0o640, 0, 4),
    },
    state=("/var/lib/postward", "/var/lib/postward/checkpoint.json"),
    passwords=("/etc/postward/passwords/demo",),
    logs=("/var/log/mail.log",),
    postfix_runs=True,
    endpoint="",
    clock_synchronised=True,
    versions={"postfix": "3.7.11", "systemd": "252"},
)


def _file(path: str, owned: Owned) -> SystemFacts:
    return replace(_HEALTHY, files={**_HEALTHY.files, path: owned})


def _agent(unit: Unit) -> SystemFacts:
    return replace(_HEALTHY, units={AGENT: unit, ENFORCER: _RUNS})


# rule → a host that breaks it, and the remedy.
_BROKEN = {
    "postfix-stopped": (replace(_HEALTHY, postfix_runs=False), "systemctl start postfix"),
    "postfix-unconfigured": (
        replace(_HEALTHY, main_cf="/etc/postfix/main.cf"),
        "cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf && systemctl restart postfix",
    ),
    "service-missing": (
        _agent(Unit()),
        "install the package postward, or copy systemd/*.service from the source tree",
    ),
    "service-failed": (
        _agent(replace(_RUNS, active="failed", result="exit-code")),
        "journalctl -u postward.service -n 20, then systemctl restart postward.service",
    ),
    "service-stopped": (
        _agent(replace(_RUNS, active="inactive")),
        "systemctl enable --now postward.service",
    ),
    "service-disabled": (_agent(replace(_RUNS, enabled=False)), "systemctl enable postward.service"),
    "settings-not-in-force": (
        _agent(replace(_RUNS, status=f"/etc/postward/postward.toml is {SETTINGS_REFUSED}, but …")),
        "postward check",
    ),
    "user-missing": (
        replace(_HEALTHY, uid=None),
        "systemd-sysusers --inline 'u postward - \"Postward mail monitoring\" /var/lib/postward'",
    ),
    "group-missing": (
        replace(_HEALTHY, missing_groups=("postdrop",)),
        "printf '[Service]\\nSupplementaryGroups=\\nSupplementaryGroups=adm systemd-journal\\n'",
    ),
    "settings-unreadable": (
        _file("/etc/postward/postward.toml", Owned(0o600, 0, 0)),
        "chgrp postward /etc/postward/postward.toml && chmod 0640 /etc/postward/postward.toml",
    ),
    "log-missing": (replace(_HEALTHY, log_problem="log.source: none"), "apt-get install rsyslog"),
    "log-unreadable": (
        _file("/var/log/mail.log", Owned(0o600, 0, 0)),
        "setfacl -m u:postward:r /var/log/mail.log",
    ),
    "state-not-ours": (
        _file("/var/lib/postward/checkpoint.json", Owned(0o640, 0, 0)),
        "chown -R postward:postward /var/lib/postward",
    ),
    "state-disk-full": (
        replace(_HEALTHY, full=("/var/lib/postward",)),
        "free space: df -h /var/lib/postward",
    ),
    "endpoint-silent": (
        replace(_HEALTHY, endpoint="Connection refused"),
        "systemctl restart postward.service",
    ),
    "clock": (replace(_HEALTHY, clock_synchronised=False), "apt-get install systemd-timesyncd"),
    "version": (
        replace(_HEALTHY, versions={"postfix": "3.4.1"}),
        "upgrade to a release with Postfix 3.5 or later",
    ),
}


def test_every_rule_has_a_case() -> None:
    """A new rule requires a host that breaks it."""
    assert set(_BROKEN) == {rule.id for rule in RULES}


def test_a_healthy_host_has_no_findings() -> None:
    """Unknown facts cause no findings either."""
    assert doctor_findings(_HEALTHY) == []
    assert doctor_findings(SystemFacts()) == []


@pytest.mark.parametrize("rule", _BROKEN)
def test_a_fault_is_found_with_its_remedy(rule: str) -> None:
    """The host breaks this rule and no other."""
    facts, remedy = _BROKEN[rule]
    (finding,) = doctor_findings(facts)
    assert finding.id == rule
    assert finding.remedy.startswith(remedy)


def test_a_loop_of_restarts_is_a_failure() -> None:
    """Between two starts the unit is `activating`. Its last line gives the reason."""
    looping = replace(_RUNS, active="activating", restarts=12, last_line="state: Permission denied")
    (finding,) = doctor_findings(_agent(looping))
    assert finding.id == "service-failed"
    assert (
        finding.what == "does not stay up (restarts by systemd: 12); its last line: state: Permission denied"
    )
    assert doctor_findings(_agent(replace(_RUNS, active="activating"))) == []  # the first start


def test_without_settings_init_is_the_remedy() -> None:
    """A service without settings cannot be started."""
    stopped = replace(_RUNS, active="inactive")
    files = {path: owned for path, owned in _HEALTHY.files.items() if path != _HEALTHY.settings_file}
    (finding,) = doctor_findings(replace(_agent(stopped), files=files))
    assert (finding.id, finding.remedy) == ("service-stopped", "postward init")


def test_the_output_of_systemctl_is_parsed() -> None:
    """Each line has one property; a value may contain an equals sign."""
    printed = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nResult=success\nNRestarts=3\nStatusText=a=b\n"
    assert parse_unit(printed) == Unit(True, "active", True, "success", 3, "a=b")
    assert parse_unit("") == Unit()


def test_fragments_must_be_readable_for_the_agent() -> None:
    """So must their directory, as the settings would be others without them."""
    directory, file = "/etc/postward/postward.toml.d", "/etc/postward/postward.toml.d/20-host.toml"
    for path, mode, remedy in (
        (directory, 0o700, f"chmod 0755 {directory}"),
        (file, 0o600, f"chgrp postward {file} && chmod 0640 {file}"),
    ):
        facts = replace(_file(path, Owned(mode, 0, 0)), sources=(*_HEALTHY.sources, file, directory))
        (finding,) = [one for one in doctor_findings(facts) if one.id == "settings-unreadable"]
        assert (finding.where, finding.remedy) == (path, remedy)
