"""The settings: what this host should be, in one TOML file, with overrides from the environment.

Promise: a `Settings` value is complete and free of contradictions; everything wrong with a file is told at
once, each with file, key and remedy (`SettingsError`). Unknown keys are errors. Passwords stay in their files
until `Relay.read_password()` is called, so that a process without the right to read them can load the rest.

Overrides from the environment stand in front of the file (`postward.config.environment`).
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from postward.config.contradictions import contradictions
from postward.config.environment import Environment, models_of, read_overrides
from postward.config.errors import Origin, SettingsError, describe, unknown
from postward.config.host import Host
from postward.config.parameters import MainCfValue, ParameterName
from postward.config.relay import Relay
from postward.config.sections import Enforce, Events, Log, Notify, Postfix, Probe, Queue, State, Web

DEFAULT_FILE = Path("/etc/postward/postward.toml")


class Settings(BaseSettings):
    """All settings. Made by `load_settings`."""

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
        description="Further main.cf parameters, passed through as they are. true and false become yes and no.",
        examples=[{"message_size_limit": 16000000}],
    )
    postfix: Postfix = Postfix()
    log: Log = Log()
    enforce: Enforce = Enforce()
    probe: Probe = Probe()
    web: Web = Web()
    queue: Queue = Queue()
    events: Events = Events()
    notify: Notify = Notify()
    state: State = State()

    @property
    def probe_sender(self) -> str:
        """The envelope sender of probe mails."""
        return self.probe.sender or f"postward@{self.host.mydomain}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then the file (handed to the constructor, so that a test needs no file)."""
        assert isinstance(init_settings, InitSettingsSource)  # noqa: S101 - pydantic-settings hands it in
        return Environment(settings_cls, init_settings), init_settings


def known_keys() -> dict[str, list[str]]:
    """Section → its keys; "" → the sections."""
    models = models_of(Settings)
    return {"": list(models)} | {name: list(model.model_fields) for name, model in models.items() if model}


def load_settings(path: Path) -> Settings:
    """Read and check a settings file.

    Raises:
        SettingsError: with every problem found, ready to print.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}; name the settings file with --config"]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{path}: is not text in UTF-8; save it as UTF-8"]) from None
    except (ValueError, RecursionError) as error:
        words = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "a value is too large"
        raise SettingsError(
            [f"{path}: is not TOML: {words}; a setting is written key = value, text in quotes"]
        ) from None
    return parse_settings(raw, str(path))


def parse_settings(raw: Mapping[str, Any], source: str) -> Settings:
    """Check settings that are already read. `source` is what messages call them. Raises SettingsError."""
    sections = {name: table for name, table in raw.items() if name in Settings.model_fields}
    overrides = read_overrides(os.environ, sections, models_of(Settings))
    origin = Origin(source, (sections | overrides.values).get("relay"), overrides.variables)
    problems = overrides.problems + [
        origin.line((name,), unknown((name,), known_keys())) for name in raw if name not in sections
    ]
    problems += [origin.line(*problem) for problem in contradictions(sections | overrides.values)]
    try:
        settings = Settings(**sections)
    except ValidationError as error:
        problems = describe(error, origin, known_keys()) + problems
    if problems:
        raise SettingsError(problems)
    return settings
