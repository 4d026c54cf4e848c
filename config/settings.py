"""The settings of a host: a TOML file, its fragments (`postward.config.fragments`), and overrides from the environment
(`postward.config.environment`).

Promises: a `Settings` value is complete and free of contradictions. `SettingsError` reports every problem at once, each
with file, key and remedy. Unknown keys are errors. Passwords stay in their files until `Relay.read_password()` is
called, so that a process without access to them can load the settings.
"""

import contextlib
import logging
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from postward.config.contradictions import contradictions
from postward.config.environment import Environment, models_of, read_overrides
from postward.config.errors import Loc, Origin, Problem, SettingsError, describe, unknown
from postward.config.former import renamed
from postward.config.fragments import merge
from postward.config.host import Host
from postward.config.mailbox import Bounces, Mailbox
from postward.config.oauth2 import OAuth2
from postward.config.parameters import MainCfValue, ParameterName
from postward.config.relay import Relay
from postward.config.sections import (
    Enforce,
    Events,
    Log,
    Notify,
    Postfix,
    Probe,
    Queue,
    Report,
    State,
    Web,
    with_own_directories,
)

DEFAULT_FILE = Path("/etc/postward/postward.toml")
_log = logging.getLogger("postward.settings")


class Settings(BaseSettings):
    """All settings, as `load_settings` returns them."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
    )

    host: Host
    relay: list[Relay] = Field(min_length=1)
    main_cf: dict[ParameterName, MainCfValue] = Field(
        default={},
        description="Further main.cf parameters, passed on unchanged. true and false become yes and no.",
        examples=[{"message_size_limit": 16000000}],
    )
    postfix: Postfix = Postfix()
    log: Log = Log()
    enforce: Enforce = Enforce()
    probe: Probe = Probe()
    mailbox: Mailbox = Mailbox()
    bounces: Bounces = Bounces()
    web: Web = Web()
    queue: Queue = Queue()
    events: Events = Events()
    notify: Notify = Notify()
    report: Report = Report()
    state: State = State()

    @model_validator(mode="before")
    @classmethod
    def _has_own_directories(cls, settings: Any) -> Any:
        return with_own_directories(settings) if isinstance(settings, dict) else settings

    @property
    def probe_sender(self) -> str:
        """The envelope sender of probes."""
        return self.probe.sender or f"postward@{self.host.domain}"

    @property
    def sends_probes(self) -> bool:
        """True if a recipient of probes is set."""
        return bool(self.probe.recipient) or any(relay.probe_recipients for relay in self.relay)

    @property
    def report_to(self) -> str:
        """The address that gets reports by mail; "" for none."""
        return self.report.mail_to or self.notify.mail_to

    @property
    def relays_with_server(self) -> list[Relay]:
        """The relays whose server the settings name, so that it can be asked without mail."""
        return [relay for relay in self.relay if relay.has_known_server]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the environment, then the file, which is passed to the constructor."""
        assert isinstance(init_settings, InitSettingsSource)  # noqa: S101 - pydantic-settings passes it
        return Environment(settings_cls, init_settings), init_settings


def known_keys() -> dict[str, list[str]]:
    """Return section → its keys; "" → the sections. `relay.oauth2` is a section too."""
    models = models_of(Settings)
    tables = {name: model for name, model in models.items() if model} | {"relay.oauth2": OAuth2}
    return {"": list(models)} | {name: list(model.model_fields) for name, model in tables.items()}


def settings_files(path: Path) -> list[Path]:
    """Return the files that form the settings: the settings file, then the fragments in the directory beside it.

    The fragments of /etc/postward/postward.toml are /etc/postward/postward.toml.d/*.toml, in the order of their names.
    The settings file may be missing if there are fragments. Hidden files are ignored.

    Raises:
        SettingsError: the directory cannot be read.
    """
    directory = fragments_of(path)
    try:
        files = sorted(directory.iterdir())
    except FileNotFoundError:
        files = []
    except OSError as error:
        reason = "make it a directory that every user can read, with mode 0755"
        raise SettingsError([f"{directory}: {error.strerror}; {reason}"]) from None
    fragments = [file for file in files if file.suffix == ".toml" and file.name[0] != "."]
    return [path, *fragments] if not fragments or os.path.lexists(path) else fragments


def fragments_of(path: Path) -> Path:
    """Return the directory of the fragments of a settings file."""
    return path.with_name(f"{path.name}.d")


def load_settings(path: Path) -> Settings:
    """Read and validate a settings file and its fragments.

    Raises:
        SettingsError: a file or its settings are bad.
    """
    contents: list[tuple[str, dict[str, Any]]] = []
    problems: list[str] = []
    for file in settings_files(path):
        try:
            contents.append((str(file), _read(file)))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    merged = merge(contents)
    return parse_settings(merged.tables, str(path), merged.sources)


def read_valid(path: Path) -> dict[str, Any]:
    """Return the tables of a settings file and its fragments without those that cannot be read. Nothing is validated."""
    contents: list[tuple[str, dict[str, Any]]] = []
    with contextlib.suppress(SettingsError):
        for file in settings_files(path):
            with contextlib.suppress(SettingsError):
                contents.append((str(file), _read(file)))
    return merge(contents).tables


def _read(path: Path) -> dict[str, Any]:
    """Return the tables of a file, and warn of former names. Raises SettingsError."""
    try:
        tables, warnings = renamed(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}; {_remedy(path, error)}"]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{path}: must be text in UTF-8; save it as UTF-8"]) from None
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "a value is too large"
        raise SettingsError(
            [f"{path}: is not valid TOML: {reason}; write settings as key = value, strings in quotes"]
        ) from None
    for warning in warnings:
        _log.warning("%s: %s", path, warning)
    return tables


def _remedy(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "run this with sudo"
    name = "name the settings file with --config"
    return f"run `postward init` to set this host up, or {name}" if path == DEFAULT_FILE else name


def parse_settings(raw: Mapping[str, Any], source: str, files: Mapping[Loc, str] = {}) -> Settings:
    """Validate settings that were read from a file.

    Args:
        raw: the tables of the file.
        source: the name of the file in messages.
        files: location of a setting → the name of its file, if there are several.

    Raises:
        SettingsError: the settings are bad.
    """
    sections = {name: table for name, table in raw.items() if name in Settings.model_fields}
    overrides = read_overrides(os.environ, sections, models_of(Settings))
    origin = Origin(source, (sections | overrides.values).get("relay"), overrides.variables, files)
    settings, faults = _validate(raw, sections, overrides.values)
    problems = [*(origin.line(*fault) for fault in faults), *overrides.problems]
    if settings is None or problems:
        raise SettingsError(problems)
    return settings


def find_problems(raw: Mapping[str, Any]) -> list[Problem]:
    """Return the faults of settings, each with its location; empty if they are good."""
    sections = {name: table for name, table in raw.items() if name in Settings.model_fields}
    return _validate(raw, sections, {})[1]


def _validate(
    raw: Mapping[str, Any], sections: dict[str, Any], overrides: dict[str, Any]
) -> tuple[Settings | None, list[Problem]]:
    """Return the settings, or None, and their faults."""
    unknown_tables = [((name,), unknown((name,), known_keys())) for name in raw if name not in sections]
    problems = [*unknown_tables, *contradictions(sections | overrides)]
    try:
        return Settings(**sections), problems
    except ValidationError as error:
        return None, describe(error, known_keys()) + problems
