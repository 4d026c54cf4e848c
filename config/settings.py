"""The settings: what this host should be, in one TOML file, with overrides from the environment.

Promise: a `Settings` value is complete and free of contradictions; everything wrong with a file is told at
once, each with file, key and remedy (`SettingsError`). Unknown keys are errors. Passwords stay in their files
until `Relay.read_password()` is called, so that a process without the right to read them can load the rest.

Overrides: `POSTWARD_SECTION__KEY` for a table, `POSTWARD_RELAY__NAME__KEY` for one relay.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from config.errors import SettingsError, describe
from config.fields import Section, Text, joined, plain_text, split_address
from config.host import Host
from config.relay import Relay

DEFAULT_FILE = Path("/etc/postward/postward.toml")

# The main.cf parameters that Postward derives, and the setting that each comes from.
DERIVED_PARAMETERS = {
    "myhostname": "host.myhostname",
    "mydomain": "host.mydomain",
    "myorigin": "host.myorigin",
    "inet_interfaces": "host.inet_interfaces",
    "inet_protocols": "host.inet_protocols",
    "mydestination": "host.mydestination",
    "mynetworks": "host.mynetworks",
    "relay_domains": "host.relay_domains",
    "relayhost": "host and port of the first [[relay]]",
    "sender_dependent_relayhost_maps": "relay.senders",
    "smtp_sasl_auth_enable": "relay.username",
    "smtp_sasl_password_maps": "relay.username and relay.password",
    "smtp_sasl_security_options": "relay.tls",
    "smtp_sasl_tls_security_options": "relay.tls",
    "smtp_tls_security_level": "relay.tls and relay.verify",
    "smtp_tls_wrappermode": 'relay.tls ("implicit" means yes, on port 465; with yes on a STARTTLS port such as 587 no mail leaves)',
    "smtp_use_tls": "relay.tls",
    "smtp_enforce_tls": "relay.tls",
    "smtp_tls_CAfile": "relay.ca_file",
}


class Postfix(Section):
    """Which Postfix this is about."""

    config_directory: str = Field(default="/etc/postfix", description="The folder of main.cf and master.cf.")
    map_type: str = Field(
        default="auto",
        description="Type of the lookup tables that Postward writes, as in postconf -m. auto: default_database_type.",
    )


class Log(Section):
    """Where Postfix's log is read."""

    source: str = Field(
        default="auto",
        description="The mail log file. auto: maillog_file of Postfix, else /var/log/maillog, else /var/log/mail.log.",
        examples=["/var/log/mail.log"],
    )


class Enforce(Section):
    """How the configuration is kept."""

    mode: Literal["enforce", "observe"] = Field(
        default="enforce",
        description="enforce: departures are put right. observe: they are named and counted, nothing is changed.",
    )
    interval_seconds: int = Field(
        default=60,
        ge=1,
        le=86400,
        description="How often to look, besides at once when a file in config_directory changes.",
    )


class Probe(Section):
    """Probe mails: proof that mail goes out, and the step at which it stops."""

    recipient: Text = Field(
        default="", description="Where probes go. Empty: no probes are sent.", examples=["probe@example.com"]
    )
    sender: Text = Field(
        default="",
        description="Their envelope sender; the relay must allow it. Empty: postward@mydomain.",
        examples=["postward@example.com"],
    )
    interval_seconds: int = Field(default=300, ge=1, le=86400, description="Time between two probes.")
    timeout_seconds: int = Field(
        default=60, ge=1, le=3600, description="A probe without a result after this time is lost."
    )
    submit: Literal["sendmail", "smtp"] = Field(
        default="sendmail",
        description="sendmail: Postfix's own command, the way of cron mail. smtp: to a listener of Postfix.",
    )
    listener: Text = Field(default="127.0.0.1:25", description='The listener for submit = "smtp".')

    @field_validator("recipient", "sender")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not re.fullmatch(r"[^\s@<>,]+@[^\s@<>,]+", value):
            raise ValueError(f'is "{value}", which is no mail address; write it as in "probe@example.com"')
        return value

    @field_validator("listener")
    @classmethod
    def _listener(cls, value: str) -> str:
        split_address(value)
        return value


class Web(Section):
    """The HTTP endpoint that Prometheus scrapes."""

    listen: Text = Field(
        default="127.0.0.1:9787", description="Address and port. IPv6 in brackets: [::1]:9787."
    )

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        split_address(value)
        return value


class State(Section):
    """Where Postward keeps what must survive a restart."""

    directory: str = Field(
        default="/var/lib/postward", description="Counts, log position, and former configurations."
    )


