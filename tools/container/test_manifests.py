"""The examples for Compose and Kubernetes, and the chart: their form, and that Postward takes their settings.

Kubernetes's own schemas judge the objects, and Go's templates render the chart. `helm` itself is not run, and the objects
of Prometheus Operator have no schema here; promtool judges their rules.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from postward.config.settings import load_settings
from tools.container.conftest import CAPABILITIES
from tools.container.image import ROOT

CONTAINER = ROOT / "container"
CHART = CONTAINER / "chart"
RULES = ROOT / "grafana/alerts/postward.prometheusrule.yaml"
# The oldest and the newest release of Kubernetes that the schemas are compared with.
RELEASES = ("1.25", kubernetes_validate.latest_version())
ALL = {
    "serviceMonitor": True,
    "prometheusRule": True,
    "probeRecipient": "probe@example.com",
    "env": {"POSTWARD_LOG_LEVEL": "debug"},
    "relays": {
        "main": {"settings": {"provider": "sendgrid", "username": "apikey"}, "password": "p"},
        "by-sender": {
            "settings": {"host": "smtp.example.org", "port": 2525, "username": "u", "senders": "@b.example"},
            "secret": "of-mine",
        },
        "open": {"settings": {"host": "smtp.example.net", "senders": "@c.example"}},
    },
}


def render(template: Path, values: Mapping[str, Any]) -> str:
    """Return what Go's templates make of a file. A bad template ends the process, so it has one of its own."""
    program = "import json, pathlib, sys, go_template; sys.stdout.buffer.write("
    program += "go_template.render(pathlib.Path(sys.argv[1]), json.load(sys.stdin)))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(template)],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(folder: Path, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of the chart with changed values."""
    values = {**yaml.safe_load((CHART / "values.yaml").read_text()), **changes}
    objects: list[dict[str, Any]] = []
    for template in sorted((CHART / "templates").glob("*.yaml")):
        # Helm's object .Files is all that Go's templates lack.
        text = template.read_text().replace('.Files.Get "postward.prometheusrule.yaml"', ".Rules")
        (folder / template.name).write_text(text)
        given = {"Values": values, "Release": {"Name": "mail"}, "Rules": RULES.read_text()}
        output = render(folder / template.name, given)
        objects += [one for one in yaml.safe_load_all(output) if one]
    return objects


def examples() -> list[dict[str, Any]]:
    """Return the objects of container/kubernetes."""
    files = sorted((CONTAINER / "kubernetes").glob("*.yaml"))
    return [one for file in files for one in yaml.safe_load_all(file.read_text())]


def check(objects: list[dict[str, Any]]) -> None:
    """Check the objects by Kubernetes's schemas, and that they belong together."""
    for one in objects:
        if "coreos.com" not in one["apiVersion"]:
            for release in RELEASES:
                kubernetes_validate.validate(one, release, strict=True)
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for one in objects:
        by_kind.setdefault(one["kind"], []).append(one)
    ((workload,), (service,)) = by_kind["StatefulSet"], by_kind["Service"]
    pod = workload["spec"]["template"]
    assert workload["spec"]["serviceName"] == service["metadata"]["name"]
    for selector in (workload["spec"]["selector"]["matchLabels"], service["spec"]["selector"]):
        assert selector.items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
    assert container["securityContext"]["capabilities"]["add"] == CAPABILITIES.split(",")
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in workload["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    for monitor in by_kind.get("ServiceMonitor", []):
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert {end["port"] for end in monitor["spec"]["endpoints"]} <= {
            port["name"] for port in service["spec"]["ports"]
        }


def environment(objects: list[dict[str, Any]]) -> dict[str, str]:
    """Return the variables of the only container."""
    (workload,) = (one for one in objects if one["kind"] == "StatefulSet")
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_the_examples_are_objects_of_kubernetes() -> None:
    """Each object fits the schemas of the oldest and the newest release, strictly, and the names fit together."""
    check(examples())


@pytest.mark.parametrize("values", [{}, ALL])
def test_the_chart_renders_objects_of_kubernetes(tmp_path: Path, values: Mapping[str, Any]) -> None:
    """With its own values, and with all of them set: several relays, secrets, ServiceMonitor and PrometheusRule."""
    objects = rendered(tmp_path, values)
    check(objects)
    kinds = sorted(one["kind"] for one in objects)
    extra = ["PrometheusRule", "Secret", "ServiceMonitor"] if values else []
    assert kinds == sorted(["Service", "StatefulSet", *extra])


def _environments(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    yield "kubernetes", environment(examples())
    secret = {"main": {"settings": {"provider": "sendgrid", "username": "apikey"}, "secret": "of-mine"}}
    yield "chart", environment(rendered(folder, {"relays": secret}))
    yield "chart with all values", environment(rendered(folder, ALL))
    services = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]
    yield from (
        (name, service["environment"]) for name, service in services.items() if "environment" in service
    )


def test_postward_takes_the_settings_of_all_examples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Their variables, with the settings file of the image, are good settings, and define the relays."""
    for name, variables in _environments(tmp_path):
        with monkeypatch.context() as patched:
            for variable, text in variables.items():
                patched.setenv(variable, text)
            settings = load_settings(CONTAINER / "postward.toml")
        assert settings.relay[0].name == "main", name
        assert settings.relay[0].next_hop == "[smtp.sendgrid.net]:587", name
        if name == "chart with all values":
            assert [relay.name for relay in settings.relay] == ["main", "by_sender", "open"]


def test_compose_has_both_variants_with_the_least_privileges() -> None:
    """The volumes and networks that services name exist; the root is read-only; capabilities are the listed ones."""
    compose = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or source.startswith("./"), (name, volume)
        assert set(service.get("networks", [])) <= compose["networks"].keys()
    relay, sidecar = compose["services"]["relay"], compose["services"]["postward"]
    assert relay["read_only"]
    assert sidecar["read_only"]
    assert (relay["cap_drop"], relay["cap_add"]) == (["ALL"], CAPABILITIES.split(","))
    assert (sidecar["cap_drop"], sidecar.get("cap_add")) == (["ALL"], None)
    assert sidecar["user"] == "9787:9787"
    assert f"--cap-add {CAPABILITIES} " in (ROOT / "docs/containers.md").read_text()


def test_promtool_takes_the_rules_of_the_prometheusrule(tmp_path: Path) -> None:
    """The rules of the object that the chart installs are good rules of Prometheus."""
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps(yaml.safe_load(RULES.read_text())["spec"]))  # JSON is YAML
    done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
