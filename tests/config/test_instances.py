"""Settings files of several instances on one host: what is shared, what is apart, and what is refused."""

from pathlib import Path

import pytest

from postward.config.errors import SettingsError
from postward.config.instances import load_instances
from postward.config.settings import Settings, load_settings

_RELAY = '[[relay]]\nname = "demo"\nhost = "smtp.relay.test"\nport = 587\nusername = "user"\npassword = "x"\n'
_OUT = '[postfix]\nconfig_directory = "/etc/postfix-out"\n'


def settings_file(folder: Path, name: str, text: str) -> Path:
    """Write a settings file with a host name and a relay."""
    path = folder / name
    path.write_text(f'[host]\nmyhostname = "mail.example.test"\n{_RELAY}{text}')
    return path


def loaded(folder: Path, main: str, *others: str) -> tuple[Settings, list[Settings]]:
    """Return the settings of the main file and of the instances that it names."""
    paths = [settings_file(folder, f"{number}.toml", text) for number, text in enumerate(others)]
    listed = ", ".join(f'"{path}"' for path in paths)
    main_file = settings_file(folder, "main.toml", f"[postfix]\ninstances = [{listed}]\n{main}")
    settings = load_settings(main_file)
    return settings, list(load_instances(main_file, settings).values())


def test_an_instance_has_directories_of_its_own(tmp_path: Path) -> None:
    """They are named as its directory of main.cf, below the default ones; the main instance has these themselves."""
    main, (out,) = loaded(tmp_path, "", _OUT)

    assert (main.state.directory, main.enforce.directory) == (
        "/var/lib/postward",
        "/var/lib/postward-enforce",
    )
    assert (out.state.directory, out.enforce.directory) == (
        "/var/lib/postward/postfix-out",
        "/var/lib/postward-enforce/postfix-out",
    )


def test_the_main_file_supplies_endpoint_and_notifications(tmp_path: Path) -> None:
    """`[web]` is the main file's; `[notify]` too, unless the instance has its own. There is one heartbeat."""
    notify = '[notify]\nwebhook_url = "https://a.test/x"\nheartbeat_url = "https://b.test/y"\n'
    own = '[notify]\nwebhook_url = "https://c.test/z"\n'
    main, (out, other) = loaded(
        tmp_path,
        f'[web]\nlisten = "127.0.0.1:9999"\n{notify}',
        _OUT,
        f"{_OUT.replace('out', 'other')}{own}",
    )

    assert out.web == other.web == main.web
    assert (out.notify.url, other.notify.url) == ("https://a.test/x", "https://c.test/z")
    assert out.notify.heartbeat_url is None


@pytest.mark.parametrize(
    ("out", "fault"),
    [
        ("", "postfix.config_directory: is that of MAIN already; write the directory of another instance"),
        (f'{_OUT}instances = ["/etc/x.toml"]\n', "postfix.instances: must be left out: MAIN names this file"),
        (f'{_OUT}[web]\nlisten = "127.0.0.1:1"\n', "web: must be left out, or as in MAIN: one endpoint"),
        (
            f'{_OUT}[state]\ndirectory = "/var/lib/postward/"\n',
            "state.directory: /var/lib/postward/ is that of MAIN already; leave it out",
        ),
        (
            f'{_OUT}[enforce]\ndirectory = "/var/lib/postward-enforce"\n',
            "enforce.directory: /var/lib/postward-enforce is that of MAIN already",
        ),
        (
            f'{_OUT}[log]\nsource = "-"\n',
            "log.source: standard input is that of MAIN already, and only one instance can read it",
        ),
    ],
)
def test_contradictions_between_files_are_refused(tmp_path: Path, out: str, fault: str) -> None:
    """Each is one error, which names the file, the key, the other file and the correct form."""
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, '[log]\nsource = "-"\n', out)

    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path}/0.toml: {fault.replace('MAIN', f'{tmp_path}/main.toml')}")


def test_two_instances_must_differ_from_each_other(tmp_path: Path) -> None:
    """The later one is refused."""
    with pytest.raises(
        SettingsError, match=r"1\.toml: postfix\.config_directory: is that of .*0\.toml already"
    ):
        loaded(tmp_path, "", _OUT, _OUT)


def test_a_file_is_named_once(tmp_path: Path) -> None:
    """The same file twice is an error of the main file."""
    path = settings_file(tmp_path, "main.toml", '[postfix]\ninstances = ["/a.toml", "/a.toml"]\n')

    with pytest.raises(
        SettingsError, match=r'postfix\.instances.*: must list each file once, not "/a\.toml"'
    ):
        load_settings(path)
