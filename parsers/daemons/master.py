"""Rules for master(8): src/master of the Postfix source."""

from typing import Final

from postward.parsers.events import (
    ConfigurationProblem,
    MailSystem,
    MasterReloaded,
    MasterStarted,
    MasterStopped,
    ProcessExited,
    ProcessLimit,
    Throttled,
)
from postward.parsers.rules import Rule, problem, rule

RULES: Final[tuple[Rule, ...]] = (
    rule(
        r"daemon started -- version (?P<version>.*), configuration (?P<configuration>.*)",
        MasterStarted,
        "master/master.c",
    ),
    rule(
        r"reload -- version (?P<version>.*), configuration (?P<configuration>.*)",
        MasterReloaded,
        "master/master.c",
    ),
    rule(r"terminating on signal (?P<signal>\d+)", MasterStopped, "master/master_sig.c"),
    rule(r"(?P<text>master exit time has arrived)", MailSystem, "master/master.c"),
    problem(
        r"process (?P<command>.*) pid (?P<child>\d+)(?: exit status (?P<status>\d+)| (?:killed|stopped) by signal (?P<signal>\d+))",
        ProcessExited,
        "master/master_spawn.c",
    ),
    problem(
        r"(?P<command>\S+): (?:bad command startup|(?P<error>fork: .*)) -- throttling",
        Throttled,
        "master/master_spawn.c",
    ),
    problem(
        r'service "(?P<service>[^"]*+)" \((?P<endpoint>[^)]*+)\) has reached its process limit "(?P<limit>\d+)": .*',
        ProcessLimit,
        "master/master_avail.c",
    ),
    problem(
        r"(?P<text>all network protocols are disabled .*|duplicate master\.cf entry for service .*"
        r"|service \S+: ignoring .* change|to change .*, stop and start Postfix"
        r"|ignoring .* parameter value change|(?:old|new) value: .*|bind \S+ port .*|open lock file .*"
        r"|daemon initialization failure -- .*|can't create lock file .*"
        r"|master_spawn: exec .*)",
        ConfigurationProblem,
        "master/master_ent.c",
        "master/master_conf.c",
        "master/master_watch.c",
        "master/master_monitor.c",
        "master/master_spawn.c",
        "master/master.c",
        "util/inet_listen.c",
    ),
)
