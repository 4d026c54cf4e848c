"""`--log.level` and `--log.format`: what the services log, and that no format shows a password."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from postward.agent.commands.log_output import log_to_stderr
from postward.parsers.scrub import hide
from tests.support import require_postfix
from tests.support.postfix import PostfixInstance
from tests.support.product import AgentProcess, run_postward, write_reading_settings

PASSWORD = 'pa"ss\\wörd-of-a-relay'


@pytest.fixture
def settings(tmp_path: Path) -> str:
    """Settings without a relay that takes tokens: the token service logs one line and ends."""
    path = tmp_path / "postward.toml"
    path.write_text(
        '[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "r.test"\ntls = "starttls"\n'
    )
    return str(path)


def _log(settings: str, *options: str, **env: str) -> str:
    done = run_postward("token", "--config", settings, *options, env={"JOURNAL_STREAM": "", **env})
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_formats_and_levels(settings: str) -> None:
    """By option or environment; the option is preferred. Under systemd, each line has its priority and no time."""
    text = "no relay has [relay.oauth2]: there is nothing to do\n"
    row = json.loads(_log(settings, "--log.format", "json"))

    assert _log(settings).endswith(f"INFO    {text}")
    assert (row.keys(), row["level"], row["msg"]) == (
        {"time", "level", "logger", "msg"},
        "info",
        text.rstrip("\n"),
    )
    assert row["time"].endswith("Z")
    assert row["logger"] == "postward.token"
    assert _log(settings, "--log.level", "warn") == ""
    assert _log(settings, POSTWARD_LOG_LEVEL="error") == ""
    assert text in _log(settings, "--log.level=debug", POSTWARD_LOG_LEVEL="error")
    assert _log(settings, JOURNAL_STREAM="1:2") == f"<6>{text}"
    assert json.loads(_log(settings, JOURNAL_STREAM="1:2", POSTWARD_LOG_FORMAT="json").removeprefix("<6>"))


@pytest.mark.parametrize("command", ["run", "enforce", "token", "sink"])
def test_every_service_has_both_options(command: str) -> None:
    """The options of Prometheus's exporters."""
    made = import_module(f"postward.agent.commands.{command}").command
    options = {name for option in made.params for name in option.opts}

    assert {"--log.level", "--log.format"} <= options


@contextmanager
def _logging(level: str, form: str) -> Iterator[logging.Logger]:
    """Postward's logging in this process; it is afterwards as it was before."""
    root, ours = logging.getLogger(), logging.getLogger("postward")
    before = root.handlers[:], root.level, ours.level
    root.handlers = []
    try:
        log_to_stderr(level, form)
        yield logging.getLogger("postward.test")
    finally:
        root.handlers, root.level = before[0], before[1]
        ours.setLevel(before[2])


def _fail() -> None:
    raise ValueError(f"bad: {PASSWORD}")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("journal", ["", "1:2"])
def test_no_format_shows_a_password(
    form: str, journal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a message, a field and a traceback; JSON escapes its quote and backslash, and hides it before."""
    monkeypatch.setenv("JOURNAL_STREAM", journal)
    hide([("user", PASSWORD)])
    with _logging("debug", form) as logger:
        try:
            _fail()
        except ValueError:
            logger.exception("with %s", PASSWORD)
        if form == "json":  # as text, they go to the journal, which may run here
            logger.debug("fields", extra={"fields": {"POSTWARD_CAUSE": PASSWORD}})
    shown = capsys.readouterr().err

    assert "with " in shown
    assert "rd-of-a-relay" not in shown
    if form == "json":
        rows = [json.loads(line.lstrip("<367>")) for line in shown.splitlines()]
        assert "ValueError" in rows[0]["traceback"]
        assert [row["level"] for row in rows] == ["error", "debug"]
        assert PASSWORD not in rows[1]["postward_cause"]


def test_other_libraries_do_not_log_below_info(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their debug messages could have what this process does not know as a secret."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    with _logging("debug", "text") as logger:
        logging.getLogger("asyncio").debug("from a library")
        logger.debug("from Postward")
    shown = capsys.readouterr().err

    assert "from Postward" in shown
    assert "from a library" not in shown


def test_the_agent_logs_objects(tmp_path: Path) -> None:
    """Each line of its output is one; at level debug, requests are among them, without their queries."""
    require_postfix(sasl=False)
    with (
        PostfixInstance(tmp_path) as postfix,
        AgentProcess(
            write_reading_settings(tmp_path, postfix), "--log.format=json", "--log.level=debug"
        ) as agent,
    ):
        agent.get("/api/status?token=secret")
        agent.stop()
        rows = [json.loads(line) for line in agent.output().splitlines()]

    assert {"time", "level", "logger", "msg"} <= rows[0].keys()
    assert "web: GET /api/status" in {row["msg"] for row in rows}
