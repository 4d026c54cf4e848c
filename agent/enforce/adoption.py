"""Reads the settings that a host's configuration suggests, and narrows them to those that change nothing.

Promise: nothing is written. Postfix's configuration must be as the settings say already, so that their plan is empty.
A relay that would change something is taken out. The first relay stays, and its plan says what would change.
"""

import socket
from dataclasses import dataclass, replace
from pathlib import Path

from postward.agent.enforce.enforcer import LOOK_ERRORS, Enforcer
from postward.agent.enforce.routes import read_vaulted
from postward.agent.enforce.tables import exposed_logins
from postward.agent.postfix.commands import Postfix
from postward.config.adopt import Adopted, NothingToAdoptError, Unmanaged
from postward.config.adopt.adopted import listed
from postward.config.adopt.others import SOURCES
from postward.config.adopt.postfix import adopt_postfix
from postward.config.adopt.source import ThisHost
from postward.config.desired import DesiredState
from postward.config.errors import SettingsError
from postward.config.plan import Plan
from postward.config.sections import Postfix as PostfixSection
from postward.config.settings import Settings, parse_settings

_REFUSED = "a change of its settings would be refused, until this is other: "
_LOGINS = "smtp_sasl_password_maps"
_NAME = "host.myhostname: "
# Files with the system's certificate authorities: Debian and Alpine, RHEL, SUSE.
_AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)


@dataclass(frozen=True, slots=True)
class Adoption:
    """Adopted settings with their plan.

    Attributes:
        adopted: the settings as text, and what stays unmanaged.
        settings: the settings, with their passwords.
        planned: what applying them would change, empty if the host does as they say already; None if Postfix has no
            configuration that can be read.
        exposed: tables of logins that every user of the host can read.
    """

    adopted: Adopted
    settings: Settings
    planned: Plan | None
    exposed: tuple[str, ...] = ()


def read_adopted(postfix: Postfix) -> Adopted:
    """Return the settings that this Postfix's configuration suggests.

    Raises:
        NothingToAdoptError: it has no relay that the settings could say.
        PostfixError: it cannot be read.
    """
    config, vault = read_vaulted(postfix)
    adopted = adopt_postfix(config, postfix.explicit(), vault)
    directory = str(postfix.config_directory)
    if directory == PostfixSection().config_directory:
        return adopted
    return replace(adopted, tables={**adopted.tables, "postfix": {"config_directory": directory}})


def read_other(name: str, root: Path = Path("/"), myhostname: str = "") -> Adopted:
    """Return the settings that the configuration of another mail program suggests.

    Args:
        name: the program, in `SOURCES`.
        root: where its paths begin.
        myhostname: the host's full name, if the person gave it.

    Raises:
        NothingToAdoptError: it has no relay that the settings could say.
        OSError: a file cannot be read.
    """
    files = {
        path: text for path in SOURCES[name].files if (text := _text(root / path.lstrip("/"))) is not None
    }
    full_name = socket.getfqdn()
    this = ThisHost(
        full_name if "." in full_name and not full_name.startswith("localhost") else "",
        next((path for path in _AUTHORITIES if Path(path).exists()), ""),
        myhostname,
    )
    return SOURCES[name].adopt(files, this)


def found_programs(root: Path = Path("/")) -> list[str]:
    """Return the other mail programs that have a configuration here."""
    return [name for name, source in SOURCES.items() if (root / source.files[0].lstrip("/")).exists()]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def planned(adopted: Adopted, postfix: Postfix) -> Adoption:
    """Return settings from another program with what they change in Postfix. Raises NothingToAdoptError."""
    tried = _tried(adopted, postfix)
    if isinstance(tried, str):
        raise NothingToAdoptError(tried)
    return tried


def narrowed(adopted: Adopted, postfix: Postfix) -> Adoption:
    """Return the settings without what would change something, and without what they would not decide.

    Raises:
        NothingToAdoptError: what is left of them is not valid, or Postfix cannot do it.
    """
    for candidate in (adopted, adopted.without_providers()):
        adoption = _tried(candidate, postfix)
        if isinstance(adoption, Adoption) and not adoption.planned and not _undecided(candidate, postfix):
            return adoption
    first, *further = adopted.relays
    adoption = _smallest(replace(adopted, relays=(first,)), postfix)
    if reason := _undecided(adoption.adopted, postfix):
        if not reason.startswith(_REFUSED):
            raise NothingToAdoptError(reason)
        adoption = replace(
            adoption, adopted=adoption.adopted.and_unmanaged(Unmanaged("a later change", reason))
        )
    for relay in further:
        larger = replace(adoption.adopted, relays=(*adoption.adopted.relays, relay))
        tried = _tried(larger, postfix)
        if isinstance(tried, str):
            why = tried
        elif new := _names(tried.planned) - _names(adoption.planned):
            why = f"to manage it would change {listed(sorted(new))}"
            if relay.more.get("mx"):
                why = f"without brackets around {relay.host}, the log does not show which mail it took"
        elif reason := _undecided(larger, postfix):
            why = reason
        else:
            adoption = tried
            continue
        keys = (*relay.senders, *relay.recipients)
        where = f"{relay.host}:{relay.port}" if relay.host else "MX records"
        what = Unmanaged(f"mail by {where} of {listed(keys) or 'all'}", why)
        adoption = replace(adoption, adopted=adoption.adopted.and_unmanaged(what))
    return adoption


def _undecided(adopted: Adopted, postfix: Postfix) -> str:
    """Return why a change of the settings would have no effect, or would be refused; "" if it would have one."""
    try:
        settings = parse_settings(adopted.changed().raw(), "settings")
        deciders = Enforcer(settings, postfix).ineffective()
    except LOOK_ERRORS as error:
        return f"{_REFUSED}{error}"
    return next((f"{decider} decides, whatever the settings say" for decider in deciders.values()), "")


def _smallest(adopted: Adopted, postfix: Postfix) -> Adoption:
    """Return the settings of the first relay, with the preset of its provider if that changes nothing."""
    with_preset = _tried(adopted, postfix)
    if isinstance(with_preset, Adoption) and not with_preset.planned:
        return with_preset
    adoption = _tried(adopted.without_providers(), postfix)
    if isinstance(adoption, str):
        raise NothingToAdoptError(adoption)
    return adoption


def _tried(adopted: Adopted, postfix: Postfix) -> Adoption | str:
    """Return the settings with their plan, or why they are not possible."""
    try:
        settings = parse_settings(adopted.raw(), "settings")
    except SettingsError as error:
        return "; ".join(map(_problem, error.problems))
    if not postfix.main_cf.exists():
        return Adoption(adopted, settings, None)
    present = postfix.parameters([_LOGINS])
    exposed = tuple(exposed_logins(postfix, present, DesiredState({_LOGINS: ""}, ())))
    try:
        return Adoption(adopted, settings, Enforcer(settings, postfix).look()[0], exposed)
    except LOOK_ERRORS as error:
        return str(error)


def _problem(text: str) -> str:
    """Return a problem of the settings without their file, and by which option it is solved."""
    text = text.removeprefix("settings: ")
    return f"{text.partition('; ')[0]}; add --myhostname NAME" if text.startswith(_NAME) else text


def _names(planned: Plan | None) -> set[str]:
    return {drift.name for drift in planned.drifts} if planned else set()
