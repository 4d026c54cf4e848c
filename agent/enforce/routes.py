"""Reads which routes of mail a desired state changes, and the drift that changes one."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from postward.agent.enforce.tables import is_own
from postward.agent.postfix.config import PostfixConfig
from postward.agent.postfix.run import PostfixError
from postward.agent.postfix.tables import configuration, read_configuration
from postward.config.consequences import consequences
from postward.config.desired import DesiredState
from postward.config.drift import ActualState, Drift, drift
from postward.config.effective import ineffective
from postward.config.needed import may_be_needless, needed, without_dropped
from postward.config.plan import Plan, plan
from postward.config.resources import OWN_SERVICE
from postward.config.routing import Configuration, Tables
from postward.config.routing.changes import RouteChange, route_changes
from postward.config.routing.parameters import Vault, user_of, without_logins
from postward.config.routing.tables import parse_contents
from postward.config.settings import Settings
from postward.parsers.postconf import Master, Service, split_list


def read_route_changes(
    postfix: PostfixConfig, desired: DesiredState, planned: Plan, senders: Iterable[str] = ()
) -> list[RouteChange]:
    """Return the changes of routes that a plan makes on its way to the desired state. Raises PostfixError."""
    before = read_configuration(postfix)
    try:
        values = postfix.meanings((), planned.parameters)
    except PostfixError:
        return []  # Postfix refuses a desired value, and the check of the copy says why
    return route_changes(before, _after(postfix, before, values, desired), senders)


def read_plan(postfix: PostfixConfig, settings: Settings, desired: DesiredState, actual: ActualState) -> Plan:
    """Return the plan that repairs the drift, without changes that change no mail. Raises PostfixError, OSError."""
    drifts = drift(desired, actual)
    left = _needed(postfix, settings, desired, actual, drifts)
    return plan(left, consequences(left, without_dropped(actual, drifts, left)))


def read_ineffective(
    postfix: PostfixConfig, settings: Settings, desired: DesiredState, passwords: Mapping[str, str]
) -> dict[str, str]:
    """Return relay name → what would still decide in its place, with the desired state in force. Raises PostfixError."""
    before, vault = read_vaulted(postfix)
    logins = {
        relay.name: vault.conceal(f"{relay.username}:{passwords[relay.name]}")
        for relay in settings.relay
        if relay.username
    }
    values = postfix.meanings((), desired.parameters)
    return ineffective(settings, logins, _after(postfix, before, values, desired, vault))


def read_vaulted(postfix: PostfixConfig) -> tuple[Configuration, Vault]:
    """Return the configuration in force and, apart from it, its passwords. Raises PostfixError."""
    vault = Vault()
    return read_configuration(postfix, vault=vault), vault


def _needed(
    postfix: PostfixConfig,
    settings: Settings,
    desired: DesiredState,
    actual: ActualState,
    drifts: list[Drift],
) -> list[Drift]:
    if not any(may_be_needless(one, settings, actual) for one in drifts):
        return drifts
    before, vault = read_vaulted(postfix)
    try:
        values = postfix.meanings((), desired.parameters)
    except PostfixError:
        return drifts  # Postfix refuses a desired value, and the check of the copy says why
    after = _after(postfix, before, values, desired, vault)
    items = {item for one in drifts for item in split_list(before.values.get(one.name, ""))}
    own = {item for item in items if ":/" in item and is_own(Path(item.partition(":")[2]))}
    return needed(drifts, settings, actual, before, after, own, str(postfix.config_directory))


def _after(
    postfix: PostfixConfig,
    before: Configuration,
    values: dict[str, str],
    desired: DesiredState,
    vault: Vault | None = None,
) -> Configuration:
    """Return the configuration with a desired state in force.

    Args:
        postfix: the instance.
        before: the configuration in force.
        values: the parameters with the desired ones among them, expanded.
        desired: the desired state.
        vault: takes the passwords.
    """
    conceal = vault.conceal if vault else user_of
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
    after = configuration(postfix, values, Master(services, overrides), vault)
    own = {
        f"{table.type}:{postfix.config_directory}/{table.name}": without_logins(contents, conceal)
        if table.secret
        else contents
        for table in desired.tables
        if (contents := parse_contents(table.type, table.name, table.text))
    }
    tables = Tables({**after.tables.contents, **own}, after.tables.lists)
    return Configuration(after.values, after.master, tables)
