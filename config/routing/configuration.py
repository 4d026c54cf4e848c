"""A Postfix configuration as routing needs it: parameters, services and the contents of tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from postward.config.parameters import expanded
from postward.config.routing.tables import Tables
from postward.parsers.postconf import Master, split_list

REWRITE = "rewrite/unix"  # the service of trivial-rewrite(8)
CLEANUP = "cleanup/unix"


@dataclass(frozen=True, slots=True)
class Configuration:
    """A Postfix configuration.

    Attributes:
        values: effective parameters with `$name` replaced (`postconf -x`).
        master: the services of master.cf and their -o settings.
        tables: the contents of the tables to which the parameters refer.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    master: Master = field(default_factory=lambda: Master({}, {}))
    tables: Tables = field(default_factory=Tables)

    def value(self, name: str, service: str) -> str:
        """Return a parameter as a service has it: the service's -o setting, or else the value of main.cf.

        Args:
            name: the parameter.
            service: name and type of the service, as in "smtp/unix".
        """
        override = self.master.overrides.get(f"{service}/{name}")
        return self.values.get(name, "") if override is None else expanded(override, self.values)

    def words(self, name: str, service: str) -> list[str]:
        """Return the items of a list."""
        return split_list(self.value(name, service))

    def yes(self, name: str, service: str) -> bool:
        """Return True for a boolean that is yes."""
        return self.value(name, service).lower() == "yes"

    def command(self, service: str) -> str:
        """Return the program that a service runs, as in "smtp"; "" without such a service."""
        entry = self.master.services.get(service)
        return entry.command.split()[0].rpartition("/")[2] if entry and entry.command else ""
