"""Events of this host: tables, configuration, daemons and resources."""

from typing import NamedTuple


class TableUnavailable(NamedTuple):
    """A lookup table cannot be opened; logged at every lookup."""

    table: str
    reason: str


class TableProblem(NamedTuple):
    """Opening or reading a lookup table failed."""

    table: str | None
    reason: str


class LookupFailed(NamedTuple):
    """One lookup in a table failed."""

    queue_id: str | None
    table: str
    key: str | None


class TableOutdated(NamedTuple):
    """A table is older than its source file: postmap was not run."""

    table: str
    source: str


class TableChanged(NamedTuple):
    """A daemon restarts because a table changed."""

    table: str


class BadParameter(NamedTuple):
    """A parameter's value is invalid."""

    parameter: str
    value: str | None
    reason: str | None


class ConfigurationProblem(NamedTuple):
    """An error in main.cf, in master.cf or in a file that they name."""

    text: str


class OwnTestLine(NamedTuple):
    """A test line that Postward wrote with postlog(1), to check that the log arrives."""

    token: str


class CompatibilityNotice(NamedTuple):
    """Postfix uses an old default because of compatibility_level."""

    parameter: str | None
    value: str | None
    text: str | None


class MasterStarted(NamedTuple):
    """Postfix started."""

    version: str
    configuration: str


class MasterReloaded(NamedTuple):
    """Postfix reloaded its configuration."""

    version: str
    configuration: str


class MasterStopped(NamedTuple):
    """Postfix received a signal to stop."""

    signal: str


class ProcessExited(NamedTuple):
    """A daemon exited with an error; either `status` or `signal` is set."""

    command: str
    child: str
    status: str | None
    signal: str | None


class Throttled(NamedTuple):
    """master delays the next start of this command; the service is down until then."""

    command: str
    error: str | None = None


class ProcessLimit(NamedTuple):
    """A service reached its process limit."""

    service: str
    endpoint: str
    limit: str


class MailSystem(NamedTuple):
    """A start, stop or check of the mail system by postfix-script, or why it failed."""

    text: str


class TransportFailed(NamedTuple):
    """A delivery agent exited or sent an invalid response; its own line gives the reason."""

    transport: str


class TransportUnavailable(NamedTuple):
    """qmgr cannot connect to a delivery agent."""

    transport: str
    error: str


class ServiceUnavailable(NamedTuple):
    """A daemon cannot connect to another daemon of this Postfix."""

    service: str
    error: str | None


class MilterProblem(NamedTuple):
    """A mail filter (milter) is unreachable or sent an invalid response."""

    milter: str
    reason: str


class ResourceProblem(NamedTuple):
    """Disk, inodes, memory, processes or descriptors are exhausted, or a file cannot be written."""

    text: str


class ClockProblem(NamedTuple):
    """A clock jumped; delays are wrong."""

    text: str


class Statistics(NamedTuple):
    """Counts that anvil, scache and caches log periodically."""

    text: str


class Verbose(NamedTuple):
    """A debugging line: -v in master.cf, or debug_peer_list."""

    text: str


class Problem(NamedTuple):
    """A line labelled warning or worse that no rule matches; the record has the severity."""

    text: str
