"""The template for Zabbix 7.0 and later, which reads /api/status: a table of items, written as YAML. Pure.

One request a minute fetches the status; all other items are parts of it. A value that is not known at the moment is
discarded, so that it makes no item unsupported.

Source: Zabbix's manual, "Template export format"; its importer's rules for version 7.0.
"""

import hashlib
from typing import Any, Final, NamedTuple

import yaml

NAME: Final = "Postward by HTTP"
_MASTER: Final = "postward.status"
_YES_NO: Final = "Postward: yes or no"
_HEAD: Final = "# Made from the table in grafana/zabbix.py by `make docs`; change it there.\n"
_NUMBER: Final = r"^-?[0-9.]+(e[+-]?[0-9]+)?$"


class Item(NamedTuple):
    """A part of the status.

    Attributes:
        key: behind `postward.`; behind `postward.relay.` for one of a relay.
        name: as shown.
        path: where the value is in the status, as JSONPath; in the relay, for one of a relay.
        kind: text, yes-no, or number.
        units: of a number, as Zabbix names them.
        meaning: the description.
    """

    key: str
    name: str
    path: str
    kind: str = "number"
    units: str = ""
    meaning: str = ""


ITEMS: Final = (
    Item("effect", "Effect on mail", "$.effect", "text", meaning="The worst effect of the open incidents."),
    Item("summary", "Summary", "$.summary", "text", meaning="The verdict, and what is wrong, worst first."),
    Item("version", "Version of Postward", "$.version", "text"),
    Item("postfix.up", "Postfix runs", "$.postfix_up", "yes-no"),
    Item("config.in_sync", "Postfix's configuration is as the settings say", "$.config.in_sync", "yes-no"),
    Item("log.readable", "The mail log is readable", "$.log.readable", "yes-no"),
    Item("log.unread", "Mail log: bytes that are not yet read", "$.log.unread_bytes", units="B"),
    Item("queue.deferred", "Queue: deferred mails", "$.queue.mails.deferred"),
    Item("queue.active", "Queue: active mails", "$.queue.mails.active"),
    Item("queue.incoming", "Queue: incoming mails", "$.queue.mails.incoming"),
    Item("queue.hold", "Queue: mails on hold", "$.queue.mails.hold"),
    Item("queue.oldest", "Queue: age of the oldest mail", "$.queue.oldest_seconds", units="s"),
)
RELAY_ITEMS: Final = (
    Item("state", "State", "state", "text", meaning="going out, failing, quiet or unknown."),
    Item("last_success", "Last mail sent", "last_success", units="unixtime"),
    Item("probe", "Last probe accepted", "probe_accepted", "yes-no"),
    Item("certificate", "End of the certificate", "certificate_expires", units="unixtime"),
    Item("token", "End of the token", "token_expires", units="unixtime"),
    Item("secret", "End of the secret that gets tokens", "secret_expires", units="unixtime"),
)


class Trigger(NamedTuple):
    """A problem; `{}` in the expression is the item, `/TEMPLATE/KEY`."""

    item: str
    expression: str
    name: str
    priority: str
    meaning: str


TRIGGERS: Final = (
    Trigger("effect", 'last({})="lost"', "Postfix: mail is being lost", "DISASTER", "Postfix gives up mail."),
    Trigger("effect", 'last({})="delayed"', "Postfix: mail waits", "HIGH", "It goes out after the repair."),
    Trigger(
        "effect",
        'last({})="blind"',
        "Postward: not known whether mail goes out",
        "HIGH",
        "The agent does not observe the mail.",
    ),
    Trigger(
        "effect",
        'last({})="degraded"',
        "Postward does not do all of its work",
        "WARNING",
        "Mail goes out; part of Postward does not work.",
    ),
    Trigger(
        "effect",
        "nodata({},{$POSTWARD.NODATA})=1",
        "Postward: no answer",
        "HIGH",
        "The agent does not answer: start it, or let Zabbix reach web.listen.",
    ),
)
RELAY_TRIGGERS: Final = (
    Trigger(
        "certificate",
        "last({})-now()<{$POSTWARD.CERTIFICATE.EXPIRES}",
        "Relay {#RELAY}: the certificate ends soon",
        "WARNING",
        "The provider has to renew it.",
    ),
    Trigger(
        "secret",
        "last({})-now()<{$POSTWARD.SECRET.EXPIRES}",
        "Relay {#RELAY}: the secret that gets tokens ends soon",
        "WARNING",
        "Without a new one, mail waits an hour later: PostwardTokenCredentialEnds.",
    ),
)
MACROS: Final = (
    ("{$POSTWARD.SCHEME}", "http", "https, if web.config_file has tls_server_config."),
    ("{$POSTWARD.PORT}", "19787", "Port of web.listen, which must be an address that Zabbix can reach."),
    ("{$POSTWARD.USER}", "", "A user of web.config_file, if it has basic_auth_users."),
    ("{$POSTWARD.PASSWORD}", "", "The user's password."),
    ("{$POSTWARD.NODATA}", "5m", "Time without an answer until it is a problem."),
    ("{$POSTWARD.CERTIFICATE.EXPIRES}", "14d", "Time before the end of a relay's certificate."),
    ("{$POSTWARD.SECRET.EXPIRES}", "30d", "Time before the end of a secret that gets tokens."),
)


