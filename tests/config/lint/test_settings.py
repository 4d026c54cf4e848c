"""Lint finds mistakes in valid settings."""

from collections.abc import Callable
from pathlib import Path

import pytest

from postward.config.lint import SETTINGS_RULES, lint
from tests.config.lint.host import SECRETS, Host, ids
from tests.config.lint.settings_mistakes import SETTINGS_MISTAKES
from tests.config.samples import load

_OURS = {rule.id for rule in SETTINGS_RULES}


@pytest.mark.parametrize(
    ("text", "change", "expected"),
    [row[1:] for row in SETTINGS_MISTAKES],
    ids=[row[0] for row in SETTINGS_MISTAKES],
)
def test_a_mistake_in_the_settings_is_found(
    host: Host, text: str, change: Callable[[Host], object], expected: set[str]
) -> None:
    """Lint reports exactly these findings, none with a password."""
    change(host)
    settings = load(text.replace("SYSTEM", str(host.system)))
    findings = lint(settings, host.facts(settings))

    assert ids(findings) & _OURS == expected, findings
    assert all(secret not in repr(findings) for secret in SECRETS)


def test_a_world_readable_settings_file_with_a_password_is_reported(host: Host, tmp_path: Path) -> None:
    """A settings file without a password may be world-readable."""
    text = SETTINGS_MISTAKES[0][1]
    path = tmp_path / "postward.toml"
    path.write_text(text)
    path.chmod(0o644)
    settings = load(text)

    assert "settings-password-readable" in ids(lint(settings, host.facts(settings, path), str(path)))
    path.write_text(text.replace('password = "Gr33n-Fern-s3cret"', ""))
    assert "settings-password-readable" not in ids(lint(settings, host.facts(settings, path), str(path)))


def test_a_world_readable_fragment_with_a_password_is_reported(host: Host, tmp_path: Path) -> None:
    """Fragments are judged like the settings file, each for itself."""
    text = SETTINGS_MISTAKES[0][1]
    path, fragment = tmp_path / "postward.toml", tmp_path / "postward.toml.d" / "20-host.toml"
    path.write_text("")
    fragment.parent.mkdir()
    fragment.write_text(text)
    fragment.chmod(0o644)
    settings = load(text)
    found = lint(settings, host.facts(settings, path), str(path))

    assert [one.what for one in found if one.id == "settings-password-readable"] == [
        f"{fragment} has mode 0644"
    ]
