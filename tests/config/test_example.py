"""The example is made from the models: it is valid and complete, and it shows the defaults."""

import re
import tomllib

import pytest

from postward.config.environment import models_of
from postward.config.example import example
from postward.config.settings import Settings, known_keys
from postward.config.toml import assignment
from tests.config.samples import load


def uncommented(text: str, but: frozenset[str] = frozenset()) -> str:
    """Return the example with its commented settings active, except for these lines."""
    return "\n".join(
        line.removeprefix("#") if re.match(r"#(\w+ = |\[)", line) and line not in but else line
        for line in text.split("\n")
    )


def shown_only() -> frozenset[str]:
    """Return the lines that show an example instead of the default."""
    fields = [
        field for model in models_of(Settings).values() if model for field in model.model_fields.items()
    ]
    shown = {f"#{assignment(key, field.examples[0])}" for key, field in fields if field.examples}
    return frozenset(shown | {"#message_size_limit = 16000000"})


def test_the_example_is_valid() -> None:
    """It can be used unchanged."""
    settings = load(example())
    assert settings.relay[0].next_hop == "[smtp587.sendcloud.net]:587"
    assert settings.relay[0].tls == "starttls"


def test_the_example_has_every_setting() -> None:
    """Each section and key appears once, in the order of the models."""
    tables = tomllib.loads(uncommented(example()))
    found = {name: table[0] if isinstance(table, list) else table for name, table in tables.items()}
    found["relay.oauth2"] = found["relay"]["oauth2"]
    expected = known_keys()
    assert list(found) == [*expected.pop(""), "relay.oauth2"]
    for section, keys in expected.items():
        assert list(found[section]) == keys


def test_commented_settings_are_the_defaults() -> None:
    """Without the #, they change nothing, except for those that show an example."""
    before, _, token = example().partition("#[relay.oauth2]")
    without_token = before + token[token.index("\n\n") :]
    assert load(uncommented(without_token, shown_only())) == load(example())


def test_every_setting_is_explained() -> None:
    """Each has a description, and each line of the example fits a terminal."""
    lines = example().split("\n")
    for number, line in enumerate(lines):
        assert len(line) <= 100
        if re.match(r"#?\w+ = ", line) and "message_size_limit" not in line:
            assert lines[number - 1].startswith("# ")
    for model in models_of(Settings).values():
        assert model is None or all(field.description for field in model.model_fields.values())


def test_the_example_equals_itself_after_a_round_trip() -> None:
    """Settings → values → settings gives equal settings, and the example is the same text each time."""
    settings = load(example())
    values = settings.model_dump(exclude_none=True)
    assert Settings(**values) == settings
    assert example() == example()


@pytest.mark.parametrize("secret", ["API_KEY"])
def test_the_example_password_stays_a_comment(secret: str) -> None:
    """The example uses a password file."""
    assert f'#password = "{secret}"' in example()
    assert load(example()).relay[0].password is None
