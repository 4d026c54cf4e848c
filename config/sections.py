"""The tables of the settings file about Postward itself: where things are, how often, and where to listen."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, SecretStr, ValidationInfo, field_validator

from postward.config.fields import AbsolutePath, MailAddress, Section, Text, plain_text, quoted, split_address

MapType = Literal["auto", "hash", "btree", "lmdb", "cdb", "dbm", "sdbm", "texthash"]


def _listener(value: str) -> str:
    split_address(value)
    return value


Listener = Annotated[str, AfterValidator(plain_text), AfterValidator(_listener)]


def _path_or_empty(value: str) -> str:
    if value and not value.startswith("/"):
        raise ValueError(f'is {quoted(value)}; write the whole path, beginning with "/"')
    return value


OptionalPath = Annotated[str, AfterValidator(plain_text), AfterValidator(_path_or_empty)]


class Postfix(Section):
    """Which Postfix this is about."""

    config_directory: AbsolutePath = Field(
        default="/etc/postfix", description="The folder of main.cf and master.cf."
    )
    map_type: MapType = Field(
        default="auto",
        description="Type of the lookup tables that Postward writes, as in postconf -m. auto: default_database_type.",
    )

    @field_validator("config_directory")
    @classmethod
    def _fits_a_list(cls, value: str) -> str:
        if re.search(r"[\s,]", value):
            raise ValueError(
                f"is {quoted(value)}: main.cf refers to tables there, and ends a name at a blank or comma; "
                "use a folder without them"
            )
        return value


def _log_source(value: object) -> str | list[str]:
    """Text, or a list of paths. One function for both: of a union, pydantic would tell what is wrong with either."""
    if isinstance(value, str):
        if value not in {"auto", "journal", "-"} and not value.startswith("/"):
            raise ValueError(
                f'is {quoted(value)}; write "auto", "journal", "-" for standard input, or the whole path of a file'
            )
        return plain_text(value)
    if not isinstance(value, list) or not value or not all(isinstance(path, str) for path in value):
        raise ValueError(
            'is neither text nor a list of paths; write it as in "auto" or ["/var/log/mail.log"]'
        )
    for path in value:
        if not path.startswith("/"):
            raise ValueError(f"names {quoted(path)}; several sources are files, each with its whole path")
        if value.count(path) > 1:
            raise ValueError(f"names {quoted(path)} twice; its lines would count twice")
    return [plain_text(path) for path in value]


LogSource = Annotated[str | list[str], PlainValidator(_log_source)]


class Log(Section):
    """Where Postfix's log is read."""

    source: LogSource = Field(
        default="auto",
        description='The mail log: a file, a list of files, "journal", or "-" for standard input. auto: maillog_file of '
        "Postfix, else /var/log/maillog or /var/log/mail.log if it is written to, else the journal.",
        examples=["/var/log/mail.log"],
    )
    test_interval_seconds: int = Field(
        default=300,
        ge=0,
        le=86400,
        description="How often a test line is sent through postlog, to see that the log can be trusted. 0: never.",
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
    preflight: bool = Field(
        default=True,
        description="New settings are tried on the relays (connection, TLS, login, no mail) before they are put into force.",
    )
    max_repairs_per_hour: int = Field(
        default=10,
        ge=1,
        le=3600,
        description="A departure put right so often within an hour is another tool's doing: it is left alone, and told.",
    )
    directory: AbsolutePath = Field(
        default="/var/lib/postward-enforce",
        description="Former configurations and the state that the agent exports. Root's: the agent only reads it.",
    )


class Probe(Section):
    """Probe mails: proof that mail goes out, and the step at which it stops."""

    recipient: MailAddress = Field(
        default="", description="Where probes go. Empty: no probes are sent.", examples=["probe@example.com"]
    )
    sender: MailAddress = Field(
        default="",
        description="Their envelope sender; the relay must allow it. Empty: postward@mydomain.",
        examples=["postward@example.com"],
    )
    senders: list[MailAddress] = Field(
        default=[],
        description="Further senders to probe with. A relay that no sender leads to is probed with one of its own.",
        examples=[["billing@example.com"]],
    )
    interval_seconds: int = Field(
        default=300, ge=1, le=86400, description="Time between two probes of a sender, give or take a tenth."
    )
    timeout_seconds: int = Field(
        default=60, ge=1, le=3600, description="A probe without a result after this time is late."
    )
    lost_seconds: int = Field(
        default=3600, ge=1, le=432000, description="A late probe without a result after this time is lost."
    )
    submit: Literal["sendmail", "smtp"] = Field(
        default="sendmail",
        description="sendmail: Postfix's own command, the way of cron mail. smtp: to a listener of Postfix.",
    )
    listener: Listener = Field(default="127.0.0.1:25", description='The listener for submit = "smtp".')
    relay_interval_seconds: int = Field(
        default=300,
        ge=0,
        le=86400,
        description="Time between two conversations with each relay, without mail: certificate, login, what it offers. "
        "0: none.",
    )
    auth_tries_per_hour: int = Field(
        default=2,
        ge=1,
        le=60,
        description="After a refused login, how often an hour Postward tries it, until relay.username or its password change.",
    )
    arrivals: Text = Field(
        default="",
        description="The endpoint of a `postward sink` that receives the probes. Empty: accepted by the relay is enough.",
        examples=["http://sink.example.com:9788"],
    )
    key_file: Text = Field(
        default="",
        description="File with the fleet's key, which signs probes. Needed for arrivals.",
        examples=["/etc/postward/probe.key"],
    )

    @field_validator("arrivals")
    @classmethod
    def _http(cls, value: str) -> str:
        if "@" in value:
            raise ValueError(
                "has a login in it; write scheme, host and port alone: a sink knows its senders by key_file"
            )
        if value and not re.fullmatch(r"https?://[^\s/]+/?", value):
            raise ValueError(
                f'is {quoted(value)}; write scheme, host and port, as in "http://sink.example.com:9788"'
            )
        return value

    @field_validator("key_file")
    @classmethod
    def _arrivals_need_a_key(cls, value: str, info: ValidationInfo) -> str:
        if value and not value.startswith("/"):
            raise ValueError(f'is {quoted(value)}; write the whole path, beginning with "/"')
        if info.data.get("arrivals") and not value:
            raise ValueError(
                "is missing, and a sink takes only signed probes (probe.arrivals is set); write the file with the fleet's key"
            )
        return value


class Web(Section):
    """The HTTP endpoint that Prometheus scrapes."""

    listen: Listener = Field(
        default="127.0.0.1:9787", description="Address and port. IPv6 in brackets: [::1]:9787."
    )
    also_listen: list[Listener] = Field(default=[], description="Further addresses, each with its port.")
    config_file: OptionalPath = Field(
        default="",
        description="TLS, client certificates and basic auth, in the web.config format of Prometheus's exporters. "
        "Read anew when it changes. Empty: plain HTTP for everybody.",
        examples=["/etc/postward/web.yml"],
    )
    reload: bool = Field(
        default=False, description="True: POST /-/reload does what SIGHUP does, for everybody who gets to it."
    )
    legacy_metrics: bool = Field(
        default=False,
        description="True: also the names of prometheus-postfix-exporter, so that its dashboards live on.",
    )


class Queue(Section):
    """How Postfix's queue is looked at."""

    enabled: bool = Field(
        default=True, description="False: the queue is not listed, and its metrics and alerts are missing."
    )


class Events(Section):
    """What the log says, as JSON lines for a log collector."""

    target: Text = Field(
        default="",
        description="stdout, or the whole path of a file, which is appended to. Empty: no events are written.",
        examples=["stdout"],
    )
    personal: bool = Field(
        default=False,
        description="True: with mail addresses, Message-IDs, client hosts, and the servers' own words.",
    )

    @field_validator("target")
    @classmethod
    def _stdout_or_file(cls, value: str) -> str:
        if value not in {"", "stdout"} and not value.startswith("/"):
            raise ValueError(f'is {quoted(value)}; write "stdout" or the whole path of a file')
        return value


class Notify(Section):
    """Whom to tell of incidents, on a host without Alertmanager. Nothing of it needs mail to work."""

    webhook: SecretStr | None = Field(
        default=None,
        description="Where incidents that keep mail back are posted when they open and close. A secret; it may also come from "
        "the environment.",
        examples=["https://ntfy.example.com/mail"],
    )
    template: Literal["generic", "slack", "ntfy"] = Field(
        default="generic",
        description="generic: the incident as JSON. slack: for Slack, Mattermost and Rocket.Chat. ntfy: text with headers.",
    )
    heartbeat_url: SecretStr | None = Field(
        default=None,
        description="An address that is asked for again and again while the agent works: who runs it raises the alarm when it "
        "stays out. A secret.",
        examples=["https://hc.example.com/ping/6f1e"],
    )
    heartbeat_interval_seconds: int = Field(
        default=60, ge=10, le=86400, description="Time between two pings."
    )

    @field_validator("webhook", "heartbeat_url")
    @classmethod
    def _http_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"https?://[^\s/]+[^\s]*", value.get_secret_value()):
            raise ValueError(
                'is no address of a web hook; write all of it, as in "https://ntfy.example.com/mail"'
            )
        return value


class State(Section):
    """Where the agent keeps what must survive a restart."""

    directory: AbsolutePath = Field(
        default="/var/lib/postward", description="Counts and the position in the log."
    )
