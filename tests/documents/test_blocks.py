"""Every command and every setting in a code block of the documents is executed by a test, or has a reason not to be.

Settings, files of Prometheus, a query and a unit's drop-in are loaded here. Shell blocks run on hosts (tools/hosts).
"""

import configparser
import re
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest
import yaml
from click.testing import CliRunner

from postward.agent.cli import COMMANDS, main
from postward.agent.commands.export import command as export
from postward.agent.http.web_config import parse_web_config
from postward.config.fragments import merge
from postward.config.settings import Settings, parse_settings
from tests.support.documents import DOCUMENTS, ROOT, Block, blocks_of
from tests.support.require import required
from tools.bench.lines import log_lines
from tools.hosts.test_commands import NOT_RUN, calls_of_documents
from tools.hosts.test_quick_start import DOCUMENTS as QUICK_STARTS

BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]

# Language → why blocks in it are not executed.
SHOWN_ONLY = {
    "text": "is output, an excerpt or a drawing",
    "alloy": "Alloy is in none of Debian's packages",
    "powershell": "runs at Microsoft, in the tenant of the reader",
}
# First line of a block without a language → why it is not executed. Others are commands.
NOT_COMMANDS = {
    "log: /var/log/mail.log (written by syslog)": "is output",
    "postfix/postlog[812]: postward test line 5d0c8c1f7a3b9e42": "is output",
    "# /etc/rsyslog.d/postward.conf: rsyslog's own messages (RHEL: /var/log/maillog)": "rsyslogd checks it below",
    "# /etc/systemd/journald.conf.d/mail.conf        # /etc/rsyslog.conf of RHEL: one more parameter": (
        "shows two files side by side"
    ),
}
# Beginning of a shell command → the test that runs it.
RUN_ELSEWHERE = {
    "make ": "test_targets_of_make_exist, below",
    "python -m tools.screenshots.documents": "tests/documents/test_pictures.py",
    "apt-get install ./postward": "tools/hosts/test_hosts.py, from the README",
    "openssl rand -hex 32": "tools/hosts/test_commands.py, with the sink",
    "PIPX_HOME=/opt/pipx": "tools/hosts/test_hosts.py, in the installation elsewhere",
    "apt-get install libsasl2-modules-gssapi": "tools/hosts/test_gssapi.py, with a KDC",
    "install -d /var/spool/postfix/kerberos": "tools/hosts/test_gssapi.py, with a KDC",
    "install -o postfix -m 600 client.keytab": "tools/hosts/test_gssapi.py, with a KDC",
    "install -m 644 /etc/krb5.conf": "tools/hosts/test_gssapi.py, with a KDC",
    'postconf -e "import_environment = $': "tools/hosts/test_gssapi.py, with a KDC",
    "systemctl restart postfix": "tools/hosts/test_gssapi.py, with a KDC",
    "install -D -m 644": "tools/hosts/test_hosts.py, in the installation elsewhere",
    "systemd-sysusers &&": "tools/hosts/test_hosts.py, in the installation elsewhere",
    "exec postward status --format checkmk": "tests/commands/test_status.py",
    "sh systemd/sasl/build": "tools/packages, which builds each package by it",
    "ansible-playbook -i inventory": "tools/hosts/test_ansible.py, with its own settings",
    "printf '[Service]\\nReadWritePaths=": "test_drop_ins_of_several_instances, below",
}
# Beginning of a shell command → why no test runs it.
NEVER_RUN = {
    "podman ": "needs a registry; tools/container runs the image with the options of these commands",
    "mkdir secrets &&": "waits for a password on the terminal",
    "kubectl ": "needs a cluster; tools/container checks the manifests against the schemas",
    "helm ": "is in none of Debian's packages; tools/container renders the chart",
    "python -m tools.screenshots FOLDER": "makes pictures to look at; tests/status/test_page.py checks the pages",
    "apt-get install python3-pip": "downloads pip and 50 MB of pyarrow",
    "python3 -m pip --python /usr/lib/postward": "downloads 50 MB of pyarrow",
}


def of_language(language: str) -> list[Block]:
    """Return the blocks of a language."""
    return [block for block in BLOCKS if block.language == language]


def test_every_language_has_a_test() -> None:
    """A block in another language needs a test here, or a reason."""
    executed = {"sh", "", "console", "toml", "yaml", "json", "jsonnet", "ini", "sql"}
    assert {block.language for block in BLOCKS} == executed | set(SHOWN_ONLY)


