"""`postward files`: the runbooks that the alert rules lead to."""

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from postward.agent.cli import main
from tests.config.samples import toml

PROJECT = "https://github.com/postward/postward/blob/main/docs/runbooks"


@pytest.mark.parametrize(
    ("settings", "options", "base"),
    [
        (None, (), PROJECT),
        ("", (), PROJECT),
        (
            '[web]\nexternal_url = "https://mail.example.com/postward/"\n',
            (),
            "https://mail.example.com/postward/runbooks",
        ),
        (
            '[web]\nexternal_url = "https://mail.example.com"\n',
            ("--runbooks", "http://web1:19787/runbooks/"),
            "http://web1:19787/runbooks",
        ),
    ],
    ids=["no settings", "no URL", "the settings' URL", "an option"],
)
def test_runbooks_of_the_rules(
    settings: str | None, options: tuple[str, ...], base: str, tmp_path: Path
) -> None:
    """The project's, the agent's by web.external_url, or those of --runbooks, in all rule files."""
    file = tmp_path / "postward.toml"
    if settings is not None:
        file.write_text(toml(more=settings))
    done = CliRunner().invoke(main, ["files", "--config", str(file), *options, str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    for name in ("postward.rules.yml", "postward.prometheusrule.yaml"):
        text = (tmp_path / "out/alerts" / name).read_text()
        urls = re.findall(r"runbook_url: (.*)", text)
        assert len(urls) > 40
        assert all(url.startswith(f"{base}/") for url in urls)
        assert yaml.safe_load(text)
