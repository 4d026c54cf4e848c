"""What Postfix tells of this host: its tables, its configuration, its daemons and its resources.

Fields as the package describes them; nothing here fails.
"""

from typing import NamedTuple


class TableUnavailable(NamedTuple):
    """A lookup table cannot be opened; said again at every lookup."""

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
    """A table is older than the text it is made from: somebody forgot postmap."""

    table: str
    source: str


class TableChanged(NamedTuple):
    """A daemon restarts itself because a table has changed."""

    table: str


class BadParameter(NamedTuple):
    """A parameter's value is not what Postfix wants."""

    parameter: str
    value: str | None
    reason: str | None


class ConfigurationProblem(NamedTuple):
    """Something in main.cf, master.cf or their files is wrong."""

    text: str


class OwnTestLine(NamedTuple):
    """A line that Postward itself handed to postlog(1), to see it come through the log."""

    token: str


class CompatibilityNotice(NamedTuple):
    """Postfix uses an old default because compatibility_level says so."""

    parameter: str | None
    value: str | None
    text: str | None


class MasterStarted(NamedTuple):
    """Postfix started."""

    version: str
    configuration: str


class MasterReloaded(NamedTuple):
    """Postfix read its configuration again."""

    version: str
    configuration: str


class MasterStopped(NamedTuple):
    """Postfix was told to stop."""

    signal: str


class ProcessExited(NamedTuple):
    """A daemon died; ``status`` or ``signal`` is set."""

    command: str
    child: str
    status: str | None
    signal: str | None


class Throttled(NamedTuple):
    """master waits before it starts this command again: the service is down meanwhile."""

    command: str
    error: str | None = None


class ProcessLimit(NamedTuple):
    """A service has all the processes it may have."""

    service: str
    endpoint: str
    limit: str


class MailSystem(NamedTuple):
    """What postfix-script does to the mail system as a whole, or why it does not."""

    text: str


class TransportFailed(NamedTuple):
    """A delivery agent died or spoke nonsense; its own line says why."""

    transport: str


class TransportUnavailable(NamedTuple):
    """qmgr cannot reach a delivery agent."""

    transport: str
    error: str


class ServiceUnavailable(NamedTuple):
    """A daemon cannot reach another daemon of the same Postfix."""

    service: str
    error: str | None


class MilterProblem(NamedTuple):
    """A mail filter is down or broken."""

    milter: str
    reason: str


class ResourceProblem(NamedTuple):
    """Disk, inodes, memory, processes or descriptors ran out, or a file may not be written."""

    text: str


class ClockProblem(NamedTuple):
    """A clock jumped, so delays are wrong."""

    text: str


class Statistics(NamedTuple):
    """Counts that anvil, scache, the caches and the session caches log now and then."""

    text: str


class Verbose(NamedTuple):
    """A line that is there because somebody looks closely: -v in master.cf, or debug_peer_list."""

    text: str


class Problem(NamedTuple):
    """A line labelled warning or worse for which there is no rule; the severity is the record's."""

    text: str
