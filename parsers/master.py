"""What master(8) logs: src/master of the Postfix source."""

from typing import Final

from parsers.events import (
    MasterReloaded,
    MasterStarted,
    MasterStopped,
    ProcessExited,
    ProcessLimit,
    Throttled,
)
from parsers.rules import Rule, problem, rule

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
    problem(
        r"process (?P<command>.*) pid (?P<child>\d+)(?: exit status (?P<status>\d+)| killed by signal (?P<signal>\d+))",
        ProcessExited,
        "master/master_spawn.c",
    ),
    problem(
        r"(?P<command>\S+): (?:bad command startup|(?P<error>fork: .*)) -- throttling",
        Throttled,
        "master/master_spawn.c",
    ),
    problem(
        r'service "(?P<service>.*?)" \((?P<endpoint>.*?)\) has reached its process limit "(?P<limit>\d+)": .*',
        ProcessLimit,
        "master/master_avail.c",
    ),
)
