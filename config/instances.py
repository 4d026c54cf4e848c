"""The instances of Postfix on one host (postmulti(1)): each has a settings file, and the main one names the others.

Promise: an instance shares nothing by accident. Two files with the same directory are refused, with both files' names.
The main file's `[web]` holds for all, and its `[notify]` for an instance without one.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from postward.config.errors import SettingsError
from postward.config.sections import Notify, Web
from postward.config.settings import Settings, load_settings


def load_instance(path: Path, main_file: Path, main: Settings, others: Mapping[Path, Settings]) -> Settings:
    """Return the settings of an instance, with those that the main file supplies.

    Args:
        path: the settings file of the instance.
        main_file: the main settings file, which names it.
        main: the main settings.
        others: the settings of further instances, by their files.

    Raises:
        SettingsError: the file is bad, or contradicts another one.
    """
    own = load_settings(path)
    faults = [*_misplaced(own, main_file, main)]
    for file, other in {main_file: main, **others}.items():
        faults += _shared(own, file, other)
    if faults:
        raise SettingsError(f"{path}: {fault}" for fault in faults)
    # One heartbeat says that the agent works.
    notify = own.notify if own.notify != Notify() else main.notify.model_copy(update={"heartbeat_url": None})
    return own.model_copy(update={"web": main.web, "notify": notify})


def load_instances(main_file: Path, main: Settings) -> dict[Path, Settings]:
    """Return the settings of all instances that the main file names. Raises SettingsError with all faults."""
    loaded: dict[Path, Settings] = {}
    problems: list[str] = []
    for path in map(Path, main.postfix.instances):
        try:
            loaded[path] = load_instance(path, main_file, main, loaded)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return loaded


def _misplaced(own: Settings, main_file: Path, main: Settings) -> Iterator[str]:
    """Yield what belongs into the main file."""
    if own.postfix.instances:
        yield f"postfix.instances: must be left out: {main_file} names this file; name further instances there"
    if own.log.hosts:
        yield "log.hosts: must be left out: only an agent of one instance counts the lines of other hosts"
    if own.web not in (Web(), main.web):
        yield f"web: must be left out, or as in {main_file}: one endpoint serves all instances"


def _shared(own: Settings, file: Path, other: Settings) -> Iterator[str]:
    """Yield what the instance of another file has already."""
    taken = f"is that of {file} already"
    if Path(own.postfix.config_directory) == Path(other.postfix.config_directory):
        yield f"postfix.config_directory: {taken}; write the directory of another instance (postmulti -l)"
        return
    for section in ("state", "enforce"):
        directory = getattr(own, section).directory
        if Path(directory) == Path(getattr(other, section).directory):
            yield f"{section}.directory: {directory} {taken}; leave it out, or name another directory"
    if own.log.source == other.log.source == "-":
        yield f"log.source: standard input {taken}, and only one instance can read it; write the path of the log"
    tokens = {relay.name for relay in other.relay if relay.oauth2}
    for relay in own.relay:
        if relay.oauth2 and relay.name in tokens:
            yield f"relay.{relay.name}.name: {taken}, and tokens are kept by this name; choose another name"