def template() -> str:
    """Return the template."""
    content = {
        "version": "7.0",
        "template_groups": [{"uuid": _uuid("group"), "name": "Templates/Applications"}],
        "templates": [
            {
                "uuid": _uuid("template"),
                "template": NAME,
                "name": NAME,
                "description": "Whether the mail of a Postfix host goes out, by the agent of Postward.",
                "groups": [{"name": "Templates/Applications"}],
                "items": [_master(), *(_item(item) for item in ITEMS)],
                "discovery_rules": [_relays()],
                "macros": [_macro(*macro) for macro in MACROS],
                "valuemaps": [
                    {
                        "uuid": _uuid("yes-no"),
                        "name": _YES_NO,
                        "mappings": [{"value": "0", "newvalue": "no"}, {"value": "1", "newvalue": "yes"}],
                    }
                ],
            }
        ],
    }
    return _HEAD + yaml.safe_dump({"zabbix_export": content}, sort_keys=False, allow_unicode=True, width=1000)


def _master() -> dict[str, Any]:
    return {
        "uuid": _uuid(_MASTER),
        "name": "Status",
        "type": "HTTP_AGENT",
        "key": _MASTER,
        "history": "0",
        "value_type": "TEXT",
        "authtype": "BASIC",
        "username": "{$POSTWARD.USER}",
        "password": "{$POSTWARD.PASSWORD}",
        "description": "The state of the host, as JSON.",
        "timeout": "15s",
        "url": "{$POSTWARD.SCHEME}://{HOST.CONN}:{$POSTWARD.PORT}/api/status",
        "tags": [{"tag": "component", "value": "raw"}],
    }


def _item(item: Item) -> dict[str, Any]:
    return _part(item, f"postward.{item.key}", item.name, item.path, "triggers", TRIGGERS)


def _relays() -> dict[str, Any]:
    """Return the rule that finds the relays of the settings, with their items."""
    return {
        "uuid": _uuid("relays"),
        "name": "Relays",
        "type": "DEPENDENT",
        "key": "postward.relays",
        "description": "The relays of the settings.",
        "item_prototypes": [_of_relay(item) for item in RELAY_ITEMS],
        "master_item": {"key": _MASTER},
        "lld_macro_paths": [{"lld_macro": "{#RELAY}", "path": "$.name"}],
        "preprocessing": [{"type": "JSONPATH", "parameters": ["$.relays"]}],
    }


def _of_relay(item: Item) -> dict[str, Any]:
    key, name = (
        f"postward.relay.{item.key}[{{#RELAY}}]",
        f"Relay {{#RELAY}}: {item.name[0].lower()}{item.name[1:]}",
    )
    path = f'$.relays[?(@.name == "{{#RELAY}}")].{item.path}.first()'
    return _part(item, key, name, path, "trigger_prototypes", RELAY_TRIGGERS)


def _part(
    item: Item, key: str, name: str, path: str, triggers: str, table: tuple[Trigger, ...]
) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [
        {"type": "JSONPATH", "parameters": [path], "error_handler": "DISCARD_VALUE"}
    ]
    if item.kind != "text":
        known = _NUMBER if item.kind == "number" else "^(true|false)$"
        steps.append({"type": "MATCHES_REGEX", "parameters": [known], "error_handler": "DISCARD_VALUE"})
    if item.kind == "yes-no":
        steps.append({"type": "BOOL_TO_DECIMAL", "parameters": [""]})
    kinds: dict[str, dict[str, Any]] = {
        "text": {"value_type": "TEXT"},
        "yes-no": {"valuemap": {"name": _YES_NO}},
        "number": {"value_type": "FLOAT", "units": item.units},
    }
    made = [_trigger(trigger, key) for trigger in table if trigger.item == item.key]
    return {
        "uuid": _uuid(key),
        "name": name,
        "type": "DEPENDENT",
        "key": key,
        **kinds[item.kind],
        "description": item.meaning,
        "preprocessing": steps,
        "master_item": {"key": _MASTER},
        "tags": [{"tag": "component", "value": "relay" if "{#RELAY}" in key else item.key.partition(".")[0]}],
        **({triggers: made} if made else {}),
    }


def _trigger(trigger: Trigger, key: str) -> dict[str, Any]:
    return {
        "uuid": _uuid(f"{key} {trigger.expression}"),
        "expression": trigger.expression.replace("{}", f"/{NAME}/{key}"),
        "name": trigger.name,
        "priority": trigger.priority,
        "description": trigger.meaning,
        "tags": [{"tag": "scope", "value": "availability"}],
    }


def _macro(macro: str, value: str, description: str) -> dict[str, Any]:
    secret = {"type": "SECRET_TEXT"} if "PASSWORD" in macro else {"value": value}
    return {"macro": macro, **secret, "description": description}


def _uuid(name: str) -> str:
    """Return 32 hex digits in the form of version 4, always the same for a name: Zabbix knows its parts by them."""
    digits = hashlib.sha256(f"postward {name}".encode()).hexdigest()[:32]
    return f"{digits[:12]}4{digits[13:16]}8{digits[17:]}"