def test_every_command_runs_in_a_test() -> None:
    """Each line of a shell block is run by the tests on hosts or by a named test, or has a reason not to be."""
    on_hosts, unknown, used = set(calls_of_documents()), [], set()
    rules = RUN_ELSEWHERE | NEVER_RUN | NOT_RUN
    for block in of_language("sh") + of_language(""):
        if block.document.as_posix() in QUICK_STARTS:
            continue  # followed from the beginning to the end
        if block.language == "" and (first := block.text.partition("\n")[0]) in NOT_COMMANDS:
            used.add(first)
            continue
        for line in block.commands:
            found = next((rule for rule in rules if line.startswith(rule)), None)
            if found is not None:
                used.add(found)
            elif line not in on_hosts:
                unknown.append(f"{block}: {line}")
    assert unknown == []
    assert (rules.keys() | NOT_COMMANDS.keys()) - used == set(), "no document has these any more"


def calls_of(text: str) -> list[list[str]]:
    """Return the calls of Postward in the lines of a terminal that begin with a prompt, as words."""
    return [
        [re.sub(r"^(['\"])(.*)\1$", r"\2", word) for word in re.findall(r"'[^']*'|\"[^\"]*\"|\S+", part)]
        for line in re.findall(r"(?m)^[$#] (.*)", text)
        for part in re.split(r"\s*(?:;|\||&&)\s*(?=(?:[^']*'[^']*')*[^']*$)", line)
        if part.startswith("postward ")
    ]


@pytest.mark.parametrize("block", of_language("console"), ids=str)
def test_calls_on_terminals_have_options_that_exist(block: Block) -> None:
    """Each call of Postward in a transcript can be parsed; tools/hosts runs those of the runbooks."""
    context = click.Context(main, info_name="postward")
    for _, name, *arguments in calls_of(block.text):
        assert name in COMMANDS, block
        command = main.get_command(context, name)
        assert command is not None
        command.make_context(name, arguments, resilient_parsing=False)


def test_targets_of_make_exist() -> None:
    """Each target that a document calls is in the Makefile, with a line that explains it."""
    makefile = (ROOT / "Makefile").read_text()
    called = {
        match[1]
        for block in of_language("sh")
        for line in block.commands
        if (match := re.match(r"make ([a-z-]+)", line))
    }
    assert len(called) > 5
    assert [name for name in called if not re.search(rf"(?m)^# make {name} ", makefile)] == []


def settings_in(block: Block) -> Settings:
    """Load the settings of a block, on a host with a relay and a web hook.

    A relay goes on where the one of the same name before it ends.
    """
    tables: dict[str, Any] = {
        "host": {"myhostname": "mail.example.com"},
        "notify": {"webhook_url": "https://hooks.example.com/mail"},
    }
    known: dict[str | None, dict[str, Any]] = {None: {"name": "relay", "host": "smtp.example.com"}}
    for earlier in of_language("toml"):
        if earlier.document == block.document and earlier.line <= block.line:
            found = tomllib.loads(earlier.text)
            relays = found.get("relay", [])
            for relay in relays if isinstance(relays, list) else [{"name": [*known][-1]} | relays]:
                known[relay["name"]] = known.get(relay["name"], {}) | relay
    found = tomllib.loads(block.text)
    names = [relay["name"] for relay in found["relay"]] if isinstance(found.get("relay"), list) else []
    found["relay"] = [known[name] for name in names or [[*known][-1]]]
    return parse_settings(tables | found, str(block))


@pytest.mark.parametrize("block", of_language("toml"), ids=str)
def test_settings_load(block: Block) -> None:
    """Each block of settings is valid, beside the blocks before it on the same page."""
    assert settings_in(block).relay


