"""Shell completion."""

from pathlib import Path

import pytest

from tests.support.product import run_postward

_SETTINGS = """
[[relay]]
name = "sendcloud"

[[relay]]
name = "backup"
senders = ["news@example.com"]

[enforce]
directory = "{folder}"
"""


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("init --provider send", ["sendcloud", "sendgrid"]),
        ("relay ", ["sendcloud", "backup"]),
        ("probe --relay b", ["backup"]),
        ("probe --sender n", ["news@example.com"]),
        ("rollback ", ["0", "7"]),
        ("parse --status b", ["bounced"]),
    ],
)
def test_values_are_completed(line: str, completed: list[str], tmp_path: Path) -> None:
    """Providers, and what the settings and the history have."""
    for number in (0, 7):
        (tmp_path / "generations" / str(number)).mkdir(parents=True)
    settings = tmp_path / "postward.toml"
    settings.write_text(_SETTINGS.format(folder=tmp_path))

    assert _complete(line, settings) == [f"plain,{value}" for value in completed]


def test_logs_are_completed_as_files(tmp_path: Path) -> None:
    """By the shell, for each command that reads logs."""
    for command in ("why", "parse", "replay", "report", "export", "trace QUEUEID"):
        assert _complete(f"{command} /var/l", tmp_path / "none.toml") == ["file,/var/l"]


def test_without_settings_nothing_is_completed(tmp_path: Path) -> None:
    """And no error is printed into the line."""
    assert _complete("relay ", tmp_path / "none.toml") == [""]


def _complete(line: str, settings: Path) -> list[str]:
    words = f"postward {line}"
    done = run_postward(
        env={
            "_POSTWARD_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            "POSTWARD_CONFIG": str(settings),
        }
    )
    assert done.stderr == ""
    return done.stdout.splitlines()
