"""The tables of the settings file that concern Postward itself: sources, intervals, endpoints, directories."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, SecretStr, ValidationInfo, field_validator

from postward.config.fields import (
    AbsolutePath,
    MailAddress,
    OptionalPath,
    Section,
    Text,
    plain_text,
    quoted,
    split_address,
)

MapType = Literal["auto", "hash", "btree", "lmdb", "cdb", "dbm", "sdbm", "texthash"]


def _listener(value: str) -> str:
    split_address(value)
    return value


Listener = Annotated[str, AfterValidator(plain_text), AfterValidator(_listener)]


class Postfix(Section):
    """The Postfix instance that Postward manages."""

    config_directory: AbsolutePath = Field(
        default="/etc/postfix", description="Directory of main.cf and master.cf."
    )
    map_type: MapType = Field(
        default="auto",
        description="Type of the lookup tables that Postward writes, see postconf -m. auto: default_database_type.",
    )

    allow_code: list[Text] = Field(
        default=[],
        description="Parameters of [main_cf] that may decide which programs Postfix runs, or as which user. "
        "They are refused otherwise.",
        examples=[["mailbox_command"]],
    )
    instances: list[AbsolutePath] = Field(
        default=[],
        description="Settings files of the other Postfix instances on this host (postmulti). One agent and one enforcer "
        "serve them all. Only the main settings file names them.",
        examples=[["/etc/postward/out.toml"]],
    )

    @field_validator("instances")
    @classmethod
    def _names_each_file_once(cls, value: list[str]) -> list[str]:
        for path in value:
            if value.count(path) > 1:
                raise ValueError(f"must list each file once, not {quoted(path)} twice")
        return value

    @field_validator("config_directory")
    @classmethod
    def _fits_a_list(cls, value: str) -> str:
        if re.search(r"[\s,]", value):
            raise ValueError(
                f"must not contain a blank or comma, as in {quoted(value)}: main.cf ends the name of a table there; "
                "use another directory"
            )
        return value


def _log_source(value: object) -> str | list[str]:
    """Validate a string or a list of paths. For a union, pydantic would report the faults of both."""
    if isinstance(value, str):
        if value not in {"auto", "-"} and not _is_kept_log(value):
            raise ValueError(
                'must be "auto", "journal", "journal:/directory", "-" (standard input) or an absolute path, not '
                f"{quoted(value)}"
            )
        return plain_text(value)
    if not isinstance(value, list) or not value or not all(isinstance(path, str) for path in value):
        raise ValueError('must be a string or a list of paths, as in "auto" or ["/var/log/mail.log"]')
    for path in value:
        if not _is_kept_log(path):
            raise ValueError(
                f'must list only absolute paths, "journal" and "journal:/directory", not {quoted(path)}'
            )
        if value.count(path) > 1:
            raise ValueError(
                f"must list each file once, not {quoted(path)} twice: its lines would count twice"
            )
    return [plain_text(path) for path in value]


def _is_kept_log(name: str) -> bool:
    return name == "journal" or name.removeprefix("journal:").startswith("/")


def _host_pattern(value: str) -> str:
    if not re.fullmatch(r"[\w.:*?-]+", value):
        raise ValueError(
            f'must be the name of a host as the log has it, or a pattern as in "web*", not {quoted(value)}'
        )
    return value


LogSource = Annotated[str | list[str], PlainValidator(_log_source)]
HostPattern = Annotated[str, AfterValidator(_host_pattern)]


class Log(Section):
    """Postfix's log."""

    source: LogSource = Field(
        default="auto",
        description='The mail log: a file, a list of files, "journal", "journal:DIRECTORY" for the files of '
        'systemd-journal-remote, or "-" for standard input. auto: maillog_file of Postfix, else /var/log/maillog or '
        "/var/log/mail.log if it is written to, else the journal.",
        examples=["/var/log/mail.log"],
    )
    test_interval_seconds: int = Field(
        default=300,
        ge=0,
        le=86400,
        description="Time between two test lines, in seconds. Postward sends them through postlog and expects them in the "
        "log. 0: no test lines.",
    )
    hosts: list[HostPattern] = Field(
        default=[],
        description="Other hosts whose lines the log has too, on a host that collects logs: names as in the log, or patterns "
        "such as web*. Each is counted apart, with the label log_host. Lines of this host are never among them.",
        examples=[["web*", "db1.example.com"]],
    )