def _main_cf_text(value: object) -> object:
    """Postfix knows yes and no, not true and false; numbers are written as they are."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int) else joined(value)


MainCfValue = Annotated[str, BeforeValidator(_main_cf_text), AfterValidator(plain_text)]


class Settings(BaseSettings):
    """All settings. Made by `load_settings`."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="POSTWARD_",
        env_nested_delimiter="__",
        hide_input_in_errors=True,
    )

    host: Host
    relay: list[Relay] = Field(min_length=1)
    main_cf: dict[str, MainCfValue] = Field(
        default={},
        description="Further main.cf parameters, passed through as they are. true and false become yes and no.",
        examples=[{"message_size_limit": 16000000}],
    )
    postfix: Postfix = Postfix()
    log: Log = Log()
    enforce: Enforce = Enforce()
    probe: Probe = Probe()
    web: Web = Web()
    state: State = State()

    @field_validator("relay")
    @classmethod
    def _relays_fit_together(cls, relays: list[Relay]) -> list[Relay]:
        problems = [*_repeated(relays), *_without_senders(relays), *_mixed_tls(relays)]
        if problems:
            raise ValueError("; ".join(problems))
        return relays

    @field_validator("main_cf")
    @classmethod
    def _pass_through(cls, parameters: dict[str, str]) -> dict[str, str]:
        problems = [
            f"{name} is derived from {DERIVED_PARAMETERS[name]}; set it there and remove it here"
            for name in parameters
            if name in DERIVED_PARAMETERS
        ]
        problems += [
            f'"{name}" is no main.cf parameter; write name = "value"'
            for name in parameters
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return parameters

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
        return _Environment(settings_cls, init_settings.init_kwargs), init_settings


class _Environment(EnvSettingsSource):
    """`POSTWARD_RELAY__NAME__KEY` patches one relay of the file; every other variable works as pydantic-settings has it."""

    def __init__(self, settings_cls: type[BaseSettings], file: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._relays = file.get("relay")

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        overrides = values.get("relay")
        if not isinstance(overrides, dict):
            return values
        relays = [dict(relay) for relay in self._relays or [] if isinstance(relay, dict)]
        by_name = {str(relay.get("name", "")).lower().replace("-", "_"): relay for relay in relays}
        for name, keys in overrides.items():
            if name not in by_name:
                raise SettingsError(
                    [
                        f"environment: POSTWARD_RELAY__{name.upper()}: there is no relay of this name; there are: {', '.join(by_name)}"
                    ]
                )
            by_name[name].update(keys)
        return values | {"relay": relays}


def _repeated(relays: list[Relay]) -> list[str]:
    problems = []
    for key in ("name", "next_hop"):
        values = [getattr(relay, key) for relay in relays]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            problems.append(
                f"{', '.join(twice)} stands twice; each relay needs a name and a host:port of its own"
            )
    return problems


def _without_senders(relays: list[Relay]) -> list[str]:
    idle = [relay.name for relay in relays[1:] if not relay.senders]
    if not idle:
        return []
    return [
        f"{', '.join(idle)} would never get mail: the first relay takes all; add senders to say whose mail goes there"
    ]


def _mixed_tls(relays: list[Relay]) -> list[str]:
    """smtp_tls_wrappermode holds for a whole smtp(8) service, so relays of both kinds cannot share one."""
    kinds = {relay.tls == "implicit" for relay in relays}
    if len(kinds) == 1:
        return []
    return [
        'relays with tls = "implicit" and others cannot stand side by side yet; use the STARTTLS port of all, or implicit TLS for all'
    ]


def known_keys() -> dict[str, list[str]]:
    """Section name → its keys; "" → the sections."""
    sections = {"": list(Settings.model_fields)}
    for name, field in Settings.model_fields.items():
        model = Relay if name == "relay" else field.annotation
        if isinstance(model, type) and issubclass(model, Section):
            sections[name] = list(model.model_fields)
    return sections


def load_settings(path: Path) -> Settings:
    """Read and check a settings file.

    Raises:
        SettingsError: with every problem found, ready to print.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}; name the settings file with --config"]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{path}: is not text in UTF-8; save it as UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            [f"{path}: is not TOML: {error}; a setting is written key = value, text in quotes"]
        ) from None
    return parse_settings(raw, str(path))


def parse_settings(raw: dict[str, Any], source: str) -> Settings:
    """Check settings that are already read. `source` is what messages call them. Raises SettingsError."""
    try:
        return Settings(**raw)
    except ValidationError as error:
        raise describe(error, source, raw, known_keys()) from None
