"""`postward init` on a private Postfix and a real relay that requires no login."""

from pathlib import Path

import pytest

from tests.support import CA, PostfixInstance, Relay
from tests.support.product import run_postward
from tests.support.require import require_postfix


@pytest.fixture(autouse=True)
def _needs_postfix() -> None:
    require_postfix(sasl=False)


def test_an_empty_username_means_no_login(tmp_path: Path) -> None:
    """No password is asked for, and the username of the provider is not used."""
    settings = tmp_path / "postward.toml"
    with Relay(CA(), tls="none", auth_required=False) as relay, PostfixInstance(tmp_path / "p") as postfix:
        done = run_postward(
            "init",
            *("--config", str(settings), "--yes", "--no-start", "--provider", "sendgrid", "--username", ""),
            *("--host", relay.host, "--port", str(relay.port), "--tls", "none"),
            *("--myhostname", "mail.example.test", "--recipient", "probe@relay.test"),
            env={
                "POSTWARD_POSTFIX__CONFIG_DIRECTORY": str(postfix.config_directory),
                "POSTWARD_ENFORCE__DIRECTORY": str(tmp_path / "enforce"),
                "POSTWARD_STATE__DIRECTORY": str(tmp_path / "state"),
            },
        )

    assert done.returncode == 0, done.stderr
    assert 'username = ""\n' in settings.read_text()
    assert relay.auth_attempts == []
    assert "from the start of postward init to the first delivered probe" in done.stderr


def test_without_a_terminal_yes_is_required(tmp_path: Path) -> None:
    """The command ends before it reads the password or writes a file, because it could not ask before it applies."""
    settings = tmp_path / "postward.toml"
    done = run_postward(
        "init",
        *("--config", str(settings), "--host", "127.0.0.1", "--username", "user", "--password-file", "-"),
        *("--myhostname", "mail.example.test"),
    )

    assert done.returncode == 1
    assert (
        done.stderr == "postward: standard input is not a terminal, so init cannot ask questions; add --yes\n"
    )
    assert not settings.exists()


def _init(*options: str, folder: Path) -> tuple[int, str]:
    done = run_postward("init", "--config", str(folder / "postward.toml"), "--yes", *options)
    assert not (folder / "postward.toml").exists()
    return done.returncode, done.stderr


def test_all_missing_options_are_named_at_once(tmp_path: Path) -> None:
    """As a usage error, before the relay is tried."""
    status, error = _init("--username", "user", "--myhostname", "mail.example.test", folder=tmp_path)

    assert status == 2
    assert "these options are required: --provider or --host, --password-file" in error


def test_a_provider_with_regions_needs_one(tmp_path: Path) -> None:
    """As a usage error."""
    status, error = _init("--provider", "ses", "--username", "", "--myhostname", "a.b.test", folder=tmp_path)

    assert status == 2
    assert "these options are required: --region" in error


def test_the_options_that_a_grant_needs_are_named(tmp_path: Path) -> None:
    """All at once, and none for a sign-in that needs no secret."""
    status, error = _init(
        *("--provider", "office365", "--grant", "client_credentials", "--myhostname", "mail.example.test"),
        folder=tmp_path,
    )
    assert status == 2
    assert "required: --username, --tenant, --client-id" in error
    status, error = _init(
        *("--provider", "office365", "--grant", "device_code", "--username", "a@example.com"),
        *("--myhostname", "mail.example.test", "--tenant", "example.com"),
        folder=tmp_path,
    )
    assert (status, "required: --client-id\n" in error) == (2, True)


def test_a_grant_needs_a_provider_with_known_endpoints(tmp_path: Path) -> None:
    """The message names the providers, and the page for others."""
    (tmp_path / "main.cf").touch()
    done = run_postward(
        *(
            "init",
            "--config",
            str(tmp_path / "postward.toml"),
            "--yes",
            "--host",
            "r.test",
            "--client-id",
            "1",
        ),
        *("--grant", "device_code", "--username", "a@example.com", "--recipient", "p@r.test"),
        *("--myhostname", "mail.example.test"),
        env={"POSTWARD_POSTFIX__CONFIG_DIRECTORY": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "--grant needs --provider, one of gmail, gmail-relay, office365, outlook" in done.stderr


def test_an_unknown_provider_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """As a usage error."""
    status, error = _init("--provider", "sendcluod", folder=tmp_path)

    assert status == 2
    assert "sendcloud" in error


def test_errors_in_the_answers_name_the_option(tmp_path: Path) -> None:
    """TLS that does not fit the port is refused before the relay is tried, and no file is named."""
    (tmp_path / "main.cf").touch()
    done = run_postward(
        *("init", "--config", str(tmp_path / "postward.toml"), "--yes", "--host", "r.test", "--username", ""),
        *("--port", "587", "--tls", "implicit", "--myhostname", "mail.example.test"),
        env={"POSTWARD_POSTFIX__CONFIG_DIRECTORY": str(tmp_path)},
    )

    assert done.returncode == 78
    assert done.stderr.startswith('postward: --tls: is "implicit"')


def test_postfix_without_a_configuration_is_named_first(tmp_path: Path) -> None:
    """Nothing is written."""
    done = run_postward(
        *("init", "--config", str(tmp_path / "postward.toml"), "--yes", "--host", "r.test", "--username", ""),
        *("--myhostname", "mail.example.test", "--recipient", "p@r.test"),
        env={"POSTWARD_POSTFIX__CONFIG_DIRECTORY": str(tmp_path)},
    )

    assert done.returncode == 1
    assert f"nothing was written: {tmp_path}/main.cf does not exist" in done.stderr
    assert list(tmp_path.iterdir()) == []