class Enforce(Section):
    """Enforcement of the relay configuration."""

    mode: Literal["enforce", "observe"] = Field(
        default="enforce",
        description="enforce: repair drift. observe: report drift, and change nothing.",
    )
    interval_seconds: int = Field(
        default=60,
        ge=1,
        le=86400,
        description="Time between two checks for drift, in seconds. A change in config_directory is checked at once.",
    )
    preflight: bool = Field(
        default=True,
        description="True: try new settings on the relays before applying them (connection, TLS, login; no mail).",
    )
    max_repairs_per_hour: int = Field(
        default=10,
        ge=1,
        le=3600,
        description="Max repairs of one parameter per hour. Beyond that, stop repairing it and report a conflict with "
        "another tool.",
    )
    directory: AbsolutePath = Field(
        default="/var/lib/postward-enforce",
        description="Directory of former configurations and of the state for the agent. Only root writes to it. Default for "
        "another postfix.config_directory than /etc/postfix: its last part below this directory.",
    )


class Probe(Section):
    """Probe mails: they show whether mail goes out, and if not, at which step it stops."""

    recipient: MailAddress = Field(
        default="",
        description="Recipient of probes. Empty: no probes are sent.",
        examples=["probe@example.com"],
    )
    sender: MailAddress = Field(
        default="",
        description="Envelope sender of probes; the relay must allow it. Empty: postward@mydomain.",
        examples=["postward@example.com"],
    )
    senders: list[MailAddress] = Field(
        default=[],
        description="Further envelope senders of probes. A relay to which none of them leads is probed with one of its "
        "own senders.",
        examples=[["billing@example.com"]],
    )
    interval_seconds: int = Field(
        default=300,
        ge=1,
        le=86400,
        description="Time between two probes of one sender, in seconds, ± 10 %.",
    )
    timeout_seconds: int = Field(
        default=60,
        ge=1,
        le=3600,
        description="Time without a result after which a probe is late, in seconds.",
    )
    lost_after_seconds: int = Field(
        default=3600,
        ge=1,
        le=432000,
        description="Time without a result after which a late probe is lost, in seconds.",
    )
    submit: Literal["sendmail", "smtp"] = Field(
        default="sendmail",
        description="sendmail: submit with Postfix's command, as cron does. smtp: submit to a listener of Postfix.",
    )
    listener: Listener = Field(
        default="127.0.0.1:25", description='Address and port of the listener for submit = "smtp".'
    )
    relay_check_interval_seconds: int = Field(
        default=300,
        ge=0,
        le=86400,
        description="Time between two checks of each relay, in seconds: connection, certificate, login and extensions, "
        "without mail. 0: no checks.",
    )
    domain_check_interval_seconds: int = Field(
        default=86400,
        ge=0,
        le=2_592_000,
        description="Time between two looks at the senders' domains in DNS (SPF, HELO name), in seconds. 0: never.",
    )
    max_auth_attempts_per_hour: int = Field(
        default=2,
        ge=1,
        le=60,
        description="Max attempts per hour with a login that was refused, until relay.username or its password changes.",
    )
    sink_url: Text = Field(
        default="",
        description="URL of the `postward sink` that receives the probes. Empty: a probe that the relay accepted is "
        "successful.",
        examples=["http://sink.example.com:9788"],
    )
    key_file: OptionalPath = Field(
        default="",
        description="File with the fleet's key, which signs probes. Required by sink_url and [mailbox].",
        examples=["/etc/postward/probe.key"],
    )

    @field_validator("sink_url")
    @classmethod
    def _is_base_url(cls, value: str) -> str:
        if "@" in value:
            raise ValueError(
                "must not contain a login: a sink recognises its senders by key_file; write only scheme, host and port"
            )
        if value and not re.fullmatch(r"https?://[^\s/]+/?", value):
            raise ValueError(
                f'must be scheme, host and port, as in "http://sink.example.com:9788", not {quoted(value)}'
            )
        return value

    @field_validator("key_file")
    @classmethod
    def _is_given_with_a_sink(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("sink_url") and not value:
            raise ValueError(
                "is required by probe.sink_url: a sink accepts only signed probes; write the path of the fleet's key"
            )
        return value


def _web_url(value: str) -> str:
    """Validate a URL of this endpoint, and return it without a slash at its end."""
    if value and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[^\s?#]*)?", value):
        raise ValueError(
            f'must be a URL without ? and #, as in "https://postward.example.com", not {quoted(value)}'
        )
    return value.rstrip("/")


class Web(Section):
    """The HTTP endpoint for Prometheus."""

    listen: Listener = Field(
        default="127.0.0.1:19787", description="Address and port. IPv6 in brackets: [::1]:19787."
    )
    also_listen: list[Listener] = Field(default=[], description="Further addresses, each with a port.")
    config_file: OptionalPath = Field(
        default="",
        description="File with TLS, client certificates and basic auth, in the web.config format of Prometheus's "
        "exporters. Reloaded on change. Empty: plain HTTP without authentication.",
        examples=["/etc/postward/web.yml"],
    )
    hosts: list[Text] = Field(
        default=[],
        description="Further names under which the status is read. Requests for other names than these, this host's and "
        "its addresses are refused (421), except those for /metrics: a web page could make a browser send them.",
        examples=["postward.example.com"],
    )
    external_url: Annotated[str, AfterValidator(plain_text), AfterValidator(_web_url)] = Field(
        default="",
        description="URL under which others reach this endpoint, as behind a proxy. Its host is one of the names above, and "
        "postward files writes alert rules with links to its runbooks. Empty: the links lead to the project.",
        examples=["https://postward.example.com"],
    )
    reload: bool = Field(
        default=False,
        description="True: enable POST /-/reload, which re-reads the settings as SIGHUP does. The endpoint's own access "
        "rules apply.",
    )
    legacy_metrics: bool = Field(
        default=False,
        description="True: also export the metrics of prometheus-postfix-exporter, for its dashboards.",
    )


class Queue(Section):
    """Postfix's queue."""

    enabled: bool = Field(
        default=True, description="False: do not list the queue; its metrics and alerts are missing then."
    )


class Events(Section):
    """Log events as JSON lines, for a log collector."""

    target: Text = Field(
        default="",
        description="stdout, or the absolute path of a file to append to. Empty: no events are written.",
        examples=["stdout"],
    )
    include_personal_data: bool = Field(
        default=False,
        description="True: include mail addresses, Message-IDs, client hosts and the replies of other servers.",
    )

    @field_validator("target")
    @classmethod
    def _is_stdout_or_file(cls, value: str) -> str:
        if value not in {"", "stdout"} and not value.startswith("/"):
            raise ValueError(f'must be "stdout" or an absolute path, not {quoted(value)}')
        return value


# Services whose address is the same for everyone → that address.
_SERVICE_URLS = {
    "telegram": "https://api.telegram.org",
    "pagerduty": "https://events.pagerduty.com/v2/enqueue",
}


def _ascii_address(value: str) -> str:
    if value and not (value.isascii() and re.fullmatch(r"[^\s<>@]+@[^\s<>@]+", value)):
        raise ValueError(f'must be a mail address in ASCII, as in "ops@example.net", not {quoted(value)}')
    return value


class Notify(Section):
    """Notifications of incidents, for a host without Alertmanager. None of them goes through Postfix."""

    template: Literal["generic", "slack", "ntfy", "teams", "discord", "telegram", "pagerduty", "matrix"] = (
        Field(
            default="generic",
            description="Form of the notification. generic: the incident as JSON. slack: Slack, Mattermost and Rocket.Chat. "
            "ntfy: text with headers. Others: the service of this name.",
        )
    )
    webhook_url: SecretStr | None = Field(
        default=None,
        description="URL to POST to when an incident that delays or loses mail opens or resolves. A secret; it can also "
        "come from the environment. matrix: the home server. Not required for telegram and pagerduty.",
        examples=["https://ntfy.example.com/mail"],
    )
    token: SecretStr | None = Field(
        default=None,
        description="telegram: token of the bot. pagerduty: integration key. matrix: access token. A secret.",
        examples=["syt_…"],
    )
    chat: Text = Field(
        default="",
        description="telegram: number or @name of the chat. matrix: room ID.",
        examples=["!abc:example.com"],
    )
    mail_to: Text = Field(
        default="",
        description="Address that gets notifications by mail too, sent by the agent itself through a relay that does not "
        "fail. Requires a second relay for faults of the first one.",
        examples=["ops@example.net"],
    )
    mail_from: Text = Field(
        default="",
        description="Sender of these mails. Empty: as of probes.",
        examples=["postward@example.com"],
    )
    heartbeat_url: SecretStr | None = Field(
        default=None,
        description="URL to GET at intervals while the agent works. A monitoring service raises an alarm when the "
        "heartbeat stops. A secret.",
        examples=["https://hc.example.com/ping/6f1e"],
    )
    heartbeat_interval_seconds: int = Field(
        default=60, ge=10, le=86400, description="Time between two heartbeats, in seconds."
    )

    @property
    def url(self) -> str:
        """The address that notifications are posted to; "" for none."""
        return (
            self.webhook_url.get_secret_value() if self.webhook_url else _SERVICE_URLS.get(self.template, "")
        )

    @field_validator("webhook_url", "heartbeat_url")
    @classmethod
    def _is_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"https?://[^\s/]+[^\s]*", value.get_secret_value()):
            raise ValueError('must be an HTTP URL, as in "https://ntfy.example.com/mail"')
        return value

    @field_validator("webhook_url")
    @classmethod
    def _is_given_for_its_template(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and (template := info.data.get("template")) in {
            "slack",
            "ntfy",
            "teams",
            "discord",
            "matrix",
        }:
            raise ValueError(f"is required by template = {quoted(template)}; write the URL to post to")
        return value

    @field_validator("token")
    @classmethod
    def _is_given_for_a_service(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        template = info.data.get("template")
        if value is None and template in {"telegram", "pagerduty", "matrix"}:
            raise ValueError(
                f"is required by template = {quoted(template)}; write the token or key that the service gave"
            )
        if value is not None and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("must be printable ASCII without blanks")
        return value

    @field_validator("chat")
    @classmethod
    def _is_given_for_a_chat(cls, value: str, info: ValidationInfo) -> str:
        if not value and (template := info.data.get("template")) in {"telegram", "matrix"}:
            raise ValueError(
                f"is required by template = {quoted(template)}; write the ID of the chat or room"
            )
        return value

    @field_validator("mail_to", "mail_from")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return _ascii_address(value)


class Report(Section):
    """Reports on the mail of a day or week, which postward-report.timer sends."""

    send: Literal["never", "daily", "weekly"] = Field(
        default="never",
        description="daily: send a report on the day before, each morning. weekly: on the week before, each Monday.",
        examples=["weekly"],
    )
    mail_to: Text = Field(
        default="",
        description="Address that gets reports by mail, sent through a relay that does not fail. Empty: notify.mail_to.",
        examples=["ops@example.net"],
    )
    webhook: bool = Field(
        default=False,
        description="True: send reports to notify.webhook_url too, in the form of notify.template.",
    )
    mask: bool = Field(
        default=False, description="True: leave out names of hosts and domains, and replies of servers."
    )
    top: int = Field(default=20, ge=0, le=1000, description="Number of hosts, and of domains of each kind.")

    @field_validator("mail_to")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return _ascii_address(value)


class State(Section):
    """The agent's state, which is kept over restarts."""

    directory: AbsolutePath = Field(
        default="/var/lib/postward",
        description="Directory of the counts and the position in the log. Default for another postfix.config_directory than "
        "/etc/postfix: its last part below this directory.",
    )


def with_own_directories(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings, before validation, in which another instance than /etc/postfix has directories of its own."""
    filled = dict(settings)
    postfix = settings.get("postfix")
    place = postfix.get("config_directory") if isinstance(postfix, Mapping) else None
    if isinstance(place, str) and Path(place) != Path(Postfix().config_directory):
        for name, default in (("state", State().directory), ("enforce", Enforce().directory)):
            table = settings.get(name, {})
            if isinstance(table, Mapping):
                filled[name] = {"directory": f"{default}/{Path(place).name}", **table}
    return filled
