"""The manual pages: postward(1), postward.toml(5), postward-agent(8)."""

import subprocess
from pathlib import Path

import click
import pytest

from postward.agent.cli import COMMANDS, main
from postward.agent.commands.manual import manual, pages, write_pages
from postward.agent.commands.manual_agent import SERVICES, endpoint_paths
from postward.agent.commands.manual_settings import settings_manual
from postward.config.environment import models_of
from postward.config.settings import Settings, known_keys
from tests.support.require import required

ROOT = Path(__file__).parents[2]
DAY = "2026-11-29"


def test_every_command_and_option_is_in_the_manual() -> None:
    """With the text of --help, and hyphens that can be copied."""
    page = manual(DAY)
    context = click.Context(main, info_name="postward")
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        assert rf".SS \fBpostward {name}\fR" in page
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[-1].replace("-", r"\-") in page


def test_every_setting_is_in_the_manual() -> None:
    """Each table and key is named once in its table, and a key's description and bounds follow it."""
    page = settings_manual(DAY)
    tables = {part.partition("\n")[0]: part for part in page.split("\n.S")}
    for section, keys in known_keys().items():
        for key in keys:
            if section and (section, key) != ("relay", "oauth2"):  # a table of its own
                title = "H [[relay]]" if section == "relay" else f"H [{section}]"
                part = tables["S [relay.oauth2]" if section == "relay.oauth2" else title]
                assert part.count(f".TP\n\\fB{key}\\fR\n") == 1, (section, key)
    assert set(known_keys()[""]) == set(models_of(Settings))
    assert "Time between two checks for drift, in seconds." in tables["H [enforce]"]
    assert "At least 1 and at most 86400. Default: 60." in tables["H [enforce]"]
    assert 'Values: "enforce", "observe". Default: "enforce".' in tables["H [enforce]"]


def test_every_service_and_path_is_in_the_manual() -> None:
    """The units that start a command, with the options of the command; the paths of the endpoint, each explained."""
    starting = {path.name for path in (ROOT / "systemd").glob("*.service")}
    assert set(SERVICES) == starting
    page = pages(DAY)["postward-agent.8"]
    for unit in starting:
        assert f".SS {unit}".replace("-", r"\-") in page
    assert r"\fB\-\-deliveries\fR" in page
    for path, text in endpoint_paths():
        assert text, path
        assert text.replace("-", r"\-") in page


@pytest.mark.parametrize("name", sorted(pages(DAY)))
def test_no_line_of_text_is_a_roff_request(name: str) -> None:
    """Only roff requests begin with a dot or an apostrophe."""
    known = (".TH ", ".SH ", ".SS ", ".TP", ".PP", ".B ", ".BR ", ".ad l", ".nh", ".nf", ".fi")
    unknown = [
        line
        for line in pages(DAY)[name].splitlines()
        if line[:1] in {".", "'"} and not line.startswith(known)
    ]
    assert unknown == []


@pytest.mark.parametrize("name", sorted(pages(DAY)))
def test_man_shows_the_page_without_a_warning(name: str, tmp_path: Path) -> None:
    """The program groff warns of unknown requests, and of lines that it cannot break."""
    groff = required("groff", "groff-base")
    write_pages(tmp_path)
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-Kutf8", "-ww", "-z", name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
