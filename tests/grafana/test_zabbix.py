"""The template of Zabbix has the structure that Zabbix imports, and reads what the status has."""

import re
from typing import Any

import yaml

from grafana.__main__ import FOLDER
from grafana.zabbix import ITEMS, NAME, RELAY_ITEMS
from postward.agent.incidents.render import EFFECT_TEXTS
from tests.status.sample import sample

TEMPLATE = yaml.safe_load((FOLDER / "zabbix" / "postward.yaml").read_text())

# The structure of an export of version 7.0, as Zabbix's importer checks it: field → form. A field without "?" is required; other
# fields are refused. A form is a type, a list of allowed values, or the structure of each element of a list.
_TAGS = [{"tag": str, "value?": str}]
_PRIORITY = {"NOT_CLASSIFIED", "INFO", "WARNING", "AVERAGE", "HIGH", "DISASTER"}
_TRIGGER = {
    "uuid": str,
    "expression": str,
    "name": str,
    "priority?": _PRIORITY,
    "description?": str,
    "tags?": _TAGS,
    "manual_close?": {"YES", "NO"},
    "opdata?": str,
    "event_name?": str,
}
_STEP = {
    "type": {"JSONPATH", "MATCHES_REGEX", "BOOL_TO_DECIMAL", "JAVASCRIPT", "DISCARD_UNCHANGED_HEARTBEAT"},
    "parameters": list,
    "error_handler?": {"ORIGINAL_ERROR", "DISCARD_VALUE", "CUSTOM_VALUE", "CUSTOM_ERROR"},
    "error_handler_params?": str,
}
_ITEM = {
    "uuid": str,
    "name": str,
    "key": str,
    "description?": str,
    "tags?": _TAGS,
    "preprocessing?": [_STEP],
    "type?": {"ZABBIX_PASSIVE", "HTTP_AGENT", "DEPENDENT"},
    "history?": str,
    "delay?": str,
    "units?": str,
    "value_type?": {"UNSIGNED", "FLOAT", "CHAR", "LOG", "TEXT"},
    "valuemap?": {"name": str},
    "master_item?": {"key": str},
    "url?": str,
    "timeout?": str,
    "authtype?": {"NONE", "BASIC", "NTLM"},
    "username?": str,
    "password?": str,
}
_SCHEMA = {
    "zabbix_export": {
        "version": {"7.0"},
        "template_groups": [{"uuid": str, "name": str}],
        "templates": [
            {
                "uuid": str,
                "template": str,
                "name": str,
                "description?": str,
                "groups": [{"name": str}],
                "items": [_ITEM | {"triggers?": [_TRIGGER]}],
                "discovery_rules": [
                    {
                        "uuid": str,
                        "name": str,
                        "type": {"DEPENDENT"},
                        "key": str,
                        "description?": str,
                        "item_prototypes": [_ITEM | {"trigger_prototypes?": [_TRIGGER]}],
                        "master_item": {"key": str},
                        "lld_macro_paths": [{"lld_macro": str, "path": str}],
                        "preprocessing": [_STEP],
                    }
                ],
                "macros": [
                    {
                        "macro": str,
                        "value?": str,
                        "type?": {"TEXT", "SECRET_TEXT", "VAULT"},
                        "description?": str,
                    }
                ],
                "valuemaps": [{"uuid": str, "name": str, "mappings": [{"value": str, "newvalue": str}]}],
            }
        ],
    }
}


def _faults(value: Any, form: Any, where: str = "") -> list[str]:
    """Return where a value differs from a form."""
    if isinstance(form, type):
        return [] if isinstance(value, form) else [f"{where}: {value!r} is not {form.__name__}"]
    if isinstance(form, set):
        return [] if value in form else [f"{where}: {value!r} is none of {sorted(form)}"]
    if isinstance(form, list):
        if not isinstance(value, list) or not value:
            return [f"{where}: is not a list with elements"]
        return [fault for n, part in enumerate(value) for fault in _faults(part, form[0], f"{where}[{n}]")]
    if not isinstance(value, dict):
        return [f"{where}: is not a table"]
    names = {name.removesuffix("?"): part for name, part in form.items()}
    faults = [f"{where}: unknown field {name}" for name in value.keys() - names.keys()]
    faults += [f"{where}: no {name}" for name in form if not name.endswith("?") and name not in value]
    for name in value.keys() & names.keys():
        faults += _faults(value[name], names[name], f"{where}.{name}")
    return faults


def _all(value: Any, field: str) -> list[Any]:
    if isinstance(value, dict):
        found = [value[field]] if field in value else []
        return found + [item for part in value.values() for item in _all(part, field)]
    return [item for part in value for item in _all(part, field)] if isinstance(value, list) else []


def test_the_template_has_the_structure_that_zabbix_imports() -> None:
    """All fields are known, required ones are there, and UUIDs are unique and of version 4."""
    uuids = _all(TEMPLATE, "uuid")

    assert _faults(TEMPLATE, _SCHEMA) == []
    assert len(set(uuids)) == len(uuids)
    assert [
        uuid for uuid in uuids if not re.fullmatch(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}", uuid)
    ] == []


def test_the_check_of_the_structure_can_fail() -> None:
    """An unknown field, a missing one, and a value that Zabbix does not know."""
    faults = _faults({"zabbix_export": {"version": "1", "extra": 1}}, _SCHEMA)

    assert any("unknown field extra" in fault for fault in faults)
    assert any("no templates" in fault for fault in faults)
    assert any("'1' is none of" in fault for fault in faults)


def test_items_and_triggers_refer_to_what_the_template_has() -> None:
    """Each part's master, value map, macros, and the items in expressions."""
    (template,) = TEMPLATE["zabbix_export"]["templates"]
    rule = template["discovery_rules"][0]
    parts = template["items"] + rule["item_prototypes"]
    keys = [part["key"] for part in parts]
    macros = {macro["macro"] for macro in template["macros"]}
    used = set(re.findall(r"\{\$[A-Z.]+\}", str(parts)))

    assert len(set(keys)) == len(keys)
    assert {master["key"] for master in _all(template, "master_item")} == {"postward.status"}
    assert {named["name"] for named in _all(template, "valuemap")} == {template["valuemaps"][0]["name"]}
    assert used == macros
    for expression in _all(template, "expression"):
        [key] = re.findall(rf"/{NAME}/([^,)]+)", expression)
        assert key in keys


def _at(status: Any, path: str) -> Any:
    for name in path.removeprefix("$.").split("."):
        status = status[name]
    return status


def test_the_status_has_what_the_items_read() -> None:
    """In the sample, which has the form of the agent's answer; queues appear by their names in Postfix."""
    status = sample()
    status["queue"]["mails"] = dict.fromkeys(("incoming", "active", "deferred", "hold"), 0)
    for item in ITEMS:
        _at(status, item.path)
    for item in RELAY_ITEMS:
        assert item.path in status["relays"][0]


def test_triggers_name_effects_that_exist() -> None:
    """Each effect that is not well has a trigger, as in the plug-in."""
    named = set(re.findall(r'="(\w+)"', " ".join(_all(TEMPLATE, "expression"))))

    assert named == EFFECT_TEXTS.keys() - {"rejected", "note"}
