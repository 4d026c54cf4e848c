"""Reads which routes of mail a desired state changes."""

from collections.abc import Iterable

from postward.agent.postfix.config import PostfixConfig
from postward.agent.postfix.run import PostfixError
from postward.agent.postfix.tables import configuration, read_configuration
from postward.config.desired import DesiredState
from postward.config.resources import OWN_SERVICE
from postward.config.routing import Configuration, Tables
from postward.config.routing.changes import RouteChange, route_changes
from postward.config.routing.parameters import without_logins
from postward.config.routing.tables import parse_contents
from postward.parsers.postconf import Master, Service


def read_route_changes(
    postfix: PostfixConfig, desired: DesiredState, senders: Iterable[str] = ()
) -> list[RouteChange]:
    """Return the changes of routes from the configuration in force to the desired state. Raises PostfixError."""
    before = read_configuration(postfix)
    try:
        values = postfix.meanings((), desired.parameters)
    except PostfixError:
        return []  # Postfix refuses a desired value, and the check of the copy says why
    return route_changes(before, _after(postfix, before, values, desired), senders)


def _after(
    postfix: PostfixConfig, before: Configuration, values: dict[str, str], desired: DesiredState
) -> Configuration:
    services = {
        key: service for key, service in before.master.services.items() if not key.startswith(OWN_SERVICE)
    }
    overrides = {
        key: value for key, value in before.master.overrides.items() if not key.startswith(OWN_SERVICE)
    }
    for transport in desired.transports:
        service = f"{transport.name}/unix"
        services[service] = Service(transport.name, "unix", "-", "-", "n", "-", "-", transport.command)
        overrides |= {f"{service}/{name}": value for name, value in transport.overrides}
    after = configuration(values, Master(services, overrides))
    own = {
        f"{table.type}:{postfix.config_directory}/{table.name}": without_logins(contents)
        if table.secret
        else contents
        for table in desired.tables
        if (contents := parse_contents(table.type, table.name, table.text))
    }
    tables = Tables({**after.tables.contents, **own}, after.tables.lists)
    return Configuration(after.values, after.master, tables)