def _check_prometheus(text: str, folder: Path) -> None:
    """Let promtool check a configuration; its list of files is the one of docs/fleet.md."""
    hosts = folder / "hosts.json"
    hosts.write_text(next(block.text for block in of_language("json")))
    file = folder / "prometheus.yml"
    file.write_text(text.replace("/etc/prometheus/postward/*.json", str(hosts)))
    promtool = required("promtool", "prometheus")
    done = subprocess.run(
        [promtool, "check", "config", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _check_scrapes(text: str, folder: Path) -> None:
    jobs = yaml.safe_load(text)["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["postward"]  # the name in the alerts
    _check_prometheus(text, folder)


def _check_federation(text: str, folder: Path) -> None:
    job = {"job_name": "site", "metrics_path": "/federate", "honor_labels": True, **yaml.safe_load(text)}
    job["static_configs"] = [{"targets": ["prometheus.site.example.com:9090"]}]
    _check_prometheus(yaml.safe_dump({"scrape_configs": [job]}), folder)


def _check_web_config(text: str, folder: Path) -> None:
    parse_web_config(text.replace("$2y$10$…", f"$2y$10${'a' * 53}"), folder)


def _check_collector(text: str, _folder: Path) -> None:
    """OpenTelemetry's collector is in none of Debian's packages: only the form is checked."""
    [receiver] = yaml.safe_load(text)["receivers"].values()
    assert receiver["include"] == ["/var/log/postward/events.json"]


def _check_role(text: str, _folder: Path) -> None:
    """The variables are those of the role, and both texts together are valid settings."""
    found = yaml.safe_load(text)
    role = ROOT / "systemd/ansible/roles/postward"
    known = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    assert found.keys() <= known.keys()
    assert yaml.safe_load((role / "defaults/main.yml").read_text()).keys() == known.keys()
    host = found["postward_host_settings"].replace("{{ inventory_hostname }}", "web1.example.com")
    fleet = found["postward_fleet_settings"]
    merged = merge([("fleet", tomllib.loads(fleet)), ("host", tomllib.loads(host))])
    settings = parse_settings(merged.tables, "the example")
    assert [relay.name for relay in settings.relay] == list(found["postward_passwords"])


# First key → the check of a file in YAML.
YAML: Mapping[str, Callable[[str, Path], None]] = {
    "postward_repository": _check_role,
    "scrape_configs": _check_scrapes,
    "params": _check_federation,
    "tls_server_config": _check_web_config,
    "receivers": _check_collector,
}


@pytest.mark.parametrize("block", of_language("yaml"), ids=str)
def test_files_in_yaml_are_valid(block: Block, tmp_path: Path) -> None:
    """Each is accepted by the program that reads it, as far as it can be installed here."""
    YAML[next(iter(yaml.safe_load(block.text)))](block.text, tmp_path)


def test_the_use_of_the_mixin_compiles() -> None:
    """In a checkout, in place of the folder into which jsonnet-bundler installs it."""
    [block] = of_language("jsonnet")
    text = f"({block.text.replace('github.com/postward/postward/', '')}).prometheusAlerts"
    done = subprocess.run(
        [required("jsonnet", "jsonnet"), "-e", text], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "https://mail.example.com:19787/runbooks/PostwardDown.md" in done.stdout


def test_the_rsyslog_rule_is_valid(tmp_path: Path) -> None:
    """The daemon itself checks it."""
    rsyslogd = required("rsyslogd", "rsyslog")
    [block] = [block for block in of_language("") if block.text.startswith("# /etc/rsyslog.d")]
    file = tmp_path / "rsyslog.conf"
    file.write_text(block.text.replace("/var/log/mail.log", str(tmp_path / "mail.log")))
    done = subprocess.run([rsyslogd, "-N1", "-f", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", of_language("sql"), ids=str)
def test_queries_run(block: Block, tmp_path: Path) -> None:
    """On an exported log with failures, a query gives rows."""
    log, file = tmp_path / "mail.log", tmp_path / "events.parquet"
    log.write_text("".join(log_lines(2000)))
    assert CliRunner().invoke(export, [str(log), "--parquet", str(file)]).exit_code == 0
    with duckdb.connect() as database:
        assert database.execute(block.text.replace("events.parquet", str(file))).fetchall()


@pytest.mark.parametrize("block", of_language("ini"), ids=str)
def test_drop_ins_set_variables_that_exist(block: Block) -> None:
    """The variables are those of an option of the agent, with a value that it takes."""
    unit = configparser.ConfigParser(delimiters="=")
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block.text)
    name, _, value = unit["Service"]["Environment"].partition("=")
    command = main.get_command(click.Context(main), "run")
    assert command is not None
    [option] = [option for option in command.params if option.envvar == name]
    assert option.type.convert(value, option, None) == value


def test_drop_ins_of_several_instances() -> None:
    """They extend the units that restrict writing, by the keys that these have."""
    [block] = [block for block in of_language("sh") if "ReadWritePaths" in block.text]
    for line in block.commands:
        unit = re.search(r"--stdin (\S+)$", line)
        assert unit
        assert "\nReadWritePaths=" in (ROOT / "systemd" / unit[1]).read_text()
